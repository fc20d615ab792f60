//! A record as it is on the disk: what one or more puts brought, under one number.
//!
//! A header (both parts have a checksum, the numbers are little-endian), where each event ends, the
//! events back to back, then the rejects, each with its reason and detail.

use jiff::Timestamp;
use mutt_engine::{DeadLetter, Reason};
use mutt_event::Batch;

/// The length of a header on the disk.
pub(crate) const HEADER: usize = 40;
/// What a reject takes beside its texts: the reason and two lengths.
const REJECT: usize = 9;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The record's number.
    pub(crate) number: u64,
    /// When it was written.
    pub(crate) at: Timestamp,
    /// Events in it.
    pub(crate) events: u32,
    /// Rejects in it.
    pub(crate) rejects: u32,
    /// Bytes behind the header.
    pub(crate) length: u32,
    payload_crc: u32,
}

impl Header {
    /// The record's size on the disk, header included.
    pub(crate) fn size(&self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    /// Reads a header; `None` where this is none.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a range of four bytes"))
        };
        let long = |at: usize| {
            u64::from_le_bytes(
                bytes[at..at + 8]
                    .try_into()
                    .expect("a range of eight bytes"),
            )
        };
        if word(0) != crc32fast::hash(&bytes[4..]) {
            return None;
        }
        Some(Self {
            payload_crc: word(4),
            length: word(8),
            events: word(12),
            rejects: word(16),
            number: long(24),
            at: Timestamp::from_microsecond(long(32).cast_signed()).ok()?,
        })
    }

    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.events.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.rejects.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.at.as_microsecond().to_le_bytes());
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The most bytes that a record with this needs on the disk.
pub(crate) fn size_of(batch: &Batch, rejects: &[DeadLetter]) -> u64 {
    let rejects = rejects
        .iter()
        .map(|letter| REJECT + letter.detail.len() + letter.element.len());
    (HEADER + 4 * batch.len() + batch.byte_len() + rejects.sum::<usize>()) as u64
}

/// Appends a record to `out`.
pub(crate) fn encode(
    number: u64,
    at: Timestamp,
    batch: &Batch,
    rejects: &[DeadLetter],
    out: &mut Vec<u8>,
) -> Header {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let (bytes, ends) = batch.parts();
    out.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
    out.extend_from_slice(bytes);
    for letter in rejects {
        out.push(code(letter.reason));
        out.extend_from_slice(&count(letter.detail.len()).to_le_bytes());
        out.extend_from_slice(&count(letter.element.len()).to_le_bytes());
        out.extend_from_slice(letter.detail.as_bytes());
        out.extend_from_slice(&letter.element);
    }
    let payload = &out[start + HEADER..];
    let header = Header {
        number,
        at,
        events: count(batch.len()),
        rejects: count(rejects.len()),
        length: count(payload.len()),
        payload_crc: crc32fast::hash(payload),
    };
    out[start..start + HEADER].copy_from_slice(&header.encode());
    header
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a put of 4 GiB is refused at the door")
}

/// What is behind a header.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) batch: Batch,
    pub(crate) rejects: Vec<DeadLetter>,
}

/// Whether `payload` is what was written behind this header.
pub(crate) fn is_intact(header: &Header, payload: &[u8]) -> bool {
    payload.len() == header.length as usize && crc32fast::hash(payload) == header.payload_crc
}

/// Reads what is behind a header; `None` where it is damaged.
pub(crate) fn decode(header: &Header, payload: &[u8]) -> Option<Contents> {
    if !is_intact(header, payload) {
        return None;
    }
    let (ends, rest) = payload.split_at_checked(header.events as usize * 4)?;
    let ends: Vec<u32> = ends
        .as_chunks::<4>()
        .0
        .iter()
        .map(|end| u32::from_le_bytes(*end))
        .collect();
    let (bytes, mut rest) = rest.split_at_checked(ends.last().copied().unwrap_or(0) as usize)?;
    let batch = Batch::from_parts(bytes.to_vec(), ends)?;
    let mut rejects = Vec::with_capacity(header.rejects as usize);
    for _ in 0..header.rejects {
        let (head, texts) = rest.split_first_chunk::<REJECT>()?;
        let length = |at: usize| {
            u32::from_le_bytes(head[at..at + 4].try_into().expect("a range of four bytes")) as usize
        };
        let (detail, texts) = texts.split_at_checked(length(1))?;
        let (element, texts) = texts.split_at_checked(length(5))?;
        rejects.push(DeadLetter {
            reason: reason(head[0])?,
            detail: String::from_utf8(detail.to_vec()).ok()?,
            element: element.to_vec(),
        });
        rest = texts;
    }
    rest.is_empty().then_some(Contents { batch, rejects })
}

// Numbers on the disk: never give one a new meaning.
const REASONS: [(u8, Reason); 5] = [
    (1, Reason::Malformed),
    (2, Reason::Shed),
    (3, Reason::Poison),
    (4, Reason::Refused),
    (5, Reason::RetriesExhausted),
];

fn code(reason: Reason) -> u8 {
    let found = REASONS.iter().find(|(_, known)| *known == reason);
    found.map_or(1, |(code, _)| *code)
}

fn reason(code: u8) -> Option<Reason> {
    let found = REASONS.iter().find(|(known, _)| *known == code);
    found.map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(reason: Reason) -> DeadLetter {
        DeadLetter {
            reason,
            detail: format!("why: {}", reason.name()),
            element: vec![0, 159, 146, 150],
        }
    }

    fn sample() -> (Batch, Vec<DeadLetter>) {
        let batch = [&b"{}"[..], b"", b"{\"a\":1}"].into_iter().collect();
        let rejects = REASONS.map(|(_, reason)| letter(reason));
        (batch, rejects.to_vec())
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let (batch, rejects) = sample();
        for (batch, rejects) in [
            (batch.clone(), rejects.clone()),
            (batch, Vec::new()),
            (Batch::new(), rejects),
        ] {
            let mut out = b"before".to_vec();
            let at = Timestamp::from_microsecond(1_795_266_000_123_456).unwrap();
            let written = encode(1 << 50, at, &batch, &rejects, &mut out);
            assert_eq!(size_of(&batch, &rejects), written.size());
            let (head, payload) = out[6..].split_first_chunk::<HEADER>().unwrap();
            let header = Header::decode(head).unwrap();
            assert_eq!(header, written);
            assert_eq!((header.number, header.at), (1 << 50, at));
            let contents = decode(&header, payload).unwrap();
            assert_eq!(contents.batch, batch);
            assert_eq!(contents.rejects, rejects);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (batch, rejects) = sample();
        let mut out = Vec::new();
        encode(7, Timestamp::UNIX_EPOCH, &batch, &rejects, &mut out);
        for bit in 0..out.len() * 8 {
            let mut damaged = out.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (head, payload) = damaged.split_first_chunk::<HEADER>().unwrap();
            let read = Header::decode(head).and_then(|header| decode(&header, payload));
            assert!(read.is_none(), "bit {bit}");
        }
    }
}

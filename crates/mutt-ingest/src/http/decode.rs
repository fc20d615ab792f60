//! From a body to a batch: unpack within bounds, split, validate. No I/O and no waiting.

use std::io::{self, Read};
use std::sync::Arc;

use http::{HeaderMap, header};
use jiff::Timestamp;
use mutt_engine::{DeadLetter, Reason};
use mutt_event::json::{self, Accept, Records, RejectKind, Rejected, RequiredFields};
use mutt_event::{Batch, Source};
use mutt_http::Held;

use super::answer::{Correlation, Failure};
use super::bulk;
use crate::door::{self, Senders};
use crate::metrics::RejectReason;

/// The most records of one batch. 10 MiB of commas are ten million records, none of them an event.
pub(super) const MAX_RECORDS: usize = 100_000;

/// Why a record of a batch may be rejected.
const REASONS: [RejectReason; 3] = [
    RejectReason::Json,
    RejectReason::ValidationError,
    RejectReason::Request,
];

/// The most rejected records that an answer lists.
const MAX_ERRORS: usize = 100;

/// What MUTT's own fields add to an event, in bytes.
pub(super) const ADDED: usize = 224;

/// The largest window of a zstd frame, as a power of two: RFC 9659 allows no more for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut given = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(first) = given.next() else {
            return Ok(Self::Identity);
        };
        let name = first.to_str().unwrap_or("").trim();
        if given.next().is_some() {
            return Err(Failure::encoding("several"));
        }
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            Ok(Self::Identity)
        } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            Ok(Self::Gzip)
        } else if name.eq_ignore_ascii_case("zstd") {
            Ok(Self::Zstd)
        } else {
            Err(Failure::encoding(name))
        }
    }

    pub(super) fn is_identity(self) -> bool {
        self == Self::Identity
    }
}

/// A body whose records were looked at.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// The events, as queue elements.
    pub batch: Batch,
    /// Whether the sender sent a batch, and is answered so.
    pub is_batch: bool,
    /// How many records are none.
    pub rejected: usize,
    /// Those records, with their reasons.
    pub letters: Vec<DeadLetter>,
    /// The first of those reasons, by position in the batch.
    pub errors: Vec<(usize, String)>,
    /// Of a `_bulk` request: the answers to its items, joined by commas.
    pub items: Option<Vec<u8>>,
    /// Rejected records by [`REASONS`].
    by_reason: [u64; REASONS.len()],
}

impl Prepared {
    pub(super) fn records(&self) -> usize {
        self.batch.len() + self.rejected
    }

    pub(super) fn rejected_by_reason(&self) -> impl Iterator<Item = (RejectReason, u64)> {
        REASONS.into_iter().zip(self.by_reason)
    }

    /// Counts a record that is none, and keeps it with the reason.
    pub(super) fn reject(&mut self, reason: RejectReason, record: &[u8], detail: String) {
        self.count_rejected(reason);
        self.letters.push(DeadLetter {
            reason: Reason::Malformed,
            detail,
            element: record.to_vec(),
        });
    }

    /// Counts a record that is none and of which there is nothing to keep.
    pub(super) fn count_rejected(&mut self, reason: RejectReason) {
        debug_assert!(REASONS.contains(&reason), "{reason:?}");
        if let Some(slot) = REASONS.iter().position(|known| *known == reason) {
            self.by_reason[slot] += 1;
        }
        self.rejected += 1;
    }
}

pub(super) fn reason(why: &Rejected) -> RejectReason {
    match why.kind {
        RejectKind::NotJson | RejectKind::NotObject => RejectReason::Json,
        RejectKind::Field => RejectReason::ValidationError,
    }
}

/// What the records of a body are.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// A JSON object, an array of them, or one per line.
    Events,
    /// Elasticsearch's `_bulk`, and the index that items go to which name none.
    Bulk { index: String },
}

/// How a body is to be read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub format: Format,
    pub coding: Coding,
    /// The longest body, unpacked, in bytes.
    pub limit: usize,
    pub required: Arc<RequiredFields>,
    pub correlation: Correlation,
    pub received_at: Timestamp,
    /// Who has tags, where anybody has.
    pub senders: Option<Arc<Senders>>,
}

impl Reading {
    /// Unpacks a body and makes its records queue elements. What that needs is booked on `held`.
    ///
    /// # Errors
    /// Nothing of it can be told apart, or it is one record and that one is no event.
    pub(super) fn prepare(&self, body: &[u8], held: &mut Held) -> Result<Prepared, Failure> {
        let unpacked = match self.coding {
            Coding::Identity => None,
            Coding::Gzip => {
                let decoder = flate2::bufread::MultiGzDecoder::new(body);
                Some(unpack(decoder, body.len(), self.limit, held)?)
            }
            Coding::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(body).map_err(|error| corrupt(&error))?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG)
                    .map_err(|error| corrupt(&error))?;
                Some(unpack(decoder, body.len(), self.limit, held)?)
            }
        };
        let text = unpacked.as_deref().unwrap_or(body);
        let holds = body.len() + unpacked.as_ref().map_or(0, Vec::len);
        let how = Accept {
            received_at: self.received_at,
            correlation_id: self.correlation.as_str(),
            source: Source::Http,
            // Who posts is mostly a relay that speaks for many hosts.
            source_ip: None,
            required: &self.required,
        };
        let mut prepared = match &self.format {
            Format::Events => events(text, &how, holds, held)?,
            Format::Bulk { index } => bulk::items(text, index, &how, holds, held)?,
        };
        if let Some(senders) = &self.senders
            && let Some(tagged) = door::tag(&prepared.batch, senders)
        {
            let bytes = prepared.batch.byte_len() + tagged.byte_len();
            held.grow_to(holds + bytes)
                .map_err(|_| Failure::crowded())?;
            prepared.batch = tagged;
        }
        Ok(prepared)
    }
}

pub(super) fn malformed(why: Rejected) -> Failure {
    Failure::malformed(reason(&why), why.message)
}

fn events(
    text: &[u8],
    how: &Accept<'_>,
    holds: usize,
    held: &mut Held,
) -> Result<Prepared, Failure> {
    let mut prepared = Prepared::default();
    match json::records(text).map_err(malformed)? {
        Records::Single(record) => {
            prepared.batch = Batch::with_capacity(1, record.len() + ADDED);
            prepared
                .batch
                .try_push_with(|out| json::accept(record, how, out))
                .map_err(malformed)?;
        }
        Records::Batch(records) => {
            if records.len() > MAX_RECORDS {
                return Err(Failure::too_many(MAX_RECORDS));
            }
            let bytes = text.len() + records.len() * ADDED;
            held.grow_to(holds + bytes)
                .map_err(|_| Failure::crowded())?;
            prepared.is_batch = true;
            prepared.batch = Batch::with_capacity(records.len(), bytes);
            for (index, record) in records.into_iter().enumerate() {
                let accepted = prepared
                    .batch
                    .try_push_with(|out| json::accept(record, how, out));
                if let Err(why) = accepted {
                    if prepared.errors.len() < MAX_ERRORS {
                        prepared.errors.push((index, why.message.clone()));
                    }
                    prepared.reject(reason(&why), record, why.message);
                }
            }
        }
    }
    Ok(prepared)
}

/// What `packed` bytes unpack to, at most `limit` bytes: a bomb is noticed while it goes off.
fn unpack(
    mut reader: impl Read,
    packed: usize,
    limit: usize,
    held: &mut Held,
) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::with_capacity(packed.saturating_mul(4).min(limit));
    loop {
        let step = text.len().clamp(64 * 1024, 1024 * 1024);
        held.grow_to(packed + text.len() + step)
            .map_err(|_| Failure::crowded())?;
        let count = reader
            .by_ref()
            .take(step as u64)
            .read_to_end(&mut text)
            .map_err(|error| corrupt(&error))?;
        if text.len() > limit {
            return Err(Failure::too_large(limit));
        }
        if count == 0 {
            return Ok(text);
        }
    }
}

fn corrupt(error: &io::Error) -> Failure {
    Failure::malformed(
        RejectReason::Encoding,
        format!("the body cannot be unpacked: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use mutt_http::Budget;

    use super::*;

    const EVENT: &str = r#"{"hostname":"r1","message":"up"}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn prepared(body: &[u8], coding: Coding) -> Result<Prepared, Failure> {
        let reading = Reading {
            format: Format::Events,
            coding,
            limit: 1 << 20,
            required: Arc::default(),
            correlation: Correlation::of(&HeaderMap::new()),
            received_at: Timestamp::now(),
            senders: None,
        };
        reading.prepare(body, &mut Budget::new(1 << 24).hold())
    }

    #[test]
    fn packed_bodies_are_what_they_were() {
        for (body, coding) in [
            (gzip(EVENT.as_bytes()), Coding::Gzip),
            (
                [gzip(&EVENT.as_bytes()[..9]), gzip(&EVENT.as_bytes()[9..])].concat(),
                Coding::Gzip,
            ),
            (zstd::encode_all(EVENT.as_bytes(), 3).unwrap(), Coding::Zstd),
        ] {
            let prepared = prepared(&body, coding).unwrap();
            assert!(
                prepared
                    .batch
                    .get(0)
                    .unwrap()
                    .starts_with(br#"{"hostname":"r1","message":"up""#)
            );
            assert!(!prepared.is_batch);
        }
    }

    #[test]
    fn bombs_and_broken_bodies_are_refused() {
        let zeros = vec![b' '; 50 << 20];
        let long_window = {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(27).unwrap();
            encoder.write_all(&zeros).unwrap();
            encoder.finish().unwrap()
        };
        for (body, coding, status) in [
            (gzip(&zeros), Coding::Gzip, 413),
            (zstd::encode_all(&zeros[..], 1).unwrap(), Coding::Zstd, 413),
            (long_window, Coding::Zstd, 400),
            (gzip(EVENT.as_bytes())[..20].to_vec(), Coding::Gzip, 400),
            (
                [gzip(EVENT.as_bytes()), b"junk".to_vec()].concat(),
                Coding::Gzip,
                400,
            ),
            (EVENT.as_bytes().to_vec(), Coding::Gzip, 400),
            (EVENT.as_bytes().to_vec(), Coding::Zstd, 400),
            (
                zstd::encode_all(EVENT.as_bytes(), 3).unwrap()[..20].to_vec(),
                Coding::Zstd,
                400,
            ),
        ] {
            let failure = prepared(&body, coding).unwrap_err();
            assert_eq!(failure.status.as_u16(), status, "{failure:?}");
        }
    }

    #[test]
    fn a_batch_keeps_its_bad_records_with_their_reasons() {
        let body = format!("[{EVENT},{{\"hostname\":\"r1\"}},7,{EVENT}]");
        let prepared = prepared(body.as_bytes(), Coding::Identity).unwrap();
        assert_eq!(
            (prepared.batch.len(), prepared.rejected, prepared.records()),
            (2, 2, 4)
        );
        assert_eq!(
            prepared
                .errors
                .iter()
                .map(|error| error.0)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(prepared.letters[0].element, br#"{"hostname":"r1"}"#);
        assert!(
            prepared.letters[0].detail.contains("message"),
            "{:?}",
            prepared.letters[0]
        );
        assert_eq!(
            prepared.rejected_by_reason().collect::<Vec<_>>(),
            [
                (RejectReason::Json, 1),
                (RejectReason::ValidationError, 1),
                (RejectReason::Request, 0)
            ]
        );
    }

    #[test]
    fn a_batch_has_an_end() {
        let commas = format!("[{}]", ",".repeat(MAX_RECORDS));
        let failure = prepared(commas.as_bytes(), Coding::Identity).unwrap_err();
        assert_eq!(failure.status.as_u16(), 413);
    }

    #[test]
    fn codings_are_named() {
        for (given, expected) in [
            ("", Some(Coding::Identity)),
            ("identity", Some(Coding::Identity)),
            ("GZIP", Some(Coding::Gzip)),
            ("zstd", Some(Coding::Zstd)),
            ("br", None),
            ("gzip, zstd", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, given.parse().unwrap());
            match (Coding::of(&headers), expected) {
                (Ok(coding), Some(expected)) => assert_eq!(coding, expected),
                (Err(failure), None) => assert_eq!(failure.status.as_u16(), 415),
                (found, _) => panic!("{given}: {found:?}"),
            }
        }
    }
}

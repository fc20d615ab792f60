//! The part of BER (X.690) that SNMP uses: reading without copying, and writing what MUTT answers.
//!
//! Lengths are definite and tags one octet; nothing is read beyond what its container holds, and no
//! memory is taken for what a length only claims. Knows octets, not messages.

pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const IP_ADDRESS: u8 = 0x40;
    pub(crate) const COUNTER32: u8 = 0x41;
    pub(crate) const GAUGE32: u8 = 0x42;
    pub(crate) const TIME_TICKS: u8 = 0x43;
    pub(crate) const OPAQUE: u8 = 0x44;
    pub(crate) const COUNTER64: u8 = 0x46;
    pub(crate) const NO_SUCH_OBJECT: u8 = 0x80;
    pub(crate) const NO_SUCH_INSTANCE: u8 = 0x81;
    pub(crate) const END_OF_MIB_VIEW: u8 = 0x82;
    pub(crate) const RESPONSE: u8 = 0xa2;
    pub(crate) const TRAP_V1: u8 = 0xa4;
    pub(crate) const INFORM: u8 = 0xa6;
    pub(crate) const TRAP_V2: u8 = 0xa7;
    pub(crate) const REPORT: u8 = 0xa8;
}

/// The octets are not BER, or not what belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// Reads one thing after the other out of a message, or out of one part of it.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self {
            message,
            at: 0,
            end: message.len(),
        }
    }

    /// Where the next octet stands, counted from the start of the message.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// All that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.message[self.at..self.end]
    }

    /// Nothing may be left.
    pub(crate) fn finish(&self) -> Result<()> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn octet(&mut self) -> Result<u8> {
        if self.is_empty() {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(self.message[self.at - 1])
    }

    fn length(&mut self) -> Result<usize> {
        let first = self.octet()?;
        if first < 0x80 {
            return Ok(usize::from(first));
        }
        // 0x80 is the indefinite form, which SNMP forbids; more than four octets no datagram needs.
        let octets = first & 0x7f;
        if octets == 0 || octets > 4 {
            return Err(Malformed);
        }
        let mut length = 0;
        for _ in 0..octets {
            length = length << 8 | usize::from(self.octet()?);
        }
        Ok(length)
    }

    /// The next element, whatever it is: its tag and its content.
    pub(crate) fn element(&mut self) -> Result<(u8, Reader<'a>)> {
        let tag = self.octet()?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let length = self.length()?;
        if length > self.end - self.at {
            return Err(Malformed);
        }
        let content = Reader {
            message: self.message,
            at: self.at,
            end: self.at + length,
        };
        self.at += length;
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Reader<'a>> {
        match self.element()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn octets(&mut self) -> Result<&'a [u8]> {
        Ok(self.expect(tag::OCTET_STRING)?.rest())
    }

    pub(crate) fn integer(&mut self) -> Result<i32> {
        integer(self.expect(tag::INTEGER)?.rest()).ok_or(Malformed)
    }
}

/// The value of an INTEGER's content; `None` where it has none or does not fit.
pub(crate) fn integer(octets: &[u8]) -> Option<i32> {
    let (&first, rest) = octets.split_first()?;
    if rest.len() > 7 {
        return None;
    }
    let mut value = i64::from(first.cast_signed());
    for &octet in rest {
        value = value << 8 | i64::from(octet);
    }
    i32::try_from(value).ok()
}

/// The value of an unsigned content; `None` where it does not fit. Nothing is 0, and four octets
/// without the zero that should stand before a high bit are taken for what was meant: agents send
/// both.
pub(crate) fn unsigned(octets: &[u8], bits: u32) -> Option<u64> {
    let significant = octets.iter().position(|&octet| octet != 0);
    let octets = &octets[significant.unwrap_or(octets.len())..];
    if octets.len() > (bits / 8) as usize {
        return None;
    }
    Some(
        octets
            .iter()
            .fold(0, |value, &octet| value << 8 | u64::from(octet)),
    )
}

/// Appends an element whose content `write` appends.
pub(crate) fn push(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    // Contents are short: moving them once for the length costs less than writing backwards.
    let mut form = [0; 5];
    let form = length_octets(length, &mut form);
    out.splice(start..start, form.iter().copied());
}

fn length_octets(length: usize, form: &mut [u8; 5]) -> &[u8] {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let octets = length.to_be_bytes();
    if length < 0x80 {
        form[0] = octets[3];
        return &form[..1];
    }
    let skip = (length.leading_zeros() / 8) as usize;
    form[0] = [0x84, 0x83, 0x82, 0x81][skip];
    form[1..5 - skip].copy_from_slice(&octets[skip..]);
    &form[..5 - skip]
}

pub(crate) fn push_octets(out: &mut Vec<u8>, octets: &[u8]) {
    push(out, tag::OCTET_STRING, |out| out.extend_from_slice(octets));
}

pub(crate) fn push_integer(out: &mut Vec<u8>, value: i32) {
    push_shortest(out, tag::INTEGER, &value.to_be_bytes());
}

pub(crate) fn push_unsigned(out: &mut Vec<u8>, tag: u8, value: u32) {
    let mut octets = [0; 5];
    octets[1..].copy_from_slice(&value.to_be_bytes());
    push_shortest(out, tag, &octets);
}

/// Two's complement without octets that only repeat the sign.
fn push_shortest(out: &mut Vec<u8>, tag: u8, octets: &[u8]) {
    let redundant = octets
        .windows(2)
        .take_while(|pair| {
            (pair[0] == 0 && pair[1] & 0x80 == 0) || (pair[0] == 0xff && pair[1] & 0x80 != 0)
        })
        .count();
    push(out, tag, |out| out.extend_from_slice(&octets[redundant..]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back_and_are_short(value: i32, unsigned_value: u32) {
            let mut out = Vec::new();
            push_integer(&mut out, value);
            prop_assert_eq!(Reader::new(&out).integer(), Ok(value));
            prop_assert!(out.len() <= 6);
            let mut out = Vec::new();
            push_unsigned(&mut out, tag::GAUGE32, unsigned_value);
            let content = Reader::new(&out).expect(tag::GAUGE32).unwrap().rest();
            prop_assert_eq!(unsigned(content, 32), Some(u64::from(unsigned_value)));
            prop_assert!(content.len() == 1 || content[0] != 0 || content[1] & 0x80 != 0);
        }

        #[test]
        fn elements_of_any_length_read_back(length in 0..70_000_usize) {
            let mut out = Vec::new();
            push(&mut out, tag::SEQUENCE, |out| push_octets(out, &vec![7; length]));
            let mut reader = Reader::new(&out);
            let mut inner = reader.expect(tag::SEQUENCE).unwrap();
            prop_assert_eq!(inner.octets().unwrap().len(), length);
            prop_assert!(inner.finish().is_ok() && reader.finish().is_ok());
        }
    }

    #[test]
    fn what_does_not_fit_its_container_is_refused() {
        for octets in [
            &b""[..],
            b"\x04",
            b"\x04\x02\x00",
            b"\x04\x80\x00\x00",         // indefinite
            b"\x04\x85\0\0\0\0\x01\0",   // five octets of length
            b"\x04\x84\xff\xff\xff\xff", // four gigabytes
            b"\x1f\x81\x00\x00",         // a tag of several octets
        ] {
            assert_eq!(
                Reader::new(octets).element().err(),
                Some(Malformed),
                "{octets:x?}"
            );
        }
        // The inner element ends behind its container, though not behind the message.
        let mut outer = Reader::new(b"\x30\x03\x04\x02\x00\x00\x00");
        assert_eq!(
            outer.expect(tag::SEQUENCE).unwrap().octets(),
            Err(Malformed)
        );
    }

    #[test]
    fn what_agents_send_for_numbers_is_understood() {
        assert_eq!(unsigned(b"", 32), Some(0));
        assert_eq!(unsigned(b"\xff\xff\xff\xff", 32), Some(0xffff_ffff));
        assert_eq!(unsigned(b"\0\0\0\0\0\x01", 32), Some(1));
        assert_eq!(unsigned(b"\x01\0\0\0\0", 32), None);
        assert_eq!(
            unsigned(b"\0\xff\xff\xff\xff\xff\xff\xff\xff", 64),
            Some(u64::MAX)
        );
        assert_eq!(integer(b""), None);
        assert_eq!(integer(b"\xff\xff\xff\xff\xff"), Some(-1));
        assert_eq!(integer(b"\0\xff\xff\xff\xff"), None);
        assert_eq!(integer(b"\0\0\0\0\0\0\0\0\x01"), None);
    }
}

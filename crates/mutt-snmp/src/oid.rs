//! Object identifiers as they stand in a message: BER content octets, compared and printed without
//! being decoded first.
//!
//! Promises that an [`Oid`] is well-formed (complete arcs of at most 32 bits, each in its shortest
//! form), so that equal identifiers have equal octets and a prefix in octets that ends where an arc
//! ends is a prefix in arcs. Knows no names.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The most arcs an identifier may have (RFC 2578, 3.5).
pub const MAX_ARCS: usize = 128;

/// An object identifier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Oid<'a>(Cow<'a, [u8]>);

/// Why octets or a text are no object identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidError {
    /// There is nothing.
    #[error("it has no numbers")]
    Empty,
    /// A part is no number.
    #[error("a part is no number")]
    NotANumber,
    /// An arc does not fit 32 bits, or the first two are not what the root allows.
    #[error("a number is out of its range")]
    OutOfRange,
    /// More arcs than [`MAX_ARCS`].
    #[error("it has more than {MAX_ARCS} numbers")]
    TooLong,
    /// The last arc is not complete.
    #[error("its encoding is broken")]
    Encoding,
}

impl<'a> Oid<'a> {
    /// The identifier with these content octets (without tag and length). Arcs with zeros in front,
    /// which X.690 forbids, are shortened.
    ///
    /// # Errors
    /// The octets are no identifier.
    pub fn from_ber(octets: &'a [u8]) -> Result<Self, OidError> {
        Ok(Self(match check(octets)? {
            Form::Shortest => Cow::Borrowed(octets),
            Form::Padded => Cow::Owned(without_padding(octets)),
        }))
    }

    /// The content octets.
    pub fn as_ber(&self) -> &[u8] {
        &self.0
    }

    /// The arcs, from the root.
    pub fn arcs(&self) -> Arcs<'_> {
        Arcs {
            rest: &self.0,
            second: None,
            first: true,
        }
    }

    /// Whether this identifier equals `prefix` or lies below it.
    pub fn starts_with(&self, prefix: &Oid<'_>) -> bool {
        // A prefix ends where an arc ends, and an arc's first octets never look like a whole arc.
        // The first octet holds two arcs, so one that ends there is compared as a whole.
        self.0.starts_with(&prefix.0)
    }

    /// The arcs below `prefix`, where this identifier lies below it or equals it.
    pub fn below(&self, prefix: &Oid<'_>) -> Option<Arcs<'_>> {
        let rest = self.0.strip_prefix(prefix.as_ber())?;
        Some(Arcs {
            rest,
            second: None,
            first: false,
        })
    }

    /// The same identifier, independent of the datagram.
    pub fn into_owned(self) -> Oid<'static> {
        Oid(Cow::Owned(self.0.into_owned()))
    }

    /// The same identifier, borrowed.
    pub fn borrowed(&self) -> Oid<'_> {
        Oid(Cow::Borrowed(&self.0))
    }

    /// This identifier with one more arc. The result may have more than [`MAX_ARCS`] arcs.
    #[must_use]
    pub fn child(&self, arc: u32) -> Oid<'static> {
        let mut octets = self.0.to_vec();
        push_arc(&mut octets, u64::from(arc));
        Oid(Cow::Owned(octets))
    }

    /// Appends the usual text form, numbers with dots between and none in front.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        let mut digits = [0; 10];
        for (index, arc) in self.arcs().enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            let mut at = digits.len();
            let mut arc = arc;
            loop {
                at -= 1;
                digits[at] = b"0123456789"[(arc % 10) as usize];
                arc /= 10;
                if arc == 0 {
                    break;
                }
            }
            out.extend_from_slice(&digits[at..]);
        }
    }
}

impl Oid<'static> {
    /// The identifier with these arcs.
    ///
    /// # Errors
    /// Fewer than two arcs or more than [`MAX_ARCS`], or a root that does not exist.
    pub fn from_arcs(arcs: impl IntoIterator<Item = u32>) -> Result<Self, OidError> {
        let mut arcs = arcs.into_iter();
        let first = arcs.next().ok_or(OidError::Empty)?;
        let second = arcs.next().ok_or(OidError::Empty)?;
        if first > 2 || (first < 2 && second > 39) || second > u32::MAX - 80 {
            return Err(OidError::OutOfRange);
        }
        let mut octets = Vec::with_capacity(16);
        push_arc(&mut octets, u64::from(first) * 40 + u64::from(second));
        let mut count = 2;
        for arc in arcs {
            count += 1;
            if count > MAX_ARCS {
                return Err(OidError::TooLong);
            }
            push_arc(&mut octets, u64::from(arc));
        }
        Ok(Self(Cow::Owned(octets)))
    }
}

impl Oid<'static> {
    /// An identifier of octets that are known to be one: for constants, which a test compares with
    /// their text.
    pub(crate) const fn constant(octets: &'static [u8]) -> Self {
        Self(Cow::Borrowed(octets))
    }
}

impl FromStr for Oid<'static> {
    type Err = OidError;

    /// Numbers with dots between, with or without a dot in front.
    fn from_str(text: &str) -> Result<Self, OidError> {
        let text = text.strip_prefix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(OidError::Empty);
        }
        let mut arcs = Vec::with_capacity(16);
        for part in text.split('.') {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(OidError::NotANumber);
            }
            arcs.push(part.parse().map_err(|_| OidError::OutOfRange)?);
        }
        Self::from_arcs(arcs)
    }
}

impl fmt::Display for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arc) in self.arcs().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{arc}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({self})")
    }
}

/// The arcs of an [`Oid`].
#[derive(Clone, Debug)]
pub struct Arcs<'a> {
    rest: &'a [u8],
    second: Option<u32>,
    first: bool,
}

impl Iterator for Arcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if let Some(second) = self.second.take() {
            return Some(second);
        }
        let mut arc: u32 = 0;
        loop {
            let (&octet, rest) = self.rest.split_first()?;
            self.rest = rest;
            arc = arc << 7 | u32::from(octet & 0x7f);
            if octet & 0x80 == 0 {
                break;
            }
        }
        if self.first {
            self.first = false;
            let root = (arc / 40).min(2);
            self.second = Some(arc - root * 40);
            return Some(root);
        }
        Some(arc)
    }
}

/// How the arcs are written.
enum Form {
    Shortest,
    /// Some with zeros in front.
    Padded,
}

fn without_padding(octets: &[u8]) -> Vec<u8> {
    let mut begun = false;
    let significant = octets.iter().copied().filter(|&octet| {
        let padding = !begun && octet == 0x80;
        begun = !padding && octet & 0x80 != 0;
        !padding
    });
    significant.collect()
}

fn check(octets: &[u8]) -> Result<Form, OidError> {
    if octets.is_empty() {
        return Err(OidError::Empty);
    }
    // The first subidentifier holds two arcs.
    let mut arcs = 1;
    let mut arc: u64 = 0;
    let mut begun = false;
    let mut form = Form::Shortest;
    for &octet in octets {
        if !begun && octet == 0x80 {
            form = Form::Padded;
        }
        arc = arc << 7 | u64::from(octet & 0x7f);
        if arc > u64::from(u32::MAX) {
            return Err(OidError::OutOfRange);
        }
        begun = octet & 0x80 != 0;
        if !begun {
            arcs += 1;
            arc = 0;
        }
    }
    if begun {
        return Err(OidError::Encoding);
    }
    if arcs > MAX_ARCS {
        return Err(OidError::TooLong);
    }
    Ok(form)
}

#[allow(clippy::cast_possible_truncation)] // seven bits at a time
fn push_arc(octets: &mut Vec<u8>, arc: u64) {
    let mut shift = 63;
    while shift > 0 {
        if arc >> shift != 0 {
            octets.push((arc >> shift) as u8 & 0x7f | 0x80);
        }
        shift -= 7;
    }
    octets.push(arc as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn oid(text: &str) -> Oid<'static> {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn text_and_octets_are_the_same_identifier(root in 0..3_u32, second in 0..40_u32, rest in prop::collection::vec(any::<u32>(), 0..126)) {
            let arcs: Vec<u32> = [root, second].into_iter().chain(rest).collect();
            let made = Oid::from_arcs(arcs.iter().copied()).unwrap();
            let read = Oid::from_ber(made.as_ber()).unwrap();
            prop_assert_eq!(read.arcs().collect::<Vec<_>>(), arcs);
            prop_assert_eq!(&read, &oid(&made.to_string()));
            let mut text = Vec::new();
            read.write_into(&mut text);
            prop_assert_eq!(String::from_utf8(text).unwrap(), made.to_string());
        }

        #[test]
        fn any_octets_are_an_identifier_that_reads_back_or_an_error(octets: Vec<u8>) {
            if let Ok(read) = Oid::from_ber(&octets) {
                let again = oid(&read.to_string());
                prop_assert_eq!(&again, &read);
                prop_assert!(again.as_ber().len() <= octets.len());
            }
        }
    }

    #[test]
    fn prefixes_are_prefixes_in_arcs() {
        let cisco = oid(".1.3.6.1.4.1.9");
        assert!(oid("1.3.6.1.4.1.9.9.41").starts_with(&cisco));
        assert!(!oid("1.3.6.1.4.1.99").starts_with(&cisco));
        // 1161 = 9 · 128 + 9: its first octet differs from that of 9 by the continuation bit.
        assert!(!oid("1.3.6.1.4.1.1161").starts_with(&cisco));
        let below: Vec<u32> = oid("1.3.6.1.4.1.9.0.300").below(&cisco).unwrap().collect();
        assert_eq!(below, [0, 300]);
        assert_eq!(cisco.child(300), oid("1.3.6.1.4.1.9.300"));
    }

    #[test]
    fn zeros_in_front_of_an_arc_do_not_matter() {
        let padded = Oid::from_ber(b"\x80\x2b\x06\x80\x80\x81\x00\x80\x00").unwrap();
        assert_eq!(padded, oid("1.3.6.128.0"));
    }

    #[test]
    fn what_is_no_identifier_is_refused() {
        for (octets, error) in [
            (&b""[..], OidError::Empty),
            (b"\x2b\x86", OidError::Encoding),
            (b"\x2b\x80", OidError::Encoding),
            (b"\x2b\x90\x80\x80\x80\x00", OidError::OutOfRange),
        ] {
            assert_eq!(Oid::from_ber(octets), Err(error), "{octets:x?}");
        }
        assert_eq!(Oid::from_ber(&[1; 128]), Err(OidError::TooLong));
        for text in [
            "",
            ".",
            "1",
            "1..3",
            "1.3.x",
            "3.1",
            "1.40",
            "1.3.4294967296",
        ] {
            assert!(text.parse::<Oid<'_>>().is_err(), "{text}");
        }
    }
}

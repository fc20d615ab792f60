//! Signatures: what stays of a message when everything that varies is masked, so that a thousand
//! messages of one kind count as one.
//!
//! One pass, linear, no regular expressions. Every ASCII digit of the message ends up inside some
//! mask and masks hold no digit, so masking twice changes nothing; which mask a text gets depends
//! on its shape (how many digits and letters stand where) and never on the digits' values.

use std::fmt::Write as _;

/// A message without what varies, and the hash of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Hash of `text`. Stable across versions and machines: it is part of keys that live on.
    pub hash: u64,
    /// The message with masks: `<n>` numbers, `<ip>`, `<mac>`, `<hex>`, `<uuid>`, `<time>`, `<q>`
    /// quoted text.
    pub text: String,
}

impl Signature {
    /// The hash as 16 hexadecimal digits, its form in keys, APIs and the UI.
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(16);
        // Writing to a String cannot fail.
        let _ = write!(hex, "{:016x}", self.hash);
        hex
    }
}

/// The signature of a message.
pub fn signature(message: &str) -> Signature {
    let mut text = String::with_capacity(message.len());
    mask_into(message, &mut text);
    Signature {
        hash: hash(text.as_bytes()),
        text,
    }
}

/// Appends `message` to `out` with everything masked that varies.
pub fn mask_into(message: &str, out: &mut String) {
    let mut masker = Masker {
        message,
        text: message.as_bytes(),
        at: 0,
        copied: 0,
        no_close_from: usize::MAX,
        out,
    };
    masker.run();
}

/// Eight bytes at a time: exclusive or, multiply by an odd constant, fold the high half down; the
/// length goes in first, the last step mixes once more.
fn hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| {
        let product = (state ^ word).wrapping_mul(FACTOR);
        product ^ (product >> 32)
    };
    let mut state = mix(0x6d75_7474, text.len() as u64);
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        state = mix(
            state,
            u64::from_le_bytes(chunk.try_into().unwrap_or_default()),
        );
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(mix(state, u64::from_le_bytes(last)), FACTOR)
}

struct Masker<'m, 'o> {
    message: &'m str,
    text: &'m [u8],
    at: usize,
    /// Up to where the message is in `out`, as it is or masked.
    copied: usize,
    /// From here on no single quote closes anything; keeps the search for one linear.
    no_close_from: usize,
    out: &'o mut String,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

impl Masker<'_, '_> {
    fn run(&mut self) {
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => self.double_quoted(),
                b'\'' => self.single_quoted(),
                b':' => match self.ipv6(self.at) {
                    Some(end) => self.mask(self.at, end, "<ip>"),
                    None => self.at += 1,
                },
                _ if is_word(byte) => self.word(),
                _ => self.at += 1,
            }
        }
        self.copy_to(self.text.len());
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(b' ')
    }

    fn copy_to(&mut self, end: usize) {
        // Masks begin and end at ASCII characters, so this always is a slice of whole characters.
        self.out
            .push_str(self.message.get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }

    fn mask(&mut self, start: usize, end: usize, mask: &str) {
        self.copy_to(start);
        self.out.push_str(mask);
        self.copied = end;
        self.at = end;
    }

    fn double_quoted(&mut self) {
        match memchr::memchr(b'"', &self.text[self.at + 1..]) {
            Some(length) => self.mask(self.at, self.at + length + 2, "<q>"),
            None => self.at += 1,
        }
    }

    /// An apostrophe inside or behind a word opens nothing, and one before a word closes nothing.
    /// A mask counts as a word, or masking twice would find more than masking once.
    fn single_quoted(&mut self) {
        let before = if self.at == 0 {
            b' '
        } else {
            self.text[self.at - 1]
        };
        let start = self.at;
        self.at += 1;
        if is_word(before) || before == b'>' || start >= self.no_close_from {
            return;
        }
        let mut from = start + 1;
        while let Some(found) = memchr::memchr(b'\'', &self.text[from..]) {
            let close = from + found;
            let after = self.byte(close + 1);
            if !is_word(after) && after != b'<' {
                return self.mask(start, close + 1, "<q>");
            }
            from = close + 1;
        }
        self.no_close_from = start;
    }

    /// Something that begins with a letter or a digit, at the beginning of a word.
    fn word(&mut self) {
        let start = self.at;
        let end = self.run_end(start);
        let shape = Shape::of(&self.text[start..end]);
        let special = match self.byte(end) {
            b':' if shape.hex => self.colons(start, end, &shape),
            b'-' if shape.hex => self.dashes(start, end, &shape),
            b'.' if shape.hex => self.dots(start, end, &shape),
            b' ' if shape.digits == 0 => self.month_and_day(start, end),
            _ => None,
        };
        if let Some((end, mask)) = special {
            return self.mask(start, end, mask);
        }
        if shape.digits == 0 {
            self.at = end;
        } else if shape.digits == end - start {
            self.mask(start, end, "<n>");
        } else if shape.is_hex_number(&self.text[start..end]) {
            self.mask(start, end, "<hex>");
        } else {
            self.digits_within(start, end);
        }
    }

    /// `Ethernet1` keeps its name and loses its number.
    fn digits_within(&mut self, mut at: usize, end: usize) {
        while at < end {
            let digits = self.digits_end(at).min(end);
            if digits > at {
                self.mask(at, digits, "<n>");
                at = digits;
            } else {
                at += 1;
            }
        }
        self.at = end;
    }

    fn run_end(&self, start: usize) -> usize {
        let length = self.text[start..].iter().position(|&byte| !is_word(byte));
        length.map_or(self.text.len(), |length| start + length)
    }

    fn digits_end(&self, start: usize) -> usize {
        let length = self.text[start..]
            .iter()
            .position(|byte| !byte.is_ascii_digit());
        length.map_or(self.text.len(), |length| start + length)
    }

    /// `00:1b:…` or `13:00:00` or `fe80::1`
    fn colons(&self, start: usize, end: usize, shape: &Shape) -> Option<(usize, &'static str)> {
        if let Some(end) = self.groups(start, b':', &[2, 2, 2, 2, 2, 2]) {
            return Some((end, "<mac>"));
        }
        if shape.digits == end - start
            && let Some(end) = self.clock(start)
        {
            return Some((end, "<time>"));
        }
        self.ipv6(start).map(|end| (end, "<ip>"))
    }

    /// `2026-11-21T13:00:00Z` or `00-1b-…` or a UUID
    fn dashes(&self, start: usize, end: usize, shape: &Shape) -> Option<(usize, &'static str)> {
        if shape.digits == 4
            && end - start == 4
            && let Some(end) = self.date(start)
        {
            return Some((end, "<time>"));
        }
        match end - start {
            2 => self
                .groups(start, b'-', &[2, 2, 2, 2, 2, 2])
                .map(|end| (end, "<mac>")),
            8 => self
                .groups(start, b'-', &[8, 4, 4, 4, 12])
                .map(|end| (end, "<uuid>")),
            _ => None,
        }
    }

    /// `10.0.0.1` or `001b.54aa.bb01` or `3.5` or an OID
    fn dots(&self, start: usize, end: usize, shape: &Shape) -> Option<(usize, &'static str)> {
        if end - start == 4
            && let Some(end) = self.groups(start, b'.', &[4, 4, 4])
        {
            return Some((end, "<mac>"));
        }
        if shape.digits != end - start {
            return None;
        }
        let (mut count, mut short, mut end) = (1, end - start <= 3, end);
        while self.byte(end) == b'.' && self.byte(end + 1).is_ascii_digit() {
            let next = self.run_end(end + 1);
            if self.digits_end(end + 1) != next {
                break;
            }
            short &= next - end <= 4;
            count += 1;
            end = next;
        }
        Some((end, if count == 4 && short { "<ip>" } else { "<n>" }))
    }

    /// Groups of hexadecimal digits of exactly these lengths, with at least one decimal digit and
    /// nothing of the kind behind them; where they end.
    fn groups(&self, start: usize, separator: u8, lengths: &[usize]) -> Option<usize> {
        let (mut at, mut digit) = (start, false);
        for (index, length) in lengths.iter().enumerate() {
            if index > 0 {
                if self.byte(at) != separator {
                    return None;
                }
                at += 1;
            }
            let group = self.text.get(at..at + length)?;
            if !group.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            digit |= group.iter().any(u8::is_ascii_digit);
            at += length;
        }
        let more = self.byte(at) == separator && self.byte(at + 1).is_ascii_hexdigit();
        (digit && !is_word(self.byte(at)) && !more).then_some(at)
    }

    /// `H:MM:SS` with an optional fraction; where it ends.
    fn clock(&self, start: usize) -> Option<usize> {
        let hours = self.digits_end(start);
        if hours - start > 2 {
            return None;
        }
        let pair = |at: usize| {
            self.byte(at) == b':'
                && self.byte(at + 1).is_ascii_digit()
                && self.byte(at + 2).is_ascii_digit()
        };
        if !pair(hours) || !pair(hours + 3) {
            return None;
        }
        let mut end = hours + 6;
        if matches!(self.byte(end), b'.' | b',') && self.byte(end + 1).is_ascii_digit() {
            end = self.digits_end(end + 1);
        }
        Some(end)
    }

    /// `YYYY-MM-DD`, with a time of day and an offset where they follow; where it ends.
    fn date(&self, start: usize) -> Option<usize> {
        let pair = |at: usize| {
            self.byte(at) == b'-'
                && self.byte(at + 1).is_ascii_digit()
                && self.byte(at + 2).is_ascii_digit()
        };
        if !pair(start + 4) || !pair(start + 7) {
            return None;
        }
        let day = start + 10;
        if self.byte(day).is_ascii_digit() {
            return None;
        }
        if !matches!(self.byte(day), b'T' | b't' | b' ') || !self.byte(day + 1).is_ascii_digit() {
            return Some(day);
        }
        let Some(mut end) = self.clock(day + 1) else {
            return Some(day);
        };
        match self.byte(end) {
            b'Z' | b'z' => end += 1,
            b'+' | b'-' => {
                let hours = self.digits_end(end + 1);
                if hours > end + 1 {
                    end = hours;
                    if self.byte(end) == b':' {
                        end = self.digits_end(end + 1).max(end);
                    }
                }
            }
            _ => {}
        }
        Some(end)
    }

    /// `Nov 21`, `Nov  1`: the month's name varies with the time of year, so it goes too.
    fn month_and_day(&self, start: usize, end: usize) -> Option<(usize, &'static str)> {
        const MONTHS: [&[u8]; 12] = [
            b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
            b"Dec",
        ];
        if end - start != 3 || !MONTHS.contains(&&self.text[start..end]) {
            return None;
        }
        let mut day = end + 1;
        if self.byte(day) == b' ' {
            day += 1;
        }
        let after = self.digits_end(day.min(self.text.len()));
        (matches!(after.checked_sub(day), Some(1 | 2)) && !is_word(self.byte(after)))
            .then_some((after, "<time>"))
    }

    /// An IPv6 address, which has `::` or eight groups, and a digit; where it ends.
    fn ipv6(&self, start: usize) -> Option<usize> {
        if start > 0 && (is_word(self.text[start - 1]) || self.text[start - 1] == b':') {
            return None;
        }
        let (mut at, mut colons, mut gap, mut digit, mut group) = (start, 0, false, false, 0);
        // 39 characters are the longest; a little more shows that something is too long.
        while at < self.text.len().min(start + 48) {
            let byte = self.text[at];
            if byte == b':' {
                let double = self.byte(at + 1) == b':';
                if !double
                    && at > start
                    && self.text[at - 1] != b':'
                    && !self.byte(at + 1).is_ascii_hexdigit()
                {
                    break; // `fe80::1: text`
                }
                colons += 1;
                gap |= double;
                group = 0;
            } else if byte.is_ascii_hexdigit() && group < 4 {
                digit |= byte.is_ascii_digit();
                group += 1;
            } else {
                break;
            }
            at += 1;
        }
        let fits = if gap {
            (2..=8).contains(&colons)
        } else {
            colons == 7
        };
        if !fits || !digit || is_word(self.byte(at)) {
            return None;
        }
        // `::ffff:10.0.0.1`
        if self.byte(at) == b'.' && self.byte(at + 1).is_ascii_digit() {
            let mut end = at;
            for _ in 0..3 {
                if self.byte(end) != b'.'
                    || self.digits_end((end + 1).min(self.text.len())) == end + 1
                {
                    break;
                }
                end = self.digits_end(end + 1);
            }
            if !is_word(self.byte(end)) {
                return Some(end);
            }
        }
        Some(at)
    }
}

/// What a run of letters and digits is made of.
struct Shape {
    digits: usize,
    /// Hexadecimal digits and nothing else.
    hex: bool,
    /// A digit stands before a letter.
    digit_first: bool,
}

impl Shape {
    fn of(run: &[u8]) -> Self {
        let mut shape = Self {
            digits: 0,
            hex: true,
            digit_first: false,
        };
        for byte in run {
            if byte.is_ascii_digit() {
                shape.digits += 1;
            } else {
                shape.hex &= byte.is_ascii_hexdigit();
                shape.digit_first |= shape.digits > 0;
            }
        }
        shape
    }

    /// `3f2a`, `0x1f`, and long runs; but `ae0` is a name with a number.
    fn is_hex_number(&self, run: &[u8]) -> bool {
        if self.hex {
            return self.digit_first || run.len() >= 8;
        }
        match run {
            [digit, b'x' | b'X', rest @ ..] => {
                digit.is_ascii_digit() && !rest.is_empty() && rest.iter().all(u8::is_ascii_hexdigit)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(message: &str) -> String {
        signature(message).text
    }

    #[test]
    fn what_varies_is_masked() {
        for (message, expected) in [
            (
                "Interface GigabitEthernet1/0/24, changed state to down",
                "Interface GigabitEthernet<n>/<n>/<n>, changed state to down",
            ),
            (
                "BGP peer 10.0.0.1 (External AS 2222) down",
                "BGP peer <ip> (External AS <n>) down",
            ),
            (
                "10.0.0.1:443 10.0.0.0/24 10.0.0.1.",
                "<ip>:<n> <ip>/<n> <ip>.",
            ),
            (
                "neighbor fe80::1 and 2001:db8::ff00:42:8329 and ::1 and ::ffff:10.0.0.1",
                "neighbor <ip> and <ip> and <ip> and <ip>",
            ),
            ("from 2001:db8:0:1:2:3:4:5: denied", "from <ip>: denied"),
            (
                "mac 00:1b:54:aa:bb:01, 00-1B-54-AA-BB-01, 001b.54aa.bb01",
                "mac <mac>, <mac>, <mac>",
            ),
            (
                "at 2026-11-21T13:00:00.123Z and 2026-11-21 13:00:00+02:00 and 13:00:00.5",
                "at <time> and <time> and <time>",
            ),
            ("Nov 21 13:00:00 up", "<time> <time> up"),
            ("Nov  1 up", "<time> up"),
            (
                "user 'admin' from \"the office\" can't log in",
                "user <q> from <q> can't log in",
            ),
            (
                "session 0x1F3a hash d41d8cd98f00b204e9800998ecf8427e",
                "session <hex> hash <hex>",
            ),
            ("id 0193ab12-34cd-7abc-9def-0123456789ab", "id <uuid>"),
            (
                "ae0 took 12ms, 3.5 % load, oid 1.3.6.1.4.1.9",
                "ae<n> took <n>ms, <n> % load, oid <n>",
            ),
            ("bad cafe added", "bad cafe added"),
            ("std::string a::b", "std::string a::b"),
            ("naïve café 5€", "naïve café <n>€"),
            ("unclosed \"quote 5", "unclosed \"quote <n>"),
            ("", ""),
        ] {
            assert_eq!(masked(message), expected, "{message}");
        }
    }

    #[test]
    fn the_hash_never_changes() {
        // These values are in keys of running systems.
        assert_eq!(signature("").hex(), "a4c789b1a7168338");
        assert_eq!(
            signature("Interface Gi1/0/1, changed state to down").hex(),
            "19138a29ff063b15"
        );
    }

    #[test]
    fn many_openings_without_an_end_are_linear() {
        let message = " 'a".repeat(200_000);
        assert_eq!(masked(&message), message);
    }

    fn messages() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,60}",
            "[0-9a-fA-Fx:.\\-'\" <>TZ/+,]{0,60}",
            "((Nov|Jan) ? ?|[0-9]{1,4}|[a-f]{1,3}|[g-z]{1,2}|::|:|\\.|-|'|\"| |<n>|é){0,30}",
        ]
    }

    proptest! {
        #[test]
        fn masking_twice_changes_nothing(message in messages()) {
            let once = masked(&message);
            prop_assert!(!once.bytes().any(|byte| byte.is_ascii_digit()));
            prop_assert_eq!(masked(&once), once);
        }

        #[test]
        fn digits_do_not_matter(message in messages(), seed: u64) {
            let mut state = seed;
            let other: String = message
                .chars()
                .map(|c| {
                    if !c.is_ascii_digit() {
                        return c;
                    }
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    char::from(b'0' + u8::try_from((state >> 33) % 10).unwrap())
                })
                .collect();
            prop_assert_eq!(signature(&message), signature(&other));
        }
    }
}

//! Where one message ends and the next begins in a stream (RFC 6587).
//!
//! Octet counting and lines are told apart per message, because relays mix them. Nothing is copied:
//! the caller owns the buffer. What comes out depends on the bytes alone and never on how they were
//! split into reads; a bad frame costs itself and never the connection.

use std::ops::Range;

use memchr::{memchr2, memchr3};

use super::notes::{Note, Notes};

/// A count above this (or above the longest line, if that is more) is no count. rsyslog's limit.
const MAX_COUNT: usize = 200_000;

/// Splits one connection's bytes into messages.
#[derive(Clone, Debug)]
pub struct Framer {
    max_line: usize,
    state: State,
    /// How the first message was framed; another way later is noted.
    began: Option<Kind>,
    /// How much of the caller's buffer is known to hold no end of line.
    scanned: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counted,
    Lines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// The rest of a line that was too long, up to its end.
    SkipLine,
    /// The rest of a counted message that was too long.
    SkipCounted(usize),
}

/// What [`Framer::next`] found at the start of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message: handle `buffer[range]`, then drop `consumed` bytes from the front.
    Line {
        /// Where the message is.
        range: Range<usize>,
        /// How many bytes of the buffer are done with.
        consumed: usize,
        /// What was odd about the frame.
        notes: Notes,
    },
    /// Drop this many bytes (at least one) from the front; they belong to no message.
    Skip(usize),
    /// Append more bytes to the buffer and ask again.
    NeedMore,
}

/// What a frame begins with.
enum Head {
    /// A count: where the message begins and how long it is.
    Counted {
        start: usize,
        length: usize,
    },
    /// A line; `odd` where it looks like a count that makes no sense.
    Line {
        odd: bool,
    },
    Unknown,
}

impl Framer {
    /// A framer for one connection. Of a message longer than `max_line` bytes only that much is
    /// delivered.
    pub fn new(max_line: usize) -> Self {
        Self {
            max_line: max_line.max(1),
            state: State::Start,
            began: None,
            scanned: 0,
        }
    }

    /// The room a caller's buffer needs so that [`Step::NeedMore`] can always be met.
    pub fn buffer_size(&self) -> usize {
        self.max_line + 16
    }

    /// Looks at the buffer, which begins where the last call left off and may have grown at its end.
    pub fn next(&mut self, buffer: &[u8]) -> Step {
        if buffer.is_empty() {
            return Step::NeedMore;
        }
        let step = match self.state {
            State::SkipCounted(left) => {
                let count = left.min(buffer.len());
                self.state = if left == count {
                    State::Start
                } else {
                    State::SkipCounted(left - count)
                };
                Step::Skip(count)
            }
            State::SkipLine => self.skip_line(buffer),
            State::Start => self.start(buffer),
        };
        if step != Step::NeedMore {
            self.scanned = 0;
        }
        step
    }

    /// The message that a closed connection left unfinished, if there is one: call it with what
    /// remains after [`Step::NeedMore`].
    pub fn finish(&mut self, buffer: &[u8]) -> Option<(Range<usize>, Notes)> {
        let state = std::mem::replace(&mut self.state, State::Start);
        self.scanned = 0;
        if state != State::Start || buffer.is_empty() {
            return None;
        }
        let (start, notes) = match head(buffer, self.counts_alone(), self.max_count()) {
            Head::Counted { start, .. } => (
                start,
                Notes::from(Note::Truncated).union(self.noted(Kind::Counted)),
            ),
            Head::Line { .. } | Head::Unknown => (0, self.noted(Kind::Lines)),
        };
        let end = trimmed(buffer, start, buffer.len()).min(start + self.max_line);
        (start < end).then_some((start..end, notes))
    }

    fn max_count(&self) -> usize {
        self.max_line.max(MAX_COUNT)
    }

    /// On a connection that began with counts, a count needs no `<` behind it to be believed.
    fn counts_alone(&self) -> bool {
        self.began == Some(Kind::Counted)
    }

    fn noted(&mut self, kind: Kind) -> Notes {
        if *self.began.get_or_insert(kind) == kind {
            Notes::NONE
        } else {
            Note::UnexpectedFraming.into()
        }
    }

    fn start(&mut self, buffer: &[u8]) -> Step {
        // Line ends between counted messages, and the blank that a Cisco ASA puts behind its own.
        let blank = |byte: &&u8| matches!(byte, b'\n' | b'\r' | 0 | b' ');
        let blanks = buffer.iter().take_while(blank).count();
        if blanks > 0 {
            return Step::Skip(blanks);
        }
        match head(buffer, self.counts_alone(), self.max_count()) {
            Head::Unknown => Step::NeedMore,
            Head::Counted { start, length } => self.counted(buffer, start, length),
            Head::Line { odd } => self.line(buffer, odd),
        }
    }

    fn counted(&mut self, buffer: &[u8], start: usize, length: usize) -> Step {
        let end = start + length.min(self.max_line);
        if buffer.len() < end {
            return Step::NeedMore;
        }
        let mut notes = self.noted(Kind::Counted);
        if length > self.max_line {
            notes.add(Note::Truncated);
            self.state = State::SkipCounted(length - self.max_line);
        }
        Step::Line {
            range: start..end,
            consumed: end,
            notes,
        }
    }

    fn line(&mut self, buffer: &[u8], odd: bool) -> Step {
        // Two more bytes than a line may have: for its end, and for a CR before that.
        let window = &buffer[..buffer.len().min(self.max_line + 2)];
        let (end, consumed) = match self.line_end(window) {
            LineEnd::At(end) => (end, end + 1),
            LineEnd::NextCount(end) => (end, end),
            LineEnd::Unseen { scanned } => {
                if window.len() < self.max_line + 2 {
                    self.scanned = scanned;
                    return Step::NeedMore;
                }
                let mut notes = self.noted(Kind::Lines);
                notes.add(Note::Truncated);
                if odd {
                    notes.add(Note::UnexpectedFraming);
                }
                self.state = State::SkipLine;
                return Step::Line {
                    range: 0..self.max_line,
                    consumed: self.max_line,
                    notes,
                };
            }
        };
        let mut notes = self.noted(Kind::Lines);
        if odd {
            notes.add(Note::UnexpectedFraming);
        }
        let mut end = trimmed(window, 0, end);
        if end > self.max_line {
            notes.add(Note::Truncated);
            end = self.max_line;
        }
        Step::Line {
            range: 0..end,
            consumed,
            notes,
        }
    }

    fn skip_line(&mut self, buffer: &[u8]) -> Step {
        match self.line_end(buffer) {
            LineEnd::At(end) => {
                self.state = State::Start;
                Step::Skip(end + 1)
            }
            LineEnd::NextCount(0) => {
                self.state = State::Start;
                self.start(buffer)
            }
            LineEnd::NextCount(end) => {
                self.state = State::Start;
                Step::Skip(end)
            }
            LineEnd::Unseen { scanned } => {
                // What may be the beginning of a count has to stay.
                let keep = buffer[..scanned].iter().rev().take(8);
                let keep = keep
                    .take_while(|byte| byte.is_ascii_digit() || **byte == b' ')
                    .count();
                let done = scanned - keep;
                if done == 0 {
                    Step::NeedMore
                } else {
                    Step::Skip(done)
                }
            }
        }
    }

    /// Looks for the end of a line: LF or NUL; on a connection that began with counts also the next
    /// thing that looks like a count with a message, because such a stream may have no line ends at
    /// all, and one wrong count must not cost all messages behind it.
    fn line_end(&self, text: &[u8]) -> LineEnd {
        let resynchronise = self.counts_alone();
        let mut at = self.scanned.min(text.len());
        loop {
            let found = if resynchronise {
                memchr3(b'\n', 0, b'<', &text[at..])
            } else {
                memchr2(b'\n', 0, &text[at..])
            };
            let Some(found) = found else {
                return LineEnd::Unseen {
                    scanned: text.len(),
                };
            };
            at += found;
            if text[at] != b'<' {
                return LineEnd::At(at);
            }
            let Some(next) = text.get(at + 1) else {
                return LineEnd::Unseen { scanned: at };
            };
            if next.is_ascii_digit()
                && let Some(start) = count_before(&text[..at], self.max_count())
            {
                return LineEnd::NextCount(start);
            }
            at += 1;
        }
    }
}

enum LineEnd {
    At(usize),
    NextCount(usize),
    Unseen { scanned: usize },
}

/// Where the count begins that ends `text`, if a believable one does: digits and a blank.
fn count_before(text: &[u8], max_count: usize) -> Option<usize> {
    let text = text.strip_suffix(b" ")?;
    let digits = text
        .iter()
        .rev()
        .take(7)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let start = text.len() - digits;
    let believable =
        (1..=6).contains(&digits) && text[start] != b'0' && number(&text[start..]) <= max_count;
    believable.then_some(start)
}

fn number(digits: &[u8]) -> usize {
    digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

/// Tells what a frame begins with, from as few bytes as settle it.
fn head(buffer: &[u8], counts_alone: bool, max_count: usize) -> Head {
    let digits = buffer
        .iter()
        .take(8)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 || buffer[0] == b'0' {
        return Head::Line { odd: false };
    }
    let odd = Head::Line { odd: counts_alone };
    if digits == 8 {
        return odd;
    }
    match buffer.get(digits) {
        None => return Head::Unknown,
        Some(b' ') => {}
        Some(_) => return odd,
    }
    match buffer.get(digits + 1) {
        // A message begins with its priority, or with a byte order mark before that.
        Some(b'<' | 0xef) => {}
        Some(_) if counts_alone => {}
        Some(_) => return Head::Line { odd: false },
        None => return Head::Unknown,
    }
    let length = number(&buffer[..digits]);
    if length > max_count {
        return Head::Line { odd: true };
    }
    Head::Counted {
        start: digits + 1,
        length,
    }
}

/// The end of `text[start..end]` without the line ends that some senders put into their messages.
fn trimmed(text: &[u8], start: usize, end: usize) -> usize {
    let kept = text[start..end]
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    kept.map_or(start, |last| start + last + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `stream` in pieces of the given sizes, through a buffer no larger than promised.
    fn split(stream: &[u8], max: usize, pieces: &[usize]) -> Vec<(Vec<u8>, Notes)> {
        let mut framer = Framer::new(max);
        let (mut buffer, mut lines) = (Vec::new(), Vec::new());
        let mut rest = stream;
        let mut pieces = pieces.iter().copied().cycle();
        loop {
            match framer.next(&buffer) {
                Step::Line {
                    range,
                    consumed,
                    notes,
                } => {
                    assert!(range.len() <= max && range.end <= consumed && consumed > 0);
                    lines.push((buffer[range].to_vec(), notes));
                    buffer.drain(..consumed);
                }
                Step::Skip(count) => {
                    assert!(count > 0);
                    buffer.drain(..count);
                }
                Step::NeedMore if rest.is_empty() => break,
                Step::NeedMore => {
                    let room = framer.buffer_size() - buffer.len();
                    assert!(room > 0, "a full buffer must be enough to decide");
                    let count = pieces.next().unwrap_or(1).clamp(1, room).min(rest.len());
                    buffer.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                }
            }
        }
        if let Some((range, notes)) = framer.finish(&buffer) {
            lines.push((buffer[range].to_vec(), notes));
        }
        lines
    }

    fn texts(stream: &str) -> Vec<String> {
        split(stream.as_bytes(), 64, &[1000])
            .into_iter()
            .map(|(line, notes)| {
                let line = String::from_utf8(line).unwrap();
                notes
                    .iter()
                    .fold(line, |line, note| format!("{line} !{}", note.name()))
            })
            .collect()
    }

    #[test]
    fn both_framings_and_their_mixtures() {
        for (stream, expected) in [
            (
                "<1>one\n<2>two\r\n<3>three\0<4>four",
                &["<1>one", "<2>two", "<3>three", "<4>four"][..],
            ),
            (
                "6 <1>one6 <2>two\n8 <3>three",
                &["<1>one", "<2>two", "<3>three"],
            ),
            ("7 <1>one \n", &["<1>one "]),
            (
                "<1>one\n <2>space of an ASA\n",
                &["<1>one", "<2>space of an ASA"],
            ),
            (
                "2026-11-21 text\n12 monkeys\n0 zero\n",
                &["2026-11-21 text", "12 monkeys", "0 zero"],
            ),
            (
                "6 <1>one<2>two\n6 <3>six",
                &["<1>one", "<2>two !unexpected_framing", "<3>six"],
            ),
            (
                "<1>one\n6 <2>two<3>three\n",
                &["<1>one", "<2>two !unexpected_framing", "<3>three"],
            ),
            // A wrong count costs its own message, not those behind it.
            (
                "6 <1>one6 <2>two too long6 <3>six6 <4>4th",
                &[
                    "<1>one",
                    "<2>two",
                    "too long !unexpected_framing",
                    "<3>six",
                    "<4>4th",
                ],
            ),
            ("6 <1>one3 two6 <3>six", &["<1>one", "two", "<3>six"]),
            ("<1>begun", &["<1>begun"]),
            ("60 <1>begun", &["<1>begun !truncated"]),
            (
                "9999999 <1>x\n<2>y\n",
                &["9999999 <1>x !unexpected_framing", "<2>y"],
            ),
            ("\n\n\r\n", &[]),
            ("", &[]),
            (
                "17 <1>multi\nline text<2>x\n",
                &["<1>multi\nline tex", "t<2>x !unexpected_framing"],
            ),
        ] {
            assert_eq!(texts(stream), expected, "{stream:?}");
        }
    }

    #[test]
    fn long_ones_are_cut_and_the_rest_is_skipped() {
        let long = "x".repeat(500);
        for stream in [
            format!("<1>{long}\n<2>next\n"),
            format!("503 <1>{long}<2>next\n"),
        ] {
            let lines = split(stream.as_bytes(), 64, &[7]);
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[0].0.len(), 64);
            assert!(lines[0].1.has(Note::Truncated));
            assert_eq!(lines[1].0, b"<2>next");
        }
        let exact = "y".repeat(64);
        for end in ["\n", "\r\n", "\0"] {
            let lines = split(format!("{exact}{end}z\n").as_bytes(), 64, &[3]);
            assert_eq!(lines[0], (exact.clone().into_bytes(), Notes::NONE));
        }
    }

    #[test]
    fn a_count_is_found_again_behind_an_endless_line() {
        let stream = format!("6 <1>one{}6 <2>two6 <3>six", "x".repeat(1000));
        let expected = split(stream.as_bytes(), 64, &[1000]);
        assert_eq!(expected.last().unwrap().0, b"<3>six");
        assert_eq!(expected.len(), 4);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_does_not_matter(
            parts in prop::collection::vec(prop_oneof![
                Just(b"6 <1>one".to_vec()), Just(b"<2>two\n".to_vec()), Just(b"\n".to_vec()),
                Just(b"9 ".to_vec()), Just(b"12 <".to_vec()), Just(b"<5".to_vec()), Just(b"\r\n".to_vec()),
                Just(b"70 <1>".to_vec()), Just(vec![b'x'; 50]), Just(b" ".to_vec()), Just(vec![0]),
                Just(b"300000 <1>".to_vec()), prop::collection::vec(any::<u8>(), 0..20),
            ], 0..12),
            max in 1usize..80,
            pieces in prop::collection::vec(1usize..40, 1..6),
        ) {
            let stream = parts.concat();
            let whole = split(&stream, max, &[stream.len().max(1)]);
            prop_assert_eq!(&split(&stream, max, &pieces), &whole);
            prop_assert_eq!(&split(&stream, max, &[1]), &whole);
        }
    }
}

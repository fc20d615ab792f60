//! Where one RELP frame ends and the next begins: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`.
//!
//! Nothing is copied and nothing allocated: the caller owns the buffer. What comes out depends on the
//! bytes alone and never on how they were split into reads. A frame that is wrong ends the stream,
//! because nothing says where the next one begins. Does not know what commands mean, nor which
//! transaction is due.

use std::fmt;
use std::ops::Range;

/// The longest data of a frame, in bytes. Of longer ones than the caller keeps only the beginning is
/// held in memory, so that this may be far above what any sender uses (librelp: 128 KiB).
pub const MAX_DATA: usize = 16 << 20;

/// Digits of a number, at most.
const MAX_DIGITS: usize = 9;

/// Letters of a command, at most.
const MAX_COMMAND: usize = 32;

/// The greatest transaction number; 1 follows it.
const LAST_TRANSACTION: u32 = 999_999_999;

/// The number that binds a command to its response. 0 marks a hint, which has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction(u32);

impl Transaction {
    /// The first one of a session.
    pub const FIRST: Self = Self(1);

    /// The number of hints.
    pub const HINT: Self = Self(0);

    /// The transaction with this number, 0 to 999,999,999.
    pub fn new(number: u32) -> Option<Self> {
        (number <= LAST_TRANSACTION).then_some(Self(number))
    }

    /// The one that follows; 1 after the last.
    #[must_use]
    pub fn next(self) -> Self {
        if self.0 >= LAST_TRANSACTION {
            Self::FIRST
        } else {
            Self(self.0 + 1)
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Splits one connection's bytes into frames.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Data longer than this is cut.
    keep: usize,
    /// The frame whose data is longer, after [`Step::Cut`].
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    transaction: Transaction,
    command: Command,
    /// Bytes of data that are still to come.
    left: usize,
}

/// What a frame asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begins the session.
    Open,
    /// Carries a syslog message.
    Syslog,
    /// Ends the session.
    Close,
    /// Any other word.
    Other,
}

impl Command {
    fn of(word: &[u8]) -> Self {
        match word {
            b"syslog" => Self::Syslog,
            b"open" => Self::Open,
            b"close" => Self::Close,
            _ => Self::Other,
        }
    }
}

/// What [`Frames::next`] found at the start of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole frame: its data is `buffer[data]`, or what [`Step::Cut`] gave before. Then drop
    /// `consumed` bytes from the front.
    Frame {
        /// Its number.
        transaction: Transaction,
        /// What it asks for.
        command: Command,
        /// Where its data is.
        data: Range<usize>,
        /// Whether its data is what the last [`Step::Cut`] gave.
        cut: bool,
        /// How many bytes of the buffer are done with.
        consumed: usize,
    },
    /// The beginning of data that is too long, in `buffer[data]`: keep it until the [`Step::Frame`]
    /// that it belongs to, then drop `consumed` bytes from the front.
    Cut {
        /// Where it is.
        data: Range<usize>,
        /// How many bytes of the buffer are done with.
        consumed: usize,
    },
    /// Drop this many bytes (at least one) from the front: they belong to data that was cut.
    Skip(usize),
    /// Append more bytes to the buffer and ask again.
    NeedMore,
    /// This is no frame; nothing that follows can be understood.
    Broken {
        /// The transaction, where its number could be read.
        transaction: Option<Transaction>,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with a number of 1 to 9 digits and a space.
    Number,
    /// The command is not 1 to 32 letters and a space.
    Command,
    /// The length of the data is not a number of 1 to 9 digits, or what follows does not fit it.
    Length,
    /// The data is longer than [`MAX_DATA`].
    TooLong,
    /// The data is not followed by a line feed.
    Trailer,
}

impl Fault {
    /// A sentence for the response.
    pub fn text(self) -> &'static str {
        match self {
            Self::Number => "the frame does not begin with a transaction number",
            Self::Command => "the command is not 1 to 32 letters",
            Self::Length => "the length of the data is not a number",
            Self::TooLong => "the data is longer than 16 MiB",
            Self::Trailer => "no line feed after the data: its length is wrong",
        }
    }
}

/// A frame's beginning.
struct Head {
    transaction: Transaction,
    command: Command,
    length: usize,
    /// Its own bytes, up to and without the space before the data or the final line feed.
    end: usize,
}

/// Why there is no head.
enum NoHead {
    /// It is not all there yet.
    Unfinished,
    Broken(Option<Transaction>, Fault),
}

impl Frames {
    /// For one connection. Of data longer than `keep` bytes only that much is delivered.
    pub fn new(keep: usize) -> Self {
        Self { keep, cut: None }
    }

    /// The room a caller's buffer needs so that [`Step::NeedMore`] can always be met.
    pub fn buffer_size(&self) -> usize {
        self.keep + 2 * MAX_DIGITS + MAX_COMMAND + 4
    }

    /// Whether the bytes before belong to a frame that is not whole yet, though the buffer is empty.
    pub fn in_data(&self) -> bool {
        self.cut.is_some()
    }

    /// Looks at the buffer, which begins where the last call left off and may have grown at its end.
    pub fn next(&mut self, buffer: &[u8]) -> Step {
        if let Some(cut) = &mut self.cut {
            if cut.left > 0 && !buffer.is_empty() {
                let skipped = cut.left.min(buffer.len());
                cut.left -= skipped;
                return Step::Skip(skipped);
            }
            let Some(&last) = buffer.first() else {
                return Step::NeedMore;
            };
            let Cut {
                transaction,
                command,
                ..
            } = *cut;
            if last != b'\n' {
                return Step::Broken {
                    transaction: Some(transaction),
                    fault: Fault::Trailer,
                };
            }
            self.cut = None;
            return Step::Frame {
                transaction,
                command,
                data: 0..0,
                cut: true,
                consumed: 1,
            };
        }
        let head = match head(buffer) {
            Ok(head) => head,
            Err(NoHead::Unfinished) => return Step::NeedMore,
            Err(NoHead::Broken(transaction, fault)) => return Step::Broken { transaction, fault },
        };
        let Head {
            transaction,
            command,
            length,
            end,
        } = head;
        let start = if length == 0 { end } else { end + 1 };
        if length > self.keep {
            if buffer.len() < start + self.keep {
                return Step::NeedMore;
            }
            self.cut = Some(Cut {
                transaction,
                command,
                left: length - self.keep,
            });
            let data = start..start + self.keep;
            return Step::Cut {
                consumed: data.end,
                data,
            };
        }
        let data = start..start + length;
        match buffer.get(data.end) {
            None => Step::NeedMore,
            Some(b'\n') => Step::Frame {
                transaction,
                command,
                cut: false,
                consumed: data.end + 1,
                data,
            },
            Some(_) => Step::Broken {
                transaction: Some(transaction),
                fault: Fault::Trailer,
            },
        }
    }
}

/// Reads a frame's head from as few bytes as settle it.
fn head(buffer: &[u8]) -> Result<Head, NoHead> {
    let broken = |transaction, fault| Err(NoHead::Broken(transaction, fault));
    let (number, at) = match number(buffer, 0) {
        Digits::Whole { value, end } if buffer[end] == b' ' => (value, end + 1),
        Digits::Unfinished => return Err(NoHead::Unfinished),
        Digits::Whole { .. } | Digits::None => return broken(None, Fault::Number),
    };
    let transaction = Transaction(number);
    let letters = buffer[at..]
        .iter()
        .take(MAX_COMMAND + 1)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let word = &buffer[at..at + letters];
    match buffer.get(at + letters) {
        None if letters <= MAX_COMMAND => return Err(NoHead::Unfinished),
        Some(b' ') if (1..=MAX_COMMAND).contains(&letters) => {}
        _ => return broken(Some(transaction), Fault::Command),
    }
    let command = Command::of(word);
    let (length, end) = match self::number(buffer, at + letters + 1) {
        Digits::Whole { value, end } => (value as usize, end),
        Digits::Unfinished => return Err(NoHead::Unfinished),
        Digits::None => return broken(Some(transaction), Fault::Length),
    };
    // Only data has a space before it.
    if length > 0 && buffer[end] != b' ' {
        return broken(Some(transaction), Fault::Length);
    }
    if length > MAX_DATA {
        return broken(Some(transaction), Fault::TooLong);
    }
    Ok(Head {
        transaction,
        command,
        length,
        end,
    })
}

enum Digits {
    /// Something else follows at `end`.
    Whole { value: u32, end: usize },
    /// More may follow.
    Unfinished,
    /// None, or too many.
    None,
}

fn number(buffer: &[u8], start: usize) -> Digits {
    let mut value = 0;
    for count in 0..=MAX_DIGITS {
        let end = start + count;
        match buffer.get(end) {
            None => return Digits::Unfinished,
            Some(byte) if byte.is_ascii_digit() => {
                if count == MAX_DIGITS {
                    return Digits::None;
                }
                value = value * 10 + u32::from(byte - b'0');
            }
            Some(_) if count == 0 => return Digits::None,
            Some(_) => return Digits::Whole { value, end },
        }
    }
    Digits::None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Seen {
        Frame(u32, Command, Vec<u8>, bool),
        Broken(Option<u32>, Fault),
        /// What the stream ended in the middle of.
        Rest(usize, bool),
    }

    /// Feeds `stream` in pieces of the given sizes, through a buffer no larger than promised.
    fn split(stream: &[u8], keep: usize, pieces: &[usize]) -> Vec<Seen> {
        let mut frames = Frames::new(keep);
        let (mut buffer, mut kept, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rest, mut skipped) = (stream, 0);
        let mut pieces = pieces.iter().copied().cycle();
        loop {
            match frames.next(&buffer) {
                Step::Frame {
                    transaction,
                    command,
                    data,
                    cut,
                    consumed,
                } => {
                    assert!(data.end < consumed);
                    let data = if cut {
                        std::mem::take(&mut kept)
                    } else {
                        buffer[data].to_vec()
                    };
                    seen.push(Seen::Frame(transaction.0, command, data, cut));
                    buffer.drain(..consumed);
                    skipped = 0;
                }
                Step::Cut { data, consumed } => {
                    assert!(data.len() == keep && data.end == consumed);
                    kept = buffer[data].to_vec();
                    buffer.drain(..consumed);
                }
                Step::Skip(count) => {
                    assert!(count > 0);
                    skipped += count;
                    buffer.drain(..count);
                }
                Step::NeedMore if rest.is_empty() => break,
                Step::NeedMore => {
                    let room = frames.buffer_size() - buffer.len();
                    assert!(room > 0, "a full buffer must be enough to decide");
                    let count = pieces.next().unwrap_or(1).clamp(1, room).min(rest.len());
                    buffer.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                }
                Step::Broken { transaction, fault } => {
                    seen.push(Seen::Broken(transaction.map(|number| number.0), fault));
                    return seen;
                }
            }
        }
        seen.push(Seen::Rest(buffer.len() + skipped, frames.in_data()));
        seen
    }

    fn frames(stream: &str) -> Vec<Seen> {
        split(stream.as_bytes(), 10, &[1_000])
    }

    fn frame(number: u32, command: Command, data: &str) -> Seen {
        Seen::Frame(number, command, data.into(), false)
    }

    #[test]
    fn frames_with_and_without_data() {
        let stream = "1 open 3 a\nb\n2 syslog 5 <13>x\n0 serverclose 0\n999999999 close 0\n1 sy";
        let expected = [
            frame(1, Command::Open, "a\nb"),
            frame(2, Command::Syslog, "<13>x"),
            frame(0, Command::Other, ""),
            frame(999_999_999, Command::Close, ""),
            Seen::Rest(4, false),
        ];
        assert_eq!(frames(stream), expected);
    }

    #[test]
    fn long_data_is_cut_and_its_end_is_still_looked_at() {
        let long = format!("3 syslog 500 {}\n4 close 0\n", "x".repeat(500));
        let cut = Seen::Frame(3, Command::Syslog, b"xxxxxxxxxx".to_vec(), true);
        let close = frame(4, Command::Close, "");
        assert_eq!(frames(&long), [cut, close, Seen::Rest(0, false)]);
        let wrong = format!("3 syslog 500 {}4 close 0\n", "x".repeat(500));
        assert_eq!(frames(&wrong), [Seen::Broken(Some(3), Fault::Trailer)]);
        let unfinished = format!("3 syslog 500 {}", "x".repeat(100));
        assert_eq!(frames(&unfinished), [Seen::Rest(90, true)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_transaction() {
        for (stream, number, fault) in [
            ("\n", None, Fault::Number),
            (" 1 open 0\n", None, Fault::Number),
            ("<13>a line\n", None, Fault::Number),
            ("1234567890 open 0\n", None, Fault::Number),
            ("-1 open 0\n", None, Fault::Number),
            ("1  open 0\n", Some(1), Fault::Command),
            ("1 4 open\n", Some(1), Fault::Command),
            (
                "1 abcdefghijabcdefghijabcdefghijabc 0\n",
                Some(1),
                Fault::Command,
            ),
            ("1 open\n", Some(1), Fault::Command),
            ("7 open x\n", Some(7), Fault::Length),
            ("7 open -1\n", Some(7), Fault::Length),
            ("7 open 5\nabcde\n", Some(7), Fault::Length),
            ("7 open 1234567890 a\n", Some(7), Fault::Length),
            ("7 syslog 16777217 a", Some(7), Fault::TooLong),
            ("7 syslog 999999999 a", Some(7), Fault::TooLong),
            ("7 syslog 3 abcd\n", Some(7), Fault::Trailer),
            ("7 close 0 \n", Some(7), Fault::Trailer),
        ] {
            assert_eq!(frames(stream), [Seen::Broken(number, fault)], "{stream:?}");
        }
        // As soon as it is certain, not at the end of a frame that never comes.
        assert_eq!(frames("12x"), [Seen::Broken(None, Fault::Number)]);
        assert_eq!(frames("12 a1"), [Seen::Broken(Some(12), Fault::Command)]);
    }

    #[test]
    fn numbers_go_round_without_zero() {
        let last = Transaction::new(999_999_999).unwrap();
        assert_eq!(last.next(), Transaction::FIRST);
        assert_eq!(Transaction::FIRST.next(), Transaction(2));
        assert_eq!(Transaction::new(1_000_000_000), None);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_does_not_matter(
            parts in prop::collection::vec(prop_oneof![
                Just(b"1 open 0\n".to_vec()), Just(b"2 syslog 3 abc\n".to_vec()), Just(b"3 close 0\n".to_vec()),
                Just(b"4 syslog 40 0123456789012345678901234567890123456789\n".to_vec()),
                Just(b"999999999 x 1 \n\n".to_vec()), Just(b"0 serverclose 0\n".to_vec()),
                Just(b"5 syslog 7 abc\n".to_vec()), Just(b"6 syslog 16777216 ".to_vec()),
                (1u32..1_000_000_000, prop::collection::vec(any::<u8>(), 1..90)).prop_map(|(number, data)| {
                    [format!("{number} syslog {} ", data.len()).as_bytes(), &data, b"\n"].concat()
                }),
                prop::collection::vec(any::<u8>(), 0..20),
            ], 0..12),
            keep in 1usize..80,
            pieces in prop::collection::vec(1usize..40, 1..6),
        ) {
            let stream = parts.concat();
            let whole = split(&stream, keep, &[stream.len().max(1)]);
            prop_assert_eq!(&split(&stream, keep, &pieces), &whole);
            prop_assert_eq!(&split(&stream, keep, &[1]), &whole);
        }

        #[test]
        fn what_is_written_is_read(
            frames in prop::collection::vec((1u32..1_000_000_000, prop::collection::vec(any::<u8>(), 0..60)), 0..10),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (number, data) in frames {
                stream.extend(format!("{number} syslog {}", data.len()).bytes());
                if !data.is_empty() {
                    stream.push(b' ');
                    stream.extend(&data);
                }
                stream.push(b'\n');
                expected.push(Seen::Frame(number, Command::Syslog, data, false));
            }
            expected.push(Seen::Rest(0, false));
            prop_assert_eq!(split(&stream, 64, &[stream.len().max(1)]), expected);
        }
    }
}

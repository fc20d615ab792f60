//! A regular expression of a rule: parsed under limits, compiled for ASCII messages at once and
//! for others when the first one needs it.
//!
//! Promises to match what `regex` with `case_insensitive(true)` would. The ASCII variant is made
//! from the same HIR by leaving out all that is not ASCII, not by turning Unicode off: with
//! `(?i)[[:^alpha:]]` the two readings of the same text would differ on a plain `k`. Where no part
//! of the expression tells upper from lower case, it runs on the lower-cased message: `[Ll][Ii]…`
//! becomes the literal `li…`, which is searched for several times faster.

use std::fmt;
use std::sync::OnceLock;

use regex_automata::Input;
use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look, Repetition};

use super::Line;
use super::literals::{self, AnyOf};

/// How large the compiled expression may be.
const SIZE_LIMIT: usize = 1 << 20;
/// How deep groups may be nested.
const NEST_LIMIT: u32 = 50;
/// How much each thread may keep of an expression's states. The default of 2 MiB let 2,000
/// regexes take 280 MB.
const CACHE_CAPACITY: usize = 128 << 10;

/// A compiled regular expression.
pub(crate) struct Pattern {
    text: Box<str>,
    ascii: Regex,
    /// Whether `ascii` is to be searched for in the lower-cased message.
    caseless: bool,
    /// `None` inside: it cannot be compiled within the limits.
    unicode: OnceLock<Option<Regex>>,
    literals: Vec<AnyOf>,
}

/// Why a text is no regular expression that a rule may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternError {
    reason: String,
    /// In characters from 0, where the error has a place.
    pub(crate) position: Option<usize>,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => {
                write!(
                    f,
                    "{} at character {} of the regular expression",
                    self.reason,
                    position + 1
                )
            }
            None => f.write_str(&self.reason),
        }
    }
}

impl Pattern {
    /// Compiles `text`, without case.
    ///
    /// # Errors
    /// When it is no regular expression or breaks a limit.
    pub(super) fn compile(text: &str) -> Result<Self, PatternError> {
        let hir = parse(text)?;
        let ascii = ascii_only(&hir);
        let caseless = lower_only(&ascii);
        Ok(Self {
            text: text.into(),
            ascii: build(caseless.as_ref().unwrap_or(&ascii))?,
            caseless: caseless.is_some(),
            unicode: OnceLock::new(),
            literals: literals::required(&hir),
        })
    }

    /// Checks `text` as it would be compiled for any message.
    ///
    /// # Errors
    /// When it is no regular expression or breaks a limit.
    pub(crate) fn check(text: &str) -> Result<(), PatternError> {
        build(&parse(text)?).map(drop)
    }

    /// What every match contains; empty for a slow regex.
    pub(super) fn literals(&self) -> &[AnyOf] {
        &self.literals
    }

    /// Whether the expression matches somewhere in the message.
    pub(crate) fn is_match(&self, line: &Line<'_>) -> bool {
        if line.ascii {
            let text = if self.caseless {
                line.lowered
            } else {
                line.message.as_bytes()
            };
            return self.ascii.is_match(Input::new(text).earliest(true));
        }
        self.unicode
            .get_or_init(|| parse(&self.text).and_then(|hir| build(&hir)).ok())
            .as_ref()
            .is_some_and(|regex| regex.is_match(Input::new(line.message).earliest(true)))
    }

    /// The expression with its capture groups, for people.
    pub(crate) fn with_captures(&self) -> Option<Regex> {
        Regex::builder()
            .configure(Config::new().nfa_size_limit(Some(SIZE_LIMIT)))
            .syntax(
                syntax::Config::new()
                    .case_insensitive(true)
                    .nest_limit(NEST_LIMIT),
            )
            .build(&self.text)
            .ok()
    }
}

fn parse(text: &str) -> Result<Hir, PatternError> {
    let parsed = regex_syntax::ParserBuilder::new()
        .case_insensitive(true)
        .nest_limit(NEST_LIMIT)
        .build()
        .parse(text);
    parsed.map_err(|error| {
        let (reason, span) = match &error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(error.span())),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(error.span())),
            other => (other.to_string(), None),
        };
        let position = span
            .and_then(|span| text.get(..span.start.offset))
            .map(|before| before.chars().count());
        PatternError { reason, position }
    })
}

fn build(hir: &Hir) -> Result<Regex, PatternError> {
    let config = Config::new()
        .nfa_size_limit(Some(SIZE_LIMIT))
        .hybrid_cache_capacity(CACHE_CAPACITY)
        .which_captures(WhichCaptures::None)
        .onepass(false);
    Regex::builder()
        .configure(config)
        .build_from_hir(hir)
        .map_err(|error| PatternError {
            reason: match error.size_limit() {
                Some(limit) => format!(
                    "the regular expression is too large: compiled it may take {} KiB; use smaller \
                 repetition counts or fewer \\w and \\p classes",
                    limit >> 10
                ),
                None => format!("the regular expression cannot be compiled: {error}"),
            },
            position: None,
        })
}

/// The expression that matches the same ASCII messages and knows of nothing else.
fn ascii_only(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.is_ascii() => hir.clone(),
        HirKind::Literal(_) => Hir::fail(),
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class
                .ranges()
                .iter()
                .filter(|range| range.start().is_ascii())
                .map(|range| {
                    // A range that begins in ASCII may end far outside.
                    let end = if range.end().is_ascii() {
                        range.end() as u8
                    } else {
                        0x7f
                    };
                    ClassBytesRange::new(range.start() as u8, end)
                });
            Hir::class(Class::Bytes(ClassBytes::new(ranges)))
        }
        HirKind::Class(Class::Bytes(_)) => hir.clone(),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            same => *same,
        }),
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            min: repetition.min,
            max: repetition.max,
            greedy: repetition.greedy,
            sub: Box::new(ascii_only(&repetition.sub)),
        }),
        // Which group matched is of no interest here.
        HirKind::Capture(capture) => ascii_only(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(ascii_only).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(ascii_only).collect()),
    }
}

/// The ASCII expression that matches a lower-cased message where `hir` matches the message; `None`
/// when `hir` treats the cases of a letter differently, as within `(?-i)`.
fn lower_only(hir: &Hir) -> Option<Hir> {
    let all = |parts: &[Hir]| parts.iter().map(lower_only).collect::<Option<Vec<_>>>();
    Some(match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => hir.clone(),
        HirKind::Literal(literal) => {
            if literal.0.iter().any(u8::is_ascii_alphabetic) {
                return None;
            }
            hir.clone()
        }
        HirKind::Class(Class::Bytes(class)) => {
            let has = |byte: u8| {
                class
                    .ranges()
                    .iter()
                    .any(|range| (range.start()..=range.end()).contains(&byte))
            };
            if (b'a'..=b'z').any(|letter| has(letter) != has(letter.to_ascii_uppercase())) {
                return None;
            }
            let upper = ClassBytes::new([ClassBytesRange::new(b'A', b'Z')]);
            let mut lower = class.clone();
            lower.difference(&upper);
            Hir::class(Class::Bytes(lower))
        }
        // Not in an expression that is ASCII only.
        HirKind::Class(Class::Unicode(_)) => return None,
        HirKind::Repetition(repetition) => {
            let sub = Box::new(lower_only(&repetition.sub)?);
            let Repetition {
                min, max, greedy, ..
            } = *repetition;
            Hir::repetition(Repetition {
                min,
                max,
                greedy,
                sub,
            })
        }
        HirKind::Capture(capture) => lower_only(&capture.sub)?,
        HirKind::Concat(parts) => Hir::concat(all(parts)?),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)?),
    })
}

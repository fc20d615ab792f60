//! The literals that every match of a regex contains, so that most regexes need not run at all.
//!
//! Sound, not complete: a literal reported here is in every match (ASCII, in lower case, however
//! the message spells it); a literal that is not reported costs speed only. Reads the HIR that is
//! matched with, in which flags such as `(?i)` are already worked in.

use memchr::memmem;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Literals of which every match has at least one, at the same time as one of each other group.
pub(super) type AnyOf = Vec<Box<[u8]>>;

/// Shorter literals are in almost every message.
const MIN_LEN: usize = 3;
/// Longer literals tell no more.
const MAX_LEN: usize = 64;
/// Wider alternations would fill the automaton for little.
const MAX_ALTERNATIVES: usize = 32;

/// Every match of `hir` contains, for each group, one of its literals. The groups of one literal
/// are in the order in which a match has them, without overlap.
pub(super) fn required(hir: &Hir) -> Vec<AnyOf> {
    let mut walk = Walk::default();
    walk.visit(hir);
    walk.flush();
    let groups = walk.groups;
    // A literal inside another is seen whenever the other is.
    let implied = |at: usize| {
        groups
            .iter()
            .enumerate()
            .any(|(other_at, other)| match (&other[..], &groups[at][..]) {
                ([other], [one]) if other.len() != one.len() => memmem::find(other, one).is_some(),
                (other, one) => other_at < at && other == one,
            })
    };
    let keep: Vec<bool> = (0..groups.len()).map(|at| !implied(at)).collect();
    groups
        .into_iter()
        .zip(keep)
        .filter_map(|(group, keep)| keep.then_some(group))
        .collect()
}

#[derive(Default)]
struct Walk {
    /// The literal being read; what follows is next to it in every match.
    run: Vec<u8>,
    groups: Vec<AnyOf>,
}

impl Walk {
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => {
                for &byte in &literal.0 {
                    if byte.is_ascii() {
                        self.run.push(byte.to_ascii_lowercase());
                    } else {
                        self.flush();
                    }
                }
            }
            HirKind::Class(class) => match one_letter(class) {
                Some(letter) => self.run.push(letter),
                None => self.flush(),
            },
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Repetition(repetition) => {
                if repetition.min == 0 {
                    self.flush();
                } else if let Some(letter) = single(&repetition.sub) {
                    let copies = usize::try_from(repetition.min)
                        .unwrap_or(MAX_LEN)
                        .min(MAX_LEN);
                    self.run.extend(std::iter::repeat_n(letter, copies));
                    if repetition.max != Some(repetition.min) || copies == MAX_LEN {
                        self.flush();
                    }
                } else {
                    self.flush();
                    self.visit(&repetition.sub);
                    self.flush();
                }
            }
            HirKind::Alternation(branches) => {
                self.flush();
                self.groups.extend(any_of(branches));
            }
        }
    }

    /// Ends the run: something that is not known follows.
    fn flush(&mut self) {
        if self.run.len() >= MIN_LEN {
            self.run.truncate(MAX_LEN);
            self.groups.push(vec![self.run.as_slice().into()]);
        }
        self.run.clear();
    }
}

/// One literal group of each branch, joined; nothing if a branch has none.
fn any_of(branches: &[Hir]) -> Option<AnyOf> {
    let mut joined = AnyOf::new();
    for branch in branches {
        joined.extend(required(branch).into_iter().max_by_key(shortest)?);
    }
    joined.sort_unstable();
    joined.dedup();
    (joined.len() <= MAX_ALTERNATIVES).then_some(joined)
}

fn shortest(group: &AnyOf) -> usize {
    group.iter().map(|literal| literal.len()).min().unwrap_or(0)
}

/// The letter, where the expression is nothing but one letter in any case.
fn single(hir: &Hir) -> Option<u8> {
    match hir.kind() {
        HirKind::Literal(literal) => match literal.0[..] {
            [byte] if byte.is_ascii() => Some(byte.to_ascii_lowercase()),
            _ => None,
        },
        HirKind::Class(class) => one_letter(class),
        HirKind::Capture(capture) => single(&capture.sub),
        _ => None,
    }
}

/// The letter, where the class has only its two cases and what folds to them.
fn one_letter(class: &Class) -> Option<u8> {
    let mut letter = None;
    let mut add = |c: char| {
        let folded = match c {
            'ſ' => b's',
            '\u{212a}' => b'k',
            c if c.is_ascii() => c.to_ascii_lowercase() as u8,
            _ => return false,
        };
        *letter.get_or_insert(folded) == folded
    };
    let all = match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .all(|range| range.len() <= 2 && (range.start()..=range.end()).all(&mut add)),
        Class::Bytes(class) => class.ranges().iter().all(|range| {
            range.len() <= 2 && (range.start()..=range.end()).all(|b| b.is_ascii() && add(b.into()))
        }),
    };
    letter.filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Vec<String> {
        let hir = regex_syntax::ParserBuilder::new()
            .case_insensitive(true)
            .build()
            .parse(pattern)
            .unwrap();
        let mut groups: Vec<String> = required(&hir)
            .iter()
            .map(|group| {
                let literals: Vec<_> = group.iter().map(|l| String::from_utf8_lossy(l)).collect();
                literals.join("|")
            })
            .collect();
        groups.sort();
        groups
    }

    #[test]
    fn takes_every_literal_that_must_be_there() {
        for (pattern, expected) in [
            ("Link.*DOWN", &["down", "link"][..]),
            (r"%(LINK)-3-(\w+): Kelvin", &["%link-3-", ": kelvin"]),
            ("(ospf|bgp) neighbor", &[" neighbor", "bgp|ospf"]),
            ("(foo)+x", &["foo"]),
            ("ab{3}c", &["abbbc"]),
            ("ab{3,}cde", &["abbb", "cde"]),
            (r"\bfan\b tray", &["fan tray"]),
            ("(?-i:ABC)", &["abc"]),
            ("error (error)", &["error error"]),
            ("error x.* error", &[" error", "error x"]),
            ("(?:a|b)ccc", &["ccc"]),
            ("x(abc)+y", &["abc"]),
            ("éabcſ", &["abcs"]),
        ] {
            assert_eq!(of(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn promises_nothing_that_need_not_be_there() {
        for pattern in [
            "a*",
            "(foo)?",
            "up|down",
            "fo",
            r"\d+",
            "(foo){0,3}",
            "[a-c]oo",
            "éab",
        ] {
            assert!(of(pattern).is_empty(), "{pattern}");
        }
    }
}

//! All texts of all rules in one automaton: one pass over a message finds every substring and
//! every literal of a regex, and only the regexes whose literals were all seen are run.
//!
//! Does not decide what a rule means; asks [`Compiled`] for its other criteria.

use std::cmp::Reverse;
use std::collections::HashMap;

use aho_corasick::automaton::{Automaton as Walk, StateID};
use aho_corasick::{Anchored, StartKind, dfa, nfa};

use super::literals::AnyOf;
use super::{Best, Compiled, Line, Text};

/// Above this many literals the DFA falls out of the cache, and the NFA, a twentieth of its size,
/// is as fast. Measured: 100 literals, DFA 0.84 and NFA 1.55 µs a line; 1,200, both 2.4; 3,600,
/// 7.1 and 4.2; 11,000, 42 and 9.7.
const DFA_MAX_LITERALS: usize = 2_000;

/// The automaton and what each of its literals is good for.
pub(super) struct Index {
    automaton: Automaton,
    /// By literal.
    entries: Vec<Entry>,
    /// Ranks of the rules that ask for a literal as `contains`; an entry has a range of them.
    contains: Vec<u32>,
    /// Regexes that a literal calls up; an entry has a range of them. A regex is called up by the
    /// one of its literals that the fewest regexes share, the others are looked at only then.
    calls: Vec<u32>,
    /// By regex.
    regexes: Vec<Regex>,
    /// Literals that a regex needs; each regex has two ranges of them.
    needs: Vec<Need>,
    /// Regexes without a literal, by rank.
    always: Vec<u32>,
}

enum Automaton {
    Dfa(dfa::DFA),
    Nfa(nfa::contiguous::NFA),
}

/// What a literal is good for.
struct Entry {
    /// The lowest rank that it can help to win; 0 when a rule in mode `observe` wants it.
    lowest: u32,
    /// Ends of its ranges in `contains` and `calls`; they begin where those before it end.
    contains_enforce_end: u32,
    contains_end: u32,
    calls_end: u32,
}

struct Regex {
    rank: u32,
    observe: bool,
    /// Its ranges of `Index::needs` lie between these: first the literals that a match has in
    /// this order, then groups of which it has one each.
    needs_start: u32,
    sequence_end: u32,
    groups_end: u32,
}

#[derive(Clone, Copy)]
struct Need {
    literal: u32,
    /// The literal's length; for a group, how many of its literals follow.
    count: u32,
}

/// What was seen in this line. Stamped with the line's number, so nothing is cleared between
/// lines.
#[derive(Debug, Default)]
pub(super) struct Marks {
    epoch: u32,
    /// By literal.
    seen: Vec<Seen>,
    /// Numbers of the regexes that a literal called up.
    called: Vec<u32>,
    /// Ranks of the regexes to be run.
    candidates: Vec<u32>,
}

/// Where a literal ends in the line, the first and the last time.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    epoch: u32,
    first: u32,
    last: u32,
}

impl Marks {
    fn next_line(&mut self) {
        self.called.clear();
        self.candidates.clear();
        self.next_epoch();
    }

    fn next_epoch(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            // Once in four billion lines the stamps would come round.
            self.seen.fill(Seen::default());
            1
        });
    }
}

impl Index {
    /// Marks of the right size, with nothing seen.
    pub(super) fn marks(&self) -> Marks {
        Marks {
            seen: vec![Seen::default(); self.entries.len()],
            ..Marks::default()
        }
    }

    /// Finds the best rule with a text that is better than `best`, and all that only watch.
    pub(super) fn search(
        &self,
        rules: &[Compiled],
        line: &Line<'_>,
        marks: &mut Marks,
        best: &mut Best<'_>,
    ) {
        marks.next_line();
        match &self.automaton {
            Automaton::Dfa(dfa) => self.pass(dfa, rules, line, marks, best),
            Automaton::Nfa(nfa) => self.pass(nfa, rules, line, marks, best),
        }

        let Marks {
            epoch,
            seen,
            called,
            candidates,
        } = marks;
        for &regex in called.iter() {
            let regex = &self.regexes[regex as usize];
            if (regex.rank < best.rank || regex.observe) && self.can_match(regex, *epoch, seen) {
                candidates.push(regex.rank);
            }
        }
        let always = self.always.iter().copied();
        candidates.extend(always.filter(|&rank| rank < best.rank || rules[rank as usize].observe));
        candidates.sort_unstable();
        // A group can call up a regex more than once.
        candidates.dedup();
        for &rank in candidates.iter() {
            let rule = &rules[rank as usize];
            // No break: a rule that only watches may come later.
            if (rank < best.rank || rule.observe)
                && rule.severity_holds(line)
                && rule.oid_holds(line)
                && matches!(&rule.text, Text::Regex(pattern) if pattern.is_match(line))
            {
                best.take(rank, rule.observe);
            }
        }
    }

    /// Whether all literals that a regex needs were seen, where they can follow one another as in
    /// the expression.
    fn can_match(&self, regex: &Regex, epoch: u32, seen: &[Seen]) -> bool {
        let was_seen = |need: &Need| seen[need.literal as usize].epoch == epoch;
        let (start, end) = (regex.needs_start as usize, regex.sequence_end as usize);
        // Where the literals so far end at the earliest.
        let mut reached = 0;
        let in_order = self.needs[start..end].iter().all(|need| {
            let Seen { first, last, .. } = seen[need.literal as usize];
            reached = first.max(reached + need.count);
            was_seen(need) && reached <= last
        });
        let mut groups = &self.needs[end..regex.groups_end as usize];
        while in_order && let Some(head) = groups.first() {
            let (group, rest) = groups.split_at(head.count as usize);
            if !group.iter().any(was_seen) {
                return false;
            }
            groups = rest;
        }
        in_order
    }

    fn pass<A: Walk>(
        &self,
        automaton: &A,
        rules: &[Compiled],
        line: &Line<'_>,
        marks: &mut Marks,
        best: &mut Best<'_>,
    ) {
        let same = std::ptr::eq(line.lowered, line.folded);
        scan(automaton, line.lowered, |literal, end| {
            if self.first_time(literal, end, marks, best) {
                self.contains(literal, rules, line, best);
                if same {
                    self.call(literal, marks, best);
                }
            }
        });
        if !same {
            marks.next_epoch();
            scan(automaton, line.folded, |literal, end| {
                if self.first_time(literal, end, marks, best) {
                    self.call(literal, marks, best);
                }
            });
        }
    }

    /// Whether the literal is new in this line and can still change something.
    #[inline]
    fn first_time(&self, literal: usize, end: u32, marks: &mut Marks, best: &Best<'_>) -> bool {
        let seen = &mut marks.seen[literal];
        if seen.epoch == marks.epoch {
            seen.last = end;
            return false;
        }
        // Skipped because of its rank once, it is skipped again: the best rank only falls.
        if self.entries[literal].lowest > best.rank {
            return false;
        }
        *seen = Seen {
            epoch: marks.epoch,
            first: end,
            last: end,
        };
        true
    }

    /// Takes the rules that ask for this literal as `contains`.
    #[inline]
    fn contains(&self, literal: usize, rules: &[Compiled], line: &Line<'_>, best: &mut Best<'_>) {
        let start = literal
            .checked_sub(1)
            .map_or(0, |before| self.entries[before].contains_end);
        let entry = &self.entries[literal];
        let holds = |rank: u32| {
            let rule = &rules[rank as usize];
            rule.severity_holds(line) && rule.oid_holds(line)
        };
        let better = self.contains[start as usize..entry.contains_enforce_end as usize]
            .iter()
            .take_while(|&&rank| rank < best.rank)
            .find(|&&rank| holds(rank));
        if let Some(&rank) = better {
            best.rank = rank;
        }
        let observe =
            &self.contains[entry.contains_enforce_end as usize..entry.contains_end as usize];
        best.observed
            .extend(observe.iter().copied().filter(|&rank| holds(rank)));
    }

    /// Calls up the regexes of which this is the rarest literal.
    #[inline]
    fn call(&self, literal: usize, marks: &mut Marks, best: &Best<'_>) {
        let start = literal
            .checked_sub(1)
            .map_or(0, |before| self.entries[before].calls_end);
        let calls = &self.calls[start as usize..self.entries[literal].calls_end as usize];
        marks.called.extend(calls.iter().copied().filter(|&regex| {
            let regex = &self.regexes[regex as usize];
            regex.rank < best.rank || regex.observe
        }));
    }
}

/// Calls `found` for every occurrence of every literal in `text`, with the place where it ends.
#[inline]
fn scan<A: Walk>(automaton: &A, text: &[u8], mut found: impl FnMut(usize, u32)) {
    // The automata are built for unanchored search, so this cannot fail.
    let Ok(mut state): Result<StateID, _> = automaton.start_state(Anchored::No) else {
        return;
    };
    for (&byte, end) in text.iter().zip(1..) {
        state = automaton.next_state(Anchored::No, state, byte);
        if automaton.is_special(state) && automaton.is_match(state) {
            for nth in 0..automaton.match_len(state) {
                found(automaton.match_pattern(state, nth).as_usize(), end);
            }
        }
    }
}

/// Collects the texts of the rules, each once.
#[derive(Default)]
pub(super) struct IndexBuilder<'r> {
    ids: HashMap<&'r [u8], usize>,
    literals: Vec<Collected<'r>>,
    regexes: Vec<(u32, bool, &'r [AnyOf])>,
    always: Vec<u32>,
}

#[derive(Default)]
struct Collected<'r> {
    text: &'r [u8],
    enforce: Vec<u32>,
    observe: Vec<u32>,
    /// How many regexes need it.
    needed_by: usize,
    calls: Vec<u32>,
    lowest: u32,
}

impl<'r> IndexBuilder<'r> {
    /// Adds a rule with a text. Ranks must come in ascending order.
    pub(super) fn add(&mut self, rank: u32, rule: &'r Compiled) {
        let lowest = if rule.observe { 0 } else { rank };
        match &rule.text {
            Text::Any => {}
            Text::Contains { needle } => {
                let literal = self.literal(needle.as_bytes(), lowest);
                if rule.observe {
                    &mut literal.observe
                } else {
                    &mut literal.enforce
                }
                .push(rank);
            }
            Text::Regex(pattern) if pattern.literals().is_empty() => self.always.push(rank),
            Text::Regex(pattern) => {
                for literal in pattern.literals().iter().flatten() {
                    self.literal(literal, lowest).needed_by += 1;
                }
                self.regexes.push((rank, rule.observe, pattern.literals()));
            }
        }
    }

    fn literal(&mut self, text: &'r [u8], lowest: u32) -> &mut Collected<'r> {
        let next = self.literals.len();
        let id = *self.ids.entry(text).or_insert(next);
        if id == next {
            self.literals.push(Collected {
                text,
                lowest,
                ..Collected::default()
            });
        }
        let literal = &mut self.literals[id];
        literal.lowest = literal.lowest.min(lowest);
        literal
    }

    /// `None` when the automaton would have more states than can be numbered.
    pub(super) fn build(mut self) -> Option<Index> {
        let automaton = Automaton::build(self.literals.iter().map(|literal| literal.text))?;
        let mut needs = Vec::new();
        let mut regexes = Vec::with_capacity(self.regexes.len());
        for (number, (rank, observe, groups)) in (0..).zip(self.regexes) {
            let id = |literal: &[u8]| self.ids[literal];
            // Prefer the literal that calls up the fewest, then the one that is hardest to find.
            let caller = groups.iter().min_by_key(|any_of| {
                let needed_by: usize = any_of
                    .iter()
                    .map(|literal| self.literals[id(literal)].needed_by)
                    .sum();
                (
                    needed_by,
                    Reverse(any_of.iter().map(|literal| literal.len()).min()),
                )
            });
            for literal in caller.into_iter().flatten() {
                self.literals[id(literal)].calls.push(number);
            }

            let needs_start = size(&needs);
            let (alone, choice): (Vec<_>, Vec<_>) = groups.iter().partition(|any| any.len() == 1);
            needs.extend(alone.into_iter().flatten().map(|literal| Need {
                literal: number_of(id(literal)),
                count: size(literal),
            }));
            let sequence_end = size(&needs);
            for any_of in choice {
                needs.extend(any_of.iter().map(|literal| Need {
                    literal: number_of(id(literal)),
                    count: size(any_of),
                }));
            }
            let groups_end = size(&needs);
            regexes.push(Regex {
                rank,
                observe,
                needs_start,
                sequence_end,
                groups_end,
            });
        }

        let mut entries = Vec::with_capacity(self.literals.len());
        let (mut contains, mut calls) = (Vec::new(), Vec::new());
        for literal in self.literals {
            contains.extend(literal.enforce);
            let contains_enforce_end = size(&contains);
            contains.extend(literal.observe);
            calls.extend(literal.calls);
            entries.push(Entry {
                lowest: literal.lowest,
                contains_enforce_end,
                contains_end: size(&contains),
                calls_end: size(&calls),
            });
        }
        Some(Index {
            automaton,
            entries,
            contains,
            calls,
            regexes,
            needs,
            always: self.always,
        })
    }
}

impl Automaton {
    fn build<'a>(literals: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Self> {
        let few = literals.len() <= DFA_MAX_LITERALS;
        let nfa = nfa::noncontiguous::Builder::new()
            .prefilter(false)
            .build(literals)
            .ok()?;
        Some(if few {
            let mut builder = dfa::Builder::new();
            builder.prefilter(false).start_kind(StartKind::Unanchored);
            Self::Dfa(builder.build_from_noncontiguous(&nfa).ok()?)
        } else {
            let mut builder = nfa::contiguous::Builder::new();
            Self::Nfa(
                builder
                    .prefilter(false)
                    .build_from_noncontiguous(&nfa)
                    .ok()?,
            )
        })
    }
}

fn size<T>(list: &[T]) -> u32 {
    number_of(list.len())
}

fn number_of(count: usize) -> u32 {
    u32::try_from(count).expect("a rule set has fewer than four billion literals")
}

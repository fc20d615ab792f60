//! All texts of all rules in one automaton: one pass over a message finds every substring and
//! every literal of a regex, and only the regexes whose literals were all seen are run.
//!
//! Does not decide what a rule means; asks [`Compiled`] for its other criteria.

use std::collections::HashMap;

use aho_corasick::automaton::{Automaton as Walk, StateID};
use aho_corasick::{Anchored, dfa, nfa};

use super::{Best, Compiled, Line, Text};

/// Above this many literals the DFA falls out of the cache and the smaller NFA is faster.
const DFA_MAX_LITERALS: usize = 3_000;
/// In place of a group: the literal stands alone.
const ALONE: u32 = u32::MAX;
/// In place of a regex's number: it has no literal.
const ALWAYS: u32 = u32::MAX;

/// The automaton and what each of its literals is good for.
pub(super) struct Index {
    automaton: Automaton,
    /// By literal.
    entries: Vec<Entry>,
    /// Ranks of the rules that ask for a literal as `contains`; an entry has a range of them.
    contains: Vec<u32>,
    /// Regexes that cannot match without a literal; an entry has a range of them.
    uses: Vec<Use>,
    /// By regex.
    regexes: Vec<Regex>,
    /// Literals in the order in which a match has them; a regex has a range of them.
    sequences: Vec<u32>,
    /// Regexes without a literal, by rank.
    always: Vec<u32>,
    groups: usize,
}

enum Automaton {
    Dfa(dfa::DFA),
    Nfa(nfa::contiguous::NFA),
}

/// What a literal is good for.
struct Entry {
    /// The lowest rank that it can help to win; 0 when a rule in mode `observe` wants it.
    lowest: u32,
    /// In bytes.
    len: u32,
    /// Ends of its ranges in `contains` and `uses`; they begin where those before it end.
    contains_enforce_end: u32,
    contains_end: u32,
    uses_end: u32,
}

struct Use {
    regex: u32,
    /// The group of literals of which one is enough, or [`ALONE`].
    group: u32,
}

struct Regex {
    rank: u32,
    /// How many groups of literals must have been seen.
    needed: u32,
    /// The literals that a match has in this order: a range of `Index::sequences`.
    sequence: (u32, u32),
    observe: bool,
}

/// What was seen in this line. Stamped with the line's number, so nothing is cleared between
/// lines.
#[derive(Debug, Default)]
pub(super) struct Marks {
    epoch: u32,
    /// By literal.
    seen: Vec<Seen>,
    /// By group.
    groups: Vec<u32>,
    /// By regex: stamp, and how many of its groups were seen.
    counts: Vec<(u32, u32)>,
    /// Ranks of the regexes to be run, each with its number.
    candidates: Vec<(u32, u32)>,
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
        self.candidates.clear();
        self.next_epoch();
    }

    fn next_epoch(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            // Once in four billion lines the stamps would come round.
            self.seen.fill(Seen::default());
            self.groups.fill(0);
            self.counts.fill((0, 0));
            1
        });
    }
}

impl Index {
    /// Marks of the right size, with nothing seen.
    pub(super) fn marks(&self) -> Marks {
        Marks {
            epoch: 0,
            seen: vec![Seen::default(); self.entries.len()],
            groups: vec![0; self.groups],
            counts: vec![(0, 0); self.regexes.len()],
            candidates: Vec::new(),
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
        let same = std::ptr::eq(line.lowered, line.folded);
        match &self.automaton {
            Automaton::Dfa(dfa) => self.pass(dfa, rules, line, marks, best, same),
            Automaton::Nfa(nfa) => self.pass(nfa, rules, line, marks, best, same),
        }

        let best_rank = best.rank;
        let always = self.always.iter().map(|&rank| (rank, ALWAYS));
        marks
            .candidates
            .extend(always.filter(|&(rank, _)| rank < best_rank || rules[rank as usize].observe));
        marks.candidates.sort_unstable();
        for &(rank, regex) in &marks.candidates {
            let rule = &rules[rank as usize];
            // No break: a rule that only watches may come later.
            if (rank < best.rank || rule.observe)
                && rule.severity_holds(line)
                && rule.oid_holds(line)
                && self.in_order(regex, marks)
                && matches!(&rule.text, Text::Regex(pattern) if pattern.is_match(line))
            {
                best.take(rank, rule.observe);
            }
        }
    }

    /// Whether the literals of a regex, all of which were seen, can follow one another as in the
    /// expression.
    fn in_order(&self, regex: u32, marks: &Marks) -> bool {
        if regex == ALWAYS {
            return true;
        }
        let (start, end) = self.regexes[regex as usize].sequence;
        // Where the literals so far end at the earliest.
        let mut reached = 0;
        self.sequences[start as usize..end as usize]
            .iter()
            .all(|&literal| {
                let Seen { first, last, .. } = marks.seen[literal as usize];
                reached = first.max(reached + self.entries[literal as usize].len);
                reached <= last
            })
    }

    fn pass<A: Walk>(
        &self,
        automaton: &A,
        rules: &[Compiled],
        line: &Line<'_>,
        marks: &mut Marks,
        best: &mut Best<'_>,
        same: bool,
    ) {
        scan(automaton, line.lowered, |literal, end| {
            if self.first_time(literal, end, marks, best) {
                self.contains(literal, rules, line, best);
                if same {
                    self.count(literal, marks, best);
                }
            }
        });
        if !same {
            marks.next_epoch();
            scan(automaton, line.folded, |literal, end| {
                if self.first_time(literal, end, marks, best) {
                    self.count(literal, marks, best);
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

    /// Counts this literal for the regexes that need it.
    #[inline]
    fn count(&self, literal: usize, marks: &mut Marks, best: &Best<'_>) {
        let start = literal
            .checked_sub(1)
            .map_or(0, |before| self.entries[before].uses_end);
        let end = self.entries[literal].uses_end;
        for wanted in &self.uses[start as usize..end as usize] {
            let regex = &self.regexes[wanted.regex as usize];
            if regex.rank >= best.rank && !regex.observe {
                continue;
            }
            if wanted.group != ALONE {
                let group = &mut marks.groups[wanted.group as usize];
                if *group == marks.epoch {
                    continue;
                }
                *group = marks.epoch;
            }
            let count = &mut marks.counts[wanted.regex as usize];
            if count.0 != marks.epoch {
                *count = (marks.epoch, 0);
            }
            count.1 += 1;
            if count.1 == regex.needed {
                marks.candidates.push((regex.rank, wanted.regex));
            }
        }
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
pub(super) struct IndexBuilder {
    ids: HashMap<Box<[u8]>, usize>,
    literals: Vec<Collected>,
    regexes: Vec<Regex>,
    sequences: Vec<u32>,
    always: Vec<u32>,
    groups: u32,
}

#[derive(Default)]
struct Collected {
    len: u32,
    enforce: Vec<u32>,
    observe: Vec<u32>,
    uses: Vec<Use>,
}

impl IndexBuilder {
    /// Adds a rule with a text. Ranks must come in ascending order.
    pub(super) fn add(&mut self, rank: u32, rule: &Compiled) {
        match &rule.text {
            Text::Any => {}
            Text::Contains { needle } => {
                let literal = self.literal(needle.as_bytes());
                let literal = &mut self.literals[literal];
                if rule.observe {
                    &mut literal.observe
                } else {
                    &mut literal.enforce
                }
                .push(rank);
            }
            Text::Regex(pattern) if pattern.literals().is_empty() => self.always.push(rank),
            Text::Regex(pattern) => {
                let regex = u32::try_from(self.regexes.len()).expect("ranks are u32");
                let start = end(&self.sequences);
                let mut needed = 0;
                for any_of in pattern.literals() {
                    needed += 1;
                    if let [one] = &any_of[..] {
                        let literal = self.literal(one);
                        self.literals[literal].uses.push(Use {
                            regex,
                            group: ALONE,
                        });
                        self.sequences
                            .push(u32::try_from(literal).expect("numbered in u32"));
                    } else {
                        for one in any_of {
                            let literal = self.literal(one);
                            self.literals[literal].uses.push(Use {
                                regex,
                                group: self.groups,
                            });
                        }
                        self.groups += 1;
                    }
                }
                let sequence = (start, end(&self.sequences));
                self.regexes.push(Regex {
                    rank,
                    needed,
                    sequence,
                    observe: rule.observe,
                });
            }
        }
    }

    /// The literal's number.
    fn literal(&mut self, text: &[u8]) -> usize {
        let next = self.literals.len();
        let id = *self.ids.entry(text.into()).or_insert(next);
        if id == next {
            let len = u32::try_from(text.len()).expect("a rule's text is short");
            self.literals.push(Collected {
                len,
                ..Collected::default()
            });
        }
        id
    }

    /// `None` when the automaton would have more states than can be numbered.
    pub(super) fn build(self) -> Option<Index> {
        let mut texts: Vec<&[u8]> = vec![&[]; self.literals.len()];
        for (text, &id) in &self.ids {
            texts[id] = text;
        }
        let noncontiguous = nfa::noncontiguous::Builder::new()
            .prefilter(false)
            .build(&texts)
            .ok()?;
        let automaton = if texts.len() <= DFA_MAX_LITERALS {
            Automaton::Dfa(
                dfa::Builder::new()
                    .prefilter(false)
                    .start_kind(aho_corasick::StartKind::Unanchored)
                    .build_from_noncontiguous(&noncontiguous)
                    .ok()?,
            )
        } else {
            Automaton::Nfa(
                nfa::contiguous::Builder::new()
                    .prefilter(false)
                    .build_from_noncontiguous(&noncontiguous)
                    .ok()?,
            )
        };

        let mut index = Index {
            automaton,
            entries: Vec::with_capacity(self.literals.len()),
            contains: Vec::new(),
            uses: Vec::new(),
            regexes: self.regexes,
            sequences: self.sequences,
            always: self.always,
            groups: self.groups as usize,
        };
        for literal in self.literals {
            let watched = !literal.observe.is_empty();
            let of_regexes = literal.uses.iter().map(|wanted| {
                let regex = &index.regexes[wanted.regex as usize];
                if regex.observe { 0 } else { regex.rank }
            });
            let lowest = literal
                .enforce
                .iter()
                .copied()
                .chain(of_regexes)
                .min()
                .unwrap_or(0);
            index.contains.extend(literal.enforce);
            let contains_enforce_end = end(&index.contains);
            index.contains.extend(literal.observe);
            let contains_end = end(&index.contains);
            index.uses.extend(literal.uses);
            index.entries.push(Entry {
                lowest: if watched { 0 } else { lowest },
                len: literal.len,
                contains_enforce_end,
                contains_end,
                uses_end: end(&index.uses),
            });
        }
        Some(index)
    }
}

fn end<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).expect("a rule set has fewer than four billion literals")
}

//! The compiled matcher: finds the one rule that decides an event, in one pass over its message.
//!
//! Promises exactly what a scan of the rules one by one would find (lower-cased substring, Rust
//! `regex` search without case, OID arc by arc), at a cost that hardly depends on how many rules
//! there are. A [`RuleSet`] never changes; what a search needs to remember lives in the caller's
//! [`Scratch`].

mod compiled;
mod index;
mod line;
mod literals;
mod pattern;
mod scratch;
mod trie;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;
use mutt_event::Severity;

pub(crate) use compiled::{Compiled, Text};
use index::{Index, IndexBuilder};
pub(crate) use line::Line;
pub(crate) use pattern::{Pattern, PatternError};
pub use scratch::Scratch;
use trie::OidTrie;

use crate::{Explanation, Rule};

/// Up to this many rules with a text are searched one by one; above, the automaton is faster.
/// Measured: 10 rules, 0.13 µs a line plain and 0.52 with the automaton; 30, 0.39 and 0.56; 50,
/// 0.63 and 0.61.
const PLAIN_SEARCH_MAX: usize = 40;

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The event's message.
    pub message: &'a str,
    /// The trap's OID; `None` for an event that is no trap. A text that is no OID matches no rule
    /// with `trap_oid`.
    pub trap_oid: Option<&'a str>,
    /// The event's syslog severity, where it has one.
    pub severity: Option<Severity>,
}

/// A stored rule that takes no part because it cannot be compiled. Such a rule is refused when it
/// is written, so it came past the API.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// The rule.
    pub rule_id: i64,
    /// Why, in one sentence.
    pub reason: String,
}

/// All active rules, compiled. Immutable and shared by all workers; a change of rules swaps the
/// whole set.
pub struct RuleSet {
    /// Tells a `Scratch` that it last served another set.
    id: u64,
    /// In the order in which they win: by priority, then by id. A rule's place here is its rank.
    rules: Vec<Arc<Rule>>,
    /// The same rules in the same order.
    compiled: Vec<Compiled>,
    skipped: Vec<Skipped>,
    /// Rules that look at the trap OID and at no text.
    oids: OidTrie,
    text: TextSearch,
    without_literal: usize,
}

/// How the messages of rules with a text are searched.
enum TextSearch {
    /// Few rules: one by one. The ranks of those that can win, then of those that only watch.
    Plain {
        enforce: Vec<PlainRule>,
        observe: Vec<PlainRule>,
    },
    Indexed(Box<Index>),
}

struct PlainRule {
    rank: u32,
    /// The `contains` text, or a literal that every match of the regex has.
    finder: Option<Finder<'static>>,
}

impl RuleSet {
    /// Compiles the rules that are active and not deleted. Takes about 0.1 ms per regex, so it
    /// belongs off the hot path. Rules that cannot be compiled are left out and listed by
    /// [`RuleSet::skipped`].
    ///
    /// An empty `match_string` counts as none, for the sake of rows that an older MUTT wrote.
    pub fn compile(rules: impl IntoIterator<Item = Rule>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);

        let mut active: Vec<Rule> = rules
            .into_iter()
            .filter(|rule| rule.draft.is_active && rule.deleted_at.is_none())
            .collect();
        active.sort_by_key(|rule| (rule.draft.priority, rule.id));

        let mut skipped = Vec::new();
        let mut rules = Vec::with_capacity(active.len());
        let mut compiled = Vec::with_capacity(active.len());
        let mut patterns: HashMap<String, Result<Arc<Pattern>, PatternError>> = HashMap::new();
        for rule in active {
            let found = Compiled::new(&rule.draft, |text| {
                patterns
                    .entry(text.to_owned())
                    .or_insert_with(|| Pattern::compile(text).map(Arc::new))
                    .clone()
            });
            match found {
                Ok(found) => {
                    compiled.push(found);
                    rules.push(Arc::new(rule));
                }
                Err(reason) => skipped.push(Skipped {
                    rule_id: rule.id,
                    reason,
                }),
            }
        }

        let mut oids = OidTrie::default();
        for (rank, rule) in ranked(&compiled) {
            if let (Text::Any, Some(oid)) = (&rule.text, &rule.oid) {
                oids.insert(oid, rank, rule.observe);
            }
        }
        let without_literal = compiled.iter().filter(|rule| rule.is_slow()).count();
        let text = TextSearch::new(&compiled);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            rules,
            compiled,
            skipped,
            oids,
            text,
            without_literal,
        }
    }

    /// The rules that were left out, and why.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The rules that take part, in the order in which they win: by priority, then by id.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// How many rules take part.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule takes part.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How many rules are slow: their regex has no literal of three letters that every match
    /// contains, so it runs on every message that no earlier rule decides.
    pub fn without_literal(&self) -> usize {
        self.without_literal
    }

    /// The rule that decides `subject`: the first by priority, then id, that is in mode `enforce`
    /// and whose every criterion holds. Afterwards [`Scratch::observed`] has the rules in mode
    /// `observe` that match, whichever rule won.
    pub fn find<'r>(
        &'r self,
        subject: &Subject<'_>,
        scratch: &mut Scratch,
    ) -> Option<&'r Arc<Rule>> {
        let groups = match &self.text {
            TextSearch::Plain { .. } => None,
            TextSearch::Indexed(index) => Some(&**index),
        };
        scratch.begin(self.id, groups);
        let Scratch {
            lowered,
            folded,
            arcs,
            marks,
            observed_ranks,
            observed,
            ..
        } = scratch;

        let line = Line::prepare(subject, lowered, folded, arcs);
        let mut best = Best {
            rank: u32::MAX,
            observed: observed_ranks,
        };
        if let Some(arcs) = line.arcs {
            self.oids.search(arcs, |rank, observe| {
                if (observe || rank < best.rank)
                    && self.compiled[rank as usize].severity_holds(&line)
                {
                    best.take(rank, observe);
                }
            });
        }
        match &self.text {
            TextSearch::Plain { enforce, observe } => {
                for rule in enforce.iter().take_while(|rule| rule.rank < best.rank) {
                    if self.plain_holds(rule, &line) {
                        best.rank = rule.rank;
                        break;
                    }
                }
                for rule in observe {
                    if self.plain_holds(rule, &line) {
                        best.observed.push(rule.rank);
                    }
                }
            }
            TextSearch::Indexed(index) => index.search(&self.compiled, &line, marks, &mut best),
        }

        let winner = best.rank;
        observed_ranks.sort_unstable();
        observed.extend(
            observed_ranks
                .iter()
                .map(|&rank| self.rules[rank as usize].id),
        );
        self.rules.get(winner as usize)
    }

    /// Why each rule matches `subject` or does not. For people: looks at every rule one by one.
    pub fn explain(&self, subject: &Subject<'_>) -> Explanation {
        Explanation::of(&self.rules, &self.compiled, subject)
    }

    fn plain_holds(&self, plain: &PlainRule, line: &Line<'_>) -> bool {
        let rule = &self.compiled[plain.rank as usize];
        if !rule.severity_holds(line) || !rule.oid_holds(line) {
            return false;
        }
        match &rule.text {
            Text::Any => true,
            Text::Contains { .. } => plain
                .finder
                .as_ref()
                .is_some_and(|needle| needle.find(line.lowered).is_some()),
            Text::Regex(pattern) => {
                plain
                    .finder
                    .as_ref()
                    .is_none_or(|literal| literal.find(line.folded).is_some())
                    && pattern.is_match(line)
            }
        }
    }
}

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuleSet")
            .field("rules", &self.rules.len())
            .field("skipped", &self.skipped)
            .field("without_literal", &self.without_literal)
            .finish_non_exhaustive()
    }
}

impl TextSearch {
    fn new(compiled: &[Compiled]) -> Self {
        let with_text = || ranked(compiled).filter(|(_, rule)| !matches!(rule.text, Text::Any));
        if with_text().count() > PLAIN_SEARCH_MAX {
            let mut builder = IndexBuilder::default();
            for (rank, rule) in with_text() {
                builder.add(rank, rule);
            }
            // Only fails when the literals need more states than the automaton can number, some
            // gigabytes of rules; the plain search is slow there, and right.
            if let Some(index) = builder.build() {
                return Self::Indexed(Box::new(index));
            }
        }
        let of = |observe: bool| {
            with_text()
                .filter(|(_, rule)| rule.observe == observe)
                .map(|(rank, rule)| PlainRule {
                    rank,
                    finder: rule.finder(),
                })
                .collect()
        };
        Self::Plain {
            enforce: of(false),
            observe: of(true),
        }
    }
}

/// The rules with their ranks.
fn ranked(compiled: &[Compiled]) -> impl Iterator<Item = (u32, &Compiled)> {
    (0..).zip(compiled)
}

/// The best rule so far, and the rules in mode `observe` that matched.
struct Best<'s> {
    /// `u32::MAX` while there is none.
    rank: u32,
    observed: &'s mut Vec<u32>,
}

impl Best<'_> {
    fn take(&mut self, rank: u32, observe: bool) {
        if observe {
            self.observed.push(rank);
        } else {
            self.rank = self.rank.min(rank);
        }
    }
}

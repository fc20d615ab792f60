//! Who decides a sampled event: compiled sets of rules, kept for as long as the rules are the same,
//! and verdicts, kept with each event. A person who edits a rule asks several times a second; only
//! the edited rule is compiled and tried each time.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mutt_rules::{Handling, Mode, Rule, RuleSet, Scratch};
use parking_lot::Mutex;

use crate::sample::{SLOTS, Sampled};

/// A compiled set of rules that knows what it said of each event.
pub struct Judge {
    /// Which rules these are.
    fingerprint: u64,
    /// Never given twice in a process, never 0.
    id: u32,
    /// Where in an event its verdict stands.
    slot: usize,
    pub set: RuleSet,
}

impl Judge {
    /// Who decides `event`.
    pub fn winner(&self, event: &Sampled, scratch: &mut Scratch) -> Option<&Arc<Rule>> {
        let rank = self.rank(event, scratch)?;
        self.set.rules().get(rank)
    }

    /// The place among the rules of who decides `event`.
    pub fn rank(&self, event: &Sampled, scratch: &mut Scratch) -> Option<usize> {
        let cell = &event.judged[self.slot];
        let known = cell.load(Ordering::Relaxed);
        // The upper half says whose verdict it is, the lower the rank, from 1; 0 is nobody.
        let rank = if known >> 32 == u64::from(self.id) {
            u32::try_from(known & u64::from(u32::MAX)).unwrap_or(0)
        } else {
            let winner = self.set.find(&event.subject(), scratch);
            let rank = winner.map_or(0, |rule| self.rank_of(rule));
            cell.store(
                u64::from(self.id) << 32 | u64::from(rank),
                Ordering::Relaxed,
            );
            rank
        };
        (rank as usize).checked_sub(1)
    }

    fn rank_of(&self, rule: &Rule) -> u32 {
        let rules = self.set.rules();
        let at = rules.binary_search_by_key(&order(rule), |rule| order(rule));
        at.map_or(0, |at| u32::try_from(at + 1).unwrap_or(0))
    }
}

/// The order in which rules win.
pub fn order(rule: &Rule) -> (i32, i64) {
    (rule.draft.priority, rule.id)
}

/// Whether a rule decides what it matches.
pub fn decides(rule: &Rule) -> bool {
    rule.draft.is_active && rule.draft.mode == Mode::Enforce && rule.deleted_at.is_none()
}

/// The rule by itself, as one that decides whenever it matches.
pub fn alone(rule: &Rule) -> RuleSet {
    let mut rule = rule.clone();
    rule.draft.mode = Mode::Enforce;
    RuleSet::compile([rule])
}

/// The judges of this process: one for the rules of today, and one for each of the few rules that
/// are being edited, without that rule.
#[derive(Default)]
pub struct Judges {
    sets: Mutex<[Option<Kept>; SLOTS]>,
}

struct Kept {
    judge: Arc<Judge>,
    used: u64,
}

impl Judges {
    /// The judge by `rules`, without the rule `without`. Compiles where the rules changed: 0.1 ms
    /// for a regular expression, so it belongs where blocking is allowed.
    pub fn by(&self, rules: &[Rule], without: Option<i64>) -> Arc<Judge> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let others = || rules.iter().filter(|rule| Some(rule.id) != without);
        let fingerprint = fingerprint(others());

        let mut sets = self.sets.lock();
        let newest = sets.iter().flatten().map(|kept| kept.used).max();
        let used = newest.unwrap_or(0) + 1;
        let found = sets.iter_mut().flatten();
        for kept in found {
            if kept.judge.fingerprint == fingerprint {
                kept.used = used;
                return Arc::clone(&kept.judge);
            }
        }
        // Whoever asks for the same set meanwhile waits for it and does not compile it again. The
        // rules of today have a place of their own: nobody who edits rules drives them out.
        let slot = if without.is_none() {
            0
        } else {
            let oldest = |slot: &usize| Reverse(sets[*slot].as_ref().map_or(0, |kept| kept.used));
            (1..SLOTS).max_by_key(oldest).unwrap_or(0)
        };
        // Never 0: that is an event that was not judged.
        let id = NEXT.fetch_add(1, Ordering::Relaxed).max(1);
        let judge = Arc::new(Judge {
            fingerprint,
            id,
            slot,
            set: RuleSet::compile(others().cloned()),
        });
        sets[slot] = Some(Kept {
            judge: Arc::clone(&judge),
            used,
        });
        judge
    }
}

/// Tells whether rules are the same in everything that decides: a change past the API counts no
/// version.
pub fn fingerprint<'r>(rules: impl Iterator<Item = &'r Rule>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for rule in rules {
        let draft = &rule.draft;
        (rule.id, rule.version, draft.priority, draft.is_active).hash(&mut hasher);
        (&draft.match_string, &draft.trap_oid, draft.syslog_severity).hash(&mut hasher);
        (draft.match_type.name(), draft.mode.name()).hash(&mut hasher);
        let handling = [draft.prod_handling, draft.dev_handling];
        handling.map(Handling::name).hash(&mut hasher);
        rule.deleted_at.is_some().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use mutt_event::EventId;
    use mutt_rules::Subject;
    use serde_json::json;

    use super::*;

    fn rule(id: i64, text: &str) -> Rule {
        let fields = json!({
            "match_string": text, "prod_handling": "Ignore", "dev_handling": "Ignore",
            "team_assignment": "t",
        });
        crate::bench::as_rule(id, serde_json::from_value(fields).unwrap())
    }

    fn event(message: &str) -> Sampled {
        let subject = Subject {
            message,
            trap_oid: None,
            severity: None,
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        Sampled::whole(EventId::new(), now, "h", "production", &subject)
    }

    #[test]
    fn a_verdict_is_remembered_for_its_rules_only() {
        let judges = Judges::default();
        let mut rules = vec![rule(1, "link"), rule(2, "down")];
        let (both, neither) = (event("link down"), event("fan"));
        let mut scratch = Scratch::new();
        let mut winners = |rules: &[Rule], without| {
            let judge = judges.by(rules, without);
            [&both, &neither].map(|event| judge.winner(event, &mut scratch).map(|rule| rule.id))
        };
        for _ in 0..2 {
            assert_eq!(winners(&rules, None), [Some(1), None]);
            assert_eq!(winners(&rules, Some(1)), [Some(2), None]);
        }
        rules[0].draft.match_string = Some("fan".to_owned());
        assert_eq!(winners(&rules, None), [Some(2), Some(1)]);
        rules[0].draft.priority = 0;
        assert_eq!(winners(&rules, Some(2)), [None, Some(1)]);
    }

    #[test]
    fn the_same_rules_are_compiled_once() {
        let judges = Judges::default();
        let rules: Vec<_> = (1..9).map(|id| rule(id, "link")).collect();
        let today = judges.by(&rules, None);
        let edited: Vec<_> = (1..6).map(|id| judges.by(&rules, Some(id))).collect();
        assert!(Arc::ptr_eq(&today, &judges.by(&rules, None)));
        assert!(Arc::ptr_eq(&edited[4], &judges.by(&rules, Some(5))));
        assert!(Arc::ptr_eq(&edited[2], &judges.by(&rules, Some(3))));
        assert!(!Arc::ptr_eq(&edited[0], &judges.by(&rules, Some(1))));
        let places: std::collections::HashSet<_> = edited.iter().map(|judge| judge.slot).collect();
        assert!(!places.contains(&today.slot) && places.len() == SLOTS - 1);
    }
}

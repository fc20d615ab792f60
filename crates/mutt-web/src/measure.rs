//! For the benchmark `keystroke`: what the test bench does between a request and its answer, without
//! the request. Not part of the API.
#![doc(hidden)]

use jiff::{SignedDuration, Timestamp};
use mutt_engine::live::LiveBatch;
use mutt_rules::{Rule, RuleDraft};

use crate::findings::{Events, Tested, Trial};
use crate::judge::{Judges, alone, decides};
use crate::observed::Observer;
use crate::sample::{MINUTES, Sample};

/// Rules, and a sample of an hour.
pub struct Desk {
    rules: Vec<Rule>,
    events: Events,
    judges: Judges,
}

impl Desk {
    /// An hour of which `minute` shows each minute.
    pub fn new(rules: Vec<RuleDraft>, minute: impl Fn(i64) -> LiveBatch) -> Self {
        let start = Timestamp::UNIX_EPOCH;
        let sample = Sample::new(start);
        for number in 0..MINUTES {
            sample.add(&minute(number), start + SignedDuration::from_mins(number));
        }
        let end = start + SignedDuration::from_mins(MINUTES - 1);
        let rules = (1..).zip(rules);
        let mut rules: Vec<_> = rules
            .map(|(id, draft)| crate::bench::as_rule(id, draft))
            .collect();
        rules.sort_by_key(crate::judge::order);
        Self {
            rules,
            events: sample.snapshot(end).events(),
            judges: Judges::default(),
        }
    }

    /// Sampled events.
    pub fn events(&self) -> usize {
        self.events.spans.iter().map(|span| span.events.len()).sum()
    }

    /// Tries a draft, in place of a stored rule or as a new one; the bytes of the answer.
    pub fn keystroke(&self, draft: RuleDraft, in_place_of: Option<i64>) -> usize {
        let rule = crate::bench::as_rule(in_place_of.unwrap_or(crate::verdicts::NEW), draft);
        let (by, shadows) = crate::shadows::proved(&rule, &self.rules);
        let tested = Tested {
            alone: alone(&rule),
            decides: decides(&rule),
            stored: in_place_of.is_some(),
            rule,
        };
        let trial = Trial {
            today: &self.judges.by(&self.rules, None),
            others: &self.judges.by(&self.rules, in_place_of),
            tested: Some(&tested),
        };
        let (findings, ..) = trial.on(&self.events);
        let answer = (findings, by, shadows);
        serde_json::to_vec(&answer).map_or(0, |json| json.len())
    }

    /// What is known of all rules, from nothing, and once more when all is known.
    pub fn insights(&self) -> (std::time::Duration, std::time::Duration) {
        let mut observer = Observer::default();
        let judge = self.judges.by(&self.rules, None);
        let mut round = || {
            let start = std::time::Instant::now();
            let seen = observer.seen(&self.rules, &judge, &self.events);
            let costs = observer.costs(&self.rules, &self.events);
            std::hint::black_box((seen, costs));
            start.elapsed()
        };
        (round(), round())
    }
}

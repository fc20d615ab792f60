//! What a rule would do to many events: a sample of the last hour, or the audit rows of a longer
//! time. Each figure says how exact it is. Pure: knows no engine and no clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use mutt_event::EventId;
use mutt_rules::{Environment, Rule, RuleSet, Scratch, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use crate::estimate::{Exactness, Figure, Hits, Stratum, figure};
use crate::judge::{Judge, order};
use crate::sample::{Sampled, Span};
use crate::shadows::{Certainty, Shadow, Shadowed};
use crate::verdicts::Place;

/// Matching events that are shown.
const EXAMPLES: usize = 20;

/// Below so many sampled events nothing is said to be shadowed because of what was seen.
pub const OBSERVED_MIN: u64 = 20;

/// What the tested rule would do to many events.
#[derive(Serialize, ToSchema)]
pub struct Findings {
    /// From here on events were looked at.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Up to here.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// How many events there were in that time.
    pub events: Figure,
    /// How many of them were looked at.
    pub looked_at: u64,
    /// How many of those were cut off at 4,096 characters: that such a message contains something
    /// further on cannot be told. Counted in `high` of each figure.
    pub cut: u64,
    /// What was looked at and what not, in words.
    pub about: String,
    /// Events that the tested rule matches; with all rules, that any rule decides.
    pub would_match: Figure,
    /// Events that it decides.
    pub would_win: Figure,
    /// Who decides today what it would decide, the most first.
    pub takes_from: Vec<Taken>,
    /// Which earlier rules decide what it matches too, the most first.
    pub loses_to: Vec<Taken>,
    /// Who would decide what it decides today and would no longer, the most first. Only for a
    /// stored rule.
    pub leaves_to: Vec<Taken>,
    /// Alerts that it would send.
    pub alerts: Figure,
    /// When most alerts would go out; null where none would.
    pub peak: Option<Peak>,
    /// Alerts over time, without gaps, oldest first.
    pub histogram: Vec<Bucket>,
    /// Hosts among the events that it would decide.
    pub hosts: HostCount,
    /// Some events that it matches, newest first, at most 20; the same while the rule matches them.
    pub examples: Vec<Example>,
}

/// What goes to or comes from one other rule.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Taken {
    /// The rule; null for events that no rule decides.
    pub rule_id: Option<i64>,
    /// How many events.
    pub events: Figure,
}

/// When most alerts would go out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Peak {
    /// The beginning of the busiest part of the histogram.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Alerts in that part.
    pub alerts: Figure,
    /// The same as a rate: alerts per hour.
    pub per_hour: Figure,
}

/// One part of the histogram.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bucket {
    /// Where it begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long it is.
    pub seconds: u32,
    /// Events of that time, whatever the tested rule does.
    pub events: u64,
    /// Alerts that the tested rule would send.
    pub alerts: Figure,
}

/// Different hosts.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostCount {
    /// Production hosts.
    pub production: Figure,
    /// Development hosts.
    pub development: Figure,
}

/// An event that the tested rule matches.
#[derive(Debug, Serialize, ToSchema)]
pub struct Example {
    /// Its timeline is at `/events/{event_id}`.
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// When it was received.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// The host.
    pub hostname: String,
    /// `production` or `development`.
    #[schema(value_type = String)]
    pub environment: &'static str,
    /// The message.
    pub message: String,
    /// Whether the message is cut off.
    pub cut: bool,
    /// Whether the tested rule would decide it.
    pub wins: bool,
    /// The rule that decides it today; null where none does.
    pub winner_today: Option<i64>,
    /// What was found in the message; null for a rule that looks at the trap OID only.
    pub matched: Option<Place>,
}

/// The events that a rule is tried on.
pub struct Events {
    pub from: Timestamp,
    pub to: Timestamp,
    /// The length of a part of the histogram; divides an hour.
    pub seconds: u32,
    /// Oldest first; each begins at a multiple of `seconds`.
    pub spans: Vec<Arc<Span>>,
    /// There were events beside these of which nothing is known.
    pub partial: bool,
    pub about: String,
}

/// The rule that is tried.
pub struct Tested {
    pub rule: Rule,
    /// The rule by itself.
    pub alone: RuleSet,
    /// Whether it decides what it matches.
    pub decides: bool,
    /// It stands in place of a stored rule.
    pub stored: bool,
}

/// Who is asked.
pub struct Trial<'a> {
    /// The rules of today.
    pub today: &'a Judge,
    /// Those without the tested one.
    pub others: &'a Judge,
    /// `None` for all rules as they are.
    pub tested: Option<&'a Tested>,
}

/// What the tested rule does to one event.
struct Effect {
    matches: bool,
    wins: bool,
    today: Option<i64>,
    /// Who decides it where the tested rule does not.
    other: Option<i64>,
    forwards: bool,
}

/// Hits in every span.
type Counts = Vec<Hits>;

struct Tally {
    matches: Counts,
    wins: Counts,
    alerts: Counts,
    takes: HashMap<Option<i64>, Counts>,
    loses: HashMap<Option<i64>, Counts>,
    leaves: HashMap<Option<i64>, Counts>,
    hosts: [HashSet<Arc<str>>; 2],
    examples: Vec<(Arc<Sampled>, bool, Option<i64>)>,
}

impl Trial<'_> {
    fn effect(&self, event: &Sampled, scratch: &mut [Scratch; 3]) -> Effect {
        let [for_today, for_others, for_alone] = scratch;
        let Some(tested) = self.tested else {
            let today = self.today.winner(event, for_today);
            return Effect {
                matches: today.is_some(),
                wins: today.is_some(),
                today: today.map(|rule| rule.id),
                other: None,
                forwards: today.is_some_and(|rule| rule.handling(event.environment).forwards()),
            };
        };
        let id = |rule: &Arc<Rule>| rule.id;
        let matches = tested.alone.find(&event.subject(), for_alone).is_some();
        if !matches && !tested.stored {
            // Nothing changes for it: who decides it need not be known.
            return Effect {
                matches,
                wins: false,
                today: None,
                other: None,
                forwards: false,
            };
        }
        let today = self.today.winner(event, for_today).map(id);
        // Without a rule that does not decide it, the same one decides it.
        let others = if today == Some(tested.rule.id) {
            self.others.winner(event, for_others)
        } else {
            today.and_then(|_| self.today.winner(event, for_today))
        };
        let earlier = others.is_some_and(|other| order(other) < order(&tested.rule));
        let wins = matches && tested.decides && !earlier;
        Effect {
            matches,
            wins,
            today,
            other: others.map(id),
            forwards: wins && tested.rule.handling(event.environment).forwards(),
        }
    }

    /// Whether an event that is cut off could match further on.
    fn may_match(&self, event: &Sampled) -> bool {
        event.cut
            && self.tested.is_none_or(|tested| {
                let draft = &tested.rule.draft;
                let severity = event.severity.map(mutt_event::Severity::number);
                draft.match_string.is_some()
                    && (draft.syslog_severity.is_none() || draft.syslog_severity == severity)
            })
    }

    /// What happens to `events`, and who shadows whom as far as they show it.
    pub fn on(&self, events: &Events) -> (Findings, Option<Shadow>, Vec<Shadowed>) {
        let strata: Vec<Stratum> = events
            .spans
            .iter()
            .map(|span| {
                let mut stratum = Stratum::new(span.total);
                for event in &span.events {
                    stratum.add(span.weight(event));
                }
                stratum
            })
            .collect();
        let tally = self.count(events);
        let (by, shadows) = self.shadows(&tally, events);
        let number = |counts: &Counts| {
            let figure = figure(&strata, counts);
            if events.partial {
                Figure::at_least(figure.low)
            } else {
                figure
            }
        };
        let taken = |by: &HashMap<Option<i64>, Counts>| {
            let mut taken: Vec<_> = by
                .iter()
                .map(|(rule_id, counts)| Taken {
                    rule_id: *rule_id,
                    events: number(counts),
                })
                .collect();
            taken.sort_by_key(|taken| (std::cmp::Reverse(taken.events.value), taken.rule_id));
            taken
        };
        let total: u64 = strata.iter().map(|stratum| stratum.total).sum();
        let whole = !events.partial && strata.iter().all(Stratum::is_whole);
        let histogram = histogram(events, &strata, &tally.alerts);
        let peak = histogram
            .iter()
            .filter(|bucket| bucket.alerts.value > 0)
            // Of equals the first.
            .rev()
            .max_by_key(|bucket| bucket.alerts.value)
            .map(|bucket| Peak {
                at: bucket.at,
                alerts: bucket.alerts,
                per_hour: bucket.alerts.times(u64::from(3600 / bucket.seconds)),
            });
        let [production, development] = tally.hosts.each_ref().map(|hosts| {
            let seen = hosts.len() as u64;
            if whole {
                Figure::exact(seen)
            } else {
                Figure::at_least(seen)
            }
        });
        let all = || events.spans.iter().flat_map(|span| &span.events);
        let findings = Findings {
            from: events.from,
            to: events.to,
            events: if events.partial {
                Figure::at_least(total)
            } else {
                Figure::exact(total)
            },
            looked_at: all().count() as u64,
            cut: all().filter(|event| event.cut).count() as u64,
            about: events.about.clone(),
            would_match: number(&tally.matches),
            would_win: number(&tally.wins),
            takes_from: taken(&tally.takes),
            loses_to: taken(&tally.loses),
            leaves_to: taken(&tally.leaves),
            alerts: number(&tally.alerts),
            peak,
            histogram,
            hosts: HostCount {
                production,
                development,
            },
            examples: self.examples(tally.examples),
        };
        (findings, by, shadows)
    }

    fn count(&self, events: &Events) -> Tally {
        let none = || vec![Hits::default(); events.spans.len()];
        let mut tally = Tally {
            matches: none(),
            wins: none(),
            alerts: none(),
            takes: HashMap::new(),
            loses: HashMap::new(),
            leaves: HashMap::new(),
            hosts: Default::default(),
            examples: Vec::new(),
        };
        let tested = self.tested.map(|tested| tested.rule.id);
        let mut scratch = [Scratch::new(), Scratch::new(), Scratch::new()];
        let mut worst_place = f64::INFINITY;
        for (index, span) in events.spans.iter().enumerate() {
            for event in &span.events {
                let effect = self.effect(event, &mut scratch);
                if !effect.matches && effect.today.is_none() && !event.cut {
                    continue;
                }
                let weight = span.weight(event);
                let add = |to: &mut HashMap<_, Counts>, whom| {
                    to.entry(whom).or_insert_with(none)[index].add(weight);
                };
                if !effect.matches && self.may_match(event) {
                    for counts in [&mut tally.matches, &mut tally.wins, &mut tally.alerts] {
                        counts[index].unknown += weight;
                    }
                }
                if tested.is_some() && effect.today == tested && !effect.wins {
                    add(&mut tally.leaves, effect.other);
                }
                if !effect.matches {
                    continue;
                }
                tally.matches[index].add(weight);
                if event.place < worst_place {
                    tally
                        .examples
                        .push((Arc::clone(event), effect.wins, effect.today));
                    worst_place = thin(&mut tally.examples);
                }
                if !effect.wins {
                    if effect.other.is_some() {
                        add(&mut tally.loses, effect.other);
                    }
                    continue;
                }
                tally.wins[index].add(weight);
                if tested.is_some() && effect.today != tested {
                    add(&mut tally.takes, effect.today);
                }
                if effect.forwards {
                    tally.alerts[index].add(weight);
                }
                let kind = usize::from(event.environment == Environment::Development);
                let hostname = event.hostname.to_lowercase();
                if !tally.hosts[kind].contains(hostname.as_str()) {
                    tally.hosts[kind].insert(hostname.into());
                }
            }
        }
        tally
    }

    fn examples(&self, mut chosen: Vec<(Arc<Sampled>, bool, Option<i64>)>) -> Vec<Example> {
        chosen.sort_by(|one, other| one.0.place.total_cmp(&other.0.place));
        chosen.truncate(EXAMPLES);
        chosen.sort_by_key(|(event, ..)| std::cmp::Reverse((event.received_at, event.event_id)));
        chosen
            .into_iter()
            .map(|(event, wins, winner_today)| {
                let set = self.tested.map_or(&self.today.set, |tested| &tested.alone);
                let verdicts = set.explain(&event.subject()).verdicts;
                let matched = verdicts.into_iter().find_map(|(_, verdict)| match verdict {
                    Verdict::Won { matched } => matched.text,
                    _ => None,
                });
                Example {
                    event_id: event.event_id,
                    received_at: event.received_at,
                    hostname: event.hostname.to_string(),
                    environment: event.environment.name(),
                    message: event.message.to_string(),
                    cut: event.cut,
                    wins,
                    winner_today,
                    matched: matched.map(|found| Place::of(&event.message, &found.span)),
                }
            })
            .collect()
    }

    /// What the events show about rules that take everything from one another: the rule that takes
    /// all from the tested one, and those that it takes all from.
    fn shadows(&self, tally: &Tally, events: &Events) -> (Option<Shadow>, Vec<Shadowed>) {
        if self.tested.is_none_or(|tested| !tested.decides) {
            return (None, Vec::new());
        }
        let seen = |counts: &Counts| counts.iter().map(|hits| hits.sampled).sum::<u64>();
        let most = |by: &HashMap<Option<i64>, Counts>| -> Vec<(i64, u64)> {
            by.iter()
                .filter_map(|(id, counts)| Some(((*id)?, seen(counts))))
                .filter(|(_, count)| *count >= OBSERVED_MIN)
                .collect()
        };
        let by = most(&tally.loses)
            .into_iter()
            .filter(|_| seen(&tally.wins) == 0)
            .max_by_key(|(id, count)| (*count, std::cmp::Reverse(*id)))
            .map(|(id, count)| Shadow::observed(id, seen(&tally.matches), count));
        let taken = most(&tally.takes);
        if taken.is_empty() {
            return (by, Vec::new());
        }
        let mut decided = vec![0_u64; self.today.set.len()];
        let mut scratch = Scratch::new();
        for event in events.spans.iter().flat_map(|span| &span.events) {
            if let Some(rank) = self.today.rank(event, &mut scratch) {
                decided[rank] += 1;
            }
        }
        let rules = self.today.set.rules().iter();
        let decided: HashMap<i64, u64> = rules.map(|rule| rule.id).zip(decided).collect();
        let mut shadows: Vec<_> = taken
            .into_iter()
            .filter(|(id, count)| decided.get(id) == Some(count))
            .map(|(rule_id, count)| Shadowed {
                rule_id,
                certainty: Certainty::Observed,
                why: format!("it takes all {count} events looked at that rule {rule_id} decides"),
            })
            .collect();
        shadows.sort_by_key(|shadow| shadow.rule_id);
        (by, shadows)
    }
}

/// Leaves the examples that chance chose, when there are too many; the place from which on none is
/// needed any more.
fn thin(examples: &mut Vec<(Arc<Sampled>, bool, Option<i64>)>) -> f64 {
    if examples.len() < 8 * EXAMPLES {
        return f64::INFINITY;
    }
    examples.select_nth_unstable_by(EXAMPLES, |one, other| one.0.place.total_cmp(&other.0.place));
    examples.truncate(EXAMPLES);
    let places = examples.iter().map(|(event, ..)| event.place);
    places.fold(0.0, f64::max)
}

fn histogram(events: &Events, strata: &[Stratum], alerts: &Counts) -> Vec<Bucket> {
    let width = i64::from(events.seconds.max(1));
    let first = events.from.as_second().div_euclid(width);
    let last = events.to.as_second().div_euclid(width);
    let mut spans = events.spans.iter().zip(strata).zip(alerts).peekable();
    (first..=last)
        .map(|number| {
            let at = Timestamp::from_second(number * width).unwrap_or_default();
            while spans.next_if(|((span, _), _)| span.start < at).is_some() {}
            let here = spans.next_if(|((span, _), _)| span.start == at);
            let none = if events.partial {
                Figure::at_least(0)
            } else {
                Figure::exact(0)
            };
            Bucket {
                at,
                seconds: events.seconds,
                events: here.map_or(0, |((span, _), _)| span.total),
                alerts: here.map_or(none, |((_, stratum), hits)| {
                    let figure = figure(&[*stratum], &[*hits]);
                    if events.partial && figure.exactness == Exactness::Exact {
                        Figure::at_least(figure.value)
                    } else {
                        figure
                    }
                }),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;

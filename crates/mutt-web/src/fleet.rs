//! All processes from what they report: how fast each counts, how old its report is, whether its
//! clock is right. A pure fold over reports; knows neither engine nor HTTP.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::reports::FloodReport;
use mutt_engine::{FlowCounts, Reported};

/// Rates are measured over about this long.
const WINDOW: f64 = 5.0;
/// A process that has said nothing for so long does nothing, as far as anybody knows.
const SILENT: Duration = Duration::from_secs(5);

/// What a process had counted at one moment, by its own clock.
#[derive(Clone, Debug)]
struct Sample {
    at: Timestamp,
    counts: FlowCounts,
    dropped: BTreeMap<String, u64>,
    cpu_seconds: f64,
}

/// Counts per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speed {
    /// Each count of [`FlowCounts`] by its name.
    pub counts: BTreeMap<&'static str, f64>,
    /// Messages not taken, by reason.
    pub dropped: BTreeMap<String, f64>,
    /// Processors in use, 1 for a whole one.
    pub cpu: f64,
    /// Over how many seconds it was measured; 0 where there is nothing to compare with yet.
    pub seconds: f64,
}

impl Speed {
    /// The speed of one count.
    pub fn of(&self, name: &str) -> f64 {
        self.counts.get(name).copied().unwrap_or(0.0)
    }

    fn add(&mut self, other: &Self) {
        for (name, speed) in &other.counts {
            *self.counts.entry(name).or_default() += speed;
        }
        for (reason, speed) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += speed;
        }
        self.cpu += other.cpu;
        self.seconds = self.seconds.max(other.seconds);
    }
}

/// One process.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it said last.
    pub reported: Reported,
    /// How fast it is.
    pub speed: Speed,
    /// By how many seconds its clock is ahead of this one's.
    pub clock_offset: f64,
}

/// All processes, and what they had counted a moment ago.
#[derive(Debug, Default)]
pub struct Fleet {
    samples: HashMap<String, VecDeque<Sample>>,
    members: Vec<Member>,
}

impl Fleet {
    /// Takes new reports in, which were read at `now`. Processes that are not among them are gone.
    pub fn look(&mut self, reports: Vec<Reported>, now: Timestamp) {
        self.samples
            .retain(|instance, _| reports.iter().any(|report| report.instance == *instance));
        self.members = reports
            .into_iter()
            .map(|reported| {
                let samples = self.samples.entry(reported.instance.clone()).or_default();
                take(samples, &reported);
                let speed = if reported.age > SILENT {
                    Speed::default()
                } else {
                    speed(samples)
                };
                let written =
                    now.as_millisecond() - i64::try_from(reported.age.as_millis()).unwrap_or(0);
                let clock_offset = (reported.report.at.as_millisecond() - written) as f64 / 1000.0;
                Member {
                    reported,
                    speed,
                    clock_offset,
                }
            })
            .collect();
    }

    /// The processes, by pod.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// All of them together.
    pub fn speed(&self) -> Speed {
        let mut all = Speed::default();
        for member in &self.members {
            all.add(&member.speed);
        }
        all
    }

    /// What all of them counted since they started.
    pub fn totals(&self) -> FlowCounts {
        let mut all = FlowCounts::default();
        for member in &self.members {
            all.add(&member.reported.report.counts);
        }
        all
    }

    /// The worst floods, each with the pod that it comes to.
    pub fn floods(&self, limit: usize) -> Vec<(&str, &FloodReport)> {
        let mut floods: Vec<_> = self
            .members
            .iter()
            .flat_map(|member| {
                let report = &member.reported.report;
                report.floods.iter().map(|flood| (&*report.pod, flood))
            })
            .collect();
        let rate = |flood: &FloodReport| flood.kept_per_second + flood.dropped_per_second;
        floods.sort_by(|one, other| rate(other.1).total_cmp(&rate(one.1)));
        floods.truncate(limit);
        floods
    }

    /// The hosts with the most events within the last hour, over all alerters.
    pub fn busy_hosts(&self, limit: usize) -> Vec<(String, u64)> {
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for member in &self.members {
            for (host, count) in &member.reported.report.busy_hosts {
                *sums.entry(host).or_default() += count;
            }
        }
        let mut top: Vec<_> = sums.into_iter().collect();
        top.sort_unstable_by(|one, other| (other.1, one.0).cmp(&(one.1, other.0)));
        top.truncate(limit);
        top.into_iter()
            .map(|(host, count)| (host.to_owned(), count))
            .collect()
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Adds what is new, and forgets what is older than the window but for one sample to compare with.
fn take(samples: &mut VecDeque<Sample>, reported: &Reported) {
    let report = &reported.report;
    if let Some(last) = samples.back() {
        if last.at == report.at {
            return;
        }
        // Its clock was set back, or it began anew: nothing before can be compared.
        if report.at < last.at
            || report
                .counts
                .named()
                .zip(last.counts.named())
                .any(|(new, old)| new.1 < old.1)
        {
            samples.clear();
        }
    }
    samples.push_back(Sample {
        at: report.at,
        counts: report.counts,
        dropped: report.dropped.clone(),
        cpu_seconds: report.cpu_seconds,
    });
    while samples.len() > 2 && seconds(samples[1].at, report.at) >= WINDOW {
        samples.pop_front();
    }
}

fn speed(samples: &VecDeque<Sample>) -> Speed {
    let (Some(first), Some(last)) = (samples.front(), samples.back()) else {
        return Speed::default();
    };
    let over = seconds(first.at, last.at);
    if over < 0.1 {
        return Speed::default();
    }
    let new = last.counts.since(&first.counts);
    Speed {
        counts: new
            .named()
            .map(|(name, count)| (name, count as f64 / over))
            .collect(),
        dropped: last
            .dropped
            .iter()
            .map(|(reason, count)| {
                let before = first.dropped.get(reason).copied().unwrap_or(0);
                (reason.clone(), count.saturating_sub(before) as f64 / over)
            })
            .collect(),
        cpu: ((last.cpu_seconds - first.cpu_seconds) / over).max(0.0),
        seconds: over,
    }
}

#[cfg(test)]
mod tests {
    use mutt_engine::ProcessReport;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn reported(instance: &str, at: i64, handled: u64) -> Reported {
        let counts = FlowCounts {
            handled,
            ..FlowCounts::default()
        };
        Reported {
            instance: instance.to_owned(),
            report: ProcessReport {
                pod: instance.to_owned(),
                at: second(at),
                counts,
                dropped: BTreeMap::from([("kernel".to_owned(), handled / 10)]),
                cpu_seconds: handled as f64 / 100.0,
                ..ProcessReport::default()
            },
            age: Duration::ZERO,
        }
    }

    #[test]
    fn speeds_are_of_all_processes_over_the_window() {
        let mut fleet = Fleet::default();
        for at in 0..20_i64 {
            let count = 10 * at.unsigned_abs();
            fleet.look(
                vec![reported("a", at, count), reported("b", at, 2 * count)],
                second(at),
            );
        }
        let all = fleet.speed();
        assert!((all.of("handled") - 30.0).abs() < 1e-9, "{all:?}");
        assert!((all.cpu - 0.3).abs() < 1e-9, "{all:?}");
        assert!((5.0..=6.0).contains(&all.seconds), "{all:?}");
        assert!((all.dropped["kernel"] - 3.0).abs() < 0.5, "{all:?}");
        assert_eq!(fleet.totals().handled, 190 + 380);
    }

    #[test]
    fn rare_looks_compare_with_the_one_before() {
        let mut fleet = Fleet::default();
        for at in [0_i64, 10, 20] {
            fleet.look(
                vec![reported("a", at, at.unsigned_abs().pow(2))],
                second(at),
            );
        }
        assert!((fleet.speed().of("handled") - 30.0).abs() < 1e-9);
    }

    #[test]
    fn a_new_start_a_gone_process_and_a_silent_one_count_nothing() {
        let mut fleet = Fleet::default();
        fleet.look(vec![reported("a", 0, 100)], second(0));
        fleet.look(vec![reported("a", 1, 5)], second(1));
        assert_eq!(fleet.speed(), Speed::default());
        fleet.look(vec![reported("a", 2, 15)], second(2));
        assert!((fleet.speed().of("handled") - 10.0).abs() < 1e-9);
        let silent = Reported {
            age: Duration::from_secs(9),
            ..reported("a", 2, 15)
        };
        fleet.look(vec![silent], second(11));
        assert_eq!(fleet.speed(), Speed::default());
        assert!(fleet.members()[0].clock_offset.abs() < 1e-9);
        fleet.look(Vec::new(), second(12));
        assert!(fleet.members().is_empty() && fleet.samples.is_empty());
    }

    #[test]
    fn a_clock_that_is_ahead_is_seen() {
        let mut fleet = Fleet::default();
        fleet.look(vec![reported("a", 30, 0)], second(0));
        assert!((fleet.members()[0].clock_offset - 30.0).abs() < 1e-9);
    }
}

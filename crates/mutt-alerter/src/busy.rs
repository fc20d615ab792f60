//! Which hosts send most: an estimate for people, bounded in memory however many hosts there are.
//!
//! Counts are kept in slices of ten minutes, so that an hour slides. A slice that holds too many
//! hosts forgets its quieter half: the busiest are exact unless thousands are about as busy.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

/// The width of a slice.
const SLICE: Duration = Duration::from_mins(10);
/// Slices of an hour.
const SLICES: usize = 6;
/// The most hosts that a slice keeps before it forgets.
const HOSTS_MAX: usize = 4_000;

type Counts = HashMap<Box<str>, u64>;

/// The events of each host within the last hour.
#[derive(Debug)]
pub(crate) struct BusyHosts {
    /// The newest first, with the time at which it began.
    slices: VecDeque<(Instant, Counts)>,
}

impl BusyHosts {
    pub(crate) const fn new() -> Self {
        Self {
            slices: VecDeque::new(),
        }
    }

    /// Adds events by host.
    pub(crate) fn add(&mut self, hosts: Vec<(Box<str>, u64)>, now: Instant) {
        self.forget(now);
        if self
            .slices
            .front()
            .is_none_or(|(began, _)| now.duration_since(*began) >= SLICE)
        {
            self.slices.push_front((now, Counts::new()));
        }
        let Some((_, counts)) = self.slices.front_mut() else {
            return;
        };
        for (host, count) in hosts {
            *counts.entry(host).or_default() += count;
        }
        if counts.len() > HOSTS_MAX {
            let mut all: Vec<u64> = counts.values().copied().collect();
            let (_, &mut middle, _) = all.select_nth_unstable(HOSTS_MAX / 2);
            // Where most are equally quiet, they all go: none of them is among the busiest.
            counts.retain(|_, count| *count > middle);
        }
    }

    /// The busiest hosts within the last hour, the busiest first.
    pub(crate) fn top(&mut self, limit: usize, now: Instant) -> Vec<(String, u64)> {
        self.forget(now);
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for (host, count) in self.slices.iter().flat_map(|(_, counts)| counts) {
            *sums.entry(host).or_default() += count;
        }
        let mut top: Vec<_> = sums.into_iter().collect();
        top.sort_unstable_by(|one, other| (other.1, one.0).cmp(&(one.1, other.0)));
        top.truncate(limit);
        top.into_iter()
            .map(|(host, count)| (host.to_owned(), count))
            .collect()
    }

    fn forget(&mut self, now: Instant) {
        let over = SLICE * u32::try_from(SLICES).unwrap_or(1);
        self.slices
            .retain(|(began, _)| now.duration_since(*began) < over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(hosts: &[(&str, u64)]) -> Vec<(Box<str>, u64)> {
        hosts
            .iter()
            .map(|&(host, count)| (host.into(), count))
            .collect()
    }

    #[test]
    fn an_hour_slides() {
        let mut busy = BusyHosts::new();
        let start = Instant::now();
        busy.add(some(&[("a", 5), ("b", 1)]), start);
        busy.add(some(&[("b", 9)]), start + SLICE * 3);
        let now = start + SLICE * 4;
        assert_eq!(
            busy.top(10, now),
            [("b".to_owned(), 10), ("a".to_owned(), 5)]
        );
        assert_eq!(busy.top(1, now).len(), 1);
        let now = start + SLICE * 6;
        assert_eq!(busy.top(10, now), [("b".to_owned(), 9)]);
        assert!(busy.top(10, start + SLICE * 9).is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_busiest_stay() {
        let mut busy = BusyHosts::new();
        let now = Instant::now();
        for round in 0..10 {
            let mut hosts: Vec<(Box<str>, u64)> = (0..3_000)
                .map(|host| (format!("quiet-{round}-{host}").into(), 1))
                .collect();
            hosts.push(("loud".into(), 50));
            busy.add(hosts, now);
            let kept: usize = busy.slices.iter().map(|(_, counts)| counts.len()).sum();
            assert!(kept <= HOSTS_MAX, "{kept}");
        }
        assert_eq!(busy.top(1, now), [("loud".to_owned(), 500)]);
    }
}

//! What goes wrong on demand: which requests, how, and for how long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

/// One thing that goes wrong. Unset fields do not restrict and do nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Answers with this status.
    pub status: Option<u16>,
    /// The body of that answer.
    pub body: Option<String>,
    /// Its `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// Its `Location`.
    pub location: Option<String>,
    /// Waits before answering, in milliseconds.
    pub delay_ms: u64,
    /// Resets the connection instead of answering.
    pub reset: bool,
    /// Answers 429 to what exceeds this rate, and lets the rest pass.
    pub rate_limit: Option<RateLimit>,
    /// Only so many requests.
    pub count: Option<u64>,
    /// Only for so long, in seconds, from when it was set.
    pub for_seconds: Option<f64>,
    /// Only requests whose body contains this text.
    pub contains: Option<String>,
    /// Only this share of the requests, 0..1.
    pub share: Option<f64>,
}

/// A rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests.
    pub count: usize,
    /// Per so many seconds.
    pub period: f64,
}

/// Every fault, with what became of it so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Active>);

#[derive(Debug)]
struct Active {
    fault: Fault,
    since: Instant,
    left: Option<u64>,
    passed: VecDeque<Instant>,
}

impl Faults {
    pub(super) fn set(&mut self, faults: impl IntoIterator<Item = Fault>) {
        let since = Instant::now();
        self.0 = faults
            .into_iter()
            .map(|fault| Active {
                left: fault.count,
                fault,
                since,
                passed: VecDeque::new(),
            })
            .collect();
    }

    /// Faults that may still happen.
    pub(super) fn active(&self) -> Vec<Fault> {
        let now = Instant::now();
        self.0
            .iter()
            .filter(|active| active.is_active(now))
            .map(|active| active.fault.clone())
            .collect()
    }

    /// The fault for this request; one use of it is counted.
    pub(super) fn take(&mut self, body: &[u8]) -> Option<Fault> {
        let now = Instant::now();
        self.0.iter_mut().find_map(|active| active.take(body, now))
    }
}

impl Active {
    fn is_active(&self, now: Instant) -> bool {
        self.left != Some(0)
            && self
                .fault
                .for_seconds
                .is_none_or(|seconds| now.duration_since(self.since).as_secs_f64() < seconds)
    }

    fn take(&mut self, body: &[u8], now: Instant) -> Option<Fault> {
        let fault = &self.fault;
        let meant = self.is_active(now)
            && fault
                .contains
                .as_ref()
                .is_none_or(|text| contains(body, text.as_bytes()))
            && fault
                .share
                .is_none_or(|share| rand::rng().random::<f64>() < share);
        if !meant {
            return None;
        }
        let mut fault = fault.clone();
        if let Some(rate) = fault.rate_limit {
            let period = Duration::try_from_secs_f64(rate.period).unwrap_or_default();
            while self
                .passed
                .front()
                .is_some_and(|&at| now.duration_since(at) >= period)
            {
                self.passed.pop_front();
            }
            if self.passed.len() < rate.count {
                self.passed.push_back(now);
                return None;
            }
            fault.status = fault.status.or(Some(429));
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Some(fault)
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_ends_after_its_count_and_spares_what_it_does_not_mean() {
        let mut faults = Faults::default();
        let contains = Some("r1".to_owned());
        faults.set([Fault {
            status: Some(503),
            count: Some(2),
            contains,
            ..Fault::default()
        }]);
        assert_eq!(faults.take(b"other"), None);
        assert_eq!(faults.take(b"on r1").unwrap().status, Some(503));
        assert!(faults.take(b"r1").is_some());
        assert_eq!(faults.take(b"r1"), None);
        assert!(faults.active().is_empty());
    }

    #[test]
    fn a_rate_lets_its_count_pass() {
        let mut faults = Faults::default();
        let rate_limit = Some(RateLimit {
            count: 3,
            period: 3600.0,
        });
        faults.set([Fault {
            rate_limit,
            ..Fault::default()
        }]);
        let answers: Vec<_> = (0..5)
            .map(|_| faults.take(b"").and_then(|fault| fault.status))
            .collect();
        assert_eq!(answers, [None, None, None, Some(429), Some(429)]);
    }

    #[test]
    fn what_the_control_api_takes() {
        let fault: Fault = serde_json::from_str(
            r#"{"status":503,"count":10,"delay_ms":5,"rate_limit":{"count":50,"period":1.0}}"#,
        )
        .unwrap();
        assert_eq!(fault.count, Some(10));
        assert!(
            serde_json::from_str::<Fault>(r#"{"stauts":503}"#).is_err(),
            "typing errors show"
        );
    }
}

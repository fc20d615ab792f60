//! What all pods share about the sink: rate limits and circuits, each call one script by Redis's clock.
//!
//! A limit is exact: a grant stays in the window for the whole period, and no window holds more,
//! however many pods ask. A Redis that may have forgotten grants (it was started anew, another one
//! stands in for it, or somebody emptied it) lets a full window pass first. Only a clock of Redis that
//! jumps ahead ends windows early. A limit's key lives a second longer than its window; a circuit's
//! keys are few and stay, as in MUTT 2.5, whose states and times are understood.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp, Unit};
use mutt_engine::{Circuit, CircuitPolicy, CircuitState, Flow, Limit, Permit, Result};
use mutt_redis::{Cmd, redis};

use crate::engine::Distributed;
use crate::scripts;

/// Says since when which run of Redis remembers every grant.
const REMEMBERED: &str = "mutt:rate_limit_run";

/// The longest that a window or time-out can be told to a script in µs, exactly: 2^53.
const LONGEST: u64 = 1 << 53;

fn limit_key(name: &str) -> String {
    format!("mutt:rate_limit:{name}")
}

/// State, failures, since when it is open, since when a probe is out.
fn circuit_keys(name: &str) -> [String; 4] {
    ["state", "failures", "open_time", "probe_time"]
        .map(|what| format!("mutt:circuit_breaker:{name}:{what}"))
}

/// A duration in whole µs, rounded up, for the scripts.
fn micros(duration: Duration) -> u64 {
    let micros = duration.as_nanos().div_ceil(1000);
    u64::try_from(micros).unwrap_or(LONGEST).min(LONGEST)
}

/// The state with this name; 2.5 wrote it in capitals. Anything else is a closed circuit.
fn state(name: &str) -> CircuitState {
    [CircuitState::Open, CircuitState::HalfOpen]
        .into_iter()
        .find(|state| state.name().eq_ignore_ascii_case(name))
        .unwrap_or(CircuitState::Closed)
}

/// A time as MUTT 2.5 wrote it, seconds since 1970 with a fraction: as exact as µs.
pub(crate) fn from_epoch(seconds: f64) -> Option<Timestamp> {
    let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
    let at = Timestamp::from_duration(since).ok()?;
    at.round(Unit::Microsecond).ok()
}

/// Grants of the last `period` among the entries of a limit (see `take_permits.lua`); `now` in µs.
fn used_within(entries: &HashMap<String, String>, now: u64, period: Duration) -> u64 {
    let grants = |entry: &String| -> Option<u64> {
        let mut words = entry.split(' ').skip(1);
        let last: u64 = words.next()?.parse().ok()?;
        let count = words.next()?.parse().ok()?;
        (now.saturating_sub(last) < micros(period)).then_some(count)
    };
    entries.values().filter_map(grants).sum()
}

/// A circuit as it stands in Redis.
fn circuit(state_name: Option<&str>, failures: Option<&str>, open_time: Option<&str>) -> Circuit {
    let failures = failures.and_then(|failures| failures.trim().parse::<u64>().ok());
    let seconds = open_time.and_then(|seconds| seconds.trim().parse().ok());
    Circuit {
        state: state(state_name.unwrap_or_default()),
        failures: u32::try_from(failures.unwrap_or(0)).unwrap_or(u32::MAX),
        opened_at: seconds.and_then(from_epoch),
    }
}

impl Distributed {
    async fn change_circuit(
        &self,
        name: &str,
        append: impl FnOnce(&mut Cmd) + Send,
    ) -> Result<CircuitState> {
        let [state_key, failures, open_time, probe_time] = circuit_keys(name);
        let mut call = scripts::CIRCUIT.call(&[&state_key, &failures, &open_time, &probe_time]);
        append(&mut call);
        let found: String = self.shared.run(&scripts::CIRCUIT, &call).await?;
        Ok(state(&found))
    }
}

#[async_trait]
impl Flow for Distributed {
    async fn take_permits(&self, name: &str, limit: Limit, wanted: u32) -> Result<Permit> {
        let mut call = scripts::TAKE_PERMITS.call(&[&limit_key(name), REMEMBERED]);
        call.arg(limit.count.max(1))
            .arg(micros(limit.period))
            .arg(wanted.max(1));
        let (granted, wait): (u32, u64) = self.shared.run(&scripts::TAKE_PERMITS, &call).await?;
        Ok(if granted > 0 {
            Permit::Granted(granted)
        } else {
            Permit::Wait(Duration::from_micros(wait).min(limit.period))
        })
    }

    async fn permits_used(&self, name: &str, period: Duration) -> Result<u64> {
        let mut read = redis::pipe();
        read.cmd("TIME").cmd("HGETALL").arg(limit_key(name));
        let ((seconds, micros), entries): ((u64, u64), HashMap<String, String>) =
            self.shared.pipe(&read).await?;
        let now = seconds * 1_000_000 + micros;
        Ok(used_within(&entries, now, period))
    }

    async fn circuit_admit(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState> {
        self.change_circuit(name, |call| {
            call.arg("admit").arg(micros(policy.timeout));
        })
        .await
    }

    async fn circuit_success(&self, name: &str) -> Result<CircuitState> {
        self.change_circuit(name, |call| {
            call.arg("success");
        })
        .await
    }

    async fn circuit_failure(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState> {
        self.change_circuit(name, |call| {
            call.arg("failure").arg(policy.threshold.max(1));
        })
        .await
    }

    async fn circuit_open(&self, name: &str) -> Result<()> {
        self.change_circuit(name, |call| {
            call.arg("open");
        })
        .await
        .map(drop)
    }

    async fn circuit(&self, name: &str) -> Result<Circuit> {
        let [state, failures, open_time, _] = circuit_keys(name);
        let mut command = redis::cmd("MGET");
        command.arg(state).arg(failures).arg(open_time);
        let (state, failures, open_time): (Option<String>, Option<String>, Option<String>) =
            self.shared.call(&command).await?;
        Ok(circuit(
            state.as_deref(),
            failures.as_deref(),
            open_time.as_deref(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_2_5_wrote_is_understood() {
        let open = circuit(Some("OPEN"), Some("12"), Some("1700000000.25"));
        assert_eq!(
            open,
            Circuit {
                state: CircuitState::Open,
                failures: 12,
                opened_at: Some("2023-11-14T22:13:20.25Z".parse().unwrap()),
            }
        );
        assert_eq!(state("HALF_OPEN"), CircuitState::HalfOpen);
        assert_eq!(state("CLOSED"), CircuitState::Closed);
    }

    #[test]
    fn what_nobody_wrote_is_a_closed_circuit() {
        let closed = Circuit {
            state: CircuitState::Closed,
            failures: 0,
            opened_at: None,
        };
        assert_eq!(circuit(None, None, None), closed);
        assert_eq!(circuit(Some("what"), Some("-1"), Some("NaN")), closed);
        assert_eq!(circuit(None, Some(""), Some("1e300")), closed);
    }

    #[test]
    fn windows_are_rounded_up_and_stay_exact() {
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::from_secs(1)), 1_000_000);
        assert_eq!(micros(Duration::MAX), LONGEST);
    }
}

//! Remediation: what can be mended goes back when it is due, the rest is set aside.
//!
//! A pass reads a queue from its oldest entry on, until it has a batch, and moves the batch in one step.

use jiff::Timestamp;
use mutt_engine::dead_letters::{Remediated, ReplayPolicy};
use mutt_engine::{Dlq, EngineError, Result};

use crate::dead_letters::{
    BYTES, Letter, Move, Numbering, Reading, TRIES, depth, move_all, too_busy,
};
use crate::engine::Shared;

/// What is to be done with an entry now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its time has not come.
    Keep,
    Replay,
    Poison,
}

/// One that failed far in the future (a clock was wrong) does not wait for that time; nor does one of
/// which nobody knows when it failed.
fn judge(letter: &Letter, policy: ReplayPolicy, now: Timestamp) -> Verdict {
    if letter.replays >= policy.max_replays || !letter.reason.heals() {
        return Verdict::Poison;
    }
    let Some(failed_at) = letter.last_failed_at else {
        return Verdict::Replay;
    };
    let passed = i128::from(now.as_microsecond()) - i128::from(failed_at.as_microsecond());
    let backoff = i128::try_from(policy.backoff.as_micros()).unwrap_or(i128::MAX);
    let is_due = -passed > backoff || passed.max(0) >> letter.replays.min(30) >= backoff;
    if is_due {
        Verdict::Replay
    } else {
        Verdict::Keep
    }
}

/// One pass.
///
/// # Errors
/// `Unavailable`; `Invalid` for a queue that is not replayed by itself.
pub(crate) async fn remediate(
    shared: &Shared,
    queue: Dlq,
    policy: ReplayPolicy,
) -> Result<Remediated> {
    if !matches!(queue, Dlq::Moog | Dlq::Alerter) {
        return Err(EngineError::Invalid(format!(
            "{} is not replayed by itself; mutt:dlq:moog and mutt:dlq:alerter are",
            queue.key()
        )));
    }
    for _ in 0..TRIES {
        let (moves, done) = batch(shared, queue, policy).await?;
        if move_all(shared, queue, &moves).await? {
            return Ok(done);
        }
    }
    Err(too_busy(queue))
}

/// What a pass has to move: no more than a batch, and no more bytes than one step should.
async fn batch(
    shared: &Shared,
    queue: Dlq,
    policy: ReplayPolicy,
) -> Result<(Vec<Move>, Remediated)> {
    let now = Timestamp::now();
    let end = depth(shared, queue).await?;
    let mut reading = Reading::new(shared, queue, 0, end);
    let mut numbering = Numbering::default();
    let (mut moves, mut done, mut bytes) = (Vec::new(), Remediated::default(), 0);
    while moves.len() < policy.batch {
        let page = reading.next().await?;
        if page.is_empty() {
            break;
        }
        for placed in page {
            let letter = Letter::read(queue, &placed.entry, &mut numbering);
            let verdict = judge(&letter, policy, now);
            let to = match verdict {
                Verdict::Keep => continue,
                Verdict::Replay => letter.sent_back(&shared.names, letter.replays + 1),
                Verdict::Poison => (Dlq::Dead.key().to_owned(), letter.as_poison()),
            };
            let to = Some(to);
            let step = Move { placed, to };
            bytes += step.bytes();
            if moves.len() == policy.batch || (bytes > 2 * BYTES && !moves.is_empty()) {
                return Ok((moves, done));
            }
            moves.push(step);
            match verdict {
                Verdict::Replay => done.replayed += 1,
                _ => done.poison += 1,
            }
        }
    }
    Ok((moves, done))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mutt_engine::Reason;

    use super::*;

    fn letter(reason: Reason, failed_at: Option<i64>, replays: u32) -> Letter {
        let failed_at = failed_at.map(|second| Timestamp::from_second(second).unwrap());
        Letter {
            id: String::new(),
            is_named: true,
            element: Vec::new(),
            reason,
            detail: String::new(),
            origin: Dlq::Moog,
            first_failed_at: failed_at,
            last_failed_at: failed_at,
            attempts: 6,
            replays,
        }
    }

    #[test]
    fn an_entry_waits_twice_as_long_after_each_replay() {
        let policy = ReplayPolicy {
            batch: 10,
            max_replays: 3,
            backoff: Duration::from_mins(1),
        };
        let judged = |failed_at, replays, now| {
            let letter = letter(Reason::RetriesExhausted, failed_at, replays);
            judge(&letter, policy, Timestamp::from_second(now).unwrap())
        };
        assert_eq!(judged(Some(1000), 0, 1059), Verdict::Keep);
        assert_eq!(judged(Some(1000), 0, 1060), Verdict::Replay);
        assert_eq!(judged(Some(1000), 2, 1239), Verdict::Keep);
        assert_eq!(judged(Some(1000), 2, 1240), Verdict::Replay);
        assert_eq!(judged(Some(1000), 3, 1001), Verdict::Poison);
        assert_eq!(judged(None, 0, 1000), Verdict::Replay, "nobody knows when");
        assert_eq!(judged(Some(1050), 0, 1000), Verdict::Keep, "clocks differ");
        assert_eq!(
            judged(Some(1061), 0, 1000),
            Verdict::Replay,
            "that is no time to wait for"
        );
    }

    #[test]
    fn what_waiting_cannot_mend_is_poison() {
        let policy = ReplayPolicy {
            batch: 10,
            max_replays: 3,
            backoff: Duration::ZERO,
        };
        let now = Timestamp::from_second(1000).unwrap();
        for reason in [Reason::Refused, Reason::Malformed, Reason::Poison] {
            let letter = letter(reason, Some(1000), 0);
            assert_eq!(judge(&letter, policy, now), Verdict::Poison);
        }
        let shed = letter(Reason::Shed, Some(1000), 0);
        assert_eq!(judge(&shed, policy, now), Verdict::Replay);
    }
}

//! Which informs are being stored, and which are stored already, so that one that its sender repeats
//! is answered again and not stored twice.
//!
//! An answer is given out only for what is stored. Bounded; whatever is forgotten is at worst stored
//! again. Knows neither sockets nor messages.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an inform is remembered: longer than senders go on repeating one.
const MEMORY: Duration = Duration::from_mins(1);

/// The most informs that are remembered after they were stored, some 100 bytes each.
const MAX_REMEMBERED: usize = 65_536;

/// The most answers kept for one inform on its way: to the sender's newest attempts.
const MAX_ANSWERS: usize = 4;

/// What makes two informs the same: their sender and all that they say. A keyed hash, so that
/// nobody can make two on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InformKey(pub u64);

/// An answer and whom it is for.
pub type Answer = (Vec<u8>, SocketAddr);

/// What an inform is that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// To be stored; then [`Informs::stored`] gives its answers, or [`Informs::given_up`] forgets it.
    New,
    /// It is being stored already; its answer goes out with the other's.
    UnderWay,
    /// It is stored: this answer may go out.
    Stored(Answer),
    /// A copy of an old message, made by somebody else than its sender.
    Replayed,
}

#[derive(Debug)]
enum State {
    UnderWay(Vec<Answer>),
    Stored,
    GivenUp,
}

/// The informs of the last minute.
#[derive(Debug, Default)]
pub struct Informs {
    known: HashMap<InformKey, State>,
    /// Those that are not under way any more, by age.
    settled: VecDeque<(Instant, InformKey)>,
}

impl Informs {
    /// Takes an inform with its answer. `copied`: the very same authenticated message was received
    /// before.
    pub fn arrived(
        &mut self,
        key: InformKey,
        copied: bool,
        answer: Answer,
        now: Instant,
    ) -> Arrival {
        self.forget_old(now);
        match self.known.get_mut(&key) {
            Some(State::UnderWay(answers)) => {
                if !answers.contains(&answer) {
                    if answers.len() == MAX_ANSWERS {
                        answers.remove(0);
                    }
                    answers.push(answer);
                }
                Arrival::UnderWay
            }
            Some(State::Stored) => Arrival::Stored(answer),
            None if copied => Arrival::Replayed,
            Some(State::GivenUp) | None => {
                self.known.insert(key, State::UnderWay(vec![answer]));
                Arrival::New
            }
        }
    }

    /// The inform is stored: what is to be sent now.
    pub fn stored(&mut self, key: InformKey, now: Instant) -> Vec<Answer> {
        self.settle(key, State::Stored, now)
    }

    /// The inform could not be stored: the next time it is new.
    pub fn given_up(&mut self, key: InformKey, now: Instant) {
        self.settle(key, State::GivenUp, now);
    }

    fn settle(&mut self, key: InformKey, state: State, now: Instant) -> Vec<Answer> {
        match self.known.insert(key, state) {
            Some(State::UnderWay(answers)) => {
                self.settled.push_back((now, key));
                answers
            }
            _ => Vec::new(),
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.settled.front() {
            let old = now.saturating_duration_since(at) > MEMORY;
            if !old && self.settled.len() <= MAX_REMEMBERED {
                break;
            }
            self.settled.pop_front();
            // One that was given up and came again is under way, with a place of its own to come.
            if !matches!(self.known.get(&key), Some(State::UnderWay(_))) {
                self.known.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(octet: u8) -> Answer {
        (vec![octet], "127.0.0.1:5000".parse().unwrap())
    }

    #[test]
    fn a_repeated_inform_is_answered_again_and_stored_once() {
        let (mut informs, now) = (Informs::default(), Instant::now());
        let key = InformKey(1);
        assert_eq!(informs.arrived(key, false, answer(1), now), Arrival::New);
        assert_eq!(
            informs.arrived(key, false, answer(2), now),
            Arrival::UnderWay
        );
        assert_eq!(
            informs.arrived(key, true, answer(1), now),
            Arrival::UnderWay
        );
        assert_eq!(informs.stored(key, now), [answer(1), answer(2)]);
        let again = informs.arrived(key, true, answer(1), now);
        assert_eq!(again, Arrival::Stored(answer(1)));
        let later = now + MEMORY + Duration::from_secs(1);
        assert_eq!(
            informs.arrived(key, true, answer(1), later),
            Arrival::Replayed
        );
        assert_eq!(informs.arrived(key, false, answer(1), later), Arrival::New);
    }

    #[test]
    fn one_that_could_not_be_stored_is_taken_when_it_comes_again() {
        let (mut informs, now) = (Informs::default(), Instant::now());
        let key = InformKey(1);
        assert_eq!(informs.arrived(key, false, answer(1), now), Arrival::New);
        informs.given_up(key, now);
        assert_eq!(informs.arrived(key, true, answer(1), now), Arrival::New);
        // Its first place in the order of age must not take it away while it is under way.
        let later = now + MEMORY + Duration::from_secs(1);
        assert_eq!(
            informs.arrived(key, true, answer(1), later),
            Arrival::UnderWay
        );
        assert_eq!(informs.stored(key, later), [answer(1)]);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_say() {
        let (mut informs, now) = (Informs::default(), Instant::now());
        for octet in 0..20 {
            informs.arrived(InformKey(0), false, answer(octet), now);
        }
        assert_eq!(informs.stored(InformKey(0), now).len(), MAX_ANSWERS);
        for key in 1..=MAX_REMEMBERED as u64 + 50 {
            informs.arrived(InformKey(key), false, answer(0), now);
            informs.stored(InformKey(key), now);
        }
        informs.arrived(InformKey(0), false, answer(0), now);
        assert!(informs.known.len() <= MAX_REMEMBERED + 1);
    }
}

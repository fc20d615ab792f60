//! Dead letter queues: four lists, the newest entry at the head.
//!
//! An entry is the message with its history ([`crate::envelope`]); what MUTT 2.5 left is understood.
//! Entries are chosen here, by reading a list in pieces from its old end, and moved by a script that
//! first makes sure that they are still where they were read: nothing is moved twice, nothing in between
//! is lost, and no list is searched once per entry. What a person does is written down in
//! `config_audit_log` first. A crash between the two leaves a row about entries that still stand in
//! their queue; so does somebody else who takes the same entries at the same moment.

mod entry;
mod list;

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::dead_letters::{
    DlqEntry, LetterGroup, LetterGroups, Remediated, ReplayPolicy, event_in,
};
use mutt_engine::{Change, DeadLetter, DeadLetterFilter, DeadLetters, Dlq, EngineError, Result};
use mutt_event::EventId;
use serde_json::json;

pub(crate) use entry::{Letter, Numbering};
pub(crate) use list::{BYTES, Move, Placed, Reading, depth, move_all};

use crate::engine::{Distributed, Shared, unavailable};
use crate::envelope::{self, History};
use crate::{remediation, scripts};

/// The table name under which replays and discards stand in `config_audit_log`.
const TABLE: &str = "dlq";
/// What 2.5 called `mutt:dlq:moog` before.
const FORMER_NAME: &str = "mutt:moog_dead_letter_queue";
/// Entries that are written down in one row of `config_audit_log`, or a few more.
const ROW: usize = 1000;
/// Entries of the former list that one step moves.
const ADOPTED: u64 = 1000;
/// How often a list is read again in a row because somebody else took entries away.
pub(crate) const TRIES: u32 = 100;
/// How far one step looks for the places of its entries, all added up: some ten milliseconds of Redis.
const STEPS: u64 = 40_000_000;
/// How long replicas may take to have a dead letter.
const REPLICAS: Duration = Duration::from_secs(5);

/// Moves what 2.5 left under the former name of `mutt:dlq:moog`.
///
/// # Errors
/// `Unavailable`.
pub(crate) async fn adopt(shared: &Shared) -> Result<()> {
    let mut call = scripts::ADOPT_LETTERS.call(&[FORMER_NAME, Dlq::Moog.key()]);
    call.arg(ADOPTED);
    let mut adopted = 0;
    loop {
        let moved: u64 = shared.run(&scripts::ADOPT_LETTERS, &call).await?;
        adopted += moved;
        if moved == 0 {
            break;
        }
    }
    if adopted > 0 {
        tracing::info!(
            entries = adopted,
            "dead letters were moved from {FORMER_NAME} to {}",
            Dlq::Moog.key()
        );
    }
    Ok(())
}

pub(crate) fn too_busy(queue: Dlq) -> EngineError {
    EngineError::Unavailable(format!(
        "{} is being changed by others all the time; try again",
        queue.key()
    ))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Replay,
    Redecide,
    Discard,
}

/// What a person does with chosen entries.
struct Act<'a> {
    shared: &'a Shared,
    queue: Dlq,
    filter: &'a DeadLetterFilter,
    by: &'a Change,
    action: Action,
    /// Ids that are still looked for, where ids were given.
    wanted: Option<HashSet<String>>,
    /// Numbers of entries without a name that were moved.
    taken: Numbering,
    /// Entries that were moved.
    done: u64,
    /// Entries that were written down and not moved yet.
    recorded: u64,
    /// Their events.
    events: HashSet<EventId>,
}

impl Act<'_> {
    async fn run(mut self) -> Result<u64> {
        let end = depth(self.shared, self.queue).await?;
        let (mut tries, mut before) = (0, 0);
        // What comes in from now on is not meant.
        while !self.pass(end.saturating_sub(self.done)).await? {
            tries = if self.done > before { 0 } else { tries + 1 };
            before = self.done;
            if tries == TRIES {
                return Err(too_busy(self.queue));
            }
        }
        Ok(self.done)
    }

    /// Goes through the list once. False where somebody else took entries away meanwhile.
    async fn pass(&mut self, end: u64) -> Result<bool> {
        let mut reading = Reading::new(self.shared, self.queue, 0, end);
        let mut numbering = self.taken.clone();
        let mut chosen: Vec<(Letter, Move)> = Vec::new();
        let mut bytes = 0;
        let mut found = 0;
        loop {
            let page = reading.next().await?;
            let looked_for = self.wanted.as_ref().map(HashSet::len);
            let is_last = page.is_empty();
            for placed in page {
                let letter = Letter::read(self.queue, &placed.entry, &mut numbering);
                if self.is_meant(&letter) {
                    found += 1;
                    let Some(step) = self.step(&letter, placed) else {
                        continue;
                    };
                    bytes += step.bytes();
                    chosen.push((letter, step));
                }
            }
            let is_last = is_last || looked_for.is_some_and(|ids| found >= ids);
            if chosen.len() >= ROW || bytes >= BYTES || is_last {
                let moved = chosen.len() as u64;
                if !self.carry_out(std::mem::take(&mut chosen)).await? {
                    return Ok(false);
                }
                reading.moved(moved);
                bytes = 0;
                found = 0;
            }
            if is_last {
                return Ok(true);
            }
        }
    }

    fn is_meant(&self, letter: &Letter) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_none_or(|ids| ids.contains(&letter.id)) && letter.is_meant(self.filter)
    }

    /// What is done with an entry; `None` where it stays.
    fn step(&self, letter: &Letter, placed: Placed) -> Option<Move> {
        let names = &self.shared.names;
        let to = match self.action {
            // A person's replays are not counted.
            Action::Replay => Some(letter.sent_back(names, letter.replays)),
            Action::Redecide => Some(letter.to_be_decided(names, Timestamp::now())?),
            Action::Discard => None,
        };
        Some(Move { placed, to })
    }

    /// Writes down and moves entries that stand in the order of their places.
    async fn carry_out(&mut self, chosen: Vec<(Letter, Move)>) -> Result<bool> {
        self.record(&chosen).await?;
        let (letters, mut moves): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
        let mut letters = letters.into_iter();
        while let Some(last) = moves.last() {
            let count = if last.placed.place + 1 == moves.len() as u64 {
                moves.len()
            } else {
                // The further from the end, the fewer at once.
                let fitting = STEPS / (last.placed.place + 1);
                usize::try_from(fitting.max(10)).map_or(moves.len(), |most| most.min(moves.len()))
            };
            let rest = moves.split_off(count);
            if !move_all(self.shared, self.queue, &moves).await? {
                return Ok(false);
            }
            let count = count as u64;
            self.done += count;
            self.recorded -= count;
            for (letter, step) in letters.by_ref().zip(&moves) {
                if let Some(wanted) = &mut self.wanted {
                    wanted.remove(&letter.id);
                }
                if let Some(event) = event_in(&letter.element) {
                    self.events.remove(&event);
                }
                if !letter.is_named {
                    self.taken.took(&step.placed.entry);
                }
            }
            moves = rest;
            for step in &mut moves {
                step.placed.place -= count;
            }
        }
        Ok(true)
    }

    /// Makes sure that these entries are written down.
    async fn record(&mut self, chosen: &[(Letter, Move)]) -> Result<()> {
        let events: HashSet<EventId> = chosen
            .iter()
            .filter_map(|(letter, _)| event_in(&letter.element))
            .filter(|event| !self.events.contains(event))
            .collect();
        // Where somebody else took some that are written down, others came in their place.
        let new = (chosen.len() as u64)
            .saturating_sub(self.recorded)
            .max(events.len() as u64);
        if new == 0 {
            return Ok(());
        }
        let old = json!({
            "queue": self.queue.key(),
            "entries": new,
            "filter": self.filter,
            "events": events,
        });
        let (operation, now) = match self.action {
            Action::Replay => ("UPDATE", Some(json!({ "replayed": new }))),
            Action::Redecide => ("UPDATE", Some(json!({ "redecided": new }))),
            Action::Discard => ("DELETE", None),
        };
        let key = Some(self.queue.name());
        let postgres = &self.shared.postgres;
        Box::pin(postgres.record(operation, TABLE, key, Some(old), now, self.by)).await?;
        self.recorded += new;
        self.events.extend(events);
        Ok(())
    }
}

impl Distributed {
    async fn act(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        by: &Change,
        action: Action,
    ) -> Result<u64> {
        let act = Act {
            shared: &self.shared,
            queue,
            filter,
            by,
            action,
            wanted: filter.ids.as_ref().map(|ids| ids.iter().cloned().collect()),
            taken: Numbering::default(),
            done: 0,
            recorded: 0,
            events: HashSet::new(),
        };
        act.run().await
    }

    /// What is kept of each of the entries that are meant, from `offset`, at most `limit`.
    async fn listed<T>(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
        keep: fn(Letter, Dlq) -> T,
    ) -> Result<Vec<T>> {
        let keep = |letter| keep(letter, queue);
        if filter.is_any()
            && let Some(named) = self.named(queue, offset, limit, keep).await?
        {
            return Ok(named);
        }
        self.chosen(queue, filter, offset, limit, keep).await
    }

    /// Entries at these places, where all of them have names.
    async fn named<T>(
        &self,
        queue: Dlq,
        offset: u64,
        limit: usize,
        keep: impl Fn(Letter) -> T,
    ) -> Result<Option<Vec<T>>> {
        let mut reading = Reading::new(
            &self.shared,
            queue,
            offset,
            offset.saturating_add(limit as u64),
        );
        let mut letters = Vec::new();
        loop {
            let page = reading.next().await?;
            if page.is_empty() {
                return Ok(Some(letters));
            }
            for placed in page {
                let letter = Letter::read(queue, &placed.entry, &mut Numbering::default());
                if !letter.is_named {
                    return Ok(None);
                }
                letters.push(keep(letter));
            }
        }
    }

    /// Entries that a filter means.
    async fn chosen<T>(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
        keep: impl Fn(Letter) -> T,
    ) -> Result<Vec<T>> {
        let ids = filter.ids.as_ref();
        let mut wanted: Option<HashSet<&str>> =
            ids.map(|ids| ids.iter().map(String::as_str).collect());
        let end = depth(&self.shared, queue).await?;
        let mut reading = Reading::new(&self.shared, queue, 0, end);
        let (mut numbering, mut skip, mut letters) = (Numbering::default(), offset, Vec::new());
        while letters.len() < limit && wanted.as_ref().is_none_or(|ids| !ids.is_empty()) {
            let page = reading.next().await?;
            if page.is_empty() {
                break;
            }
            for placed in page {
                let letter = Letter::read(queue, &placed.entry, &mut numbering);
                let is_wanted = wanted
                    .as_mut()
                    .is_none_or(|ids| ids.remove(letter.id.as_str()));
                if !is_wanted || !letter.is_meant(filter) {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                } else if letters.len() < limit {
                    letters.push(keep(letter));
                }
            }
        }
        Ok(letters)
    }
}

#[async_trait]
impl DeadLetters for Distributed {
    async fn bury(&self, queue: Dlq, letters: Vec<DeadLetter>) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let (now, none) = (Timestamp::now(), History::default());
        let mut call = scripts::BURY.call(&[queue.key()]);
        for letter in &letters {
            call.arg(envelope::dead(queue, letter, 0, &none, now));
        }
        let wanted = shared.wait_replicas;
        if wanted == 0 {
            let _: u64 = shared.run(&scripts::BURY, &call).await?;
            return Ok(());
        }
        shared.admitted().await?;
        let (_, replicas): (u64, u32) = shared
            .redis
            .run_replicated(&scripts::BURY, &call, wanted, REPLICAS)
            .await
            .map_err(unavailable)?;
        if replicas < wanted {
            return Err(EngineError::Unavailable(format!(
                "{replicas} of {wanted} replicas (REDIS_WAIT_REPLICAS) have the dead letters"
            )));
        }
        Ok(())
    }

    async fn dead_letters(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<DlqEntry>> {
        self.listed(queue, filter, offset, limit, Letter::listed)
            .await
    }

    async fn dead_letter_ids(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.listed(queue, filter, offset, limit, |letter, _| letter.id)
            .await
    }

    async fn dead_letter_groups(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        most: u64,
    ) -> Result<Vec<LetterGroup>> {
        let wanted: Option<HashSet<&str>> = filter
            .ids
            .as_ref()
            .map(|ids| ids.iter().map(String::as_str).collect());
        let end = depth(&self.shared, queue).await?.min(most);
        let mut reading = Reading::new(&self.shared, queue, 0, end);
        let (mut numbering, mut groups) = (Numbering::default(), LetterGroups::default());
        loop {
            let page = reading.next().await?;
            if page.is_empty() {
                return Ok(groups.finish());
            }
            for placed in page {
                let letter = Letter::read(queue, &placed.entry, &mut numbering);
                let is_wanted = wanted
                    .as_ref()
                    .is_none_or(|ids| ids.contains(letter.id.as_str()));
                if is_wanted && letter.is_meant(filter) {
                    groups.add(letter.reason, &letter.detail, letter.last_failed_at);
                }
            }
        }
    }

    async fn dlq_depth(&self, queue: Dlq) -> Result<u64> {
        depth(&self.shared, queue).await
    }

    async fn remediate(&self, queue: Dlq, policy: ReplayPolicy) -> Result<Remediated> {
        remediation::remediate(&self.shared, queue, policy).await
    }

    async fn replay(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.act(queue, filter, by, Action::Replay).await
    }

    async fn redecide(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.act(queue, filter, by, Action::Redecide).await
    }

    async fn discard(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        let reason = by.reason.as_deref().unwrap_or_default();
        if reason.trim().is_empty() {
            return Err(EngineError::Invalid(
                "say why: discarding needs a reason".to_owned(),
            ));
        }
        self.act(queue, filter, by, Action::Discard).await
    }
}

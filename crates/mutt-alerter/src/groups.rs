//! Unmatched events of one claim, added up by host and signature, so that a storm of one kind
//! costs the store one row.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::hash_table::{Entry, HashTable};
use mutt_engine::Unhandled;
use mutt_event::EventView;
use mutt_event::mask::{Signature, signature};
use mutt_rules::Environment;

use crate::catalog::Snapshot;
use crate::decide::{Policy, shortened};

/// The most characters of a sample and of a masked text.
const SAMPLE_CHARS: usize = 1000;

/// Unmatched events by host and signature, in the order in which each was first seen.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    hasher: hashbrown::DefaultHashBuilder,
    /// Positions in the two lists below.
    table: HashTable<usize>,
    rows: Vec<Unhandled>,
    hashes: Vec<u64>,
}

impl Groups {
    /// Counts one event. `buffer` is memory to work in.
    pub(crate) fn add(
        &mut self,
        view: &EventView<'_>,
        environment: Environment,
        snapshot: &Snapshot,
        policy: &Policy,
        buffer: &mut String,
    ) {
        let signature = signature(&view.message);
        let Self {
            hasher,
            table,
            rows,
            hashes,
        } = self;
        let key = |host: &str, hash: u64| hasher.hash_one((host, hash));
        let entry = table.entry(
            key(&view.hostname, signature.hash),
            |&at| hashes[at] == signature.hash && *rows[at].hostname == *view.hostname,
            |&at| key(&rows[at].hostname, hashes[at]),
        );
        match entry {
            Entry::Occupied(known) => rows[*known.get()].count += 1,
            Entry::Vacant(new) => {
                let team = snapshot.device_team(&view.hostname, buffer);
                let team = Arc::clone(team.unwrap_or(&policy.default_team));
                let row = first(view, &signature, environment, team);
                new.insert(rows.len());
                rows.push(row);
                hashes.push(signature.hash);
            }
        }
    }

    /// Everything counted since the last time.
    pub(crate) fn take(&mut self) -> Vec<Unhandled> {
        self.table.clear();
        self.hashes.clear();
        std::mem::take(&mut self.rows)
    }
}

fn first(
    view: &EventView<'_>,
    signature: &Signature,
    environment: Environment,
    team: Arc<str>,
) -> Unhandled {
    Unhandled {
        hostname: view.hostname.as_ref().into(),
        signature: signature.hex().into(),
        masked: shortened(&signature.text, SAMPLE_CHARS).into(),
        sample: shortened(&view.message, SAMPLE_CHARS).into(),
        count: 1,
        team,
        environment: environment.name(),
    }
}

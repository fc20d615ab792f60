//! The ledger of the distributed engine: senders at load, SIGKILL of any role, of Redis and of
//! PostgreSQL at random moments and in any combination. Afterwards every event that got its 200 has
//! exactly one audit row, every forwardable one was delivered, nothing waits and no claim is left.
//!
//! `MUTT_LEDGER_KILLS` sets the number of kills (default 24), `MUTT_LEDGER_SEED` the moments.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::sync::Arc;

use mutt_forwarder::mock::Fault;
use support::cluster::{Cluster, Wanted};
use support::ledger::{Chance, Ledger, setting, tcp_sender};

/// What can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// By position in [`Cluster::roles`].
    Role(usize),
    Redis,
    Postgres,
}

fn kill(cluster: &mut Cluster, victim: Victim) {
    match victim {
        Victim::Role(index) => cluster.roles()[index].kill(),
        Victim::Redis => cluster.redis.kill(),
        Victim::Postgres => cluster.postgres.kill(),
    }
}

async fn revive(cluster: &mut Cluster, victim: Victim) {
    match victim {
        Victim::Role(index) => cluster.roles()[index].start().await,
        Victim::Redis => cluster.redis.restart(),
        Victim::Postgres => cluster.postgres.restart(),
    }
}

/// One to three victims, each once.
fn draw(chance: &mut Chance, roles: usize) -> Vec<Victim> {
    let mut all: Vec<_> = (0..roles).map(Victim::Role).collect();
    // The servers come up as often as the roles of one kind.
    all.extend([
        Victim::Redis,
        Victim::Redis,
        Victim::Postgres,
        Victim::Postgres,
    ]);
    let count = 1 + chance.below(3);
    let mut drawn = Vec::new();
    for _ in 0..count {
        let index = usize::try_from(chance.below(all.len() as u64)).unwrap();
        let victim = all[index];
        all.retain(|other| *other != victim);
        drawn.push(victim);
    }
    drawn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_decided_twice_whatever_dies() {
    let kills = setting("MUTT_LEDGER_KILLS", 24);
    let seed = setting("MUTT_LEDGER_SEED", u64::from(std::process::id()));
    eprintln!("at least {kills} kills, seed {seed}");
    let mut cluster = Cluster::start(Wanted::default()).await;
    // A sink that fails now and then, so that kills also meet retries.
    cluster.mock.set_faults([Fault {
        status: Some(503),
        share: Some(0.05),
        ..Fault::default()
    }]);
    let ledger = Arc::new(Ledger::default());
    let mut senders = cluster.senders(3, &ledger);
    let syslog = cluster.ingestor.syslog.addr();
    senders.push(tokio::spawn(tcp_sender(syslog, ledger.clone())));
    cluster.decisions(100).await;

    let mut chance = Chance(seed);
    let roles = cluster.roles().len();
    let (mut killed, mut cycle) = (0, 0);
    while killed < kills {
        cycle += 1;
        chance.pause(20, 800).await;
        // Every second life must have taken something and every fourth have decided something, or
        // the test would test nothing.
        if cycle % 2 == 0 {
            cluster.progress(&ledger, 1).await;
        }
        if cycle % 4 == 0 {
            cluster.decisions(1).await;
        }
        let mut victims = draw(&mut chance, roles);
        eprintln!("{killed}: {victims:?}");
        for &victim in &victims {
            kill(&mut cluster, victim);
        }
        killed += victims.len() as u64;
        chance.pause(1, 500).await;
        // In another order than they died.
        if chance.below(2) == 0 {
            victims.reverse();
        }
        for victim in victims {
            revive(&mut cluster, victim).await;
        }
    }
    let acknowledged = ledger.len();
    let rows = cluster.settle_up(&ledger, senders).await;
    assert!(acknowledged as u64 > kills && rows.len() >= acknowledged);
}

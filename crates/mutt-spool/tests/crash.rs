//! SIGKILL of a process that fills and drains a spool, again and again: what it acknowledged was
//! pushed exactly once in the end.
//!
//! The other process is this test binary, started again for `child` alone. What it writes to its
//! standard output is the world outside: `A` an acknowledgement, `P` a push, which counts once its
//! whole line is out. `MUTT_SPOOL_KILLS` sets the number of kills (default 12).
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mutt_spool::Spool;
use support::{batch, ids, letter};

const DIRECTORY: &str = "MUTT_SPOOL_CHILD_DIRECTORY";
const PUSHED: &str = "MUTT_SPOOL_CHILD_PUSHED";
const LIFE: &str = "MUTT_SPOOL_CHILD_LIFE";

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Not a test: what the other process does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let mut pushed: u64 = std::env::var(PUSHED).unwrap().parse().unwrap();
    let spool = Spool::open(Path::new(&directory), 64 << 20).unwrap();
    say("O\n");
    for sender in 0..4 {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move {
            for turn in 0_u64.. {
                let id = format!("{life}-{sender}-{turn}");
                // Some are large, so that kills also meet long writes.
                let count = if turn.is_multiple_of(20) {
                    2000
                } else {
                    1 + turn % 3
                };
                let names: Vec<_> = (0..count).map(|n| format!("{id}-{n}")).collect();
                let reject = format!("{id}-r");
                spool
                    .put(batch(&names), vec![letter(&reject)])
                    .await
                    .unwrap();
                say(&format!("A {} {reject}\n", names.join(" ")));
            }
        });
    }
    loop {
        let spooled = spool.next(500, Duration::from_millis(50)).await.unwrap();
        let Some(mut spooled) = spooled else { continue };
        if spooled.first() > pushed || spooled.skip_through(pushed) {
            say(&format!(
                "P {} {}\n",
                spooled.last(),
                ids(&spooled).join(" ")
            ));
            pushed = spooled.last();
        }
        spool.settle(spooled).await.unwrap();
    }
}

#[derive(Default)]
struct World {
    acknowledged: HashSet<String>,
    pushed: HashMap<String, u32>,
    last: u64,
}

impl World {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        match words.next() {
            Some("A") => self.acknowledged.extend(words.map(Into::into)),
            Some("P") => {
                let last = words.next().unwrap().parse().unwrap();
                assert!(last > self.last, "numbers go up");
                self.last = last;
                self.push(words.map(Into::into));
            }
            // What the test harness of the child says.
            _ => {}
        }
    }

    fn push(&mut self, ids: impl Iterator<Item = String>) {
        for id in ids {
            *self.pushed.entry(id).or_default() += 1;
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(directory: &Path, pushed: u64, life: u64) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(PUSHED, pushed.to_string())
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Killed(child)
}

#[tokio::test]
async fn whenever_the_process_is_killed_everything_is_pushed_once() {
    let kills: u64 = std::env::var("MUTT_SPOOL_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::default();
    for life in 0..kills {
        let mut child = start(directory.path(), world.last, life);
        let mut out = BufReader::new(child.0.stdout.take().unwrap());
        // The moments differ by what was heard until then.
        let lines = 1 + life * 7919 % 400;
        let mut heard = 0;
        let mut line = String::new();
        while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            world.hear(line.trim_end());
            line.clear();
            heard += 1;
            // Then everything that is out already.
            if heard == lines {
                child.0.kill().unwrap();
            }
        }
        assert!(heard >= lines, "the child ended by itself");
    }
    let spool = Spool::open(directory.path(), 64 << 20).unwrap();
    let left = spool.depth();
    while let Some(mut spooled) = spool.next(1000, Duration::ZERO).await.unwrap() {
        spooled.skip_through(world.last);
        world.push(ids(&spooled).into_iter());
        spool.settle(spooled).await.unwrap();
    }
    assert_eq!((spool.depth(), spool.bytes()), (0, 0));
    eprintln!(
        "{} acknowledged, {} pushed, {left} left at the end",
        world.acknowledged.len(),
        world.pushed.len()
    );
    assert!(world.acknowledged.len() as u64 > kills);
    let lost: Vec<_> = world
        .acknowledged
        .iter()
        .filter(|id| !world.pushed.contains_key(*id))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let twice: Vec<_> = world
        .pushed
        .iter()
        .filter(|(_, count)| **count > 1)
        .collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
}

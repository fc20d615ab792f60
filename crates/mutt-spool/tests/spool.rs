//! What the spool promises, on real files.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::EngineError;
use mutt_event::Batch;
use mutt_spool::{Spool, Spooled};
use support::{batch, files, ids, letter};

const PLENTY: u64 = 1 << 30;
const LONG: Duration = Duration::from_mins(1);
const NOW: Duration = Duration::ZERO;

fn open(directory: &Path) -> Arc<Spool> {
    Spool::open(directory, PLENTY).unwrap()
}

async fn take(spool: &Spool, max: usize) -> Spooled {
    let spooled = spool.next(max, LONG).await.unwrap();
    spooled.expect("something waits")
}

/// Drains everything; the ids of events and rejects in order.
async fn drain(spool: &Spool) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(spooled) = spool.next(1000, NOW).await.unwrap() {
        all.extend(ids(&spooled));
        spool.settle(spooled).await.unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_senders_order_is_kept_and_nothing_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let senders: Vec<_> = (0..16)
        .map(|sender| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                for turn in 0..100 {
                    let events = [format!("{sender}-{turn}-a"), format!("{sender}-{turn}-b")];
                    let rejects = if turn % 10 == 0 {
                        vec![letter(&format!("{sender}-{turn}-r"))]
                    } else {
                        Vec::new()
                    };
                    assert!(spool.put(batch(&events), rejects).await.unwrap() >= 1);
                    assert!(!spool.is_empty());
                }
            })
        })
        .collect();
    let drainer = {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move {
            let (mut events, mut rejects, mut last) = (Vec::new(), 0, 0);
            while events.len() < 3200 || rejects < 160 {
                let spooled = take(&spool, 100).await;
                assert!(last < spooled.first() && spooled.first() <= spooled.last());
                last = spooled.last();
                rejects += spooled.rejects.len();
                events.extend(support::event_ids(&spooled));
                spool.settle(spooled).await.unwrap();
            }
            (events, rejects)
        })
    };
    for sender in senders {
        sender.await.unwrap();
    }
    let (events, rejects) = drainer.await.unwrap();
    assert_eq!((events.len(), rejects), (3200, 160));
    for sender in 0..16 {
        let prefix = format!("{sender}-");
        let of_one: Vec<_> = events.iter().filter(|id| id.starts_with(&prefix)).collect();
        let expected: Vec<String> = (0..100)
            .flat_map(|turn| [format!("{sender}-{turn}-a"), format!("{sender}-{turn}-b")])
            .collect();
        assert_eq!(of_one, expected.iter().collect::<Vec<_>>());
    }
    assert!(spool.is_empty());
    assert_eq!((spool.depth(), spool.bytes(), spool.oldest()), (0, 0, None));
}

#[tokio::test]
async fn what_was_taken_is_there_after_a_crash_with_its_numbers_and_its_totals() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let id = spool.id();
    for n in 0..50 {
        let rejects = vec![letter(&format!("r{n}"))];
        let depth = spool.put(batch(&[format!("e{n}")]), rejects).await.unwrap();
        assert_eq!(depth, n + 1);
    }
    // Without events a record counts as well.
    spool
        .put(Batch::new(), vec![letter("alone")])
        .await
        .unwrap();
    let first = take(&spool, 10).await;
    let settled_through = first.last();
    assert_eq!(ids(&first).len(), 20);
    spool.settle(first).await.unwrap();
    let out = take(&spool, 10).await;
    let (first, last, contents) = (out.first(), out.last(), ids(&out));
    assert!(first > settled_through);
    let totals = (spool.depth(), spool.bytes(), spool.oldest());
    assert_eq!(totals.0, 40);
    // A crash, with something out.
    drop(spool);
    drop(out);

    let spool = open(directory.path());
    assert_eq!(spool.id(), id);
    assert_eq!((spool.depth(), spool.bytes(), spool.oldest()), totals);
    let again = take(&spool, 10).await;
    assert_eq!((again.first(), again.last()), (first, last));
    assert_eq!(ids(&again), contents);
    spool.give_back(again);
    spool.put(batch(&["new"]), Vec::new()).await.unwrap();
    let all = drain(&spool).await;
    assert_eq!(all.len(), 82);
    assert_eq!(all.iter().filter(|id| *id == "new").count(), 1);
    spool.close().await;

    let spool = open(directory.path());
    assert_eq!((spool.depth(), spool.bytes(), spool.oldest()), (0, 0, None));
    spool.put(batch(&["later"]), Vec::new()).await.unwrap();
    assert!(
        take(&spool, 1).await.first() > last,
        "no number comes twice"
    );
}

#[tokio::test]
async fn what_is_out_is_offered_again_until_it_is_settled_and_only_one_is_out() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    for n in 0..10 {
        spool
            .put(batch(&[n.to_string()]), Vec::new())
            .await
            .unwrap();
    }
    let out = take(&spool, 3).await;
    assert_eq!(ids(&out), ["0", "1", "2"]);
    assert!(
        spool
            .next(3, Duration::from_millis(1))
            .await
            .unwrap()
            .is_none()
    );
    let waiting = {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move { ids(&take(&spool, 4).await) })
    };
    spool.give_back(out);
    assert_eq!(waiting.await.unwrap(), ["0", "1", "2", "3"]);
    let out = take(&spool, 2).await;
    drop(out);
    let out = take(&spool, 2).await;
    assert_eq!(ids(&out), ["0", "1"]);
    spool.settle(out).await.unwrap();
    assert_eq!(drain(&spool).await.len(), 8);
}

#[tokio::test]
async fn whoever_waits_is_woken_by_a_put() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    assert!(spool.next(1, NOW).await.unwrap().is_none());
    let waiting = {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move { ids(&take(&spool, 1).await) })
    };
    tokio::task::yield_now().await;
    spool.put(batch(&["x"]), Vec::new()).await.unwrap();
    assert_eq!(waiting.await.unwrap(), ["x"]);
}

#[tokio::test]
async fn what_was_pushed_before_is_skipped_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    for n in 0..6 {
        let rejects = if n % 2 == 0 {
            vec![letter(&format!("r{n}"))]
        } else {
            Vec::new()
        };
        let events = if n == 2 {
            Batch::new()
        } else {
            batch(&[format!("e{n}")])
        };
        spool.put(events, rejects).await.unwrap();
    }
    let first = take(&spool, 2).await;
    let (first, pushed) = (first.first(), first.last());
    // The process died behind the push; the next one takes another number of records.
    drop(spool);
    let spool = open(directory.path());
    let mut again = take(&spool, 4).await;
    assert_eq!(again.first(), first);
    assert!(again.last() > pushed);
    assert!(!again.skip_through(first - 1) || again.len() == 4);
    assert!(again.skip_through(pushed));
    assert!(again.first() > pushed);
    assert_eq!(ids(&again), ["e3", "e4", "r4"]);
    spool.settle(again).await.unwrap();
    let mut rest = take(&spool, 100).await;
    assert_eq!(ids(&rest), ["e5"]);
    let last = rest.last();
    assert!(!rest.skip_through(last));
    assert!(rest.is_empty());
    spool.settle(rest).await.unwrap();
    assert!(spool.is_empty());
}

#[tokio::test]
async fn beyond_the_bound_nothing_is_taken_until_something_was_drained() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 64 << 10).unwrap();
    let payload = "x".repeat(1000);
    let mut taken = 0_u64;
    let (bytes, limit) = loop {
        match spool.put(batch(&[&payload]), Vec::new()).await {
            Ok(depth) => taken = depth,
            Err(EngineError::SpoolFull { bytes, limit }) => break (bytes, limit),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(limit, 64 << 10);
    assert_eq!(bytes, spool.bytes());
    assert!(bytes <= limit && bytes + 1200 > limit, "{bytes}");
    assert_eq!(spool.depth(), taken);
    // Rejects count as events do, and what is larger than everything is refused as well.
    let huge = vec![letter(&"y".repeat(100_000))];
    let error = spool.put(Batch::new(), huge).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(error.to_string().contains("SPOOL_MAX_BYTES"), "{error}");

    let out = take(&spool, 5).await;
    assert!(
        spool.put(batch(&[&payload]), Vec::new()).await.is_err(),
        "it is not settled yet"
    );
    spool.settle(out).await.unwrap();
    for _ in 0..5 {
        spool.put(batch(&[&payload]), Vec::new()).await.unwrap();
    }
    assert!(spool.put(batch(&[&payload]), Vec::new()).await.is_err());
    // The bound holds over a restart.
    spool.close().await;
    let spool = Spool::open(directory.path(), 64 << 10).unwrap();
    assert_eq!(spool.depth(), taken);
    assert!(spool.put(batch(&[&payload]), Vec::new()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_come_at_once_do_not_pass_the_bound() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), 100_000).unwrap();
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let spool = Arc::clone(&spool);
            let events = batch(&["x".repeat(1000)]);
            tokio::spawn(async move { spool.put(events, Vec::new()).await.is_ok() })
        })
        .collect();
    let mut taken = 0;
    for caller in callers {
        taken += u64::from(caller.await.unwrap());
    }
    assert_eq!(spool.depth(), taken);
    assert!(
        taken < 100 && spool.bytes() <= 100_000,
        "{taken} {}",
        spool.bytes()
    );
    assert_eq!(drain(&spool).await.len() as u64, taken);
    spool.put(batch(&["room"]), Vec::new()).await.unwrap();
}

#[tokio::test]
async fn the_space_of_what_was_drained_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let payload = "x".repeat(100_000);
    let size = || -> u64 {
        let files = files(directory.path());
        files
            .iter()
            .map(|path| path.metadata().unwrap().len())
            .sum()
    };
    let mut most = 0;
    // 80 MB through a spool in which never more than 2 MB wait.
    for _ in 0..40 {
        for _ in 0..20 {
            spool.put(batch(&[&payload]), Vec::new()).await.unwrap();
        }
        while spool.depth() > 0 {
            let out = take(&spool, 5).await;
            spool.settle(out).await.unwrap();
        }
        most = most.max(size());
    }
    assert!(most < 20 << 20, "{most}");
    // 60 MB wait, over several files.
    for _ in 0..600 {
        spool.put(batch(&[&payload]), Vec::new()).await.unwrap();
    }
    assert!(size() >= spool.bytes());
    assert!(files(directory.path()).len() >= 4);
    let mut before = size();
    while spool.depth() > 0 {
        let out = take(&spool, 20).await;
        spool.settle(out).await.unwrap();
        assert!(size() <= before);
        before = size();
        assert!(before <= spool.bytes() + (17 << 20), "{before}");
    }
    assert!(size() <= 1 << 20, "{}", size());
    spool.close().await;
    assert_eq!(files(directory.path()).len(), 0);
}

#[tokio::test]
async fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("new/spool");
    let spool = open(&directory);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let error = Spool::open(&directory, PLENTY).unwrap_err();
    assert!(matches!(error, EngineError::Unusable(_)), "{error}");
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
    spool.close().await;
    let error = spool.put(batch(&["x"]), Vec::new()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
    assert!(spool.next(1, LONG).await.is_err());
    drop(open(&directory));
    drop(open(&directory));
    let error = Spool::open(Path::new("/proc/spool"), PLENTY).unwrap_err();
    assert!(error.to_string().contains("/proc/spool"), "{error}");
}

#[tokio::test]
async fn closing_ends_the_wait() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let waiting = {
        let spool = Arc::clone(&spool);
        tokio::spawn(async move { spool.next(1, Duration::from_hours(1)).await })
    };
    tokio::task::yield_now().await;
    spool.close().await;
    assert!(waiting.await.unwrap().is_err());
}

/// Three records, the process gone; the one file they are in.
async fn three(directory: &Path) -> std::path::PathBuf {
    let spool = open(directory);
    for n in 0..3 {
        spool
            .put(batch(&[format!("event-{n}")]), Vec::new())
            .await
            .unwrap();
    }
    drop(spool);
    let [file] = &files(directory)[..] else {
        panic!("one file")
    };
    file.clone()
}

#[tokio::test]
async fn a_torn_write_costs_what_was_not_acknowledged_and_nothing_else() {
    // Wherever the last write was torn off.
    for cut in 1..=51 {
        let directory = tempfile::tempdir().unwrap();
        let file = three(directory.path()).await;
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - cut]).unwrap();
        let spool = open(directory.path());
        assert_eq!(spool.depth(), 2, "{cut}");
        spool.put(batch(&["new"]), Vec::new()).await.unwrap();
        assert_eq!(drain(&spool).await, ["event-0", "event-1", "new"]);
    }
    // What the disk made of it does not matter.
    for noise in [vec![0; 5000], vec![0xff; 33], b"event".repeat(1000)] {
        let directory = tempfile::tempdir().unwrap();
        let file = three(directory.path()).await;
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.extend(noise);
        std::fs::write(&file, bytes).unwrap();
        let spool = open(directory.path());
        assert_eq!(spool.depth(), 3);
        spool.put(batch(&["new"]), Vec::new()).await.unwrap();
        drop(spool);
        // Now the torn file is not the last one any more.
        let spool = open(directory.path());
        assert_eq!(
            drain(&spool).await,
            ["event-0", "event-1", "event-2", "new"]
        );
    }
    // A file that was about to be made.
    let directory = tempfile::tempdir().unwrap();
    let file = three(directory.path()).await;
    std::fs::write(file.with_file_name("00000000000000ff.segment"), b"MUTT").unwrap();
    let spool = open(directory.path());
    spool.put(batch(&["new"]), Vec::new()).await.unwrap();
    assert_eq!(drain(&spool).await.len(), 4);
}

#[tokio::test]
async fn damage_to_what_was_acknowledged_is_told_and_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = three(directory.path()).await;
    let spool = open(directory.path());
    spool.put(batch(&["behind"]), Vec::new()).await.unwrap();
    drop(spool);
    let good = std::fs::read(&file).unwrap();

    // In the middle of a record: found when it is read.
    let mut bytes = good.clone();
    let at = bytes
        .windows(7)
        .position(|found| found == b"event-1")
        .unwrap();
    bytes[at] = b'X';
    std::fs::write(&file, &bytes).unwrap();
    let spool = open(directory.path());
    assert_eq!(spool.depth(), 4);
    let error = spool.next(100, LONG).await.unwrap_err();
    assert!(matches!(error, EngineError::Unusable(_)), "{error}");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
    drop(spool);

    // Records missing at the end of a file that is not the last: found at the start.
    std::fs::write(&file, &good[..good.len() - 10]).unwrap();
    let error = Spool::open(directory.path(), PLENTY).unwrap_err();
    assert!(matches!(error, EngineError::Unusable(_)), "{error}");
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );

    // As the text says: moved away, the rest goes on.
    std::fs::rename(&file, directory.path().join("kept")).unwrap();
    let spool = open(directory.path());
    assert_eq!(drain(&spool).await, ["behind"]);
}

#[tokio::test]
async fn a_position_that_was_lost_offers_again_and_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    for n in 0..3 {
        spool
            .put(batch(&[n.to_string()]), Vec::new())
            .await
            .unwrap();
    }
    let out = take(&spool, 1).await;
    let pushed = out.last();
    spool.settle(out).await.unwrap();
    drop(spool);
    std::fs::remove_file(directory.path().join("spool.settled")).unwrap();
    let spool = open(directory.path());
    let mut out = take(&spool, 10).await;
    assert_eq!(ids(&out), ["0", "1", "2"]);
    assert!(out.skip_through(pushed));
    assert_eq!(ids(&out), ["1", "2"]);
}

#[tokio::test]
async fn a_large_put_stays_whole() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let events: Vec<_> = (0..20_000).map(|n| format!("{n:0>500}")).collect();
    spool.put(batch(&["before"]), Vec::new()).await.unwrap();
    spool.put(batch(&events), Vec::new()).await.unwrap();
    spool.put(batch(&["behind"]), Vec::new()).await.unwrap();
    drop(spool);
    let spool = open(directory.path());
    for expected in [1, 20_000, 1] {
        let out = take(&spool, 1).await;
        assert_eq!(out.len(), expected);
        spool.settle(out).await.unwrap();
    }
    assert!(spool.is_empty());
}

#[tokio::test]
async fn what_was_tried_elsewhere_keeps_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let spool = open(directory.path());
    let (first, second, third) = (
        spool.number().unwrap(),
        spool.number().unwrap(),
        spool.number().unwrap(),
    );
    assert!(first < second && second < third);
    spool
        .put_as(second, batch(&["b"]), vec![letter("r")])
        .await
        .unwrap();
    let error = spool
        .put_as(first, batch(&["a"]), Vec::new())
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Invalid(_)), "{error}");
    let error = spool
        .put_as(second, batch(&["b"]), Vec::new())
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Invalid(_)), "{error}");
    // It stays a record of its own.
    spool.put(batch(&["c"]), Vec::new()).await.unwrap();
    let number = spool.number().unwrap();
    spool
        .put_as(number, batch(&["d"]), Vec::new())
        .await
        .unwrap();
    drop(spool);
    let spool = open(directory.path());
    let out = take(&spool, 1).await;
    assert_eq!((out.first(), out.last()), (second, second));
    assert_eq!(ids(&out), ["b", "r"]);
    spool.settle(out).await.unwrap();
    let error = spool
        .put_as(third, batch(&["late"]), Vec::new())
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Invalid(_)), "{error}");
    assert_eq!(drain(&spool).await, ["c", "d"]);
}

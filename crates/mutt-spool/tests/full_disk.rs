//! A real file system without space: needs root, because it is mounted.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use mutt_engine::EngineError;
use mutt_spool::Spool;
use support::{batch, ids};

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn event(number: usize) -> String {
    format!("{number}-{}", "x".repeat(50_000))
}

/// Puts until the disk is full; every put that was taken is noted.
async fn fill(spool: &Spool, taken: &mut Vec<String>, next: &mut usize) {
    loop {
        let event = event(*next);
        *next += 1;
        match spool.put(batch(&[&event]), Vec::new()).await {
            Ok(_) => taken.push(event),
            Err(error) => {
                assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
                assert!(error.to_string().contains("No space"), "{error}");
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_drains_and_recovers() {
    let Some(disk) = SmallDisk::mount(24) else {
        eprintln!("not run: mounting needs root");
        return;
    };
    let directory = disk.0.path().join("spool");
    let spool = Spool::open(&directory, 1 << 30).unwrap();
    let (mut taken, mut next) = (Vec::new(), 0);
    fill(&spool, &mut taken, &mut next).await;
    assert!(taken.len() > 100);
    // Refused again and again: no file is left behind by it.
    let files = support::files(&directory).len();
    for _ in 0..20 {
        fill(&spool, &mut taken, &mut next).await;
    }
    assert_eq!(support::files(&directory).len(), files);
    assert_eq!(spool.depth(), taken.len() as u64);

    // Filled by somebody else to the last byte, it still drains, and a restart changes nothing.
    let mut ballast = std::fs::File::create(disk.0.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    drop(spool);
    let spool = Spool::open(&directory, 1 << 30).unwrap();
    assert_eq!(spool.depth(), taken.len() as u64);
    let mut drained = Vec::new();
    for _ in 0..3 {
        let out = spool.next(5, Duration::ZERO).await.unwrap().unwrap();
        drained.extend(ids(&out));
        spool.settle(out).await.unwrap();
    }
    // Draining gives the first file's space back, and then there is room again.
    while spool.depth() > 20 {
        let out = spool.next(5, Duration::ZERO).await.unwrap().unwrap();
        drained.extend(ids(&out));
        spool.settle(out).await.unwrap();
    }
    fill(&spool, &mut taken, &mut next).await;
    drop(spool);
    let spool = Spool::open(&directory, 1 << 30).unwrap();
    while let Some(out) = spool.next(5, Duration::ZERO).await.unwrap() {
        drained.extend(ids(&out));
        spool.settle(out).await.unwrap();
    }
    assert!(drained == taken, "{} of {}", drained.len(), taken.len());
    spool.put(batch(&["after"]), Vec::new()).await.unwrap();
    spool.close().await;
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_told() {
    let Some(disk) = SmallDisk::mount(1) else {
        eprintln!("not run: mounting needs root");
        return;
    };
    let mut ballast = std::fs::File::create(disk.0.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let error = Spool::open(disk.0.path(), 1 << 30).unwrap_err();
    assert!(matches!(error, EngineError::Unusable(_)), "{error}");
    assert!(
        error.to_string().contains("disk must have space"),
        "{error}"
    );
}

//! What jobs say of themselves is there for every process, and so is the wish that one should stop.

use super::{Fixture, crash};
use crate::jobs::JOBS_REMEMBERED;

fn id(number: usize) -> String {
    format!("0192f000-0000-7000-8000-{number:012}")
}

/// The newest job comes first, each as it was saved last; a crash changes nothing.
pub async fn jobs_are_there_as_they_were_saved_last(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert!(engine.saved_jobs().await.expect("read").is_empty());
    for number in [1, 3, 2] {
        let says = format!("job {number} %1 \"ä\"\n");
        let stop = engine.save_job(&id(number), &says, false).await;
        assert!(!stop.expect("saved"));
    }
    let again = engine.save_job(&id(1), "", true).await;
    assert!(!again.expect("saved"));
    let engine = crash(fixture, engine).await;
    let jobs = engine.saved_jobs().await.expect("read");
    let seen: Vec<_> = jobs
        .iter()
        .map(|job| (job.id.clone(), job.says.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (id(3), "job 3 %1 \"ä\"\n"),
            (id(2), "job 2 %1 \"ä\"\n"),
            (id(1), "")
        ]
    );
    for job in &jobs {
        assert!(job.age < super::PATIENCE && !job.stopping, "{job:?}");
    }
}

/// A job hears that it is to stop whenever it is saved from then on.
pub async fn a_job_is_asked_to_stop(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert!(!engine.stop_job(&id(1)).await.expect("asked"));
    engine
        .save_job(&id(1), "a 0 0 b", false)
        .await
        .expect("saved");
    engine
        .save_job(&id(2), "other", false)
        .await
        .expect("saved");
    assert!(engine.stop_job(&id(1)).await.expect("asked"));
    let jobs = engine.saved_jobs().await.expect("read");
    assert_eq!((jobs[0].stopping, jobs[1].stopping), (false, true));
    assert_eq!(jobs[1].says, "a 0 0 b");
    assert!(engine.save_job(&id(1), "x", false).await.expect("saved"));
    assert!(engine.save_job(&id(1), "x", true).await.expect("saved"));
    assert!(!engine.save_job(&id(2), "x", true).await.expect("saved"));
}

/// Of jobs that have ended so many are kept; one that runs stays however old it is.
pub async fn so_many_ended_jobs_are_remembered(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.save_job(&id(0), "runs", false).await.expect("saved");
    for number in 1..=JOBS_REMEMBERED + 3 {
        engine
            .save_job(&id(number), "over", true)
            .await
            .expect("saved");
    }
    let jobs = engine.saved_jobs().await.expect("read");
    assert_eq!(jobs.len(), JOBS_REMEMBERED + 1);
    assert_eq!(jobs[0].id, id(JOBS_REMEMBERED + 3));
    assert_eq!(jobs[JOBS_REMEMBERED - 1].id, id(4));
    assert_eq!(jobs[JOBS_REMEMBERED].id, id(0));
}

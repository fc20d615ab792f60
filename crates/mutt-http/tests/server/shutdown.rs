//! Shutdown answers what is under way, takes nothing new, and ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mutt_http::Limits;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use crate::support::{GET, Running, answer, hello, rest, soon};

/// A handler that says when it begins and waits until it may end.
fn gated(began: &Arc<Semaphore>, may_end: &Arc<Semaphore>) -> Router {
    let (began, may_end) = (began.clone(), may_end.clone());
    Router::new().route(
        "/",
        get(|| async move {
            began.add_permits(1);
            let _permit = may_end.acquire().await;
            "done"
        }),
    )
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let (began, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let running = Running::router(gated(&began, &may_end), Limits::default(), None);
    let mut busy = running.connect().await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    soon(began.acquire()).await.unwrap().forget();

    running.shutdown.cancel();
    soon(async {
        // The listener goes away while the request is still under way.
        while tokio::net::TcpStream::connect(running.address)
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!running.task.is_finished());
    may_end.add_permits(1);
    let text = answer(&mut busy).await;
    assert!(
        text.ends_with("done") && text.contains("connection: close"),
        "{text}"
    );
    drop(busy);
    soon(running.task).await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let running = Running::router(hello(), Limits::default(), None);
    let mut idle = running.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    answer(&mut idle).await;
    running.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    drop(idle);
    soon(running.task).await.unwrap();
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_dropped() {
    let (began, may_end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let limits = Limits {
        grace: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = Running::router(gated(&began, &may_end), limits, None);
    let mut busy = running.connect().await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    soon(began.acquire()).await.unwrap().forget();
    running.shutdown.cancel();
    soon(running.task).await.unwrap();
    assert_eq!(rest(&mut busy).await, "");
}

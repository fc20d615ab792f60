//! SIGTERM and Ctrl-C end, SIGHUP reads again.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Outcome;

/// Waits for SIGTERM or SIGINT; the signal's name.
pub async fn terminated() -> &'static str {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the default action ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

/// SIGHUP, each time it comes.
pub fn hangups() -> Outcome<Signal> {
    Ok(signal(SignalKind::hangup())?)
}

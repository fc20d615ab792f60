//! SIGTERM and Ctrl-C end, SIGHUP reads again.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Outcome;

/// SIGTERM and SIGINT, listened for from now on; waiting gives the signal's name.
pub fn terminated() -> Outcome<impl Future<Output = &'static str>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    })
}

/// SIGHUP, each time it comes.
pub fn hangups() -> Outcome<Signal> {
    Ok(signal(SignalKind::hangup())?)
}

//! Where alerts go. A sink makes one request out of one alert and says how it ended; when to try
//! again, with which key and how fast is not its business but [`crate::Forwarder`]'s, so that every
//! sink shares limit, circuit, retries and dead letters.

mod alert;
mod keys;
mod moog;
mod options;
mod payload;
mod severity;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use self::alert::Outgoing;
pub use self::keys::{FixedKeys, KeySlot, Keys};
pub use self::moog::MoogSink;
pub use self::options::{Identity, MoogOptions};
pub use self::payload::{Shape, render};
pub use self::severity::SeverityTable;
pub use crate::pace::Wire;

/// What an attempt needs beside the alert.
#[derive(Clone, Debug)]
pub struct Call {
    /// The number of this attempt for this alert, from 1.
    pub attempt: u32,
    /// The key to show.
    pub key: KeySlot,
    /// Is told when the request has been handed to the connection.
    pub wire: Wire,
}

/// Why an attempt failed that is worth another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429.
    RateLimited,
    /// No answer in time, or 408.
    Timeout,
    /// 5xx.
    ServerError,
    /// 425, or an answer that makes no sense here, such as a redirection.
    ClientError,
    /// No connection, or it broke.
    Connection,
}

impl Fault {
    /// Whether it counts against the circuit: a sink that answers 4xx is alive.
    pub fn is_failure(self, status: Option<u16>) -> bool {
        !matches!((self, status), (_, Some(400..=499)))
    }
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The sink took it.
    Delivered {
        /// 2xx.
        status: u16,
    },
    /// It failed, and may succeed later.
    Retry {
        /// How long the sink asked to be left alone (`Retry-After`).
        after: Option<Duration>,
        /// The status, where there was an answer.
        status: Option<u16>,
        /// The kind of failure.
        fault: Fault,
        /// What happened, in words; no secret.
        error: String,
    },
    /// The sink will never take it.
    Refused {
        /// 4xx.
        status: u16,
        /// The start of what the sink said; no secret.
        body_start: String,
    },
    /// The key was not accepted.
    WrongKey {
        /// 401 or 403.
        status: u16,
    },
    /// There is no address to send to any more: nothing was sent.
    Unset,
}

/// Where alerts go.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// The name in `delivery_log`.
    fn name(&self) -> &'static str;

    /// Whether there is somewhere to send to.
    ///
    /// # Errors
    /// A sentence that says what is to be set.
    fn configured(&self) -> Result<(), &'static str>;

    /// Hears when address, shape or other options change.
    fn changes(&self) -> watch::Receiver<u64>;

    /// A number that changes with address, shape and keys: a circuit that was opened by one of them
    /// is worth a try when it does. Never stored or shown.
    fn fingerprint(&self) -> u64;

    /// Whether there is a key in this place.
    fn has_key(&self, key: KeySlot) -> bool;

    /// Sends one alert in one request. Cancelling leaves it open whether it was taken.
    async fn deliver(&self, outgoing: &Outgoing<'_>, call: Call) -> Delivery;

    /// Asks the sink whether it is well, where it has a way to tell; never by sending an event.
    ///
    /// # Errors
    /// What is wrong, in words.
    async fn healthy(&self) -> Result<(), String>;
}

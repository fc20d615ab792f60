//! The scripts that Redis runs, each one atomic step.
//!
//! Keys are handed in where a script knows them beforehand; it builds the names of others itself, which
//! a Redis Cluster would refuse: MUTT runs on one primary, with Sentinels where it must be found.

use std::sync::LazyLock;

use mutt_redis::Script;

/// Where a script begins that has to run in a Redis that is full, because it makes room or leads to it:
/// Redis refuses a script's first write where that may need memory, and none behind another write. This
/// one needs none.
macro_rules! source {
    (full $file:literal) => {
        concat!("redis.call('DEL', 'mutt:none')\n", source!($file))
    };
    ($file:literal) => {
        include_str!(concat!("scripts/", $file))
    };
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = ($($source:tt)+);)*) => {
        $($(#[$doc])* pub static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(source!($($source)+)));)*
    };
}

scripts! {
    /// Pushes events and rejects, counts them; once, also where it is called again.
    ENQUEUE = ("enqueue.lua");
    /// Moves the oldest events into a claim.
    CLAIM_EVENTS = (full "claim_events.lua");
    /// Moves due retries and the oldest alerts into claims of their own.
    CLAIM_ALERTS = (full "claim_alerts.lua");
    /// Puts the elements of a claim back at the head of their queue.
    RETURN_CLAIM = (full "return_claim.lua");
    /// Puts one alert at the end of its queue.
    QUEUE_ALERT = ("queue_alert.lua");
    /// Ends delivery attempts.
    SETTLE_ALERTS = (full "settle_alerts.lua");
    /// Takes rows off `mutt:delivery_log` that are in the table now.
    TRIM_DELIVERIES = ("trim_deliveries.lua");
    /// Gives a pod's sign of life; tells its claims.
    HEARTBEAT = (full "heartbeat.lua");
    /// Removes a pod that is dead and holds nothing, or ends its heartbeat.
    RETIRE = ("retire.lua");
    /// Takes a lock for a while.
    LOCK = (full "lock.lua");
    /// Releases a lock where it is still ours.
    RELEASE = ("release.lua");
    /// Keeps the janitor's lock where it is still ours.
    RENEW = ("renew.lua");
    /// Grants requests under a limit.
    TAKE_PERMITS = (full "take_permits.lua");
    /// Asks a circuit, or tells it how a call ended.
    CIRCUIT = (full "circuit.lua");
    /// Takes signatures off the list whose window is over.
    END_SIGNATURES = ("end_signatures.lua");
    /// Puts entries into a dead letter queue.
    BURY = ("bury.lua");
    /// Reads entries of a dead letter queue, no more bytes than wanted.
    READ_LETTERS = ("read_letters.lua");
    /// Moves or removes chosen entries of a dead letter queue, where they are still as they were read.
    MOVE_LETTERS = ("move_letters.lua");
    /// Moves entries of the list that was `mutt:dlq:moog` once.
    ADOPT_LETTERS = ("adopt_letters.lua");
    /// Saves what a job says of itself.
    SAVE_JOB = ("save_job.lua");
    /// Asks a job to stop.
    STOP_JOB = ("stop_job.lua");
    /// Starts a browser session.
    START_SESSION = (full "start_session.lua");
    /// Notes that a browser session was used.
    SESSION_SEEN = (full "session_seen.lua");
    /// Ends a browser session.
    END_SESSION = ("end_session.lua");
}

/// Does the effects of a decision and drops its claim.
pub static APPLY: LazyLock<Script> = LazyLock::new(|| {
    let unhandled = source!("apply_unhandled.lua");
    let source = source!(full "apply.lua").replace("--@unhandled\n", unhandled);
    // Once per process: scripts live as long as it does.
    Script::new(source.leak())
});

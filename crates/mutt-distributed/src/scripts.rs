//! The scripts that Redis runs, each one atomic step.
//!
//! Keys are handed in where a script knows them beforehand; it builds the names of others itself, which
//! a Redis Cluster would refuse: MUTT runs on one primary, with Sentinels where it must be found.

use std::sync::LazyLock;

use mutt_redis::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));)*
    };
}

scripts! {
    /// Pushes events and rejects, counts them; once, also where it is called again.
    ENQUEUE = "enqueue.lua";
    /// Moves the oldest events into a claim.
    CLAIM_EVENTS = "claim_events.lua";
    /// Moves due retries and the oldest alerts into claims of their own.
    CLAIM_ALERTS = "claim_alerts.lua";
    /// Puts the elements of a claim back at the head of their queue.
    RETURN_CLAIM = "return_claim.lua";
    /// Ends delivery attempts.
    SETTLE_ALERTS = "settle_alerts.lua";
    /// Takes rows off `mutt:delivery_log` that are in the table now.
    TRIM_DELIVERIES = "trim_deliveries.lua";
    /// Removes a pod that is dead and holds nothing, or ends its heartbeat.
    RETIRE = "retire.lua";
    /// Releases the janitor's lock where it is still ours.
    RELEASE = "release.lua";
    /// Grants requests under a limit.
    TAKE_PERMITS = "take_permits.lua";
    /// Asks a circuit, or tells it how a call ended.
    CIRCUIT = "circuit.lua";
    /// Takes signatures off the list whose window is over.
    END_SIGNATURES = "end_signatures.lua";
    /// Puts entries into a dead letter queue.
    BURY = "bury.lua";
    /// Reads entries of a dead letter queue, no more bytes than wanted.
    READ_LETTERS = "read_letters.lua";
    /// Moves or removes chosen entries of a dead letter queue, where they are still as they were read.
    MOVE_LETTERS = "move_letters.lua";
    /// Moves entries of the list that was `mutt:dlq:moog` once.
    ADOPT_LETTERS = "adopt_letters.lua";
}

/// Does the effects of a decision and drops its claim.
pub static APPLY: LazyLock<Script> = LazyLock::new(|| {
    let unhandled = include_str!("scripts/apply_unhandled.lua");
    let source = include_str!("scripts/apply.lua").replace("--@unhandled\n", unhandled);
    // Once per process: scripts live as long as it does.
    Script::new(source.leak())
});

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
    /// Does the effects of a decision and drops its claim.
    APPLY = "apply.lua";
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
}

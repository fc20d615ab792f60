//! What things are called in Redis: spec 2, and what this engine adds.

use mutt_engine::WorkerKind;
use uuid::Uuid;

/// Names that a site may set.
#[derive(Clone, Debug)]
pub struct Names {
    /// `INGEST_QUEUE_NAME`.
    pub ingest_queue: String,
    /// `ALERT_QUEUE_NAME`.
    pub alert_queue: String,
    /// `METRICS_PREFIX`.
    pub metrics_prefix: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            ingest_queue: "mutt:ingest_queue".to_owned(),
            alert_queue: "mutt:alert_queue".to_owned(),
            metrics_prefix: "mutt:metrics".to_owned(),
        }
    }
}

/// Alerts waiting for their next attempt: zset by due time in seconds.
pub const ALERT_RETRY: &str = "mutt:alert_retry";
/// Delivery attempts on their way to `delivery_log`.
pub const DELIVERY_LOG: &str = "mutt:delivery_log";
/// Numbers claims in the order in which they were made.
pub const CLAIM_ORDER: &str = "mutt:claims:order";
/// What this Redis remembers since: a value that goes only where everything goes.
pub const EPOCH: &str = "mutt:epoch";
/// Held by the pod that tidies up.
pub const UPKEEP: &str = "mutt:upkeep";
/// Held by the pod that recovers.
pub const JANITOR: &str = "mutt:janitor";
/// Jobs that people ordered: hash of id to how it stands.
pub const JOBS: &str = "mutt:jobs";
/// Browser sessions, by the hash of their token: hash.
pub const SESSION: &str = "mutt:session:";
/// The sessions of one API key, by its name: zset of hashes of tokens by start in µs.
pub const KEY_SESSIONS: &str = "mutt:sessions:";
/// Channel: dynamic configuration changed; the payload is the key.
pub const CONFIG_UPDATES: &str = "mutt:config:updates";
/// Channel: rules, hosts or teams changed.
pub const CONFIG_RELOAD: &str = "mutt:config:reload";
/// Channel: something waits in a queue that was empty; the payload is the queue's key.
pub const WAKE: &str = "mutt:wake";
/// Channel: decided events for whoever watches.
pub const LIVE: &str = "mutt:live";

/// What `mutt:epoch` becomes where there is none.
pub fn new_epoch() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The word of a stage in keys.
pub fn stage(kind: WorkerKind) -> &'static str {
    match kind {
        WorkerKind::Alerter => "alerter",
        WorkerKind::Moog => "moog",
    }
}

/// The elements of one claim.
pub fn held(kind: WorkerKind, pod: &str, claim: u64) -> String {
    format!("mutt:processing:{}:{pod}:{claim}", stage(kind))
}

/// Marks a claim that was ended on a Redis that had lost it.
pub fn lost(claim: u64) -> String {
    format!("mutt:claims:lost:{claim}")
}

/// The claims of one pod: number to order.
pub fn claims(kind: WorkerKind, pod: &str) -> String {
    format!("mutt:claims:{}:{pod}", stage(kind))
}

/// The pods that ever claimed and were not cleared away.
pub fn pods(kind: WorkerKind) -> String {
    format!("mutt:pods:{}", stage(kind))
}

/// The instances of processes that told about themselves: a set.
pub const PROCESSES: &str = "mutt:processes";

/// What a process told about itself.
pub fn process(instance: &str) -> String {
    format!("mutt:process:{instance}")
}

/// A pod's sign of life.
pub fn heartbeat(kind: WorkerKind, pod: &str) -> String {
    format!("mutt:heartbeat:{}:{pod}", stage(kind))
}

/// The last call of an ingestor that took effect.
pub fn enqueued(instance: &str) -> String {
    format!("mutt:enqueued:{instance}")
}

/// The last record of a spool that was pushed.
pub fn spooled(spool: &str) -> String {
    format!("mutt:spool:{spool}")
}

/// The stored value of a dynamic key.
pub fn config(key: &str) -> String {
    format!("mutt:config:{key}")
}

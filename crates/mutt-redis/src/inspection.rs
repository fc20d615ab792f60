//! What Redis says of itself, and what of that puts events at risk.

use std::collections::HashMap;

use redis::Value;

use crate::client::Redis;
use crate::error::{RedisError, Result};

/// What Redis says of itself: for the safety check and `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// `7.0.15` say.
    pub version: String,
    /// Changes with each start of the server.
    pub run_id: String,
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: String,
    /// `master` or `slave`.
    pub role: String,
    /// Whether the append-only file is on.
    pub aof_enabled: bool,
    /// `always`, `everysec` or `no`; `None` where `CONFIG` is forbidden.
    pub appendfsync: Option<String>,
    /// Whether the last write to the append-only file succeeded.
    pub aof_last_write_ok: bool,
    /// Whether the append-only file was rewritten since the server started.
    pub aof_rewritten_since_start: bool,
    /// Whether a rewrite is under way.
    pub aof_rewrite_in_progress: bool,
    /// Whether the last snapshot succeeded; where not, Redis refuses writes as a rule.
    pub rdb_last_save_ok: bool,
    /// Bytes; 0 is no limit.
    pub maxmemory: u64,
    /// `noeviction` or what is evicted.
    pub maxmemory_policy: String,
    /// Bytes.
    pub used_memory: u64,
    /// Replicas connected now.
    pub connected_replicas: u64,
    /// Clients connected now.
    pub connected_clients: u64,
    /// Keys evicted since the server started: anything but 0 is data lost.
    pub evicted_keys: u64,
    /// Seconds since the server started.
    pub uptime_s: u64,
}

impl Redis {
    /// Asks by `INFO`, and by `CONFIG GET` where the ACL allows it.
    ///
    /// # Errors
    /// As [`Redis::call`]; `Refused` where `INFO` is forbidden.
    pub async fn inspect(&self) -> Result<Inspection> {
        let info: String = self.call(&redis::cmd("INFO")).await?;
        let mut inspection = Inspection::from_info(&info);
        inspection.appendfsync = self.setting("appendfsync").await?;
        Ok(inspection)
    }

    /// `None` where it is forbidden or unknown.
    async fn setting(&self, name: &str) -> Result<Option<String>> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(name);
        match self.call::<HashMap<String, Value>>(&command).await {
            Ok(mut found) => Ok(found
                .remove(name)
                .and_then(|value| redis::from_redis_value(value).ok())),
            Err(RedisError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Inspection {
    fn from_info(info: &str) -> Self {
        let fields: HashMap<&str, &str> = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        let number = |name: &str| fields.get(name).and_then(|n| n.parse().ok()).unwrap_or(0);
        let ok = |name: &str| fields.get(name).is_none_or(|status| *status == "ok");
        // `aof_rewrites` came with 7.0; before, a duration says that there was one.
        let rewritten = match fields.get("aof_rewrites") {
            Some(count) => *count != "0",
            None => fields
                .get("aof_last_rewrite_time_sec")
                .is_some_and(|seconds| *seconds != "-1"),
        };
        Self {
            version: text("redis_version"),
            run_id: text("run_id"),
            mode: text("redis_mode"),
            role: text("role"),
            aof_enabled: number("aof_enabled") == 1,
            appendfsync: None,
            aof_last_write_ok: ok("aof_last_write_status"),
            aof_rewritten_since_start: rewritten,
            aof_rewrite_in_progress: number("aof_rewrite_in_progress") == 1,
            rdb_last_save_ok: ok("rdb_last_bgsave_status"),
            maxmemory: number("maxmemory"),
            maxmemory_policy: text("maxmemory_policy"),
            used_memory: number("used_memory"),
            connected_replicas: number("connected_slaves"),
            connected_clients: number("connected_clients"),
            evicted_keys: number("evicted_keys"),
            uptime_s: number("uptime_in_seconds"),
        }
    }

    /// What puts acknowledged events at risk, each with what to do. Empty: nothing.
    pub fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if !self.aof_enabled {
            dangers.push(
                "AOF is off: a restart of Redis loses queued events. Set `appendonly yes` in \
                 redis.conf (and at once by `CONFIG SET appendonly yes`)."
                    .to_owned(),
            );
        }
        if self.appendfsync.as_deref() == Some("no") {
            dangers.push(
                "appendfsync is no: a crash of the machine loses what the kernel has not written, \
                 30 s as a rule. Set `appendfsync everysec` (at most about 1 s) or `always` (none)."
                    .to_owned(),
            );
        }
        if !self.aof_last_write_ok {
            dangers.push(
                "the last write to the AOF failed: Redis refuses writes. See its log; is its disk \
                 full?"
                    .to_owned(),
            );
        }
        if self.maxmemory_policy != "noeviction" && !self.maxmemory_policy.is_empty() {
            let what = if self.maxmemory_policy.starts_with("volatile-") {
                "may drop heartbeats, locks and counters"
            } else {
                "may drop queues"
            };
            let when = match self.maxmemory {
                0 => " as soon as maxmemory is set".to_owned(),
                bytes => format!(" at {} MiB", bytes / 1_048_576),
            };
            dangers.push(format!(
                "maxmemory-policy {} {what}{when}: set `maxmemory-policy noeviction`.",
                self.maxmemory_policy
            ));
        }
        if self.evicted_keys > 0 {
            dangers.push(format!(
                "{} keys were evicted since Redis started: events may be lost already.",
                self.evicted_keys
            ));
        }
        if self.mode == "cluster" {
            dangers.push(
                "this is a Redis Cluster: scripts need all keys on one node. Use a single primary, \
                 with Sentinels for failover."
                    .to_owned(),
            );
        }
        dangers
    }
}

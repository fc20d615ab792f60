//! A connection to Redis that survives.
//!
//! Owns reaching the primary (TCP, TLS, log-in, Sentinels), noticing that it is lost, getting it
//! back, and changing passwords without failing a call. Promises that each call ends within its
//! time-out and says whether its effect is known. Knows nothing of queues, stages or keys.

mod backoff;
mod client;
mod dial;
mod error;
mod inspection;
mod keeper;
mod link;
mod options;
mod script;
mod sentinel;
mod subscription;
mod tls;

pub use client::Redis;
pub use error::{RedisError, Result};
pub use inspection::Inspection;
pub use keeper::State;
pub use options::{OnRefused, Passwords, RedisOptions, Sentinel};
pub use redis::{self, Cmd, FromRedisValue, ToRedisArgs, Value};
pub use script::Script;
pub use subscription::Message;

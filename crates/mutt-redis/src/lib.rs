//! A connection to Redis that survives.

mod error;
mod options;

pub use error::{RedisError, Result};
pub use options::{Passwords, RedisOptions, Sentinel};
pub use redis::{self, Cmd, FromRedisValue, ToRedisArgs, Value};

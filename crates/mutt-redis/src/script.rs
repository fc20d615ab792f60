//! Lua scripts by their SHA.

use redis::Cmd;

/// A Lua script that is called by its SHA. Meant for a `LazyLock`.
#[derive(Clone, Debug)]
pub struct Script {
    source: &'static str,
    sha: String,
}

impl Script {
    /// Takes the source; nothing is sent.
    pub fn new(source: &'static str) -> Self {
        let sha = redis::Script::new(source).get_hash().to_owned();
        Self { source, sha }
    }

    /// The SHA-1 of the source, hexadecimal.
    pub fn sha(&self) -> &str {
        &self.sha
    }

    /// `EVALSHA` with these keys, for [`crate::Redis::run`]; the caller adds the arguments.
    pub fn call(&self, keys: &[&str]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.sha).arg(keys.len()).arg(keys);
        command
    }

    /// The command that makes the server know it.
    pub fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.source);
        command
    }
}

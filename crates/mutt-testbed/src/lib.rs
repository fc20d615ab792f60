//! Real Redis, Sentinel, PostgreSQL, OpenBao, Prometheus, rsyslog, syslog-ng and snmptrapd of their
//! own for tests and local set-ups.
//!
//! Each server listens on a loopback port of its own, keeps its files in a directory of its own,
//! is ready when its constructor returns, and dies with the value or with the process that made
//! it. Constructors named `start` panic with the end of the server's log, which is what a test
//! wants; `try_start` returns the same as an error. Blocking, so it serves tests with and without
//! a runtime. Knows nothing of MUTT.

mod certificates;
mod clock;
mod daemons;
mod openbao;
mod postgres;
mod process;
mod prometheus;
mod proxy;
mod redis;
mod resp;
mod sentinel;
mod workspace;

pub use certificates::{Authority, Certificates, Issued};
pub use clock::{Clock, faketime};
pub use daemons::{Daemon, Rsyslogd, Snmptrapd, SyslogNg};
pub use openbao::{OpenBao, OpenBaoBuilder};
pub use postgres::{Postgres, PostgresBuilder};
pub use prometheus::Prometheus;
pub use proxy::Proxy;
pub use redis::{AppendFsync, Redis, RedisBuilder};
pub use sentinel::Sentinel;
pub use workspace::Port;

//! The corpus of syslog lines of real devices, and who reads it rightly.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod expected;
mod rsyslog;
mod support;

//! The connection against real servers: what it promises while they are started, killed, frozen,
//! locked and replaced.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod calls;
mod passwords;
mod sentinel;
mod subscription;
mod survival;
mod tls;
mod world;

//! The API from outside: HTTP against the real router on the embedded engine.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod audit;
mod bench;
mod catalog;
mod configuration;
mod contract;
mod dead_letters;
mod hostile;
mod rules;
mod sessions;
<<<<<<< HEAD
mod status;
=======
mod smuggling;
>>>>>>> fb9a265 (API: streams end with their key, no field twice, no answer without end; tests of smuggled requests)
mod store;
mod support;

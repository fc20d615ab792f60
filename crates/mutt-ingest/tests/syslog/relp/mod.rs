//! RELP sessions: what is acknowledged, what is refused, and what becomes of both when things end.

mod client;
mod durability;
mod rules;

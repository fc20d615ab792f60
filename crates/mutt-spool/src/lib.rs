//! Where the ingestor keeps events while Redis is away: a queue of numbered records on the local
//! disk, bounded in bytes, read in the order in which it was written.
//!
//! Promises: what [`Spool::put`] took is on the disk, and is offered by [`Spool::next`] until it is
//! settled, whatever process dies when. The number of a record never changes and is never given to
//! another one, so that a record pushed to Redis just before a crash can be recognised there. Knows
//! nothing of Redis.
//!
//! It is a log of its own and not the SQLite queue of the embedded engine, for three reasons. A queue
//! that only grows at one end and shrinks at the other needs no tables: whole files go when they are
//! done with. Records need numbers that outlive restarts. And a spool that filled its disk must still
//! be able to forget what Redis has taken: here that is an overwrite in place and a file removed,
//! where a database has to write first in order to delete.

mod directory;
mod log;
mod mark;
mod numbers;
mod queue;
mod record;
mod segment;
mod spool;
mod spooled;
mod writer;

pub use spool::Spool;
pub use spooled::Spooled;

//! The alerter over the real embedded engine: what becomes of events while all is well, and while
//! it is not.

mod failures;
mod pipeline;
mod support;

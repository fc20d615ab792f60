//! The distributed engine holds what every engine must hold.

mod support;

use support::Store;

mutt_engine::conformance_tests!(modules Store::start);

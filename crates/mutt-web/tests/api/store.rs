//! The embedded engine in a directory of its own.

use std::future::{Ready, ready};
use std::sync::Arc;

use mutt_engine::Engine;
use mutt_engine::embedded::{Embedded, Mode};

pub type Store = tempfile::TempDir;

pub fn open() -> Ready<(Arc<dyn Engine>, Store)> {
    let directory = tempfile::tempdir().unwrap();
    let engine = Embedded::open(directory.path(), Mode::Server).unwrap();
    ready((engine, directory))
}

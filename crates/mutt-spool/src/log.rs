//! The writing side: what is found at the start, appending, and settling.
//!
//! Used by one thread. After a failed fsync the file it happened to is not trusted again: the next
//! record goes to a new one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use mutt_engine::{DeadLetter, EngineError, Result};
use mutt_event::Batch;
use parking_lot::Mutex;

use crate::directory;
use crate::mark::Mark;
use crate::numbers::Numbers;
use crate::queue::{self, Head, Queue};
use crate::record;
use crate::segment::{self, START, Segment};

/// How far the spool was drained.
const SETTLED: &str = "spool.settled";
/// A file that is this large is followed by a new one.
const SEGMENT: u64 = 16 << 20;
/// A drained file below this is written on instead of being replaced.
const REUSE: u64 = 1 << 20;

pub(crate) struct Log {
    directory: PathBuf,
    queue: Arc<Mutex<Queue>>,
    settled: Mark,
    current: Option<Current>,
    next_index: u64,
    numbers: Arc<Numbers>,
    /// The number of the last record that is on the disk.
    last: u64,
    /// Files that could not be removed yet.
    spent: Vec<PathBuf>,
}

/// What is to become a record.
#[derive(Debug)]
pub(crate) struct Record {
    /// Higher than those of all before.
    pub(crate) number: u64,
    pub(crate) batch: Batch,
    pub(crate) rejects: Vec<DeadLetter>,
}

/// What was found at the start.
#[derive(Default)]
struct Recovered {
    queue: Queue,
    last: u64,
    spent: Vec<PathBuf>,
}

/// The file that is appended to.
struct Current {
    file: File,
    end: u64,
}

impl Log {
    /// Finds what the directory holds.
    ///
    /// # Errors
    /// `Unusable`; the text says what to do.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let settled = Mark::open(directory, SETTLED)?;
        let list = segment::list(directory).map_err(|e| directory::unusable(directory, &e))?;
        let next_index = list.last().map_or(0, |(index, _)| index + 1);
        let mut recovered = Recovered {
            last: settled.get(),
            ..Recovered::default()
        };
        recovered.look_through(list, settled.get())?;
        let mut log = Self {
            directory: directory.to_owned(),
            queue: Arc::new(Mutex::new(recovered.queue)),
            settled,
            current: None,
            next_index,
            numbers: Arc::new(Numbers::open(directory, recovered.last)?),
            last: recovered.last,
            spent: recovered.spent,
        };
        log.remove_spent();
        Ok(log)
    }

    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn queue(&self) -> Arc<Mutex<Queue>> {
        Arc::clone(&self.queue)
    }

    /// Appends records; they wait in the queue when it returns, or nothing of them was taken. The
    /// numbers of failed writes must not be used again.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut bytes = Vec::new();
        let at = Timestamp::now();
        let mut headers = Vec::with_capacity(records.len());
        for Record {
            number,
            batch,
            rejects,
        } in records
        {
            headers.push(record::encode(*number, at, batch, rejects, &mut bytes));
        }
        self.write(&bytes).map_err(|error| {
            EngineError::Unavailable(format!(
                "writing the spool in {} failed: {error}",
                self.directory.display()
            ))
        })?;
        let mut queue = self.queue.lock();
        for header in &headers {
            queue.add(header);
            self.last = header.number;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.current.as_ref().is_none_or(|file| file.end >= SEGMENT) {
            self.current = None;
            let (file, path) = segment::create(&self.directory, self.next_index, self.last)?;
            self.next_index += 1;
            self.queue.lock().add_segment(path);
            self.current = Some(Current { file, end: START });
        }
        let current = self.current.as_mut().expect("it was made above");
        if let Err(error) = current.file.write_all_at(bytes, current.end) {
            // Gives the space back on a disk that is full.
            if current.file.set_len(current.end).is_err() {
                self.abandon();
            }
            return Err(error);
        }
        if let Err(error) = current.file.sync_data() {
            self.abandon();
            return Err(error);
        }
        current.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes no more to a file whose state is not known. What is good in it stays.
    fn abandon(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        // Whatever is left behind the end is not taken for records: their numbers are not used again.
        let _ = current.file.set_len(current.end);
        if current.end == START {
            let empty = self.queue.lock().segments.pop_back();
            self.spent.extend(empty.map(|segment| segment.path));
        }
    }

    /// Settles the oldest records: they are never offered again, and files that hold nothing else
    /// are removed.
    ///
    /// # Errors
    /// `Unavailable`; then nothing is settled.
    pub(crate) fn settle(&mut self, head: &Head, last: u64) -> Result<()> {
        self.settled.set(last).map_err(|error| {
            EngineError::Unavailable(format!(
                "noting in {} what was drained failed: {error}",
                self.directory.display()
            ))
        })?;
        let mut queue = self.queue.lock();
        let oldest = queue::written_at(&queue.segments, head.end);
        let spent = queue.settle(head, oldest);
        self.spent.extend(spent.into_iter().map(|spent| spent.path));
        let reusable = self.current.as_ref().is_some_and(|file| file.end < REUSE);
        if queue.bytes == 0 && !reusable {
            self.current = None;
            self.spent
                .extend(queue.segments.drain(..).map(|segment| segment.path));
        }
        drop(queue);
        self.remove_spent();
        Ok(())
    }

    /// Leaves no file behind where nothing waits.
    pub(crate) fn close(mut self) {
        let mut queue = self.queue.lock();
        if queue.bytes == 0 {
            self.spent
                .extend(queue.segments.drain(..).map(|segment| segment.path));
        }
        drop(queue);
        self.remove_spent();
    }

    fn remove_spent(&mut self) {
        self.spent.retain(|path| match std::fs::remove_file(path) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a drained file cannot be removed");
                true
            }
        });
    }
}

impl Recovered {
    fn look_through(&mut self, list: Vec<(u64, PathBuf)>, settled: u64) -> Result<()> {
        let mut files = Vec::new();
        let count = list.len();
        for (index, (_, path)) in list.into_iter().enumerate() {
            let follows = segment::follows(&path).map_err(|e| segment::read_failed(&path, &e))?;
            match follows {
                Some(follows) => files.push((path, follows)),
                // It was about to be made when the process died.
                None if index + 1 == count => self.spent.push(path),
                None => return Err(segment::damaged(&path, 0)),
            }
        }
        let queue = &mut self.queue;
        for index in 0..files.len() {
            let (path, follows) = &files[index];
            let through = files.get(index + 1).map(|(_, follows)| *follows);
            let found = segment::survey(path, settled, through)
                .map_err(|e| segment::read_failed(path, &e))?;
            let last = found.last.unwrap_or(*follows);
            match through {
                // Settled records do not matter any more.
                Some(through) if last < through && settled < through => {
                    return Err(segment::damaged(path, found.end));
                }
                Some(_) => {}
                None => cut(path, found.end).map_err(|e| directory::unusable(path, &e))?,
            }
            self.last = self.last.max(last);
            let Some(from) = found.waiting_from else {
                self.spent.push(path.clone());
                continue;
            };
            if queue.segments.is_empty() {
                queue.offset = from;
                queue.oldest = found.oldest;
            }
            queue.events += found.events;
            queue.bytes += found.bytes;
            queue.segments.push_back(Segment {
                path: path.clone(),
                end: found.end,
            });
        }
        Ok(())
    }
}

/// Cuts off what a torn write left, and makes durable what is kept: it may have been written just
/// before the process died, and whoever comes next counts on it.
fn cut(path: &Path, end: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(end)?;
    file.sync_all()
}

//! What waits in the spool, as far as memory has to know it: the files, how far they were drained,
//! and the totals.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use mutt_engine::Result;

use crate::record::{self, Header};
use crate::segment::{self, START, Segment};
use crate::spooled::Part;

/// The most bytes that are handed out at once, unless a single record is larger.
const BYTES: u64 = 4 << 20;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Oldest first. The last one may still grow.
    pub(crate) segments: VecDeque<Segment>,
    /// Where the oldest record begins in the first file.
    pub(crate) offset: u64,
    /// Events that wait.
    pub(crate) events: u64,
    /// The bytes of their records.
    pub(crate) bytes: u64,
    /// When the oldest record was written.
    pub(crate) oldest: Option<Timestamp>,
}

/// A place between two records, counted from the first file of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) segment: usize,
    pub(crate) offset: u64,
}

/// The oldest records, and where the next one begins.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) parts: Vec<Part>,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) end: Place,
}

impl Queue {
    /// Shows a record that is on the disk now, at the end of the last file.
    pub(crate) fn add(&mut self, header: &Header) {
        let last = self.segments.back_mut();
        last.expect("a record was written to a file").end += header.size();
        self.events += u64::from(header.events);
        self.bytes += header.size();
        self.oldest.get_or_insert(header.at);
    }

    /// Adds a file without records.
    pub(crate) fn add_segment(&mut self, path: PathBuf) {
        if self.segments.is_empty() {
            self.offset = START;
        }
        self.segments.push_back(Segment { path, end: START });
    }

    /// Forgets what was settled; returns the files that nobody needs any more. The last file stays.
    pub(crate) fn settle(&mut self, head: &Head, oldest: Option<Timestamp>) -> Vec<Segment> {
        self.events -= head.events;
        self.bytes -= head.bytes;
        self.oldest = oldest;
        self.offset = head.end.offset;
        let mut spent: Vec<_> = self.segments.drain(..head.end.segment).collect();
        while self.segments.len() > 1 && self.offset == self.segments[0].end {
            spent.extend(self.segments.pop_front());
            self.offset = START;
        }
        spent
    }
}

/// Reads the oldest records: at least one, then while they stay within `max` events. `segments` and
/// `offset` are as the queue had them; what is added later does not matter.
///
/// # Errors
/// `Unavailable` where reading fails, `Unusable` where a record is damaged.
pub(crate) fn read(segments: &[Segment], offset: u64, max: usize) -> Result<Head> {
    let mut head = Head {
        parts: Vec::new(),
        events: 0,
        bytes: 0,
        end: Place { segment: 0, offset },
    };
    for (index, Segment { path, end }) in segments.iter().enumerate() {
        let mut offset = if index == 0 { offset } else { START };
        if offset == *end {
            continue;
        }
        let file = File::open(path).map_err(|error| segment::read_failed(path, &error))?;
        while offset < *end {
            let header = segment::header_at(&file, path, offset)?;
            let fits = head.events + u64::from(header.events) <= max as u64
                && head.bytes + header.size() <= BYTES;
            if !head.parts.is_empty() && !fits {
                return Ok(head);
            }
            head.parts
                .push(part(&file, segments, index, offset, &header)?);
            head.events += u64::from(header.events);
            head.bytes += header.size();
            offset += header.size();
            head.end = Place {
                segment: index,
                offset,
            };
        }
    }
    Ok(head)
}

fn part(
    file: &File,
    segments: &[Segment],
    index: usize,
    offset: u64,
    header: &Header,
) -> Result<Part> {
    let path = &segments[index].path;
    let mut payload = vec![0; header.length as usize];
    file.read_exact_at(&mut payload, offset + record::HEADER as u64)
        .map_err(|error| segment::read_failed(path, &error))?;
    let contents =
        record::decode(header, &payload).ok_or_else(|| segment::damaged(path, offset))?;
    Ok(Part {
        number: header.number,
        batch: (!contents.batch.is_empty()).then(|| Arc::new(contents.batch)),
        rejects: contents.rejects,
    })
}

/// When the record at a place was written; `None` where there is none, or it cannot be read, which
/// whoever reads it next reports.
pub(crate) fn written_at(segments: &VecDeque<Segment>, place: Place) -> Option<Timestamp> {
    let mut offset = place.offset;
    for Segment { path, end } in segments.iter().skip(place.segment) {
        if offset < *end {
            let file = File::open(path).ok()?;
            return Some(segment::header_at(&file, path, offset).ok()?.at);
        }
        offset = START;
    }
    None
}

//! What frames come out of a RELP stream does not depend on how it is split into reads. The first
//! byte chooses how much data is kept, the second the size of the reads.
#![no_main]

use libfuzzer_sys::fuzz_target;

// By its path: it needs nothing but the standard library, and the fuzzer no engine and no TLS.
#[allow(dead_code)]
#[path = "../../crates/mutt-ingest/src/relp/frame.rs"]
mod frame;

use frame::{Command, Fault, Frames, Step, Transaction};

#[derive(Debug, PartialEq)]
enum Seen {
    Frame(Transaction, Command, Vec<u8>, bool),
    Broken(Option<Transaction>, Fault),
}

fn frames(stream: &[u8], keep: usize, read: usize) -> Vec<Seen> {
    let mut frames = Frames::new(keep);
    let (mut buffer, mut kept, mut seen) = (Vec::new(), None, Vec::new());
    let mut rest = stream;
    loop {
        match frames.next(&buffer) {
            Step::Frame {
                transaction,
                command,
                data,
                cut,
                consumed,
            } => {
                assert!(data.len() <= keep && data.end < consumed && buffer[consumed - 1] == b'\n');
                assert_eq!(kept.is_some(), cut);
                let data = kept.take().unwrap_or_else(|| buffer[data].to_vec());
                seen.push(Seen::Frame(transaction, command, data, cut));
                buffer.drain(..consumed);
            }
            Step::Cut { data, consumed } => {
                assert!(kept.is_none() && data.len() == keep && data.end == consumed);
                kept = Some(buffer[data].to_vec());
                buffer.drain(..consumed);
            }
            Step::Skip(count) => {
                assert!(count > 0 && kept.is_some());
                buffer.drain(..count);
            }
            Step::NeedMore if rest.is_empty() => {
                assert_eq!(frames.in_data(), kept.is_some());
                return seen;
            }
            Step::NeedMore => {
                let room = frames.buffer_size().checked_sub(buffer.len());
                let room = room.expect("never overfull");
                assert!(room > 0, "a full buffer must be enough to decide");
                let (now, later) = rest.split_at(read.min(room).min(rest.len()));
                buffer.extend_from_slice(now);
                rest = later;
            }
            Step::Broken { transaction, fault } => {
                seen.push(Seen::Broken(transaction, fault));
                return seen;
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [keep, read, stream @ ..] = input else {
        return;
    };
    let (keep, read) = (usize::from(*keep) + 1, usize::from(*read) + 1);
    let whole = frames(stream, keep, usize::MAX);
    assert_eq!(frames(stream, keep, read), whole);
    assert_eq!(frames(stream, keep, 1), whole);
});

//! What messages come out of a stream does not depend on how it is split into reads. The first byte
//! chooses the longest line, the second the size of the reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mutt_event::syslog::{Framer, Notes, Step};

fn messages(stream: &[u8], max_line: usize, read: usize) -> Vec<(Vec<u8>, Notes)> {
    let mut framer = Framer::new(max_line);
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    let mut rest = stream;
    loop {
        match framer.next(&buffer) {
            Step::Line {
                range,
                consumed,
                notes,
            } => {
                assert!(!range.is_empty() && range.len() <= max_line && range.end <= consumed);
                messages.push((buffer[range].to_vec(), notes));
                buffer.drain(..consumed);
            }
            Step::Skip(count) => {
                assert!(count > 0);
                buffer.drain(..count);
            }
            Step::NeedMore if rest.is_empty() => break,
            Step::NeedMore => {
                let room = framer
                    .buffer_size()
                    .checked_sub(buffer.len())
                    .expect("never overfull");
                assert!(room > 0, "a full buffer must be enough to decide");
                let (now, later) = rest.split_at(read.min(room).min(rest.len()));
                buffer.extend_from_slice(now);
                rest = later;
            }
        }
    }
    if let Some((range, notes)) = framer.finish(&buffer) {
        assert!(!range.is_empty() && range.len() <= max_line);
        messages.push((buffer[range].to_vec(), notes));
    }
    messages
}

fuzz_target!(|input: &[u8]| {
    let [max_line, read, stream @ ..] = input else {
        return;
    };
    let (max_line, read) = (usize::from(*max_line) + 1, usize::from(*read) + 1);
    let whole = messages(stream, max_line, usize::MAX);
    assert_eq!(messages(stream, max_line, read), whole);
    assert_eq!(messages(stream, max_line, 1), whole);
});

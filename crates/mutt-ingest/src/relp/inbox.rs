//! What a RELP session takes in: frames, up to the events that they become and the answers that they
//! are owed.
//!
//! Keeps the rules of the protocol: which transaction must come next, what may come before the
//! session is open, what ends it. Does not know when a batch goes, nor when it is durable.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use mutt_event::syslog::{Note, Notes};
use tokio::io::{AsyncRead, ReadBuf};

use super::answers::{Answer, Answers};
use super::frame::{Command, Fault, Frames, Step, Transaction};
use super::session::Terms;
use crate::metrics::{Listener, RejectReason};
use crate::pump::Forming;
use crate::syslog_lines::Receipt;

/// Bytes taken from a connection in one read.
const READ_BYTES: usize = 64 << 10;

/// What the protocol's text calls itself; librelp says 0, which is the same.
const NEWEST_VERSION: u32 = 1;

/// What came in, up to the events that it became and the answers that it is owed.
pub(super) struct Inbox<'a> {
    peer: IpAddr,
    terms: &'a Terms,
    frames: Frames,
    /// What was read and is not a whole frame yet, or did not fit into the last batch.
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    done: usize,
    /// What is kept of a message that is too long, until its end.
    kept: Vec<u8>,
    receipt: Receipt,
    /// Events that are on their way nowhere yet.
    pub(super) forming: Forming,
    pub(super) answers: Answers,
    /// The transaction that must come next, once there was one.
    due: Option<Transaction>,
    /// Whether the session was opened.
    open: bool,
    /// Whether what comes after is of no interest: the session was closed, or broke its rules.
    pub(super) over: bool,
    /// Whether the sender ended the stream.
    pub(super) ended: bool,
}

impl<'a> Inbox<'a> {
    pub(super) fn new(peer: IpAddr, terms: &'a Terms, batch_bytes: usize) -> Self {
        Self {
            peer,
            terms,
            frames: Frames::new(terms.max_line),
            buffer: Vec::new(),
            done: 0,
            kept: Vec::new(),
            receipt: Receipt::now(),
            forming: Forming::new(batch_bytes),
            answers: Answers::new(),
            due: None,
            open: false,
            over: false,
            ended: false,
        }
    }

    /// Handles the whole frames that were read, until the batch is full or too much is to be
    /// answered. Returns whether that were all of them.
    pub(super) fn take_frames(&mut self) -> bool {
        while !self.over {
            if self.forming.is_full() || self.answers.is_full() {
                return false;
            }
            match self.frames.next(&self.buffer[self.done..]) {
                Step::Frame {
                    transaction,
                    command,
                    data,
                    cut,
                    consumed,
                } => {
                    let data = self.done + data.start..self.done + data.end;
                    self.done += consumed;
                    self.take_frame(transaction, command, data, cut);
                }
                Step::Cut { data, consumed } => {
                    self.kept = self.buffer[self.done..][data].to_vec();
                    self.done += consumed;
                }
                Step::Skip(bytes) => self.done += bytes,
                Step::NeedMore => {
                    self.compact();
                    return true;
                }
                Step::Broken { transaction, fault } => {
                    // A 500 makes the sender forget the message that it is for. Where the stream is
                    // out of step, the number is part of some text, and could be that of a good one.
                    let first = self.due.is_none().then_some(Transaction::FIRST);
                    let refused = transaction.is_some() && transaction == self.due.or(first);
                    let reason = match fault {
                        Fault::TooLong => RejectReason::TooLarge,
                        _ => RejectReason::Framing,
                    };
                    self.fail(fault.text(), reason, refused);
                }
            }
        }
        self.buffer = Vec::new();
        self.done = 0;
        true
    }

    fn take_frame(
        &mut self,
        transaction: Transaction,
        command: Command,
        data: Range<usize>,
        cut: bool,
    ) {
        if transaction == Transaction::HINT {
            // A hint may be ignored; what asks for an answer has another number.
            if command != Command::Other {
                let fault = "a command under the number of hints";
                self.fail(fault, RejectReason::Framing, false);
            }
            return;
        }
        match self.due {
            None => self.answers.begin_with(transaction),
            Some(due) if due == transaction => {}
            Some(_) => {
                let fault = "a transaction number out of order";
                return self.fail(fault, RejectReason::Framing, false);
            }
        }
        self.due = Some(transaction.next());
        match command {
            Command::Syslog if self.open => self.take_message(data, cut),
            Command::Syslog => self.fail("the session is not open", RejectReason::Request, true),
            Command::Open => match version(&self.buffer[data]) {
                // librelp is known to open a session twice.
                Ok(version) => {
                    self.open = true;
                    self.answers.push(Answer::Offers(version));
                }
                Err(fault) => self.fail(fault, RejectReason::Request, true),
            },
            Command::Close => {
                self.over = true;
                self.answers.push(Answer::Closed);
            }
            Command::Other => {
                self.count_rejected(RejectReason::Request);
                self.answers.push(Answer::Refused("no such command here"));
            }
        }
    }

    fn take_message(&mut self, data: Range<usize>, cut: bool) {
        let (kept, notes);
        let line = if cut {
            kept = std::mem::take(&mut self.kept);
            notes = Notes::from(Note::Truncated);
            &kept
        } else {
            notes = Notes::NONE;
            &self.buffer[data]
        };
        let before = self.forming.len();
        self.terms
            .lines
            .add(line, notes, self.peer, &self.receipt, &mut self.forming);
        self.answers.push(match self.forming.len() - before {
            0 => Answer::Settled(1),
            events => Answer::Stored(events),
        });
    }

    /// Ends the session because its sender broke the rules; says so to the transaction where it is
    /// to be `refused`.
    fn fail(&mut self, fault: &'static str, reason: RejectReason, refused: bool) {
        tracing::debug!(peer = %self.peer, fault, "a RELP session is ended");
        self.over = true;
        self.count_rejected(reason);
        if refused {
            self.answers.push(Answer::Refused(fault));
        }
    }

    /// Drops what has formed: what was before it is not stored, and must not be acknowledged after.
    pub(super) fn abandon(&mut self) {
        self.over = true;
        self.count_lost(self.forming.len());
        self.forming.take_and_limit(0);
        self.answers.give_up();
    }

    /// Forgets what is done with. A session from which nothing is left holds no memory.
    fn compact(&mut self) {
        if self.done == self.buffer.len() {
            self.buffer = Vec::new();
        } else if self.done > 0 {
            self.buffer.drain(..self.done);
        }
        self.done = 0;
    }

    /// Reads once and returns how many bytes that were; 0 at the end of the stream.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        thread_local! {
            // Where reads go, so that a session needs a buffer of its own only for what it was sent.
            static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            if Pin::new(stream).poll_read(context, &mut read)?.is_pending() {
                // The sender may stay silent for hours in the middle of a frame.
                self.buffer.shrink_to_fit();
                return Poll::Pending;
            }
            if !self.over {
                self.receipt = Receipt::now();
                self.buffer.extend_from_slice(read.filled());
            }
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// Counts what the stream ended in the middle of.
    pub(super) fn count_rest(&self) {
        let unfinished = self.done < self.buffer.len() || self.frames.in_data();
        if self.ended && !self.over && unfinished {
            self.count_rejected(RejectReason::Incomplete);
        }
    }

    /// Counts a message that did not become an event.
    fn count_rejected(&self, reason: RejectReason) {
        let metrics = self.terms.admission.metrics().listener(Listener::Relp);
        metrics.received.inc();
        metrics.rejected(reason).inc();
    }

    /// Counts events that did not become durable.
    pub(super) fn count_lost(&self, events: usize) {
        if events > 0 {
            let reason = RejectReason::StoreError;
            let metrics = self.terms.admission.metrics();
            metrics.failed(reason).inc();
            let listener = metrics.listener(Listener::Relp);
            listener.rejected(reason).inc_by(events as u64);
        }
    }
}

/// The version of the protocol that both sides speak, from what the sender offers.
///
/// # Errors
/// Why there can be no session.
fn version(offers: &[u8]) -> Result<u32, &'static str> {
    let mut version = 0;
    for offer in offers.split(|byte| *byte == b'\n') {
        let mut parts = offer.splitn(2, |byte| *byte == b'=');
        let (name, values) = (parts.next(), parts.next().unwrap_or_default());
        match name {
            Some(b"relp_version") => {
                let offered = std::str::from_utf8(values).ok();
                let offered = offered.and_then(|text| text.trim().parse::<u32>().ok());
                version = offered
                    .ok_or("relp_version is not a number")?
                    .min(NEWEST_VERSION);
            }
            Some(b"commands")
                if !values
                    .split(|byte| *byte == b',')
                    .any(|value| value == b"syslog") =>
            {
                return Err("the only command here is syslog");
            }
            _ => {}
        }
    }
    Ok(version)
}

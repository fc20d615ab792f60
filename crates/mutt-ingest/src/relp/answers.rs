//! What a RELP session owes its sender: one response per transaction, in the order of the
//! transactions, each only when it is true.
//!
//! Holds no frames: runs of messages that wait for the same thing are one number. Knows neither
//! sockets nor events.

use std::collections::VecDeque;
use std::io::Write as _;

use super::frame::Transaction;

/// The most runs that may wait: beyond it the session reads no more. A sender that only sends
/// messages makes one.
const MAX_WAITING: usize = 256;

/// The most bytes of responses that the sender has not taken yet; beyond it the session reads no
/// more.
const MAX_OUT: usize = 64 << 10;

/// The hint that the server ends the session.
const SERVERCLOSE: &[u8] = b"0 serverclose 0\n";

/// Responses in the order in which they are due.
#[derive(Debug)]
pub(super) struct Answers {
    /// The transaction that is answered next.
    next: Transaction,
    waiting: VecDeque<Answer>,
    /// Events that are durable and not acknowledged yet.
    durable: usize,
    /// Responses that can be sent.
    out: Vec<u8>,
    /// How much of it the sender has.
    sent: usize,
    /// Nobody listens any more.
    mute: bool,
}

/// What is said to one transaction, or to several that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200, once so many events more are durable.
    Stored(usize),
    /// 200, to so many messages that need not be stored.
    Settled(usize),
    /// 200 with what this server offers in this version of the protocol.
    Offers(u32),
    /// 200 to the end of the session.
    Closed,
    /// 500 with the reason: sending it again is of no use.
    Refused(&'static str),
}

impl Answers {
    /// For a session whose first transaction has this number.
    pub(super) fn new() -> Self {
        Self {
            next: Transaction::FIRST,
            waiting: VecDeque::new(),
            durable: 0,
            out: Vec::new(),
            sent: 0,
            mute: false,
        }
    }

    /// The session begins with this transaction rather than with the first.
    pub(super) fn begin_with(&mut self, transaction: Transaction) {
        self.next = transaction;
    }

    /// What is due to the transaction after those before.
    pub(super) fn push(&mut self, answer: Answer) {
        match (self.waiting.back_mut(), answer) {
            (Some(Answer::Stored(before)), Answer::Stored(more))
            | (Some(Answer::Settled(before)), Answer::Settled(more)) => *before += more,
            _ => self.waiting.push_back(answer),
        }
        self.write_what_is_true();
    }

    /// So many events more are durable, in the order in which they came.
    pub(super) fn stored(&mut self, events: usize) {
        self.durable += events;
        self.write_what_is_true();
    }

    /// Nothing more will become durable: what waits is never answered.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }

    /// The sender cannot be told anything any more.
    pub(super) fn mute(&mut self) {
        self.mute = true;
        self.sent(self.out().len());
    }

    /// Tells the sender that the session ends.
    pub(super) fn say_goodbye(&mut self) {
        self.out.extend_from_slice(SERVERCLOSE);
    }

    /// Whether so much waits that no further transaction should be read.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING || self.out().len() >= MAX_OUT
    }

    /// Whether every transaction was answered, though the sender may not have the answers yet.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What can be sent now.
    pub(super) fn out(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// So many bytes of it were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() {
            // A session that fell silent holds no memory.
            self.out = Vec::new();
            self.sent = 0;
        }
    }

    fn write_what_is_true(&mut self) {
        while let Some(answer) = self.waiting.front_mut() {
            match answer {
                Answer::Stored(events) => {
                    let now = self.durable.min(*events);
                    self.durable -= now;
                    *events -= now;
                    let done = *events == 0;
                    self.acknowledge(now);
                    if !done {
                        return;
                    }
                }
                Answer::Settled(messages) => {
                    let messages = *messages;
                    self.acknowledge(messages);
                }
                Answer::Offers(version) => {
                    let text = format!(
                        "200 OK\nrelp_version={version}\nrelp_software=mutt,{}\ncommands=syslog",
                        env!("CARGO_PKG_VERSION")
                    );
                    self.respond(&text);
                }
                Answer::Closed => self.respond("200 OK"),
                Answer::Refused(reason) => {
                    let text = format!("500 {reason}");
                    self.respond(&text);
                }
            }
            self.waiting.pop_front();
        }
    }

    fn acknowledge(&mut self, messages: usize) {
        for _ in 0..messages {
            self.respond("200 OK");
        }
    }

    fn respond(&mut self, text: &str) {
        if self.mute {
            return;
        }
        // Writing to memory does not fail.
        let _ = writeln!(self.out, "{} rsp {} {text}", self.next, text.len());
        self.next = self.next.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(answers: &mut Answers) -> String {
        let text = String::from_utf8(answers.out().to_vec()).unwrap();
        answers.sent(text.len());
        text
    }

    #[test]
    fn nothing_is_said_before_it_is_true_and_nothing_out_of_order() {
        let mut answers = Answers::new();
        answers.push(Answer::Offers(0));
        let offers = taken(&mut answers);
        assert!(
            offers.starts_with("1 rsp ") && offers.contains(" 200 OK\nrelp_version=0\n"),
            "{offers}"
        );
        answers.push(Answer::Stored(1));
        answers.push(Answer::Stored(2));
        answers.push(Answer::Settled(1));
        answers.push(Answer::Refused("no"));
        answers.push(Answer::Stored(1));
        answers.push(Answer::Closed);
        assert_eq!(taken(&mut answers), "");
        answers.stored(2);
        assert_eq!(taken(&mut answers), "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
        answers.stored(1);
        assert_eq!(
            taken(&mut answers),
            "4 rsp 6 200 OK\n5 rsp 6 200 OK\n6 rsp 6 500 no\n"
        );
        assert!(!answers.is_settled());
        answers.stored(1);
        answers.say_goodbye();
        assert_eq!(
            taken(&mut answers),
            "7 rsp 6 200 OK\n8 rsp 6 200 OK\n0 serverclose 0\n"
        );
        assert!(answers.is_settled());
    }

    #[test]
    fn numbers_go_round() {
        let mut answers = Answers::new();
        answers.begin_with(Transaction::new(999_999_999).unwrap());
        answers.push(Answer::Stored(2));
        answers.stored(2);
        assert_eq!(
            taken(&mut answers),
            "999999999 rsp 6 200 OK\n1 rsp 6 200 OK\n"
        );
    }

    #[test]
    fn a_sender_that_only_asks_or_never_listens_is_held_back() {
        let mut answers = Answers::new();
        answers.push(Answer::Stored(1));
        while !answers.is_full() {
            answers.push(Answer::Refused("no"));
        }
        assert!(answers.out().is_empty());
        answers.stored(1);
        taken(&mut answers);
        assert!(!answers.is_full());
        while !answers.is_full() {
            answers.push(Answer::Settled(1));
        }
        let held = answers.out().len();
        assert!((MAX_OUT..MAX_OUT + 100).contains(&held), "{held}");
    }
}

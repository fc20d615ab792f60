//! From datagrams to events, with answers, Reports and counters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mutt_snmp::names::Names;
use mutt_snmp::render::Describer;
use mutt_snmp::{
    Access, Arrival, EventOrigin, InformKey, Informs, Received, Receiver, Refusal, Trap, UsmStat,
    write_event,
};
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::door::Gate;
use crate::metrics::{Listener, ListenerMetrics, RejectReason, SnmpMetrics};
use crate::pump::{Creditor, Forming};
use crate::syslog_lines::Receipt;
use crate::udp::Reader;

/// How often one kind of refusal is logged: counters tell the rest.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// Makes events of what comes from one socket.
pub(super) struct Traps {
    receiver: Receiver,
    access: watch::Receiver<Arc<Access>>,
    /// When the datagrams that are read now were taken from the socket.
    receipt: Receipt,
    now: Instant,
    events: Events,
    counters: ListenerMetrics,
    snmp: SnmpMetrics,
    /// What the receiver has counted so far.
    stats: [u32; UsmStat::ALL.len()],
    /// By position in [`Refusal::ALL`].
    warned: [Option<Instant>; Refusal::ALL.len()],
    answers: Arc<Answers>,
    creditor: Arc<dyn Creditor>,
}

/// Informs that are under way or stored, and the socket that their answers go through.
struct Answers {
    informs: Mutex<Informs>,
    socket: Arc<UdpSocket>,
    snmp: SnmpMetrics,
}

impl Answers {
    fn send(&self, answer: &[u8], to: SocketAddr) {
        // Never waited for: whoever misses an answer asks again.
        let counter = match self.socket.try_send_to(answer, to) {
            Ok(_) => &self.snmp.answers_sent,
            Err(error) => {
                tracing::debug!(%to, %error, "an answer was not sent");
                &self.snmp.answers_failed
            }
        };
        counter.inc();
    }
}

impl Creditor for Answers {
    fn settled(&self, numbers: Vec<u64>, stored: bool) {
        let now = Instant::now();
        for number in numbers {
            let key = InformKey(number);
            if !stored {
                self.informs.lock().given_up(key, now);
                continue;
            }
            let answers = self.informs.lock().stored(key, now);
            for (answer, to) in answers {
                self.send(&answer, to);
            }
        }
    }
}

impl Traps {
    pub(super) fn new(
        receiver: Receiver,
        access: watch::Receiver<Arc<Access>>,
        names: Arc<ArcSwap<Names>>,
        socket: Arc<UdpSocket>,
        admission: &Admission,
    ) -> Self {
        let metrics = admission.metrics();
        let answers = Arc::new(Answers {
            informs: Mutex::default(),
            socket,
            snmp: metrics.snmp.clone(),
        });
        Self {
            receiver,
            access,
            receipt: Receipt::now(),
            now: Instant::now(),
            events: Events {
                gate: admission.door().gate(Listener::SnmpTrap),
                names,
                describer: Describer::default(),
            },
            counters: metrics.listener(Listener::SnmpTrap).clone(),
            snmp: metrics.snmp.clone(),
            stats: [0; UsmStat::ALL.len()],
            warned: [None; Refusal::ALL.len()],
            creditor: answers.clone(),
            answers,
        }
    }

    fn reject(&self, reason: RejectReason) {
        self.counters.received.inc();
        self.counters.rejected(reason).inc();
    }

    fn count_stats(&mut self) {
        for (stat, seen) in UsmStat::ALL.into_iter().zip(&mut self.stats) {
            let now = self.receiver.stat(stat);
            self.snmp
                .usm(stat)
                .inc_by(u64::from(now.wrapping_sub(*seen)));
            *seen = now;
        }
    }

    fn warn(&mut self, refusal: Refusal, from: SocketAddr) {
        let last = &mut self.warned[refusal as usize];
        let now = self.now;
        if last.is_some_and(|last| now.saturating_duration_since(last) < WARNING_INTERVAL) {
            return;
        }
        *last = Some(now);
        let reason = reason(refusal).name();
        tracing::warn!(
            %from, reason,
            "an SNMP message is refused; more of the kind are counted and not logged for a while"
        );
    }
}

impl Reader for Traps {
    fn begin_read(&mut self) {
        self.receipt = Receipt::now();
        self.now = Instant::now();
        if self.access.has_changed().unwrap_or(false) {
            let access = Arc::clone(&self.access.borrow_and_update());
            self.receiver.set_access(access);
        }
    }

    fn read(&mut self, from: SocketAddr, datagram: &[u8], forming: &mut Forming) {
        let (refusal, report) = match self.receiver.receive(datagram, from, self.now) {
            Received::Trap(trap) => {
                if self.events.add(&trap, from, &self.receipt, true, forming) {
                    self.counters.parsed.inc();
                }
                return;
            }
            Received::Inform {
                trap,
                answer,
                key,
                copied,
            } => {
                let answer = (answer, from);
                let arrival = {
                    let mut informs = self.answers.informs.lock();
                    informs.arrived(key, copied, answer, self.now)
                };
                let reason = match arrival {
                    Arrival::New => {
                        // What is acknowledged one by one is stored one by one.
                        if self.events.add(&trap, from, &self.receipt, false, forming) {
                            forming.owe(key.0, &self.creditor);
                            self.counters.parsed.inc();
                        } else {
                            // Beyond the limit that the operator set. Without an answer its sender
                            // would send it again and again.
                            self.creditor.settled(vec![key.0], true);
                        }
                        return;
                    }
                    Arrival::UnderWay => RejectReason::Retransmission,
                    Arrival::Stored((answer, to)) => {
                        self.answers.send(&answer, to);
                        RejectReason::Retransmission
                    }
                    Arrival::Replayed => RejectReason::Replay,
                };
                self.reject(reason);
                return;
            }
            Received::Reply { report, refusal } => (refusal, Some(report)),
            Received::Refused(refusal) => (refusal, None),
        };
        self.count_stats();
        if let Some(report) = &report {
            self.answers.send(report, from);
        }
        // A sender that is told who and how late this is was not refused anything yet.
        let greeting = matches!(refusal, Refusal::UnknownEngine | Refusal::TimeWindow);
        if report.is_none() || !greeting {
            self.reject(reason(refusal));
            self.warn(refusal, from);
        }
    }
}

/// What makes events of traps.
struct Events {
    gate: Gate,
    names: Arc<ArcSwap<Names>>,
    describer: Describer,
}

impl Events {
    /// Adds the event that a trap is, unless its sender sends too many; returns whether it is in the
    /// batch, or counted in one that will be. Counts it as received.
    fn add(
        &mut self,
        trap: &Trap<'_>,
        from: SocketAddr,
        receipt: &Receipt,
        folds: bool,
        forming: &mut Forming,
    ) -> bool {
        let Self {
            gate,
            names,
            describer,
        } = self;
        let names = names.load();
        let peer = from.ip().to_canonical();
        let moment = receipt.moment();
        let batch = forming.batch();
        let before = batch.len();
        let written = gate.pass(peer, moment, folds, batch, |known, out| {
            let origin = EventOrigin {
                peer,
                received_at: moment.at,
                correlation_id: receipt.correlation(),
                relay: known.sender.relay,
                tags: &known.sender.tags,
            };
            let device = origin.device(trap);
            let looked_up = (device != peer).then(|| known.name_of(device)).flatten();
            let host = if device == peer {
                known.name
            } else {
                looked_up.as_deref()
            };
            let description = describer.describe(trap, &names);
            write_event(trap, &origin, host, &description, out);
        });
        written.is_some() && (folds || batch.len() > before)
    }
}

/// What a refusal is counted as.
fn reason(refusal: Refusal) -> RejectReason {
    match refusal {
        Refusal::Malformed => RejectReason::Framing,
        Refusal::Unsupported | Refusal::NoNotification => RejectReason::Unsupported,
        Refusal::Community => RejectReason::Auth,
        Refusal::UnknownEngine => RejectReason::UnknownEngine,
        Refusal::UnknownUser => RejectReason::UnknownUser,
        Refusal::SecurityLevel => RejectReason::SecurityLevel,
        Refusal::WrongDigest => RejectReason::WrongDigest,
        Refusal::Decryption => RejectReason::Decryption,
        Refusal::TimeWindow => RejectReason::TimeWindow,
        Refusal::Replayed => RejectReason::Replay,
        Refusal::TooManyEngines => RejectReason::TooManyEngines,
    }
}

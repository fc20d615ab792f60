//! Events that MUTT makes of its own at the door, so that rules can page for them like for any other.

use std::net::IpAddr;

use jiff::Timestamp;
use mutt_event::element::ElementWriter;
use mutt_event::{EventId, Severity};

use super::flood::FloodAction;
use crate::metrics::Listener;

/// What `source` and `program` of such an event say.
const MUTT: &str = "mutt";

/// Something at the door that people should know of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// The host that it is about.
    pub(super) host: String,
    pub(super) address: IpAddr,
    pub(super) listener: Listener,
    pub(super) kind: NoticeKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum NoticeKind {
    FloodBegins {
        /// Events per second.
        limit: f64,
        action: FloodAction,
        sample: u64,
    },
    FloodEnds {
        /// How long it lasted.
        seconds: f64,
        /// Events of the sender that were kept meanwhile, and that were not.
        kept: u64,
        dropped: u64,
    },
}

impl Notice {
    fn mnemonic(&self) -> &'static str {
        match self.kind {
            NoticeKind::FloodBegins { .. } => "FLOOD",
            NoticeKind::FloodEnds { .. } => "FLOOD-END",
        }
    }

    fn severity(&self) -> Severity {
        match self.kind {
            NoticeKind::FloodBegins { .. } => Severity::WARNING,
            NoticeKind::FloodEnds { .. } => Severity::NOTICE,
        }
    }

    fn message(&self) -> String {
        let who = if self.host == self.address.to_string() {
            self.host.clone()
        } else {
            format!("{} ({})", self.host, self.address)
        };
        let head = format!(
            "%MUTT-{}-{}: {who}",
            self.severity().number(),
            self.mnemonic()
        );
        match self.kind {
            NoticeKind::FloodBegins {
                limit,
                action,
                sample,
            } => {
                let fate = match action {
                    FloodAction::Drop => "what is beyond is dropped".to_owned(),
                    FloodAction::Sample => {
                        format!("of what is beyond, one event in {sample} is kept")
                    }
                    FloodAction::Mark => "what is beyond is kept and marked".to_owned(),
                };
                let listener = self.listener.name();
                format!("{head} sends more than {limit} events/s ({listener}); {fate}")
            }
            NoticeKind::FloodEnds {
                seconds,
                kept,
                dropped,
            } => format!(
                "{head} floods no more: {dropped} events dropped and {kept} kept in {seconds:.0} s"
            ),
        }
    }

    /// Appends the queue element.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let now = Timestamp::now();
        let mut element = ElementWriter::new(out);
        element.text("hostname", &self.host);
        element.text("message", &self.message());
        element.number("syslog_severity", u64::from(self.severity().number()));
        element.text("facility", "syslog");
        element.text("program", MUTT);
        element.text("mnemonic", self.mnemonic());
        element.text("source", MUTT);
        element.address("source_ip", self.address);
        element.text("listener", self.listener.name());
        if let NoticeKind::FloodEnds { kept, dropped, .. } = self.kind {
            element.number("kept", kept);
            element.number("dropped", dropped);
        }
        element.identity(EventId::at(now), now, None);
        element.finish();
    }
}

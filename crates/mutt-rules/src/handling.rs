//! What a rule decides, and for which hosts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What happens to a matched event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Handling {
    /// Wake somebody and open a ticket.
    PageAndTicket,
    /// Wake somebody.
    PageOnly,
    /// Open a ticket.
    TicketOnly,
    /// Keep the audit row only.
    LogOnly,
    /// Known and of no interest; the audit row says so.
    Ignore,
}

impl Handling {
    /// Every handling, in the order in which people are shown them.
    pub const ALL: [Self; 5] = [
        Self::PageAndTicket,
        Self::PageOnly,
        Self::TicketOnly,
        Self::LogOnly,
        Self::Ignore,
    ];

    /// The name in tables, queues and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::PageAndTicket => "Page_and_ticket",
            Self::PageOnly => "Page_only",
            Self::TicketOnly => "Ticket_only",
            Self::LogOnly => "Log_only",
            Self::Ignore => "Ignore",
        }
    }

    /// Whether the event becomes an alert for the sink.
    pub fn forwards(self) -> bool {
        matches!(
            self,
            Self::PageAndTicket | Self::PageOnly | Self::TicketOnly
        )
    }
}

impl fmt::Display for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Handling> for &'static str {
    fn from(handling: Handling) -> Self {
        handling.name()
    }
}

impl TryFrom<String> for Handling {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Handling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|handling| handling.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                format!(
                    "'{text}' is no handling; allowed are {}",
                    Self::ALL.map(Self::name).join(", ")
                )
            })
    }
}

/// Whether a host is in production or in development.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Every host that is not listed in `development_hosts`.
    Production,
    /// A host listed in `development_hosts`.
    Development,
}

impl Environment {
    /// The name in audit rows and alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }
}

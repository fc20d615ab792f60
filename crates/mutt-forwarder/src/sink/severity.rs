//! From syslog severities and traps to Moogsoft's scale: 0 clear, 1 indeterminate, 2 warning,
//! 3 minor, 4 major, 5 critical.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Outgoing;
use crate::error::ForwarderError;

/// The table. A site may replace any part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeverityTable {
    /// By syslog severity 0..7.
    pub syslog: [u8; 8],
    /// By trap OID, without the leading dot.
    pub traps: BTreeMap<String, u8>,
    /// Traps that `traps` does not name.
    pub other_traps: u8,
    /// Events that have no severity and are no trap.
    pub unknown: u8,
}

impl Default for SeverityTable {
    fn default() -> Self {
        const COLD_START: &str = "1.3.6.1.6.3.1.1.5.1";
        const LINK_DOWN: &str = "1.3.6.1.6.3.1.1.5.3";
        const LINK_UP: &str = "1.3.6.1.6.3.1.1.5.4";
        Self {
            syslog: [5, 5, 5, 4, 2, 1, 1, 1],
            traps: [(COLD_START, 0), (LINK_DOWN, 4), (LINK_UP, 0)]
                .map(|(oid, severity)| (oid.to_owned(), severity))
                .into(),
            other_traps: 2,
            unknown: 1,
        }
    }
}

impl SeverityTable {
    /// The severity of an alert, 0..5.
    pub fn of(&self, outgoing: &Outgoing<'_>) -> u8 {
        if let Some(oid) = &outgoing.event.trap_oid {
            return self.traps.get(&**oid).copied().unwrap_or(self.other_traps);
        }
        outgoing.alert.severity.map_or(self.unknown, |severity| {
            self.syslog[usize::from(severity.number())]
        })
    }

    /// The word that the Events API takes for a severity.
    pub fn word(severity: u8) -> &'static str {
        ["clear", "unknown", "warning", "minor", "major", "critical"][usize::from(severity.min(5))]
    }

    /// Checks that every entry is on Moogsoft's scale; OIDs lose their leading dot.
    ///
    /// # Errors
    /// The first entry that is not.
    pub fn checked(mut self) -> Result<Self, ForwarderError> {
        self.traps = std::mem::take(&mut self.traps)
            .into_iter()
            .map(|(oid, severity)| (oid.trim_start_matches('.').to_owned(), severity))
            .collect();
        let syslog = self
            .syslog
            .iter()
            .enumerate()
            .map(|(n, &s)| (format!("syslog {n}"), s));
        let traps = self
            .traps
            .iter()
            .map(|(oid, &severity)| (format!("trap {oid}"), severity));
        let rest = [("other traps", self.other_traps), ("unknown", self.unknown)]
            .map(|(what, severity)| (what.to_owned(), severity));
        match syslog
            .chain(traps)
            .chain(rest)
            .find(|(_, severity)| *severity > 5)
        {
            Some((what, value)) => Err(ForwarderError::Severity { what, value }),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(alert: &str, event: &str) -> u8 {
        let element = format!(
            r#"{{"hostname":"h","team_assignment":"t","message_body":"m"{alert},"raw_json":{}}}"#,
            serde_json::to_string(&format!(r#"{{"hostname":"h","message":"m"{event}}}"#)).unwrap()
        );
        SeverityTable::default().of(&Outgoing::read(element.as_bytes()).unwrap())
    }

    #[test]
    fn the_documented_table() {
        let syslog: Vec<_> = (0..8)
            .map(|number| severity(&format!(r#","severity":{number}"#), ""))
            .collect();
        assert_eq!(syslog, [5, 5, 5, 4, 2, 1, 1, 1]);
        let trap = |oid: &str| severity("", &format!(r#","trap_oid":"{oid}""#));
        assert_eq!(trap(".1.3.6.1.6.3.1.1.5.4"), 0, "linkUp");
        assert_eq!(trap("1.3.6.1.6.3.1.1.5.1"), 0, "coldStart");
        assert_eq!(trap("1.3.6.1.6.3.1.1.5.3"), 4, "linkDown");
        assert_eq!(trap("1.3.6.1.4.1.9.9.41.2"), 2, "another");
        assert_eq!(severity("", ""), 1, "nothing known");
    }

    #[test]
    fn a_severity_off_the_scale_is_refused() {
        let table = SeverityTable {
            other_traps: 6,
            ..SeverityTable::default()
        };
        let error = table.checked().unwrap_err().to_string();
        assert_eq!(
            error,
            "the severity table maps other traps to 6; Moogsoft's severities are 0 to 5"
        );
    }
}

//! Traps that carry a syslog message: Cisco's clogMessageGenerated and Juniper's jnxSyslogTrap.
//!
//! Promises the text, severity, facility and program that the same message has when it comes by
//! syslog, so that one rule takes both.

use std::borrow::Cow;
use std::fmt::Write as _;

use mutt_event::Severity;
use mutt_event::syslog::FACILITIES;

use super::{Role, Sentence, Speech};

/// What a carried message says besides its text.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) severity: Option<Severity>,
    pub(super) facility: Option<&'static str>,
    /// Empty where there is none.
    pub(super) program: String,
    pub(super) process_id: Option<u32>,
}

impl Carried {
    pub(super) fn clear(&mut self) {
        self.severity = None;
        self.facility = None;
        self.program.clear();
        self.process_id = None;
    }
}

/// The longest program of a carried message, in bytes: Cisco's facility and mnemonic.
const MAX_PROGRAM: usize = 128;

impl<'a> Speech<'a, '_> {
    /// Writes the message that the trap carries. `false` where it carries none; then nothing was
    /// written.
    pub(super) fn carried(&mut self, sentence: Sentence, carried: &mut Carried) -> bool {
        match sentence {
            Sentence::CiscoSyslog => self.cisco(carried),
            Sentence::JuniperSyslog => self.juniper(carried),
            _ => false,
        }
    }

    fn cisco(&mut self, carried: &mut Carried) -> bool {
        let Some(text) = self.carried_text(Role::SyslogText) else {
            return false;
        };
        carried.severity = self.severity();
        let facility = self.value(Role::SyslogFacility);
        let name = self.value(Role::SyslogName);
        if let (Some(facility), Some(severity), Some(name)) = (facility, carried.severity, name) {
            let _ = write!(carried.program, "%{facility}-{severity}-{name}");
            if !plain(&carried.program) {
                carried.program.clear();
            }
        }
        // Some devices put it into the text as well.
        if !carried.program.is_empty() && !text.starts_with(carried.program.as_str()) {
            self.line.push(&carried.program);
            self.line.push(": ");
        }
        self.line.push_plain(text.trim());
        true
    }

    fn juniper(&mut self, carried: &mut Carried) -> bool {
        let Some(text) = self.carried_text(Role::SyslogText) else {
            return false;
        };
        carried.severity = self.severity();
        carried.facility = self
            .number(Role::SyslogFacility)
            .and_then(|number| FACILITIES.get(usize::try_from(number.checked_sub(1)?).ok()?))
            .copied();
        if let Some(program) = self.value(Role::SyslogProgram).filter(|name| plain(name)) {
            carried.program.push_str(&program);
        }
        carried.process_id = self
            .number(Role::SyslogProcessId)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|&number| number > 0);
        // By syslog, the name of the event stands before the text.
        if let Some(name) = self.value(Role::SyslogName).filter(|name| plain(name))
            && !text.starts_with(&*name)
        {
            self.line.push(&name);
            self.line.push(": ");
        }
        self.line.push_plain(text.trim());
        true
    }

    /// The text of a message, of any length.
    fn carried_text(&mut self, role: Role) -> Option<Cow<'a, str>> {
        let (varbind, found) = self.take(role)?;
        let text = super::value::text(&varbind.value, &found.entry.display)?;
        (!text.trim().is_empty()).then_some(text)
    }

    /// Both vendors number severities from 1, where syslog begins with 0.
    fn severity(&mut self) -> Option<Severity> {
        let number = self.number(Role::SyslogSeverity)?;
        Severity::new(u8::try_from(number.checked_sub(1)?).ok()?)
    }
}

/// Whether a word can be the program of a syslog message.
fn plain(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= MAX_PROGRAM
        && word.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

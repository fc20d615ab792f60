//! What a trap says to a person: one line of text per trap, and the names of what is in it.
//!
//! Promises a line that is never empty, has no line ends, is never longer than [`MAX_MESSAGE`], and
//! loses nothing silently: what was cut is marked. Changes nothing in the trap, decides nothing.

mod carried;
mod line;
mod roles;
mod sentences;
mod value;

use std::fmt::Write as _;

use mutt_event::Severity;

pub use line::CUT;
pub use value::MAX_VALUE;

use crate::names::{Found, Names};
use crate::oid::Oid;
use crate::trap::{Trap, Value, Varbind};
use line::Line;
pub(crate) use roles::{Role, Sentence};
use value::Quotes;

/// The longest a message becomes, in bytes, with its mark.
pub const MAX_MESSAGE: usize = 4096;

/// The longest a name of a variable becomes, in bytes: the name and the numbers behind it.
pub const MAX_VARIABLE_NAME: usize = 512;

/// Makes descriptions, and keeps its buffers from trap to trap.
#[derive(Debug, Default)]
pub struct Describer {
    message: String,
    trap_name: String,
    /// The names of the variables, one after another.
    names: String,
    /// Where each ends in `names`; the same as the one before for a variable without a name.
    ends: Vec<usize>,
    carried: carried::Carried,
}

/// What is said of a trap.
#[derive(Clone, Copy, Debug)]
pub struct Description<'d> {
    /// The line.
    pub message: &'d str,
    /// The name of the trap; `None` where no part of its identifier is known.
    pub trap_name: Option<&'d str>,
    /// The severity of the syslog message that the trap carries.
    pub severity: Option<Severity>,
    /// The facility of that message, in syslog's word.
    pub facility: Option<&'d str>,
    /// The program of that message: for Cisco its `%FACILITY-SEVERITY-MNEMONIC`.
    pub program: Option<&'d str>,
    /// The number of the process of that message.
    pub process_id: Option<u32>,
    names: &'d str,
    ends: &'d [usize],
}

impl<'d> Description<'d> {
    /// The name of the variable at `index` of the trap's varbinds, with its instance; `None` where no
    /// part of its identifier is known.
    pub fn name(&self, index: usize) -> Option<&'d str> {
        let end = *self.ends.get(index)?;
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1],
        };
        Some(&self.names[start..end]).filter(|name| !name.is_empty())
    }
}

impl Describer {
    /// Describes `trap`.
    pub fn describe(&mut self, trap: &Trap<'_>, names: &Names) -> Description<'_> {
        let Self {
            message,
            trap_name,
            names: names_text,
            ends,
            carried,
        } = self;
        message.clear();
        trap_name.clear();
        names_text.clear();
        ends.clear();
        carried.clear();

        let mut found = Vec::with_capacity(trap.varbinds.len());
        for varbind in &trap.varbinds {
            let known = names.find(&varbind.oid);
            if let Some(known) = &known {
                write_name(
                    known,
                    &varbind.oid,
                    &mut Line::new(names_text, MAX_VARIABLE_NAME),
                );
            }
            ends.push(names_text.len());
            found.push(known);
        }
        let known = names.find_trap(&trap.trap_oid);
        if let Some(known) = &known {
            write_name(
                known,
                &trap.trap_oid,
                &mut Line::new(trap_name, MAX_VARIABLE_NAME),
            );
        }

        let sentence = known
            .filter(|known| known.exact)
            .map_or(Sentence::None, |known| known.entry.sentence);
        let mut speech = Speech {
            trap,
            names,
            found: &found,
            used: 0,
            line: Line::new(message, MAX_MESSAGE),
        };
        // A carried message stands alone, so that rules for syslog match it.
        if !speech.carried(sentence, carried) {
            speech.used = 0;
            if speech.say(sentence) {
                speech.rest("; ");
            } else {
                speech.used = 0;
                if trap_name.is_empty() {
                    let _ = write!(speech.line, "{}", trap.trap_oid);
                } else {
                    speech.line.push(trap_name);
                }
                speech.rest(": ");
            }
        }
        Description {
            message,
            trap_name: Some(trap_name.as_str()).filter(|name| !name.is_empty()),
            severity: carried.severity,
            facility: carried.facility,
            program: Some(carried.program.as_str()).filter(|program| !program.is_empty()),
            process_id: carried.process_id,
            names: names_text,
            ends,
        }
    }
}

/// A message in the making.
pub(crate) struct Speech<'a, 'o> {
    trap: &'a Trap<'a>,
    names: &'a Names,
    /// What is known of each variable.
    found: &'a [Option<Found<'a>>],
    /// Which of the first 64 variables have been told of; later ones are told of again.
    used: u64,
    line: Line<'o>,
}

impl<'a> Speech<'a, '_> {
    /// The first variable in this role; from now on all in this role count as told of.
    fn take(&mut self, role: Role) -> Option<(&'a Varbind<'a>, Found<'a>)> {
        let mut first = None;
        for (index, (varbind, found)) in self.trap.varbinds.iter().zip(self.found).enumerate() {
            let Some(found) = found.filter(|found| found.entry.role == role) else {
                continue;
            };
            self.use_up(index);
            first = first.or(Some((varbind, found)));
        }
        first
    }

    fn use_up(&mut self, index: usize) {
        if index < 64 {
            self.used |= 1 << index;
        }
    }

    /// The number of the variable in this role.
    fn number(&mut self, role: Role) -> Option<i64> {
        number(&self.take(role)?.0.value)
    }

    /// The numbers behind the object of the first variable in one of these roles: its instance. It
    /// does not count as told of.
    fn instance(&self, roles: &[Role]) -> Option<Vec<u32>> {
        self.trap
            .varbinds
            .iter()
            .zip(self.found)
            .find_map(|(varbind, found)| {
                let found = found.filter(|found| roles.contains(&found.entry.role))?;
                let arcs: Vec<u32> = varbind.oid.below(&found.entry.oid)?.collect();
                (!arcs.is_empty()).then_some(arcs)
            })
    }

    /// The value of the variable in this role, as a person reads it; `None` where there is none or it
    /// is empty.
    fn value(&mut self, role: Role) -> Option<std::borrow::Cow<'a, str>> {
        let (varbind, found) = self.take(role)?;
        let text = value::text(&varbind.value, &found.entry.display).unwrap_or_else(|| {
            let mut text = String::new();
            value::write(
                &varbind.value,
                Some(found),
                self.names,
                Quotes::Never,
                &mut Line::new(&mut text, MAX_VALUE),
            );
            text.into()
        });
        (!text.trim().is_empty()).then_some(text)
    }

    /// Adds the variables that were not told of yet, each as `name=value`.
    fn rest(&mut self, first: &str) {
        let mut before = first;
        for (index, (varbind, found)) in self.trap.varbinds.iter().zip(self.found).enumerate() {
            let told = index < 64 && self.used & (1 << index) != 0;
            // Who sent it stands in fields of its own.
            let sender = found.is_some_and(|found| found.entry.role == Role::Sender);
            if told || sender {
                continue;
            }
            if self.line.is_full() {
                return;
            }
            self.line.push(before);
            before = ", ";
            match found {
                Some(found) => {
                    // The instance of a scalar says nothing.
                    let scalar = varbind
                        .oid
                        .below(&found.entry.oid)
                        .is_some_and(|mut rest| rest.next() == Some(0) && rest.next().is_none());
                    if scalar {
                        self.line.push(&found.entry.name);
                    } else {
                        write_name(found, &varbind.oid, &mut self.line);
                    }
                }
                None => {
                    let _ = write!(self.line, "{}", varbind.oid);
                }
            }
            self.line.push("=");
            value::write(
                &varbind.value,
                *found,
                self.names,
                Quotes::WhereNeeded,
                &mut self.line,
            );
        }
    }
}

/// Appends a name and the numbers of `oid` below it.
fn write_name(found: &Found<'_>, oid: &Oid<'_>, line: &mut Line<'_>) {
    line.push(&found.entry.name);
    if !found.exact {
        for arc in oid.below(&found.entry.oid).into_iter().flatten() {
            let _ = write!(line, ".{arc}");
        }
    }
}

/// The number that a value is.
fn number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(i64::from(*number)),
        Value::Counter32(number) | Value::Gauge32(number) | Value::TimeTicks(number) => {
            Some(i64::from(*number))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

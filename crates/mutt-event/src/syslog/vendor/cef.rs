//! `ArcSight`'s Common Event Format and IBM's Log Event Extended Format, which many products can write.

use super::super::clock::Clock;
use super::super::{Message, Mnemonic, is_host, stamp};
use crate::time;

/// Takes the id of the kind of event from `CEF:0|vendor|product|version|id|name|severity|…` or
/// `LEEF:1.0|vendor|product|version|id|…`, and host and time from the extension where no header has
/// them. The severity stays the priority's: CEF counts from 0 to 10, the other way round.
pub(super) fn read<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let Some(rest) = text
        .strip_prefix("CEF:")
        .or_else(|| text.strip_prefix("LEEF:"))
    else {
        return false;
    };
    let mut fields = Fields(rest);
    let Some(id) = fields.nth(4) else {
        return false;
    };
    if !id.is_empty() {
        message.mnemonic = Some(Mnemonic::Word(id));
    }
    let extension = fields.0;
    if message.host.is_none() {
        message.host = value(extension, "dvchost=").filter(|host| is_host(host));
    }
    if message.time.is_none() {
        let written = value(extension, "rt=").or_else(|| value(extension, "devTime="));
        message.time = written.and_then(|text| match time::read_epoch(text.as_bytes()) {
            Some(time) => Some(time),
            None => stamp::read(text, clock)?.time,
        });
    }
    true
}

/// The fields of the header, in which a bar may be escaped.
struct Fields<'a>(&'a str);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut from = 0;
        loop {
            let at = from + memchr::memchr(b'|', &self.0.as_bytes()[from..])?;
            if at > 0 && self.0.as_bytes()[at - 1] == b'\\' {
                from = at + 1;
                continue;
            }
            let field = &self.0[..at];
            self.0 = &self.0[at + 1..];
            return Some(field);
        }
    }
}

/// The value of a key in an extension, up to the next key or tab.
fn value<'a>(extension: &'a str, key: &str) -> Option<&'a str> {
    let at = memchr::memmem::find_iter(extension.as_bytes(), key).find(|at| {
        let before = at.checked_sub(1).map(|at| extension.as_bytes()[at]);
        matches!(before, None | Some(b' ' | b'\t' | b'|'))
    })?;
    let value = &extension[at + key.len()..];
    let value = value.split('\t').next().unwrap_or(value);
    // A blank may belong to the value: the next key is the word in front of the next equals sign.
    let end = match value.split_once('=') {
        Some((before, _)) => before.rfind(' ').unwrap_or(before.len()),
        None => value.len(),
    };
    Some(value[..end].trim_end())
}

//! Windows agents: Snare, and those that write as it does. `NXLog` and others send plain syslog.

use super::super::clock::Clock;
use super::super::{Message, Mnemonic, is_host, stamp};

/// What Snare begins with, up to the first tab.
const SNARE: &str = "MSWinEventLog\t";

/// Takes number and source of the event from
/// `MSWinEventLog 1 Security 4711 Sat Nov 21 13:00:03 2026 4624 Microsoft-Windows-…`, with tabs.
pub(super) fn snare<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    if !text.starts_with(SNARE) {
        return false;
    }
    let mut fields = text.split('\t').skip(4);
    let (time, id, source) = (fields.next(), fields.next(), fields.next());
    if message.time.is_none()
        && let Some(stamp) = time.and_then(|time| stamp::read(time, clock))
    {
        message.time = stamp.time;
    }
    if let Some(id) = id.filter(|id| !id.is_empty() && super::super::is_number(id)) {
        message.mnemonic = Some(Mnemonic::Word(id));
    }
    if message.program.is_none() {
        message.program = source.filter(|source| !source.is_empty());
    }
    true
}

/// The host in front of Snare's text, where a tab stands between them; what follows it.
pub(super) fn snare_host(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = text.split_once('\t')?;
    (rest.starts_with(SNARE) && is_host(host)).then_some((host, rest))
}

/// Whether a text is one that follows a header of Snare.
pub(in super::super) fn is_snare(text: &str) -> bool {
    text.starts_with(SNARE)
}

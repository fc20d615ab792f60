//! Opengear console servers, which write host and port in front of the time.

use super::super::clock::Clock;
use super::super::{Message, is_host, stamp};

/// Takes the header `cs1 port02 2026-Nov- 9 15:42:06.972 `; what follows it.
pub(super) fn header<'a>(
    text: &'a str,
    clock: Clock<'_>,
    message: &mut Message<'a>,
) -> Option<&'a str> {
    let (host, rest) = text.split_once(' ')?;
    let (port, rest) = rest.split_once(' ')?;
    let stamp = stamp::year_and_name(rest, clock)?;
    let content = stamp.rest.strip_prefix(' ')?;
    if !is_host(host) || port.is_empty() {
        return None;
    }
    message.host = Some(host);
    message.program = Some(port);
    message.time = stamp.time;
    Some(content)
}

//! Unix systems that write more than a tag.

use super::super::{Message, Mnemonic};
use crate::Severity;

/// Takes number and severity from Solaris' `[ID 702911 daemon.notice] text`.
pub(super) fn solaris<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((inside, _)) = text
        .strip_prefix("[ID ")
        .and_then(|rest| rest.split_once(']'))
    else {
        return false;
    };
    let Some((number, priority)) = inside.split_once(' ') else {
        return false;
    };
    if number.is_empty() || !super::super::is_number(number) {
        return false;
    }
    message.mnemonic = Some(Mnemonic::Word(number));
    message.vendor_severity = priority
        .split_once('.')
        .and_then(|(_, severity)| Severity::from_text(severity));
    true
}

/// The host in AIX's `Message forwarded from aix1: text`, and what follows.
pub(in super::super) fn forwarded(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("Message forwarded from ")?;
    let (host, rest) = rest.split_once(": ")?;
    super::super::is_host(host).then_some((host, rest))
}

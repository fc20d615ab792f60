//! Dell: iDRAC. Networking devices of Dell write as Cisco's do.

use super::super::{Message, Mnemonic};

/// Whether a text begins with the unit of a stack of OS9: `%STKUNIT1-M:CP %SNMP-6-…`.
pub(in super::super) fn is_unit(text: &str) -> bool {
    text.starts_with("%STKUNIT")
}

/// Takes the message's id from
/// `Severity: Informational, Category: Audit, MessageID: USR0030, Message: text`. The severity stays
/// the priority's, because the words are iDRAC's own.
pub(super) fn idrac<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    if !text.starts_with("Severity: ") {
        return false;
    }
    let mut fields = text.splitn(4, ", ");
    let id = fields.find_map(|field| field.strip_prefix("MessageID: "));
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        message.mnemonic = Some(Mnemonic::Word(id));
    }
    true
}

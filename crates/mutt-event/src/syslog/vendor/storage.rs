//! Storage: `NetApp` ONTAP, Brocade Fabric OS.

use super::super::{Message, Mnemonic, is_host};
use crate::Severity;

/// Takes node, name and severity from ONTAP's `[node-01:wafl.vol.full:alert]: text`, which may have
/// a thread between them.
pub(super) fn netapp<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((inside, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) else {
        return false;
    };
    let Some((head, severity)) = inside.rsplit_once(':') else {
        return false;
    };
    let (Some(severity), Some((node, name))) =
        (Severity::from_text(severity), head.split_once(':'))
    else {
        return false;
    };
    let name = name.rsplit(':').next().unwrap_or(name).trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !rest.starts_with(':') || !name.contains('.') || !name.bytes().all(plain) {
        return false;
    }
    if is_host(node) {
        message.host = Some(node);
    }
    message.mnemonic = Some(Mnemonic::Word(name));
    message.vendor_severity = Some(severity);
    true
}

/// Whether a text begins with `cluster1-01: `, a node of the cluster.
pub(in super::super) fn is_node(text: &str, cluster: &str) -> bool {
    let number = text
        .strip_prefix(cluster)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.split_once(": "));
    number.is_some_and(|(number, _)| !number.is_empty() && super::super::is_number(number))
}

/// Takes name and severity from Fabric OS'
/// `2026/11/21-13:00:04, [FW-1424], 1234,, WARNING, sw1, Switch status changed`, and the longer form
/// that begins with `AUDIT, `.
pub(super) fn brocade<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((_, rest)) = text.split_once(", [") else {
        return false;
    };
    let Some((name, rest)) = rest.split_once("], ") else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.len() > 16 || !name.contains('-') || !name.bytes().all(plain) {
        return false;
    }
    message.mnemonic = Some(Mnemonic::Word(name));
    let mut words = rest.split(',').take(4);
    message.vendor_severity = words.find_map(|word| {
        let word = word.trim();
        (word.len() > 1)
            .then(|| Severity::from_text(word))
            .flatten()
    });
    true
}

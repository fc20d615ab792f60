//! HPE Aruba: mobility controllers and access points, AOS-CX and `ProCurve` switches.

use super::super::content::tag;
use super::super::{Message, Mnemonic};
use crate::Severity;

/// Takes what controllers and access points write in front of a text:
/// `<124198> <4130> <ERRS> <mc1 192.0.2.60>  text`.
pub(super) fn controller<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((number, rest)) = bracket(text) else {
        return false;
    };
    if number.len() != 6 || !super::super::is_number(number) {
        return false;
    }
    message.mnemonic = Some(Mnemonic::Word(number));
    let level = |text| {
        let (word, rest) = bracket(text)?;
        Some((severity(word), rest))
    };
    message.vendor_severity = match level(rest) {
        Some((None, rest)) => level(rest).and_then(|(severity, _)| severity),
        Some((severity, _)) => severity,
        None => None,
    };
    true
}

/// The word in angle brackets at the start of a text, and what follows.
fn bracket(text: &str) -> Option<(&str, &str)> {
    text.trim_start_matches(' ')
        .strip_prefix('<')?
        .split_once('>')
}

fn severity(word: &str) -> Option<Severity> {
    let number = match word {
        "EMRG" => 0,
        "ALRT" => 1,
        "CRIT" => 2,
        "ERRS" => 3,
        "WARN" => 4,
        "NOTI" => 5,
        "INFO" => 6,
        "DBUG" => 7,
        _ => return None,
    };
    Severity::new(number)
}

/// Takes AOS-CX's `Event|404|LOG_WARN|AMM|1/1|text`.
pub(super) fn event<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some(rest) = text.strip_prefix("Event|") else {
        return false;
    };
    let mut fields = rest.split('|');
    let (Some(number), Some(level)) = (fields.next(), fields.next()) else {
        return false;
    };
    if !number.is_empty() && super::super::is_number(number) {
        message.mnemonic = Some(Mnemonic::Word(number));
    }
    message.vendor_severity = level.strip_prefix("LOG_").and_then(Severity::from_text);
    true
}

/// Takes a `ProCurve` switch's `00077 ports: port A1 is now off-line`.
pub(super) fn procurve<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((number, rest)) = text.split_at_checked(5) else {
        return false;
    };
    let Some(rest) = rest
        .strip_prefix(' ')
        .filter(|_| super::super::is_number(number))
    else {
        return false;
    };
    let Some(tag) = tag(rest).filter(|_| message.program.is_none()) else {
        return false;
    };
    message.mnemonic = Some(Mnemonic::Word(number));
    message.program = Some(tag.program);
    message.procid = tag.procid;
    true
}

//! Nokia SR OS and Extreme EXOS, whose events have a name of several parts in front of the text.

use super::super::{Message, Mnemonic, is_number};
use crate::Severity;

/// How bad an event of SR OS is; the priority says it on syslog's scale.
const LEVELS: [&str; 6] = [
    "CRITICAL",
    "MAJOR",
    "MINOR",
    "WARNING",
    "CLEARED",
    "INDETERMINATE",
];

/// Takes number and name of the event from SR OS'
/// `254 Base PORT-MINOR-etherAlarmSet-2017 [Port 1/1/2]: text`, behind the tag `TMNX`.
pub(super) fn sros<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let mut words = text.splitn(4, ' ');
    let (Some(number), Some(_router), Some(name)) = (words.next(), words.next(), words.next())
    else {
        return false;
    };
    if number.is_empty() || !is_number(number) {
        return false;
    }
    let mut parts = name.split('-');
    let (level, id) = (parts.nth(1), parts.next_back());
    if !level.is_some_and(|level| LEVELS.contains(&level))
        || !id.is_some_and(|id| !id.is_empty() && is_number(id))
    {
        return false;
    }
    message.sequence.get_or_insert(number);
    message.mnemonic = Some(Mnemonic::Word(name));
    true
}

/// Takes name and severity from EXOS' `<Info:vlan.msgs.portLinkStateDown> Port 1:1 link down`.
pub(super) fn exos<'a>(text: &'a str, message: &mut Message<'a>) -> bool {
    let Some((inside, _)) = text.strip_prefix('<').and_then(|text| text.split_once('>')) else {
        return false;
    };
    let Some((level, name)) = inside.split_once(':') else {
        return false;
    };
    let number = match level {
        "Crit" => 2,
        "Erro" => 3,
        "Warn" => 4,
        "Noti" => 5,
        "Info" | "Summ" => 6,
        "Verb" | "Debg" => 7,
        _ => return false,
    };
    if !name.is_empty() && !name.contains(' ') {
        message.mnemonic = Some(Mnemonic::Word(name));
    }
    message.vendor_severity = Severity::new(number);
    true
}

//! Traps that Net-SNMP's snmptrapd wrote to syslog: the path of sites that had MUTT behind it.
//!
//! Understood are its standard formats (of 5.9, and of before with ` Trap ` and commas), as they are
//! and as rsyslog escapes them (`#012`, `#011`). The event is then about the device that sent the
//! trap, with `trap_oid` and `varbinds` as those of the native door. OIDs must be numbers (option
//! `-On`) except for the six traps that everybody knows by name.

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::memmem;

use super::{Message, Note};
use crate::element::{ElementWriter, push_number, push_string};

/// What identifies a version 2 trap, and when its agent started.
const SNMP_TRAP_OID: &str = "1.3.6.1.6.3.1.1.4.1.0";
const SYS_UP_TIME: &str = "1.3.6.1.2.1.1.3.0";

/// The standard traps: as version 1 words them, as MIBs name them. Their OIDs are those of
/// [`STANDARD`] and the position from 1 (RFC 3584, section 3.1).
const GENERIC: [(&str, &str); 6] = [
    ("Cold Start", "coldStart"),
    ("Warm Start", "warmStart"),
    ("Link Down", "linkDown"),
    ("Link Up", "linkUp"),
    ("Authentication Failure", "authenticationFailure"),
    ("EGP Neighbor Loss", "egpNeighborLoss"),
];
const STANDARD: &str = "1.3.6.1.6.3.1.1.5";

/// A trap, as far as its text tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Trap<'a> {
    oid: Option<String>,
    enterprise: Option<Cow<'a, str>>,
    uptime: Option<u64>,
    varbinds: Vec<(Cow<'a, str>, &'a str)>,
    /// One line, without the community: that is a credential.
    pub(super) message: String,
}

/// Makes the message of snmptrapd one about the device that sent the trap.
pub(super) fn refine(message: &mut Message<'_>) {
    if message.program != Some("snmptrapd") {
        return;
    }
    if let Some((host, trap)) = read(message.text) {
        message.host = host.or(message.host);
        message.notes.add(Note::Relayed);
        message.trap = Some(trap);
    }
}

fn read(text: &str) -> Option<(Option<&str>, Trap<'_>)> {
    let text = without_date(text);
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut rest = 0;
    let mut head = text.len();
    while let Some((key, value)) = next_varbind(text, rest) {
        let start = key.as_ptr() as usize - text.as_ptr() as usize;
        if let Some((_, before)) = found.last_mut() {
            let begin = before.as_ptr() as usize - text.as_ptr() as usize;
            *before = trim_separators(&text[begin..start]);
        } else {
            head = start;
        }
        found.push((key, value));
        let begin = value.as_ptr() as usize - text.as_ptr() as usize;
        rest = begin + quoted_len(value);
    }
    if let Some((_, last)) = found.last_mut() {
        *last = trim_separators(last);
    }
    let head = trim_separators(&text[..head]);
    let mut trap = Trap::default();
    let (words, community_free) = without_community(head);
    if let Some((enterprise, kind, specific)) = version_1(words) {
        trap.enterprise = enterprise.map(numbers);
        trap.oid = match GENERIC.iter().position(|(words, _)| *words == kind) {
            Some(position) => Some(format!("{STANDARD}.{}", position + 1)),
            None if kind == "Enterprise Specific" => trap
                .enterprise
                .as_deref()
                .map(|enterprise| format!("{enterprise}.0.{specific}")),
            None => return None,
        };
    } else {
        // Without the varbind that says which trap it is, it is some other line.
        let is_identity =
            |key: &str| numbers(key) == SNMP_TRAP_OID || key.ends_with("::snmpTrapOID.0");
        let (_, value) = found.iter().find(|(key, _)| is_identity(key))?;
        trap.oid = trap_oid(value);
    }
    for (key, value) in &found {
        let oid = numbers(key);
        if oid == SYS_UP_TIME
            || key.ends_with("::sysUpTimeInstance")
            || key.ends_with("::sysUpTime.0")
        {
            trap.uptime = ticks(value.strip_prefix("Timeticks: ").unwrap_or(value));
        } else if oid != SNMP_TRAP_OID && !key.ends_with("::snmpTrapOID.0") {
            trap.varbinds.push((oid, value));
        }
    }
    trap.message = community_free;
    for (index, (key, value)) in found.iter().enumerate() {
        trap.message.push_str(if index == 0 { " " } else { ", " });
        trap.message.push_str(key);
        trap.message.push_str(" = ");
        trap.message.push_str(value);
    }
    Some((host(head), trap))
}

/// The text behind the time that snmptrapd writes itself.
fn without_date(text: &str) -> &str {
    let shape = b"0000-00-00 00:00:00 ";
    let bytes = text.as_bytes();
    let is_date = bytes.len() > shape.len()
        && shape.iter().zip(bytes).all(|(shape, byte)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => other == byte,
        });
    if is_date { &text[shape.len()..] } else { text }
}

/// The next `name = value` from `from` on; the value goes to the end of the text.
fn next_varbind(text: &str, mut from: usize) -> Option<(&str, &str)> {
    loop {
        let at = from + memmem::find(text.as_bytes().get(from..)?, b" = ")?;
        let key_byte =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_');
        let before = &text.as_bytes()[from..at];
        let length = before
            .iter()
            .rev()
            .take_while(|byte| key_byte(byte))
            .count();
        let mut key = &text[at - length..at];
        if text[..at - length].ends_with('#') {
            // rsyslog's escape of a tab or a line end.
            key = key
                .strip_prefix("011")
                .or_else(|| key.strip_prefix("012"))
                .unwrap_or("");
        }
        if is_key(key) {
            return Some((key, &text[at + 3..]));
        }
        from = at + 3;
    }
}

fn is_key(key: &str) -> bool {
    let numeric = numbers(key);
    let numeric = numeric.contains('.') && numeric.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    numeric || key.contains("::")
}

/// How long the quoted string is that a value begins with, behind its type; 0 where there is none.
fn quoted_len(value: &str) -> usize {
    let Some(inside) = value
        .strip_prefix("STRING: \"")
        .or_else(|| value.strip_prefix('"'))
    else {
        return 0;
    };
    let start = value.len() - inside.len();
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return start + at + 1,
            _ => {}
        }
    }
    0
}

fn trim_separators(mut text: &str) -> &str {
    loop {
        let shorter = text.trim_end_matches([' ', '\t', '\n', '\r', ',']);
        let shorter = shorter
            .strip_suffix("#011")
            .or_else(|| shorter.strip_suffix("#012"))
            .unwrap_or(shorter);
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

/// An OID without a leading dot, with `iso` as the number that it is.
fn numbers(oid: &str) -> Cow<'_, str> {
    let oid = oid.strip_prefix('.').unwrap_or(oid);
    match oid.strip_prefix("iso.") {
        Some(rest) => Cow::Owned(format!("1.{rest}")),
        None => Cow::Borrowed(oid),
    }
}

/// The words of a head in one line, without its community: for looking at, and for people.
fn without_community(head: &str) -> (&str, String) {
    let ends = ["#012", "\n"];
    let line_end = |text: &str| ends.iter().filter_map(|end| text.find(end)).min();
    let plain = |text: &str| {
        text.replace("#012", " ")
            .replace("#011", " ")
            .replace(['\n', '\t'], " ")
    };
    let squeezed = |text: &str| {
        plain(text)
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let Some(start) = head.find(", community ") else {
        return (head, squeezed(head));
    };
    let (before, rest) = head.split_at(start);
    let after = line_end(rest).map_or("", |end| &rest[end..]);
    let joined = format!("{} {}", squeezed(before), squeezed(after));
    (after, joined.trim_end().to_owned())
}

/// Of `[enterprise] Link Down Trap (0) Uptime: …`: the enterprise, the words and the number.
fn version_1(words: &str) -> Option<(Option<&str>, &str, u32)> {
    let (before, after) = words.split_once(" Trap (")?;
    let number = after.split_once(')')?.0.parse().ok()?;
    let before = before.rsplit(['\n', '\t']).next().unwrap_or(before);
    let before = before
        .rsplit_once("#011")
        .map_or(before, |(_, rest)| rest)
        .trim();
    // `192.0.2.1: Link Down`, as it was before 5.4.
    let before = before.rsplit_once(": ").map_or(before, |(_, rest)| rest);
    match before.split_once(' ') {
        Some((oid, kind)) if is_key(oid) => Some((Some(oid), kind, number)),
        _ => Some((None, before, number)),
    }
}

/// The name that a head begins with; where snmptrapd knew none (it writes `<UNKNOWN>`, and with `-n`
/// the transport), the address that it came from.
fn host(head: &str) -> Option<&str> {
    let word = head.split([' ', '\t']).next()?;
    let is_transport = word.ends_with(':') && head[word.len()..].starts_with(" [");
    let name = word.trim_end_matches(':');
    if !is_transport && !matches!(name, "" | "<UNKNOWN>" | "0.0.0.0") && super::is_host(name) {
        return Some(name);
    }
    head.split('[')
        .filter_map(|part| part.split_once(']'))
        .map(|(address, _)| address)
        .find(|address| {
            address
                .parse::<IpAddr>()
                .is_ok_and(|ip| !ip.is_unspecified())
        })
}

/// The OID in the value of snmpTrapOID.
fn trap_oid(value: &str) -> Option<String> {
    let name = value.strip_prefix("OID: ")?.trim();
    let oid = numbers(name);
    if oid.contains('.')
        && oid
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Some(oid.into_owned());
    }
    let name = name.rsplit("::").next()?;
    let position = GENERIC.iter().position(|(_, known)| *known == name)?;
    Some(format!("{STANDARD}.{}", position + 1))
}

/// The number in `(123) 0:00:01.23`.
fn ticks(value: &str) -> Option<u64> {
    value.strip_prefix('(')?.split_once(')')?.0.parse().ok()
}

impl Trap<'_> {
    /// Writes `trap_oid`, `varbinds`, `uptime` and `enterprise`.
    pub(super) fn write(&self, element: &mut ElementWriter<'_>) {
        if let Some(oid) = &self.oid {
            element.text("trap_oid", oid);
        }
        element.raw_with("varbinds", |out| {
            out.push(b'[');
            for (index, (oid, value)) in self.varbinds.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"oid\":");
                push_string(out, oid);
                push_value(out, value);
                out.push(b'}');
            }
            out.push(b']');
        });
        if let Some(uptime) = self.uptime {
            element.number("uptime", uptime);
        }
        if let Some(enterprise) = &self.enterprise {
            element.text("enterprise", enterprise);
        }
    }
}

/// Writes type and value, by the names that the native door has for types.
fn push_value(out: &mut Vec<u8>, written: &str) {
    let (kind, value) = written.split_once(": ").unwrap_or(("STRING", written));
    let kind = match kind {
        "INTEGER" => "integer",
        "STRING" => "octet_string",
        "Hex-STRING" => "hex_string",
        "OID" => "oid",
        "IpAddress" | "Network Address" => "ip_address",
        "Counter32" => "counter32",
        "Counter64" => "counter64",
        "Gauge32" => "gauge32",
        "Timeticks" => "timeticks",
        "Opaque" => "opaque",
        _ => "other",
    };
    out.extend_from_slice(b",\"type\":");
    push_string(out, kind);
    out.extend_from_slice(b",\"value\":");
    match kind {
        "timeticks" => match ticks(value) {
            Some(ticks) => push_number(out, ticks),
            None => push_string(out, value),
        },
        "integer" | "counter32" | "counter64" | "gauge32" => {
            // Who has MIBs writes `up(1)`.
            let inside = value
                .strip_suffix(')')
                .and_then(|value| value.rsplit_once('('));
            let number = inside.map_or(value, |(_, number)| number).trim();
            if let Ok(number) = number.parse::<i128>() {
                out.extend_from_slice(number.to_string().as_bytes());
            } else {
                push_string(out, value);
            }
        }
        "hex_string" => {
            let plain = value.replace("#012", "");
            let digits = plain.bytes().filter(u8::is_ascii_hexdigit);
            out.push(b'"');
            out.extend(digits.map(|digit| digit.to_ascii_lowercase()));
            out.push(b'"');
        }
        "oid" => push_string(out, &numbers(value)),
        "octet_string" => push_string(out, &unquoted(value)),
        "other" => push_string(out, written),
        _ => push_string(out, value),
    }
}

/// What stands between quotes, with `\"` and `\\` as the characters they are.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(inside) = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
    else {
        return Cow::Borrowed(value);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut plain = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::json::view;
    use crate::syslog::{Origin, parse_into};

    fn event(text: &str) -> Value {
        let line = format!("<174>Nov 21 23:54:08 collector snmptrapd[24174]: {text}");
        let received = "2026-11-21T23:54:08Z".parse().unwrap();
        let origin = Origin::new([192, 0, 2, 1].into(), received, 65536);
        let mut out = Vec::new();
        parse_into(line.as_bytes(), &origin, &mut out);
        view(&out).expect("it reads back");
        serde_json::from_slice(&out).unwrap()
    }

    /// As Net-SNMP 5.9.3 writes it with `-Ls 5 -On`, and as rsyslog hands it on.
    #[test]
    fn a_version_2_trap() {
        let plain = "2026-11-21 23:54:08 sw1.example.com [UDP: [192.0.2.7]:49976->[192.0.2.1]:162]:\n\
            .1.3.6.1.2.1.1.3.0 = Timeticks: (123456) 0:20:34.56\t\
            .1.3.6.1.6.3.1.1.4.1.0 = OID: .1.3.6.1.6.3.1.1.5.3\t\
            .1.3.6.1.2.1.2.2.1.1.3 = INTEGER: 3\t\
            .1.3.6.1.2.1.2.2.1.2.3 = STRING: \"Gi0/1, .1.3 = \\\"core\\\"\"\t\
            .1.3.6.1.2.1.2.2.1.8.3 = INTEGER: down(2)";
        for text in [
            plain.to_owned(),
            plain.replace('\n', "#012").replace('\t', "#011"),
            plain.replace("]:\n", "]: Trap , ").replace('\t', ", "),
        ] {
            let event = event(&text);
            assert_eq!(event["hostname"], "sw1.example.com", "{event}");
            assert_eq!(event["trap_oid"], "1.3.6.1.6.3.1.1.5.3");
            assert_eq!(event["uptime"], 123_456);
            assert_eq!(
                event["varbinds"],
                json!([
                    {"oid":"1.3.6.1.2.1.2.2.1.1.3","type":"integer","value":3},
                    {"oid":"1.3.6.1.2.1.2.2.1.2.3","type":"octet_string",
                     "value":"Gi0/1, .1.3 = \"core\""},
                    {"oid":"1.3.6.1.2.1.2.2.1.8.3","type":"integer","value":2},
                ]),
                "{text}"
            );
            let message = event["message"].as_str().unwrap();
            assert!(
                message.starts_with("sw1.example.com [UDP: [192.0.2.7]"),
                "{message}"
            );
            assert!(!message.contains(['\n', '\t', '#']), "{message}");
        }
    }

    #[test]
    fn values_of_every_kind() {
        let event = event(
            "2026-11-21 23:54:08 <UNKNOWN> [UDP: [192.0.2.7]:4->[192.0.2.1]:162]:#012\
             iso.3.6.1.2.1.1.3.0 = Timeticks: (5) 0:00:00.05#011\
             iso.3.6.1.6.3.1.1.4.1.0 = OID: iso.3.6.1.4.1.9.9.41.2.0.1#011\
             .1.3.6.1.4.1.9.5 = STRING: \"two#012lines\"#011\
             .1.3.6.1.4.1.9.1 = Hex-STRING: 00 01 0A 0F #01210 11 #011\
             .1.3.6.1.4.1.9.2 = IpAddress: 10.1.2.3#011.1.3.6.1.4.1.9.3 = OID: .1.3.6.1.4#011\
             .1.3.6.1.4.1.9.4 = Counter64: 18446744073709551615#011.1.3.6.1.4.1.9.6 = \"\"",
        );
        assert_eq!(event["hostname"], "192.0.2.7");
        assert_eq!(event["trap_oid"], "1.3.6.1.4.1.9.9.41.2.0.1");
        let values: Vec<_> = event["varbinds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|varbind| (varbind["type"].as_str().unwrap(), varbind["value"].clone()))
            .collect();
        assert_eq!(
            values,
            [
                ("octet_string", json!("two#012lines")),
                ("hex_string", json!("00010a0f1011")),
                ("ip_address", json!("10.1.2.3")),
                ("oid", json!("1.3.6.1.4")),
                ("counter64", json!(18_446_744_073_709_551_615_u64)),
                ("octet_string", json!("")),
            ]
        );
    }

    #[test]
    fn without_names_the_address_is_the_host() {
        for (head, host) in [
            (
                "<UNKNOWN> [UDP: [192.0.2.7]:4->[192.0.2.1]:162]:",
                "192.0.2.7",
            ),
            (
                "UDP: [192.0.2.7]:4->[192.0.2.1]:162 [UDP: [192.0.2.7]:4->[192.0.2.1]:162]:",
                "192.0.2.7",
            ),
            (
                "UDP/IPv6: [2001:db8::7]:4 [UDP/IPv6: [2001:db8::7]:4]:",
                "2001:db8::7",
            ),
            ("192.0.2.7 [192.0.2.8]:", "192.0.2.7"),
        ] {
            let event = event(&format!(
                "2026-11-21 23:54:08 {head}#012.1.3.6.1.6.3.1.1.4.1.0 = OID: .1.3.6.1.6.3.1.1.5.1"
            ));
            assert_eq!(event["hostname"], host, "{event}");
        }
    }

    #[test]
    fn version_1_traps_are_translated_and_keep_their_community_to_themselves() {
        let head = "2026-11-21 23:54:08 10.9.8.7 [10.9.8.7] (via UDP: [192.0.2.9]:52834->[192.0.2.1]:162) \
                    TRAP, SNMP v1, community s3cret";
        for (rest, oid) in [
            (
                "\n\t.1.3.6.1.4.1.9 Link Down Trap (0) Uptime: 0:20:34.56\n\t.1.3.6.1.2.1.2.2.1.1.3 = INTEGER: 3",
                "1.3.6.1.6.3.1.1.5.3",
            ),
            (
                "#012#011.1.3.6.1.4.1.8072 Enterprise Specific Trap (17) Uptime: 0:20:34.56#012#011\
                 .1.3.6.1.2.1.2.2.1.1.3 = INTEGER: 3",
                "1.3.6.1.4.1.8072.0.17",
            ),
        ] {
            let event = event(&format!("{head}{rest}"));
            assert_eq!(event["trap_oid"], oid, "{event}");
            assert_eq!(event["hostname"], "10.9.8.7");
            assert_eq!(event["varbinds"].as_array().unwrap().len(), 1);
            assert!(!event.to_string().contains("s3cret"), "{event}");
            let message = event["message"].as_str().unwrap();
            assert!(
                message.contains("Trap (") && message.contains(".1.3 = INTEGER: 3"),
                "{message}"
            );
        }
    }

    #[test]
    fn names_tell_the_standard_traps() {
        let event = event(
            "localhost [127.0.0.1]: Trap , DISMAN-EVENT-MIB::sysUpTimeInstance = Timeticks: (7) 0:00:00.07, \
             SNMPv2-MIB::snmpTrapOID.0 = OID: IF-MIB::linkUp, IF-MIB::ifIndex.3 = INTEGER: 3",
        );
        assert_eq!(event["trap_oid"], "1.3.6.1.6.3.1.1.5.4");
        assert_eq!(event["uptime"], 7);
        assert_eq!(event["varbinds"][0]["oid"], "IF-MIB::ifIndex.3");
    }

    #[test]
    fn other_lines_of_snmptrapd_stay_what_they_are() {
        for text in [
            "NET-SNMP version 5.9.3",
            "Warning: no access control information configured. a.b = c",
            "host [1.2.3.4]: .1.3.6.1.2.1.1.3.0 = Timeticks: (5) 0:00:00.05",
            "Strange Trap (x)",
        ] {
            let event = event(text);
            assert_eq!(event["hostname"], "collector", "{event}");
            assert_eq!(event["message"], text);
            assert_eq!(event.get("trap_oid"), None);
        }
    }
}

//! RFC 5424: `<PRI>1 TIMESTAMP HOST APP PROCID MSGID [DATA] MSG`, and what comes close to it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::clock::Clock;
use super::notes::Note;
use super::{Message, is_host, push_string};
use crate::time;

/// Structured data: `(id, name, value)` in order of appearance. An element without parameters has
/// one entry without a name.
#[derive(Debug, Default)]
pub(super) struct Data<'a> {
    params: Vec<Param<'a>>,
}

#[derive(Debug)]
struct Param<'a> {
    id: &'a str,
    name: Option<&'a str>,
    value: Cow<'a, str>,
}

/// Reads a message whose priority is gone. `false`, and nothing changed, where it is not RFC 5424:
/// it has to begin with a version and a time.
pub(super) fn parse<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let version = text.bytes().take(3).take_while(u8::is_ascii_digit).count();
    if !(1..=2).contains(&version) || text.starts_with('0') {
        return false;
    }
    let Some(text) = text[version..].strip_prefix(' ') else {
        return false;
    };
    let text = text.trim_start_matches(' ');
    let (word, mut rest) = word(text);
    if word == "-" {
        // A lone "1 - text" is no header.
        if rest.bytes().filter(|&byte| byte == b' ').count() < 3 {
            return false;
        }
    } else if let Some((civil, offset, after)) = time::read_civil(text.as_bytes())
        && let [b' ', ..] | [] = after
        && let Some(time) = clock.moment(&civil, offset)
    {
        message.time = Some(time);
        // Check Point writes a blank in the middle of it.
        rest = text[text.len() - after.len()..].trim_start_matches(' ');
    } else {
        return meraki(word, rest, clock, message);
    }
    let (host, rest) = field(rest);
    message.host = host.filter(|host| is_host(host));
    let (program, rest) = field(rest);
    let (procid, rest) = field(rest);
    let (msgid, rest) = field(rest);
    message.program = program;
    message.procid = procid;
    message.msgid = msgid;
    if let Some(rest) = rest
        .strip_prefix('-')
        .filter(|rest| rest.is_empty() || rest.starts_with(' '))
    {
        message.text = body(rest);
    } else if let Some((data, rest)) = Data::read(rest) {
        message.data = Some(data);
        message.text = body(rest);
    } else {
        message.notes.add(Note::BadStructuredData);
        message.text = rest;
    }
    true
}

/// The message proper: one blank belongs to the header, a byte order mark to neither.
fn body(rest: &str) -> &str {
    let rest = rest.trim_start_matches(' ');
    rest.strip_prefix('\u{feff}').unwrap_or(rest)
}

/// In seconds.
const TEN_YEARS: u64 = 10 * 366 * 86_400;

/// Cisco Meraki: `1 1563249630.774247467 MX84 events type=…`, epoch time and no more header.
fn meraki<'a>(word: &str, rest: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let Some(time) = time::read_epoch(word.as_bytes()) else {
        return false;
    };
    // A number that is no time of these years is the beginning of some text.
    if time.as_second().abs_diff(clock.received_at().as_second()) > TEN_YEARS {
        return false;
    }
    let (host, rest) = field(rest);
    message.time = Some(time);
    message.host = host.filter(|host| is_host(host));
    message.text = rest;
    true
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// One header field; `None` for the NIL value.
fn field(text: &str) -> (Option<&str>, &str) {
    let (field, rest) = word(text);
    ((!field.is_empty() && field != "-").then_some(field), rest)
}

impl<'a> Data<'a> {
    /// Reads structured data at the start of `text`; `None` where it is not well formed.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let mut data = Self::default();
        let mut rest = text;
        while let Some(element) = rest.strip_prefix('[') {
            rest = data.element(element)?;
        }
        let complete = !data.params.is_empty() && (rest.is_empty() || rest.starts_with(' '));
        complete.then_some((data, rest))
    }

    /// One element behind its bracket; what follows it.
    fn element(&mut self, text: &'a str) -> Option<&'a str> {
        let (id, mut rest) = name(text)?;
        let mut named = false;
        loop {
            if let Some(rest) = rest.strip_prefix(']') {
                if !named {
                    self.params.push(Param {
                        id,
                        name: None,
                        value: Cow::Borrowed(""),
                    });
                }
                return Some(rest);
            }
            let (name, after) = name(rest.strip_prefix(' ')?.trim_start_matches(' '))?;
            let (value, after) = value(after.strip_prefix("=\"")?)?;
            self.params.push(Param {
                id,
                name: Some(name),
                value,
            });
            named = true;
            rest = after;
        }
    }

    /// Appends the data as an object of objects. A name that repeats has the list of its values,
    /// because in JSON only the last of several members would be heard.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        if self.has_repeats() {
            return self.write_grouped(out);
        }
        out.push(b'{');
        let mut open: Option<&str> = None;
        for param in &self.params {
            if open == Some(param.id) {
                out.push(b',');
            } else {
                if open.is_some() {
                    out.extend_from_slice(b"},");
                }
                push_string(out, param.id);
                out.extend_from_slice(b":{");
                open = Some(param.id);
            }
            if let Some(name) = param.name {
                push_string(out, name);
                out.push(b':');
                push_string(out, &param.value);
            }
        }
        out.extend_from_slice(if open.is_some() { b"}}" } else { b"}" });
    }

    /// Whether a parameter's name repeats in its element, or an element's id comes again later.
    fn has_repeats(&self) -> bool {
        const FEW: usize = 12;
        if self.params.len() > FEW {
            // Quadratic would be a gift to an attacker.
            return true;
        }
        self.params.iter().enumerate().any(|(index, param)| {
            let before = &self.params[..index];
            let bare = |param: &Param<'_>| param.name.is_none();
            let again = index > 0
                && before[index - 1].id != param.id
                && before.iter().any(|other| other.id == param.id);
            again
                || before.iter().any(|other| {
                    let same = other.name == param.name || bare(other) || bare(param);
                    other.id == param.id && same
                })
        })
    }

    fn write_grouped(&self, out: &mut Vec<u8>) {
        let mut elements: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for param in &self.params {
            let element = elements.entry(param.id).or_default();
            if let Some(name) = param.name {
                element.entry(name).or_default().push(&param.value);
            }
        }
        let mut before = b'{';
        for (id, params) in elements {
            out.push(before);
            before = b',';
            push_string(out, id);
            out.push(b':');
            let mut before = b'{';
            for (name, values) in &params {
                out.push(before);
                before = b',';
                push_string(out, name);
                out.push(b':');
                if let [value] = values[..] {
                    push_string(out, value);
                    continue;
                }
                for (index, value) in values.iter().enumerate() {
                    out.push(if index == 0 { b'[' } else { b',' });
                    push_string(out, value);
                }
                out.push(b']');
            }
            if params.is_empty() {
                out.push(b'{');
            }
            out.push(b'}');
        }
        out.push(b'}');
    }
}

/// An id or a name: anything printable but blank, `=`, `]` and `"`.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|byte| matches!(byte, b' ' | b'=' | b']' | b'"' | 0..0x20))?;
    (end > 0).then(|| text.split_at(end))
}

/// A value behind its opening quote, and what follows the closing one. `\"`, `\\` and `\]` are
/// escapes; any other backslash is itself.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut unescaped: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &text.as_bytes()[at..])?;
        if text.as_bytes()[at] == b'"' {
            let value = match unescaped {
                None => Cow::Borrowed(&text[..at]),
                Some(mut value) => {
                    value.push_str(&text[copied..at]);
                    Cow::Owned(value)
                }
            };
            return Some((value, &text[at + 1..]));
        }
        if let Some(b'"' | b'\\' | b']') = text.as_bytes().get(at + 1) {
            unescaped
                .get_or_insert_default()
                .push_str(&text[copied..at]);
            copied = at + 1;
            at += 2;
        } else {
            at += 1;
        }
    }
}

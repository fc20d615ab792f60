//! From the body of an Elasticsearch `_bulk` request to its items: a line that says what to do,
//! then, except for `delete`, the line of the document.
//!
//! Only the outline is read here. What a document is worth says
//! [`accept_document`](super::accept_document).

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Rejected;

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep the document.
    Index,
    /// Keep the document if its id is new.
    Create,
    /// Change a document.
    Update,
    /// Remove a document.
    Delete,
}

impl Action {
    /// Its name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Index, Self::Create, Self::Update, Self::Delete]
            .into_iter()
            .find(|action| action.name() == name)
    }
}

/// One item of a `_bulk` request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkItem<'a> {
    /// What it asks for.
    pub action: Action,
    /// Where to, if the item says so.
    pub index: Option<Cow<'a, str>>,
    /// The document's id, if the sender chose one.
    pub id: Option<Cow<'a, str>>,
    /// The document's line as it came, without its line end; `None` for `delete`. It is not looked
    /// at, and empty where the body ended before it.
    pub document: Option<&'a [u8]>,
}

/// The items of a body, in order. Ends with the first error: after a line that says nothing
/// understandable nobody knows which line is a document.
#[derive(Clone, Debug)]
pub struct Bulk<'a> {
    rest: &'a [u8],
    line: usize,
    failed: bool,
}

impl<'a> Bulk<'a> {
    /// Reads a body.
    pub fn new(body: &'a [u8]) -> Self {
        Self {
            rest: body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body),
            line: 0,
            failed: false,
        }
    }

    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let (line, rest) = match memchr(b'\n', self.rest) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &self.rest[self.rest.len()..]),
        };
        self.rest = rest;
        Some(line.trim_ascii())
    }
}

impl<'a> Iterator for Bulk<'a> {
    type Item = Result<BulkItem<'a>, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        // Blank lines between items do not matter.
        let line = loop {
            let line = self.next_line()?;
            if !line.is_empty() {
                break line;
            }
        };
        let Command { action, target } = match serde_json::from_slice(line) {
            Ok(command) => command,
            Err(error) => {
                self.failed = true;
                return Some(Err(Rejected::not_json(format!(
                    "line {} says not what to do with a document ({error}): give an object such as \
                     {{\"create\":{{}}}}, and the document in the next line",
                    self.line
                ))));
            }
        };
        let document = (action != Action::Delete).then(|| self.next_line().unwrap_or_default());
        Some(Ok(BulkItem {
            action,
            index: target.index,
            id: target.id.map(id),
            document,
        }))
    }
}

/// The line before a document.
struct Command<'a> {
    action: Action,
    target: Target<'a>,
}

#[derive(Default, Deserialize)]
struct Target<'a> {
    #[serde(rename = "_index", borrow)]
    index: Option<Cow<'a, str>>,
    #[serde(rename = "_id", borrow)]
    id: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Command<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneMember;
        impl<'de> Visitor<'de> for OneMember {
            type Value = Command<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one of index, create, update and delete")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let missing = || de::Error::invalid_length(0, &"one action");
                let name = map.next_key::<Cow<'de, str>>()?.ok_or_else(missing)?;
                let action = Action::of(&name)
                    .ok_or_else(|| de::Error::custom("no action of Elasticsearch"))?;
                let target = map.next_value::<Option<Target<'de>>>()?.unwrap_or_default();
                if map.next_key::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom("more than one action"));
                }
                Ok(Command { action, target })
            }
        }
        deserializer.deserialize_map(OneMember)
    }
}

/// An id as text: a string's content, anything else as it was written.
fn id(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<String>(raw.get()).map_or(Cow::Borrowed(raw.get()), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<BulkItem<'_>> {
        Bulk::new(body.as_bytes())
            .collect::<Result<_, _>>()
            .expect(body)
    }

    #[test]
    fn items_are_two_lines_and_a_delete_is_one() {
        let items = read(
            "{\"index\":{\"_index\":\"logs\",\"_type\":\"_doc\",\"_id\":7}}\r\n{\"a\":1}\r\n\n\
             {\"delete\":{\"_id\":\"x\\n\"}}\n{ \"create\" : {} }\n{\"b\":2}\n\
             {\"update\":null}\n{\"doc\":{}}",
        );
        let seen: Vec<_> = items
            .iter()
            .map(|item| {
                (
                    item.action,
                    item.index.as_deref(),
                    item.id.as_deref(),
                    item.document,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (
                    Action::Index,
                    Some("logs"),
                    Some("7"),
                    Some(&b"{\"a\":1}"[..])
                ),
                (Action::Delete, None, Some("x\n"), None),
                (Action::Create, None, None, Some(b"{\"b\":2}")),
                (Action::Update, None, None, Some(b"{\"doc\":{}}")),
            ]
        );
    }

    #[test]
    fn an_empty_line_after_an_action_is_its_document() {
        let items = read("{\"index\":{}}\n\n{\"create\":{}}");
        assert_eq!(items.len(), 2);
        assert!(items.iter().all(|item| item.document == Some(b"")));
    }

    #[test]
    fn what_is_no_action_ends_it_and_names_the_line() {
        for line in [
            "{\"message\":\"x\"}",
            "{\"index\":7}",
            "{\"index\":{},\"create\":{}}",
            "{}",
            "[]",
            "{\"index\":{}",
            "\u{1}",
        ] {
            let body =
                format!("{{\"index\":{{}}}}\n{{}}\n{line}\n{{}}\n{{\"index\":{{}}}}\n{{}}\n");
            let mut bulk = Bulk::new(body.as_bytes());
            assert!(bulk.next().unwrap().is_ok());
            let error = bulk.next().unwrap().unwrap_err();
            assert!(error.message.contains("line 3"), "{line}: {error}");
            assert!(bulk.next().is_none());
        }
        assert_eq!(read("").len() + read("\n\r\n").len(), 0);
    }
}

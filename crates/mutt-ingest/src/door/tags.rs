//! Tags of posted events: who posts speaks for others, so that what counts is the address that the event
//! names itself.

use std::net::IpAddr;

use mutt_event::Batch;
use mutt_event::element::ElementWriter;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::senders::{Sender, Senders};

/// What is looked at of an event.
#[derive(Deserialize)]
struct Posted {
    source_ip: Option<serde_json::Value>,
    /// Whether it has any of its own.
    #[serde(default, deserialize_with = "is_there")]
    tags: bool,
}

fn is_there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

/// The events with the tags of the networks that their `source_ip` is in, where they bring none.
/// `None` where there is nothing to add.
pub(crate) fn tag(batch: &Batch, senders: &Senders) -> Option<Batch> {
    let of: Vec<Option<&Sender>> = batch
        .iter()
        .map(|element| {
            let posted: Posted = serde_json::from_slice(element).ok()?;
            let address: IpAddr = posted.source_ip?.as_str()?.trim().parse().ok()?;
            let sender = senders.of(address);
            (!posted.tags && !sender.tags.is_empty()).then_some(sender)
        })
        .collect();
    if of.iter().all(Option::is_none) {
        return None;
    }
    let mut tagged = Batch::with_capacity(batch.len(), batch.byte_len());
    for (element, sender) in batch.iter().zip(of) {
        tagged.push_with(|out| {
            out.extend_from_slice(element);
            if let Some(sender) = sender {
                let mut element = ElementWriter::reopen(out);
                element.texts("tags", &sender.tags);
                element.finish();
            }
        });
    }
    Some(tagged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_gets_the_tags_of_the_address_that_it_names_unless_it_has_its_own() {
        let senders =
            Senders::parse("[[sender]]\nnetwork = \"10.0.0.0/8\"\ntags = [\"a\", \"\\\"b\"]")
                .unwrap();
        let batch: Batch = [
            &br#"{"hostname":"h","source_ip":"10.1.2.3"}"#[..],
            br#"{"source_ip":"10.1.2.3","tags":null}"#,
            br#"{"source_ip":"192.0.2.1"}"#,
            br#"{"source_ip":7}"#,
            br#"{"hostname":"h"}"#,
        ]
        .into_iter()
        .collect();
        let tagged = tag(&batch, &senders).unwrap();
        let first: serde_json::Value = serde_json::from_slice(tagged.get(0).unwrap()).unwrap();
        assert_eq!(first["tags"], serde_json::json!(["a", "\"b"]));
        for index in 1..batch.len() {
            assert_eq!(tagged.get(index), batch.get(index));
        }
        assert_eq!(tag(&batch, &Senders::default()), None);
    }
}

//! What no rule knows: the most frequent signatures, one signature in detail, and a text that a rule
//! for it could look for.

use std::cmp::Reverse;
use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_engine::unhandled::UnhandledSignature;
use mutt_event::EventId;
use mutt_event::mask::{mask_into, signature};
use mutt_rules::Scratch;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::estimate::{Figure, Hits, Stratum, figure};
use crate::findings::Events;
use crate::judge::Judge;
use crate::request::{InPath, Params, Viewer};

/// The shortest text that is suggested, in characters.
const SUGGESTION_MIN: usize = 8;

/// The longest text that a rule may look for, in characters.
const SUGGESTION_MAX: usize = 255;

/// Events that are shown of one signature.
const EXAMPLES: usize = 20;

/// Hosts that are shown of one signature.
const HOSTS: usize = 50;

/// The masks that stand for what varies.
const MASKS: [&str; 7] = ["<q>", "<ip>", "<mac>", "<time>", "<uuid>", "<hex>", "<n>"];

/// Which signatures.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct UnhandledQuery {
    /// At most so many signatures, 1 to 1,000 (100).
    limit: Option<usize>,
}

/// The most frequent signatures.
#[derive(Serialize, ToSchema)]
pub struct UnhandledList {
    /// The most frequent first.
    signatures: Vec<SignatureView>,
}

/// Events that no rule knows and that are the same but for what varies.
#[derive(Serialize, ToSchema)]
pub struct SignatureView {
    /// Its name: 16 hexadecimal digits.
    signature: String,
    /// The text with masks, such as `<n>` and `<ip>`, for what varies.
    masked: String,
    /// One message as it came.
    sample: String,
    /// Events within the window (`unhandled_event_window`).
    count: u64,
    /// Hosts it came from, the busiest first, at most ten.
    hosts: Vec<String>,
    /// What a rule for it could look for: the longest text without a mask; null where none has at
    /// least 8 characters.
    suggestion: Option<String>,
}

impl From<UnhandledSignature> for SignatureView {
    fn from(found: UnhandledSignature) -> Self {
        Self {
            suggestion: suggestion(&found.masked, &found.sample),
            signature: found.signature,
            masked: found.masked,
            sample: found.sample,
            count: found.count,
            hosts: found.hosts,
        }
    }
}

/// The longest stretch of `masked` without a mask that `sample` has as well.
fn suggestion(masked: &str, sample: &str) -> Option<String> {
    let sample = sample.to_lowercase();
    let mut rest = masked;
    let mut best: Option<(usize, &str)> = None;
    loop {
        let mask = MASKS
            .iter()
            .filter_map(|mask| Some((rest.find(mask)?, mask.len())))
            .min();
        let (end, skip) = mask.unwrap_or((rest.len(), 0));
        let stretch = bounded(rest[..end].trim());
        let length = stretch.chars().count();
        let longer = best.is_none_or(|(longest, _)| length > longest);
        // What looks like a mask may be the message's own text: then the stretches are its own too.
        if length >= SUGGESTION_MIN && longer && sample.contains(&stretch.to_lowercase()) {
            best = Some((length, stretch));
        }
        if mask.is_none() {
            return best.map(|(_, stretch)| stretch.to_owned());
        }
        rest = &rest[end + skip..];
    }
}

/// As much of `text` as a rule may look for, to the end of a word.
fn bounded(text: &str) -> &str {
    let Some((end, _)) = text.char_indices().nth(SUGGESTION_MAX) else {
        return text;
    };
    let cut = &text[..end];
    cut.rfind(' ').map_or(cut, |end| &cut[..end])
}

/// List the most frequent unhandled signatures
///
/// What no rule knows: the masked text, a sample, the count within the window, the hosts, and what a
/// rule could look for.
#[utoipa::path(get, path = "/unhandled", tag = "Events", params(UnhandledQuery),
    responses((status = 200, body = UnhandledList)))]
pub async fn list(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<UnhandledQuery>,
) -> Result<Json<UnhandledList>> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(ApiError::field("limit", "1 to 1000 is allowed"));
    }
    let signatures = api.engine.unhandled(limit).await?;
    Ok(Json(UnhandledList {
        signatures: signatures.into_iter().map(SignatureView::from).collect(),
    }))
}

/// One signature, with what the sample of the last hour has of it.
#[derive(Serialize, ToSchema)]
pub struct SignatureDetail {
    #[serde(flatten)]
    signature: SignatureView,
    /// The last hour, by the rules of now: what a rule knows by now is not among it.
    last_hour: SignatureHour,
}

/// What the sample of the last hour has of a signature.
#[derive(Default, Serialize, ToSchema)]
pub struct SignatureHour {
    /// How many events.
    events: Option<Figure>,
    /// When the first of those in the sample was received.
    #[schema(value_type = Option<String>, format = DateTime)]
    first: Option<Timestamp>,
    /// When the last of those in the sample was received.
    #[schema(value_type = Option<String>, format = DateTime)]
    last: Option<Timestamp>,
    /// Hosts in the sample, the busiest first, at most 50.
    hosts: Vec<HostEvents>,
    /// Some of the messages, newest first, at most 20.
    examples: Vec<SignatureExample>,
}

/// A host.
#[derive(Serialize, ToSchema)]
pub struct HostEvents {
    hostname: String,
    /// Its events in the sample.
    sampled: u64,
}

/// One event.
#[derive(Serialize, ToSchema)]
pub struct SignatureExample {
    #[schema(value_type = String)]
    event_id: EventId,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    hostname: String,
    message: String,
}

/// Show one unhandled signature
///
/// With events, hosts and times from the sample of the last hour.
#[utoipa::path(get, path = "/unhandled/{signature}", tag = "Events",
    params(("signature" = String, Path, description = "Its 16 hexadecimal digits")),
    responses((status = 200, body = SignatureDetail),
        (status = 404, description = "It is not among the 1,000 most frequent, nor in the sample of the last hour")))]
pub async fn show(
    State(api): State<Api>,
    _: Viewer,
    InPath(wanted): InPath<String>,
) -> Result<Json<SignatureDetail>> {
    let rules = api.engine.rules().await?;
    let counted = api.engine.unhandled(1_000).await?;
    let counted = counted.into_iter().find(|it| it.signature == wanted);
    let events = api.sample.snapshot(Timestamp::now()).events();
    let name = wanted.clone();
    let work = move || in_sample(&api.judges.by(&rules, None), &events, &wanted);
    let last_hour = tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: looking through the sample panicked",
        )
    })?;
    let seen = last_hour.examples.first().map(|example| {
        let mut masked = String::new();
        mask_into(&example.message, &mut masked);
        UnhandledSignature {
            signature: name,
            masked,
            sample: example.message.clone(),
            count: 0,
            hosts: Vec::new(),
        }
    });
    let found = counted
        .or(seen)
        .ok_or_else(|| ApiError::not_found("there is no such signature"))?;
    Ok(Json(SignatureDetail {
        signature: found.into(),
        last_hour,
    }))
}

fn in_sample(judge: &Judge, events: &Events, wanted: &str) -> SignatureHour {
    let mut scratch = Scratch::new();
    let (mut strata, mut counts) = (Vec::new(), Vec::new());
    let mut hosts = HashMap::<&str, u64>::new();
    let mut found = Vec::new();
    for span in &events.spans {
        let (mut stratum, mut hits) = (Stratum::new(span.total), Hits::default());
        for event in &span.events {
            let weight = span.weight(event);
            stratum.add(weight);
            let unhandled = judge.rank(event, &mut scratch).is_none();
            if unhandled && signature(&event.message).hex() == wanted {
                hits.add(weight);
                *hosts.entry(&event.hostname).or_default() += 1;
                found.push(event);
            }
        }
        strata.push(stratum);
        counts.push(hits);
    }
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    hosts.sort_unstable_by_key(|(hostname, count)| (Reverse(*count), *hostname));
    found.sort_unstable_by_key(|event| Reverse((event.received_at, event.event_id)));
    let number = figure(&strata, &counts);
    SignatureHour {
        events: Some(if events.partial {
            Figure::at_least(number.low)
        } else {
            number
        }),
        first: found.last().map(|event| event.received_at),
        last: found.first().map(|event| event.received_at),
        hosts: hosts
            .into_iter()
            .take(HOSTS)
            .map(|(hostname, sampled)| HostEvents {
                hostname: hostname.to_owned(),
                sampled,
            })
            .collect(),
        examples: found
            .into_iter()
            .take(EXAMPLES)
            .map(|event| SignatureExample {
                event_id: event.event_id,
                received_at: event.received_at,
                hostname: event.hostname.to_string(),
                message: event.message.to_string(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_without_a_mask_is_suggested() {
        for (message, expected) in [
            (
                "%LINK-3-UPDOWN: Interface Gi0/1, changed state to down",
                Some(", changed state to down"),
            ),
            ("fan 3 failed", None),
            ("user 12 from 192.0.2.7", None),
            ("power supply failure", Some("power supply failure")),
            ("", None),
        ] {
            let mut masked = String::new();
            mask_into(message, &mut masked);
            assert_eq!(
                suggestion(&masked, message).as_deref(),
                expected,
                "{masked}"
            );
        }
        let long = "word ".repeat(60);
        let found = suggestion(&long, &long).unwrap();
        assert_eq!(found.len(), 254);
        assert!(found.ends_with("word"));
        // A sample that was cut off before the stretch begins proves nothing about it.
        assert_eq!(suggestion("<n> power supply failure", "7 pow"), None);
    }
}

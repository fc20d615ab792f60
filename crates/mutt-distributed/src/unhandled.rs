//! Counts of unmatched events, and the meta-alert when a count reaches its threshold.
//!
//! The counting is a part of `apply.lua`, so that a count, its marker and the meta-alert are one step
//! with the decision, however many pods count. This module hands that part its arguments, made once and
//! stored with the decision's effects, and lists what it counted. The shape of a meta-alert is the
//! engine's ([`mutt_engine::unhandled::meta_alert_text`]): the script fills in a form made here.
//!
//! | key | what |
//! |---|---|
//! | `mutt:unhandled:<host>` | events of a host, at that scope; with `:<signature>` at the other |
//! | `mutt:unhandled:triggered:<host>` | its meta-alert went out; likewise |
//! | `mutt:unhandled:signature:<signature>` | hash: `n` events, `masked`, `sample`, `h:<host>` its first hundred hosts |
//! | `mutt:unhandled:signatures` | zset: all signatures by events, at most 100,000 |
//! | `mutt:unhandled:signatures_end` | zset: all signatures by when their window ends, in ms |
//! | `mutt:unhandled:signatures_of:<host>` | hash: events by signature, at most a thousand |

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use mutt_engine::unhandled::{UnhandledSignature, meta_alert_saying, meta_alert_text};
use mutt_engine::{Outcome, Result, Unhandled, UnhandledPolicy, UnhandledScope};
use mutt_event::EventId;
use mutt_redis::redis;
use sha2::{Digest as _, Sha256};

use crate::effects::Effects;
use crate::engine::Shared;
use crate::scripts;

/// The most signatures that are counted by themselves; beyond it events count for their host alone.
const SIGNATURES: u64 = 100_000;
/// The most hosts that a signature is listed with.
const HOSTS: usize = 10;
/// Signatures, and counts of them by host, that are read in one round trip.
const PAGE: usize = 50;
/// The longest host name that stands in a key as it is, in bytes.
const LONGEST_KEY: usize = 200;
/// The longest host name that is listed as it is, in bytes.
const LONGEST_NAME: usize = 255;

const INDEX: &str = "mutt:unhandled:signatures";
const ENDS: &str = "mutt:unhandled:signatures_end";
/// What follows `mutt:unhandled:` in keys that are no host's.
const TAKEN: [&str; 5] = [
    "triggered",
    "signature",
    "signatures",
    "signatures_end",
    "signatures_of",
];

/// A host's name as it stands in keys: itself where it is an ordinary name or an address. In others,
/// what could be taken for another key, or could not be typed, is escaped as in URLs; the rest of a very
/// long one is a hash.
fn key_of(host: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_short = (1..=LONGEST_KEY).contains(&host.len());
    let is_name = host.bytes().all(is_plain) && !TAKEN.contains(&host);
    if is_short && (is_name || host.parse::<IpAddr>().is_ok()) {
        return host.into();
    }
    let mut key = String::with_capacity(host.len().min(LONGEST_KEY) + 40);
    for (at, byte) in host.bytes().take(LONGEST_KEY).enumerate() {
        if is_plain(byte) && !(at == 0 && TAKEN.contains(&host)) {
            key.push(byte.into());
        } else {
            let _ = write!(key, "%{byte:02X}");
        }
    }
    if host.is_empty() {
        key.push('%');
    } else if host.len() > LONGEST_KEY {
        key.push_str("%~");
        for byte in &Sha256::digest(host.as_bytes())[..16] {
            let _ = write!(key, "{byte:02x}");
        }
    }
    key.into()
}

/// A host's name as it is listed.
fn shown(host: &str) -> Cow<'_, str> {
    if host.len() <= LONGEST_NAME {
        return host.into();
    }
    format!("{}…", &host[..host.floor_char_boundary(LONGEST_NAME)]).into()
}

/// Numbers things in the order in which they come, each once.
struct Numbered<'a> {
    numbers: HashMap<&'a str, usize>,
    first: Vec<&'a Unhandled>,
}

impl<'a> Numbered<'a> {
    fn new(rows: &'a [Unhandled], what: impl Fn(&'a Unhandled) -> &'a str) -> (Self, Vec<usize>) {
        let mut numbered = Self {
            numbers: HashMap::new(),
            first: Vec::new(),
        };
        let of_rows = rows
            .iter()
            .map(|row| {
                let Self { numbers, first } = &mut numbered;
                *numbers.entry(what(row)).or_insert_with(|| {
                    first.push(row);
                    // Lua counts from one.
                    first.len()
                })
            })
            .collect();
        (numbered, of_rows)
    }
}

/// Appends the number of rows, and where there are some what `apply_unhandled.lua` reads.
pub(crate) fn push_unhandled(effects: &mut Effects, outcome: &Outcome) {
    let rows = &outcome.unhandled;
    effects.push_number(rows.len());
    if rows.is_empty() {
        return;
    }
    let policy = outcome.unhandled_policy;
    let by_signature = policy.scope == UnhandledScope::Signature;
    effects.push(if by_signature { "signature" } else { "host" });
    effects.push_number(policy.threshold);
    effects.push_number(window_ms(policy));
    effects.push_number(SIGNATURES);
    push_form(effects, policy);

    let (hosts, host_of_row) = Numbered::new(rows, |row| &row.hostname);
    effects.push_number(hosts.first.len());
    for first in hosts.first {
        effects.push(&*key_of(&first.hostname));
        effects.push(&*shown(&first.hostname));
        effects.push(&*first.team);
        effects.push(first.environment);
        push_id(effects, !by_signature);
    }
    let (signatures, signature_of_row) = Numbered::new(rows, |row| &row.signature);
    effects.push_number(signatures.first.len());
    for first in signatures.first {
        effects.push(&*first.signature);
        effects.push(&*first.masked);
        effects.push(&*first.sample);
    }
    for (row, (host, signature)) in rows.iter().zip(host_of_row.iter().zip(&signature_of_row)) {
        effects.push_number(host);
        effects.push_number(signature);
        effects.push_number(row.count);
        if by_signature {
            push_id(effects, true);
        }
    }
}

/// The id of the meta-alert that a row may trigger: made here, so that whoever takes the decision over
/// sends the same one.
fn push_id(effects: &mut Effects, wanted: bool) {
    if wanted {
        effects.push_number(EventId::new());
    } else {
        effects.push("");
    }
}

fn window_ms(policy: UnhandledPolicy) -> u128 {
    policy.window.as_millis().max(1)
}

/// The meta-alert with `"@x@"` where the script puts something in, and its text in the pieces that it
/// grows by with each signature it names.
fn push_form(effects: &mut Effects, policy: UnhandledPolicy) {
    let subject = Unhandled {
        hostname: "@h@".into(),
        signature: "@s@".into(),
        masked: "".into(),
        sample: "".into(),
        count: 0,
        team: "@t@".into(),
        environment: "@e@",
    };
    let id = EventId::from_bytes([0; 16]);
    let alert = meta_alert_saying(&subject, policy.scope, id, "@x@").element;
    let alert = String::from_utf8(alert).expect("JSON is text");
    effects.push(alert.replace(&id.to_string(), "@i@"));
    let top = [("@n@", "@s@"); 3];
    let mut length = 0;
    for named in 0..=top.len() {
        let text = meta_alert_text("@h@", "@c@", policy.window, &top[..named]);
        effects.push(&text[length..]);
        length = text.len();
    }
}

/// The most frequent signatures over all hosts, most frequent first.
///
/// # Errors
/// `Unavailable`.
pub(crate) async fn most_frequent(
    shared: &Shared,
    limit: usize,
) -> Result<Vec<UnhandledSignature>> {
    let end = scripts::END_SIGNATURES.call(&[INDEX, ENDS]);
    while shared.run::<u64>(&scripts::END_SIGNATURES, &end).await? == 1000 {}
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut from = 0;
    while found.len() < limit {
        let mut page = redis::cmd("ZREVRANGE");
        page.arg(INDEX).arg(from).arg(from + PAGE - 1);
        let mut signatures: Vec<String> = shared.call(&page).await?;
        if signatures.is_empty() {
            break;
        }
        from += PAGE;
        // One that rose meanwhile pushed others onto this page again.
        signatures.retain(|signature| seen.insert(signature.clone()));
        if signatures.is_empty() {
            continue;
        }
        let mut hashes = redis::pipe();
        for signature in &signatures {
            hashes
                .cmd("HGETALL")
                .arg(format!("mutt:unhandled:signature:{signature}"));
        }
        let hashes: Vec<HashMap<String, String>> = shared.pipe(&hashes).await?;
        found.extend(
            signatures
                .into_iter()
                .zip(hashes)
                .filter_map(|(signature, hash)| Found::read(signature, hash)),
        );
    }
    found.sort_by(|one: &Found, other: &Found| {
        let by_count = other.listed.count.cmp(&one.listed.count);
        by_count.then_with(|| one.listed.signature.cmp(&other.listed.signature))
    });
    found.truncate(limit);
    for page in found.chunks_mut(PAGE) {
        count_hosts(shared, page).await?;
    }
    Ok(found.into_iter().map(|found| found.listed).collect())
}

/// A signature with its hosts as (key, name).
struct Found {
    listed: UnhandledSignature,
    hosts: Vec<(String, String)>,
}

impl Found {
    fn read(signature: String, mut hash: HashMap<String, String>) -> Option<Self> {
        let count = hash.remove("n")?.parse().ok()?;
        let listed = UnhandledSignature {
            signature,
            masked: hash.remove("masked").unwrap_or_default(),
            sample: hash.remove("sample").unwrap_or_default(),
            count,
            hosts: Vec::new(),
        };
        let hosts = hash
            .into_iter()
            .filter_map(|(field, name)| Some((field.strip_prefix("h:")?.to_owned(), name)))
            .collect();
        Some(Self { listed, hosts })
    }
}

/// Finds the busiest hosts of some signatures.
async fn count_hosts(shared: &Shared, found: &mut [Found]) -> Result<()> {
    let mut counts = redis::pipe();
    for one in &*found {
        for (key, _) in &one.hosts {
            let key = format!("mutt:unhandled:signatures_of:{key}");
            counts.cmd("HGET").arg(key).arg(&one.listed.signature);
        }
    }
    let asked = found.iter().any(|one| !one.hosts.is_empty());
    let counts: Vec<Option<u64>> = if asked {
        shared.pipe(&counts).await?
    } else {
        Vec::new()
    };
    let mut counts = counts.into_iter();
    for one in found {
        let mut hosts: Vec<(u64, String)> = std::mem::take(&mut one.hosts)
            .into_iter()
            .map(|(_, name)| (counts.next().flatten().unwrap_or(0), name))
            .collect();
        hosts.sort_by(|(one, name), (other, other_name)| other.cmp(one).then(name.cmp(other_name)));
        hosts.truncate(HOSTS);
        one.listed.hosts = hosts.into_iter().map(|(_, name)| name).collect();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ordinary_names_stand_in_keys_as_they_are() {
        for host in [
            "router-1",
            "sw_2.example.org",
            "10.0.0.1",
            "2001:db8::1",
            "Core",
        ] {
            assert_eq!(key_of(host), host);
        }
    }

    #[test]
    fn no_name_can_be_taken_for_another_key() {
        let long = "x".repeat(65_536);
        let longer = format!("{}y", &long[1..]);
        let hosts = [
            "triggered:router",
            "triggered",
            "%74riggered",
            "signatures",
            "signatures_end",
            "a:0123456789abcdef",
            "a%3A0123456789abcdef",
            "*",
            "a\nb",
            "a\"b",
            "zürich",
            "",
            "%",
            &long,
            &longer,
        ];
        let keys: HashSet<_> = hosts.iter().map(|host| key_of(host)).collect();
        assert_eq!(keys.len(), hosts.len(), "{keys:?}");
        for key in keys {
            assert!(!key.contains(':') && !TAKEN.contains(&&*key), "{key}");
            assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
            assert!(key.len() <= 3 * LONGEST_KEY + 40);
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "ü".repeat(1000);
        assert!(long.starts_with(shown(&long).trim_end_matches('…')));
        assert_eq!(shown("router"), "router");
    }

    #[test]
    fn the_form_has_a_place_for_everything() {
        let policy = UnhandledPolicy::default();
        let mut effects = Effects::default();
        push_form(&mut effects, policy);
        let mut expected = Effects::default();
        expected.push(
            r#"{"hostname":"@h@","team_assignment":"@t@","severity":4,"message_body":"@x@","raw_json":"{}","_correlation_id":"","_event_id":"@i@","handling":"Unhandled","environment":"@e@"}"#,
        );
        expected.push("[MUTT] Detected @c@ unhandled messages in 3600 s from '@h@'.");
        expected.push(" Most frequent: @n@x \"@s@\"");
        expected.push("; @n@x \"@s@\"");
        expected.push("; @n@x \"@s@\"");
        assert_eq!(effects, expected);
    }
}

//! The senders file: what is known of the networks that events come from.
//!
//! Networks may lie in one another; the longest prefix wins, and what it leaves open is taken from the
//! network around it. The file becomes a sorted table of ranges, so that a look-up is one binary search
//! and nothing is kept per sender. Knows neither listeners nor how the file is watched.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;

use super::flood::FloodAction;

/// The most entries of a senders file.
pub const MAX_SENDERS: usize = 100_000;
/// The most tags of an entry, and the most bytes of one.
const MAX_TAGS: (usize, usize) = (32, 128);
/// The longest host name, in bytes.
const MAX_NAME: usize = 255;
/// The greatest `max_rate` (events/s), `burst` (s) and `sample`.
const MAX_LIMITS: (u64, u64, u64) = (100_000_000, 3_600, 1_000_000);

/// What is known of the sender of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    /// Where its clock stands: for times that name no zone.
    pub zone: TimeZone,
    /// What its events are tagged with.
    pub tags: Cow<'static, [Box<str>]>,
    /// Whether it speaks for other hosts. `false`: a host name in its messages is not believed.
    /// Not set: it is taken, as that of a relay.
    pub relay: Option<bool>,
    /// Its host name, where the file names it.
    pub name: Option<Box<str>>,
    /// Its own limits, where they differ from everybody's.
    pub limits: OwnLimits,
}

/// Limits of one sender in place of those that hold for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnLimits {
    /// Events per second; 0 is no limit.
    pub max_rate: Option<u64>,
    /// Seconds of `max_rate` that may come at once.
    pub burst: Option<u64>,
    /// What becomes of what is beyond.
    pub action: Option<FloodAction>,
    /// One in so many is kept where it is sampled.
    pub sample: Option<u64>,
}

impl Default for Sender {
    fn default() -> Self {
        Self::anybody()
    }
}

impl Sender {
    /// One of whom nothing is known.
    pub(crate) const fn anybody() -> Self {
        Self {
            zone: TimeZone::UTC,
            tags: Cow::Borrowed(&[]),
            relay: None,
            name: None,
            limits: OwnLimits {
                max_rate: None,
                burst: None,
                action: None,
                sample: None,
            },
        }
    }

    /// Whether host names that its messages bring are taken.
    pub fn is_believed(&self) -> bool {
        self.relay != Some(false)
    }
}

/// All senders of the file.
#[derive(Clone, Debug)]
pub struct Senders {
    /// The first is everybody who is in no network of the file.
    all: Vec<Sender>,
    /// From where on whose addresses are: sorted, beginning with the lowest address there is.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u32)>,
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            all: vec![Sender::default()],
            v4: vec![(0, 0)],
            v6: vec![(0, 0)],
        }
    }
}

impl Senders {
    /// Reads the text of a senders file.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, SendersError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().unwrap_or_default();
            SendersError::at(text, &at, error.message())
        })?;
        if file.sender.len() > MAX_SENDERS {
            let at = file.sender[MAX_SENDERS].span();
            return Err(SendersError::at(
                text,
                &at,
                format!("more than {MAX_SENDERS} senders"),
            ));
        }
        let mut entries = file
            .sender
            .iter()
            .map(|entry| {
                Entry::check(entry).map_err(|(at, problem)| SendersError::at(text, &at, problem))
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Wider networks before those that lie in them.
        entries.sort_by_key(|entry| (entry.network.is_v6, entry.network.first, entry.network.bits));
        if let Some([one, other]) = entries
            .array_windows()
            .find(|[one, other]| one.network == other.network)
        {
            let (first, second) = if one.at.start < other.at.start {
                (one, other)
            } else {
                (other, one)
            };
            let problem = format!(
                "network: it stands at line {} already",
                line_of(text, first.at.start)
            );
            return Err(SendersError::at(text, &second.at, problem));
        }
        let mut senders = vec![Sender::default()];
        let (v4, v6): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| !entry.network.is_v6);
        // Behind the last address of IPv4 there is nothing.
        let v4 = ranges(&v4, &mut senders)
            .into_iter()
            .filter_map(|(first, sender)| Some((u32::try_from(first).ok()?, sender)))
            .collect();
        let v6 = ranges(&v6, &mut senders);
        Ok(Self {
            all: senders,
            v4,
            v6,
        })
    }

    /// The sender with this address; an IPv4 address in IPv6 clothing is undressed.
    pub fn of(&self, address: IpAddr) -> &Sender {
        let index = match address.to_canonical() {
            IpAddr::V4(address) => at(&self.v4, u32::from(address)),
            IpAddr::V6(address) => at(&self.v6, u128::from(address)),
        };
        &self.all[index as usize]
    }

    /// How many networks the file names.
    pub fn len(&self) -> usize {
        self.all.len() - 1
    }

    /// Whether the file names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any of them has tags.
    pub(crate) fn have_tags(&self) -> bool {
        self.all.iter().any(|sender| !sender.tags.is_empty())
    }

    /// Whether any of them has a limit of its own.
    pub(crate) fn have_limits(&self) -> bool {
        self.all
            .iter()
            .any(|sender| sender.limits.max_rate.is_some_and(|rate| rate > 0))
    }
}

fn at<T: Ord + Copy>(table: &[(T, u32)], address: T) -> u32 {
    let after = table.partition_point(|&(first, _)| first <= address);
    // The first range begins with the lowest address, so that there always is one before.
    table[after.saturating_sub(1)].1
}

/// Turns nested networks of one family, wider ones first, into disjoint ranges; appends each network's
/// sender, with what it inherits.
fn ranges(entries: &[&Entry], senders: &mut Vec<Sender>) -> Vec<(u128, u32)> {
    fn begin(table: &mut Vec<(u128, u32)>, first: u128, sender: u32) {
        match table.last_mut() {
            Some(last) if last.0 == first => last.1 = sender,
            _ => table.push((first, sender)),
        }
    }
    /// Goes on with what is around a network that ended.
    fn leave(table: &mut Vec<(u128, u32)>, around: &[(u128, u32)], end: u128) {
        let outer = around.last().map_or(0, |&(_, sender)| sender);
        if let Some(next) = end.checked_add(1) {
            begin(table, next, outer);
        }
    }
    let mut table = vec![(0, 0)];
    // The networks around the present address, the innermost last.
    let mut around: Vec<(u128, u32)> = Vec::new();
    for entry in entries {
        let (first, last) = (entry.network.first, entry.network.last());
        while let Some(&(end, _)) = around.last()
            && end < first
        {
            around.pop();
            leave(&mut table, &around, end);
        }
        let outer = around.last().map_or(0, |&(_, sender)| sender);
        let sender = entry.within(&senders[outer as usize]);
        let index = u32::try_from(senders.len()).expect("there are at most MAX_SENDERS");
        senders.push(sender);
        begin(&mut table, first, index);
        around.push((last, index));
    }
    while let Some((end, _)) = around.pop() {
        leave(&mut table, &around, end);
    }
    table
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    sender: Vec<Spanned<Written>>,
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    network: Spanned<String>,
    timezone: Option<Spanned<String>>,
    tags: Option<Vec<Spanned<String>>>,
    relay: Option<bool>,
    name: Option<Spanned<String>>,
    max_rate: Option<Spanned<u64>>,
    burst: Option<Spanned<u64>>,
    flood: Option<Spanned<String>>,
    sample: Option<Spanned<u64>>,
}

/// An entry that was checked.
struct Entry {
    at: Range<usize>,
    network: Network,
    zone: Option<TimeZone>,
    tags: Option<Box<[Box<str>]>>,
    relay: Option<bool>,
    name: Option<Box<str>>,
    limits: OwnLimits,
}

/// Where a mistake is, and what is wrong.
type Mistake = (Range<usize>, String);

impl Entry {
    fn check(written: &Spanned<Written>) -> Result<Self, Mistake> {
        let entry = written.get_ref();
        let network = Network::parse(entry.network.get_ref())
            .map_err(|problem| (entry.network.span(), format!("network: {problem}")))?;
        let number = |name: &str, value: &Option<Spanned<u64>>, least: u64, most: u64| match value {
            Some(value) if !(least..=most).contains(value.get_ref()) => Err((
                value.span(),
                format!("{name}: allowed is a whole number from {least} to {most}"),
            )),
            value => Ok(value.as_ref().map(|value| *value.get_ref())),
        };
        let name = match &entry.name {
            Some(name) if !network.is_single() => {
                let problem = "name: only a single address has a name; leave out the prefix length";
                return Err((name.span(), problem.into()));
            }
            Some(name) if !is_name(name.get_ref()) => {
                let problem = "name: a host name has 1 to 255 characters and no blanks";
                return Err((name.span(), problem.into()));
            }
            name => name.as_ref().map(|name| name.get_ref().as_str().into()),
        };
        let zone = match &entry.timezone {
            Some(zone) => Some(TimeZone::get(zone.get_ref()).map_err(|_| {
                let problem = format!(
                    "timezone: '{}' is no time zone; they are named like Europe/Berlin or UTC",
                    zone.get_ref()
                );
                (zone.span(), problem)
            })?),
            None => None,
        };
        let action = match &entry.flood {
            Some(word) => Some(FloodAction::named(word.get_ref()).ok_or_else(|| {
                (
                    word.span(),
                    "flood: allowed is drop, sample or mark".to_owned(),
                )
            })?),
            None => None,
        };
        Ok(Self {
            at: entry.network.span(),
            network,
            zone,
            tags: tags(entry.tags.as_deref())?,
            relay: entry.relay,
            name,
            limits: OwnLimits {
                max_rate: number("max_rate", &entry.max_rate, 0, MAX_LIMITS.0)?,
                burst: number("burst", &entry.burst, 1, MAX_LIMITS.1)?,
                action,
                sample: number("sample", &entry.sample, 1, MAX_LIMITS.2)?,
            },
        })
    }

    /// The sender, with what it does not say taken from the network around it.
    fn within(&self, outer: &Sender) -> Sender {
        let (own, outers) = (self.limits, outer.limits);
        Sender {
            zone: self.zone.clone().unwrap_or_else(|| outer.zone.clone()),
            tags: match &self.tags {
                Some(tags) => Cow::Owned(tags.to_vec()),
                None => outer.tags.clone(),
            },
            relay: self.relay.or(outer.relay),
            name: self.name.clone(),
            limits: OwnLimits {
                max_rate: own.max_rate.or(outers.max_rate),
                burst: own.burst.or(outers.burst),
                action: own.action.or(outers.action),
                sample: own.sample.or(outers.sample),
            },
        }
    }
}

fn tags(written: Option<&[Spanned<String>]>) -> Result<Option<Box<[Box<str>]>>, Mistake> {
    let Some(written) = written else {
        return Ok(None);
    };
    for (index, tag) in written.iter().enumerate() {
        let text = tag.get_ref();
        let problem = if index >= MAX_TAGS.0 {
            format!("tags: more than {}", MAX_TAGS.0)
        } else if text.trim().is_empty() || text.len() > MAX_TAGS.1 {
            format!("tags: a tag has 1 to {} bytes", MAX_TAGS.1)
        } else if text.chars().any(char::is_control) {
            "tags: a tag has no control characters".to_owned()
        } else {
            continue;
        };
        return Err((tag.span(), problem));
    }
    Ok(Some(
        written
            .iter()
            .map(|tag| tag.get_ref().as_str().into())
            .collect(),
    ))
}

/// Whether a text can be shown as a host's name.
pub(super) fn is_name(text: &str) -> bool {
    let printable = |c: char| !c.is_whitespace() && !c.is_control();
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(printable)
}

/// A network of either family. IPv4 addresses are numbers of 32 bits here, not mapped ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    is_v6: bool,
    first: u128,
    /// The length of the prefix.
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| {
            format!("'{text}' is neither an address nor a network such as 10.1.0.0/16")
        })?;
        if address.to_canonical() != address {
            return Err(format!("'{text}' is an IPv4 address; write it as one"));
        }
        let (is_v6, first) = match address {
            IpAddr::V4(address) => (false, u128::from(u32::from(address))),
            IpAddr::V6(address) => (true, u128::from(address)),
        };
        let width = if is_v6 { 128 } else { 32 };
        let bits = match length {
            None => width,
            Some(length) => length
                .trim()
                .parse()
                .ok()
                .filter(|bits| *bits <= width)
                .ok_or_else(|| format!("'/{length}' is no prefix length from 0 to {width}"))?,
        };
        let network = Self { is_v6, first, bits };
        let inside = first & network.rest();
        if inside != 0 {
            let base = Self {
                first: first - inside,
                ..network
            };
            return Err(format!(
                "'{text}' is an address within a network; the network is {base}"
            ));
        }
        Ok(network)
    }

    /// The bits that the prefix leaves open.
    fn rest(self) -> u128 {
        let width = if self.is_v6 { 128 } else { 32 };
        let open = width - u32::from(self.bits);
        u128::MAX.checked_shr(128 - open).unwrap_or(0)
    }

    fn last(self) -> u128 {
        self.first | self.rest()
    }

    fn is_single(self) -> bool {
        self.rest() == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: IpAddr = if self.is_v6 {
            std::net::Ipv6Addr::from(self.first).into()
        } else {
            std::net::Ipv4Addr::from(u32::try_from(self.first).unwrap_or(0)).into()
        };
        write!(f, "{address}/{}", self.bits)
    }
}

/// A mistake in a senders file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SendersError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, beginning with the field where it is one.
    pub problem: String,
}

impl SendersError {
    fn at(text: &str, at: &Range<usize>, problem: impl Into<String>) -> Self {
        Self {
            line: line_of(text, at.start),
            problem: problem.into().trim().replace('\n', ", "),
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    1 + memchr::memchr_iter(b'\n', before).count()
}

#[cfg(test)]
mod tests;

//! The hosts file: names of addresses, in the format of `/etc/hosts`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::senders::is_name;

/// Names of addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(HashMap<IpAddr, Arc<str>>);

impl Hosts {
    /// Reads the text of a hosts file: per line an address, its name, and aliases, which do not
    /// matter. Of two lines for one address the first counts.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub(crate) fn parse(text: &str) -> Result<Self, HostsError> {
        let mut hosts = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            let mistake = |problem: String| HostsError {
                line: index + 1,
                problem,
            };
            // A scoped address (fe80::1%eth0) means something on this machine alone.
            if address.contains('%') {
                continue;
            }
            let parsed: IpAddr = address
                .parse()
                .map_err(|_| mistake(format!("'{address}' is no address")))?;
            let Some(name) = words.next() else {
                return Err(mistake(format!("{address} has no name")));
            };
            if !is_name(name) {
                return Err(mistake(format!("the name of {address} is too long")));
            }
            hosts
                .entry(parsed.to_canonical())
                .or_insert_with(|| name.into());
        }
        Ok(Self(hosts))
    }

    /// The name of an address.
    pub(crate) fn of(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.0.get(&address.to_canonical())
    }

    /// How many addresses have a name.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A mistake in a hosts file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct HostsError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_file_is_read() {
        let text = "\
# static names
10.0.0.1\tcore-sw1.example.net core-sw1
10.0.0.1 later
2001:db8::1   six # a comment

fe80::1%eth0 here
::ffff:10.0.0.9 mapped
";
        let hosts = Hosts::parse(text).unwrap();
        let of = |address: &str| hosts.of(address.parse().unwrap()).map(|name| &**name);
        assert_eq!(hosts.len(), 3);
        assert_eq!(of("10.0.0.1"), Some("core-sw1.example.net"));
        assert_eq!(of("2001:db8::1"), Some("six"));
        assert_eq!(of("10.0.0.9"), Some("mapped"));
        assert_eq!(of("10.0.0.2"), None);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, expected) in [
            ("10.0.0.1 a\nfw1 10.0.0.2\n", "line 2: 'fw1' is no address"),
            ("\n10.0.0.1 # nothing\n", "line 2: 10.0.0.1 has no name"),
        ] {
            assert_eq!(Hosts::parse(text).unwrap_err().to_string(), expected);
        }
    }
}

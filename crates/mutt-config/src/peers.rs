//! The names of clients that may connect over TLS, as they stand in a setting.
//!
//! Knows how they are written (RFC 5425, sections 4.2.2 and 5.2), nothing of certificates.

use std::net::IpAddr;

use crate::value::Value;

/// A client that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermittedPeer {
    /// A host name in lower case without a dot at its end; the leftmost label may be `*`.
    Dns(String),
    /// An address in the certificate.
    Ip(IpAddr),
    /// The SHA-256 hash of the certificate.
    Fingerprint([u8; 32]),
}

/// Entries separated by commas.
impl Value for Vec<PermittedPeer> {
    const ALLOWED: &'static str = "host names (*.example.com is one label), IP addresses and SHA256: fingerprints, \
         separated by commas";

    fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim);
        let entries = entries
            .filter(|entry| !entry.is_empty())
            .map(|entry| parse(entry).map_err(|problem| format!("'{entry}' {problem}")));
        let peers = entries.collect::<Result<Self, _>>()?;
        // No list lets everybody in; one that is there must not do so by mistake.
        if peers.is_empty() && !text.is_empty() {
            return Err("it names nobody; leave it out to let every genuine certificate in".into());
        }
        Ok(peers)
    }
}

fn parse(entry: &str) -> Result<PermittedPeer, &'static str> {
    if let Ok(ip) = entry.parse() {
        return Ok(PermittedPeer::Ip(ip));
    }
    if let Some((kind, hash)) = entry.split_once(':') {
        if ["sha256", "sha-256"].contains(&kind.to_ascii_lowercase().as_str()) {
            return fingerprint(hash)
                .map(PermittedPeer::Fingerprint)
                .ok_or("is no SHA-256 hash: 64 hexadecimal digits, with or without colons");
        }
        if kind.to_ascii_lowercase().starts_with("sha") {
            return Err("is a fingerprint of another kind than SHA256");
        }
    }
    let name = entry
        .strip_suffix('.')
        .unwrap_or(entry)
        .to_ascii_lowercase();
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name.as_str(), None),
    };
    if first == "*" && rest.is_none() {
        return Err("would let everybody in; leave the setting out for that");
    }
    let mut labels = (first != "*")
        .then_some(first)
        .into_iter()
        .chain(rest.into_iter().flat_map(|rest| rest.split('.')));
    if name.len() <= 253 && labels.all(is_label) {
        Ok(PermittedPeer::Dns(name))
    } else if name.contains('*') {
        Err("has a * elsewhere than as the whole leftmost label")
    } else {
        Err("is no host name")
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = if text.contains(':') {
        let pairs: Vec<_> = text.split(':').collect();
        if pairs.iter().any(|pair| pair.len() != 2) {
            return None;
        }
        pairs.concat().into_bytes()
    } else {
        text.as_bytes().to_vec()
    };
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<PermittedPeer>, String> {
        Value::parse(text)
    }

    #[test]
    fn names_addresses_and_fingerprints_are_told_apart() {
        let colons = format!("SHA256:{}", ["AB"; 32].join(":"));
        let plain = format!("sha-256:{}", "ab".repeat(32));
        let text =
            format!("Web01.Example.com., *.example.com ,192.0.2.1,2001:db8::1,{colons},{plain},");
        assert_eq!(
            parsed(&text).unwrap(),
            [
                PermittedPeer::Dns("web01.example.com".into()),
                PermittedPeer::Dns("*.example.com".into()),
                PermittedPeer::Ip("192.0.2.1".parse().unwrap()),
                PermittedPeer::Ip("2001:db8::1".parse().unwrap()),
                PermittedPeer::Fingerprint([0xab; 32]),
                PermittedPeer::Fingerprint([0xab; 32]),
            ]
        );
        assert_eq!(parsed("").unwrap(), []);
        assert!(parsed(" , ").unwrap_err().contains("names nobody"));
        assert_eq!(
            parsed("router").unwrap(),
            [PermittedPeer::Dns("router".into())]
        );
    }

    #[test]
    fn what_means_something_else_than_it_seems_is_refused() {
        for (text, problem) in [
            ("*", "everybody"),
            ("*.", "everybody"),
            ("web*.example.com", "leftmost label"),
            ("a.*.com", "leftmost label"),
            ("a..com", "no host name"),
            ("web 1", "no host name"),
            ("SHA256:AB", "no SHA-256 hash"),
            ("SHA256:A:BC", "no SHA-256 hash"),
            ("SHA1:0000", "another kind"),
            ("10.0.0.0/8", "no host name"),
        ] {
            let error = parsed(&format!("good.example.com,{text}")).unwrap_err();
            assert!(error.contains(problem) && error.contains(text), "{error}");
        }
    }
}

//! How a setting's text becomes a value, and what is allowed.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use secrecy::SecretString;

/// A type that a setting can have.
pub trait Value: Sized {
    /// What is allowed, in words; follows "allowed is".
    const ALLOWED: &'static str;

    /// Reads the text of a setting.
    ///
    /// # Errors
    /// What is wrong where [`Value::ALLOWED`] does not say it all; else an empty text.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Value for String {
    const ALLOWED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    const ALLOWED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("it is empty".into())
        } else {
            Ok(text.into())
        }
    }
}

/// A text that is never shown.
impl Value for SecretString {
    const ALLOWED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl Value for bool {
    const ALLOWED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(String::new()),
        }
    }
}

impl Value for u16 {
    const ALLOWED: &'static str = "a port from 1 to 65535, or 0 for off";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }
}

impl Value for u64 {
    const ALLOWED: &'static str = "a whole number";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }
}

impl Value for f64 {
    const ALLOWED: &'static str = "a number";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(String::new)
    }
}

impl Value for IpAddr {
    const ALLOWED: &'static str = "an IP address of this machine, 0.0.0.0 or [::] for all";

    fn parse(text: &str) -> Result<Self, String> {
        text.trim_matches(['[', ']'])
            .parse()
            .map_err(|_| String::new())
    }
}

/// An empty text is "not set".
impl<T: Value> Value for Option<T> {
    const ALLOWED: &'static str = T::ALLOWED;

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            T::parse(text).map(Some)
        }
    }
}

/// Where a listener listens, or that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// Switched off.
    Off,
    /// This port on [`Settings::bind_address`](crate::Settings).
    Port(u16),
    /// Exactly here.
    Addr(SocketAddr),
}

impl ListenAddr {
    /// The address, with `bind` where only a port was given.
    pub fn resolve(self, bind: IpAddr) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::Port(port) => Some(SocketAddr::new(bind, port)),
            Self::Addr(addr) => Some(addr),
        }
    }
}

impl Value for ListenAddr {
    const ALLOWED: &'static str = "a port, address:port, or off";

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        if let Ok(port) = text.trim_start_matches(':').parse() {
            return Ok(Self::Port(port));
        }
        text.to_socket_addrs()
            .ok()
            .and_then(|mut addrs| addrs.next())
            .map(Self::Addr)
            .ok_or_else(String::new)
    }
}

/// An enumeration whose words are the setting's texts.
pub trait Choice: Sized + Copy + 'static {
    /// The words with their meanings.
    const WORDS: &'static [(&'static str, Self)];
    /// The words, for people.
    const ALLOWED: &'static str;
}

impl<T: Choice> Value for T {
    const ALLOWED: &'static str = <T as Choice>::ALLOWED;

    fn parse(text: &str) -> Result<Self, String> {
        T::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|&(_, value)| value)
            .ok_or_else(String::new)
    }
}

//! What Redis has to do when a decision takes effect.
//!
//! The arguments of `apply.lua`, made once: handed to the script, and stored beside the audit rows so
//! that a takeover can hand in the very same. The stored form is a version byte and the arguments,
//! each with its length, compressed where that pays.

use std::io::Read as _;

use mutt_engine::{EngineError, Result};
use mutt_redis::Cmd;

/// Arguments of `apply.lua` behind the claim's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

const PLAIN: u8 = 1;
const ZSTD: u8 = 2;
/// Below this compressing costs more than it saves.
const WORTH_COMPRESSING: usize = 512;
/// The most that stored effects may unpack to: a claim of the largest elements.
const LARGEST: u64 = 1 << 30;

impl Effects {
    /// Appends one argument.
    pub fn push(&mut self, argument: impl AsRef<[u8]>) {
        self.bytes.extend_from_slice(argument.as_ref());
        self.ends.push(self.bytes.len());
    }

    /// Appends a number.
    pub fn push_number(&mut self, number: impl std::fmt::Display) {
        use std::io::Write as _;
        write!(self.bytes, "{number}").expect("writing to memory does not fail");
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let argument = &self.bytes[start..end];
            start = end;
            argument
        })
    }

    /// Hands the arguments to a call.
    pub fn append_to(&self, call: &mut Cmd) {
        for argument in self.iter() {
            call.arg(argument);
        }
    }

    /// The stored form.
    pub fn store(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.bytes.len() + 4 * self.ends.len() + 1);
        plain.push(PLAIN);
        for argument in self.iter() {
            let length = u32::try_from(argument.len()).expect("an argument is below 4 GiB");
            plain.extend_from_slice(&length.to_le_bytes());
            plain.extend_from_slice(argument);
        }
        if plain.len() < WORTH_COMPRESSING {
            return plain;
        }
        let Ok(mut stored) = zstd::bulk::compress(&plain[1..], 1) else {
            return plain;
        };
        stored.insert(0, ZSTD);
        stored
    }

    /// Reads the stored form.
    pub fn load(stored: &[u8]) -> Result<Self> {
        let broken = || {
            EngineError::Unusable("applied_claims holds effects that cannot be read; was the row written by a newer MUTT?".to_owned())
        };
        let (&form, rest) = stored.split_first().ok_or_else(broken)?;
        let unpacked;
        let mut plain = match form {
            PLAIN => rest,
            ZSTD => {
                // Not the bulk function: it would reserve the most there can be.
                let mut reader = zstd::Decoder::new(rest)
                    .map_err(|_| broken())?
                    .take(LARGEST);
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map_err(|_| broken())?;
                unpacked = bytes;
                &unpacked[..]
            }
            _ => return Err(broken()),
        };
        let mut effects = Self::default();
        while !plain.is_empty() {
            let (length, rest) = plain.split_first_chunk::<4>().ok_or_else(broken)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (argument, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
            effects.push(argument);
            plain = rest;
        }
        Ok(effects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_effects_come_back() {
        let mut effects = Effects::default();
        assert_eq!(Effects::load(&effects.store()).unwrap(), effects);
        effects.push("");
        effects.push_number(17);
        effects.push(b"\xff\x00");
        assert_eq!(Effects::load(&effects.store()).unwrap(), effects);
        for _ in 0..1000 {
            effects.push("an alert that looks like the one before it");
        }
        let stored = effects.store();
        assert!(stored.len() < 2000, "{}", stored.len());
        assert_eq!(Effects::load(&stored).unwrap(), effects);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for stored in [&b""[..], b"\x07abc", b"\x01\x05\0\0\0ab", b"\x02junk"] {
            assert!(Effects::load(stored).is_err(), "{stored:?}");
        }
    }
}

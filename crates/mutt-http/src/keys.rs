//! API keys: several may be valid at once, and they can be replaced while the server runs.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// The keys that are valid now. Only their hashes are held, and comparing takes the same time
/// wherever two keys differ and however long they are.
#[derive(Default)]
pub struct Keys {
    hashes: ArcSwap<Vec<[u8; 32]>>,
}

impl Keys {
    /// These keys are valid. With none, every key is refused.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        let new = Self::default();
        new.replace(keys);
        new
    }

    /// From now on these keys are valid and no others.
    pub fn replace<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) {
        self.hashes.store(Arc::new(
            keys.into_iter().map(|key| hash(key.as_ref())).collect(),
        ));
    }

    /// Whether a key is valid. Every key there is is compared, so that time does not tell which one
    /// it was.
    pub fn is_valid(&self, key: &[u8]) -> bool {
        let shown = hash(key);
        let found = self
            .hashes
            .load()
            .iter()
            .fold(Choice::from(0), |found, valid| found | valid.ct_eq(&shown));
        found.into()
    }

    /// Whether a key with this SHA-256 is valid.
    pub fn has_hash(&self, hash: &[u8; 32]) -> bool {
        self.hashes.load().contains(hash)
    }

    /// SHA-256 of the key that others are to use now: the first.
    pub fn current(&self) -> Option<[u8; 32]> {
        self.hashes.load().first().copied()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} valid)", self.hashes.load().len())
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_keys_are_valid_until_they_are_replaced() {
        let keys = Keys::new(["current", "next"]);
        assert!(keys.is_valid(b"current") && keys.is_valid(b"next"));
        for wrong in [&b""[..], b"curren", b"current ", b"CURRENT", b"\xff\xfe"] {
            assert!(!keys.is_valid(wrong), "{wrong:?}");
        }
        let (current, next) = (hash(b"current"), hash(b"next"));
        assert!(keys.has_hash(&current) && keys.has_hash(&next));
        assert_eq!(keys.current(), Some(current));
        keys.replace(["next"]);
        assert!(!keys.has_hash(&current) && keys.current() == Some(next));
        assert!(keys.is_valid(b"next") && !keys.is_valid(b"current"));
    }

    #[test]
    fn without_keys_nobody_gets_in() {
        assert!(!Keys::default().is_valid(b""));
        assert_eq!(Keys::default().current(), None);
        assert!(!Keys::new(Vec::<String>::new()).is_valid(b"x"));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", Keys::new(["s3cret"])), "Keys(1 valid)");
    }
}

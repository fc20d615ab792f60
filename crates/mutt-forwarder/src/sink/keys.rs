//! The key that the sink asks for, with its successor while it is rotated. Read anew for every
//! request and kept nowhere else.

use std::sync::RwLock;

use secrecy::SecretString;

/// Which of the two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySlot {
    /// `MOOG_API_KEY`.
    Current,
    /// `MOOG_API_KEY_NEXT`.
    Next,
}

impl KeySlot {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Current => Self::Next,
            Self::Next => Self::Current,
        }
    }
}

/// Where the keys come from. Called for every request, so it must be cheap.
pub trait Keys: Send + Sync + 'static {
    /// The key in force; `None` for a sink that asks for none.
    fn current(&self) -> Option<SecretString>;

    /// Its successor, during a rotation.
    fn next(&self) -> Option<SecretString>;
}

/// Keys that stay until they are set anew.
#[derive(Debug, Default)]
pub struct FixedKeys(RwLock<[Option<SecretString>; 2]>);

impl FixedKeys {
    /// These keys.
    pub fn new(current: Option<SecretString>, next: Option<SecretString>) -> Self {
        Self(RwLock::new([current, next]))
    }

    /// Other keys from now on.
    pub fn set(&self, current: Option<SecretString>, next: Option<SecretString>) {
        *self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = [current, next];
    }

    fn get(&self, index: usize) -> Option<SecretString> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)[index]
            .clone()
    }
}

impl Keys for FixedKeys {
    fn current(&self) -> Option<SecretString> {
        self.get(0)
    }

    fn next(&self) -> Option<SecretString> {
        self.get(1)
    }
}

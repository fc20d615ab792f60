//! Why Vault did not do what it was asked: which server, what was tried, what to do. Never a secret.

use std::path::PathBuf;

/// Why secrets could not be had from Vault.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VaultError {
    /// The certificates of `VAULT_CACERT`, or a client that cannot be built.
    #[error("{0}")]
    Setup(String),
    /// What MUTT shows at log-in is not there.
    #[error("no {what} for Vault: {path} cannot be read: {error}; {setting} names another file")]
    Credential {
        /// What is missing.
        what: &'static str,
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// Nobody answers.
    #[error("Vault at {addr} cannot be reached ({doing}): {cause}")]
    Unreachable {
        /// The address.
        addr: String,
        /// What was tried.
        doing: String,
        /// Why.
        cause: String,
    },
    /// It answers that it cannot work: sealed, overloaded, without its storage.
    #[error("Vault at {addr} cannot work ({doing}): {status} {reason}")]
    Unavailable {
        /// The address.
        addr: String,
        /// What was tried.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        reason: String,
    },
    /// It does not allow it.
    #[error("Vault at {addr} refuses ({doing}): {status} {reason}; {hint}")]
    Refused {
        /// The address.
        addr: String,
        /// What was tried.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// It answers something else than Vault would.
    #[error("the answer of {addr} is not Vault's ({doing}): {why}; is VAULT_ADDR right?")]
    Answer {
        /// The address.
        addr: String,
        /// What was tried.
        doing: String,
        /// What is wrong with it.
        why: String,
    },
}

impl VaultError {
    /// Whether waiting alone may help. What is refused stays refused until somebody changes
    /// something.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }

    /// Whether it was refused for want of a valid token.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }
}

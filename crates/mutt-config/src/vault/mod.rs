//! Vault and OpenBao: log-in, a token that stays valid, the secrets of one path.
//!
//! A thin client for the five calls that MUTT makes. It promises that a token which ends, is revoked
//! or cannot be renewed is replaced without anybody noticing, and that no error shows a secret. It
//! knows nothing of who uses the secrets nor of what to do while Vault is away: that is
//! [`SecretStore`](crate::SecretStore)'s.

mod client;
mod error;
mod kept;
mod session;

pub use error::VaultError;
pub(crate) use kept::Kept;
pub(crate) use session::Session;

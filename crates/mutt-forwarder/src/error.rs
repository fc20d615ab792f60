//! What can be wrong with what the forwarder is told. Failures of the sink are no errors: they are
//! answers ([`crate::Delivery`]).

use std::path::PathBuf;

/// Why options were refused. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    /// An address that cannot be used.
    #[error("{name} cannot be used: {why}")]
    Url {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The private authority's certificates.
    #[error("MOOG_TLS_CA_CERT names {path}, which cannot be used: {why}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The severity table.
    #[error("the severity table maps {what} to {value}; Moogsoft's severities are 0 to 5")]
    Severity {
        /// The entry.
        what: String,
        /// Its value.
        value: u8,
    },
    /// The HTTP client could not be made.
    #[error("the HTTP client for the sink cannot be made: {0}")]
    Client(String),
}

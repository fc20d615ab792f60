//! Settings and secrets.
//!
//! One typed definition ([`settings!`](mod@settings)) is the source of parsing, checks, `mutt config
//! show`, the reference page and `/admin/config`. Loading reads everything, then reports every
//! problem at once; a program that starts has settings that fit together.

mod contradictions;
mod load;
mod peers;
mod reference;
pub mod secrets;
pub mod server;
pub mod settings;
mod store;
mod value;
mod vault;

pub use load::{Loaded, Origin, Problem, Problems, Sources, load};
pub use peers::PermittedPeer;
pub use reference::markdown;
pub use secrets::{Home, Secret, Secrets, SecretsError, Source};
pub use server::{Endpoint, RedisServers, RedisTarget, SslMode, VaultAuth};
pub use settings::{Backend, MoogPayload, Settings, VARIABLES, Variable};
pub use store::{SecretStore, VaultStatus};
pub use value::{Choice, ListenAddr, Value};
pub use vault::VaultError;

//! Secrets: where they come from, and keys made at first start.
//!
//! By order: a file named by `<NAME>_FILE`, the variable `<NAME>`, and on the embedded engine a
//! file of the data directory that is made at first start. Each secret may have a successor,
//! `<NAME>_NEXT`, which is valid (or tried) beside it, so that it can be rotated without a gap.
//! No secret is ever printed: [`SecretString`] shows itself as `[REDACTED]`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use secrecy::{ExposeSecret, SecretString};

/// A secret that MUTT knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secret {
    /// What senders of events show in `X-API-KEY`.
    IngestApiKey,
    /// The first admin key of API and UI.
    WebuiApiKey,
    /// What MUTT shows to the sink.
    MoogApiKey,
    /// The password of MUTT's user of Redis.
    RedisPass,
    /// The password of MUTT's role of PostgreSQL.
    DbPass,
    /// The password of the role that owns the tables; only `mutt db migrate` needs it.
    DbAdminPass,
    /// The secret id of AppRole. It opens Vault, so it never comes from there; the file with it is
    /// a setting, `VAULT_SECRET_ID_FILE`, and read at each log-in.
    VaultSecretId,
}

impl Secret {
    /// Every secret.
    pub const ALL: [Self; 7] = [
        Self::IngestApiKey,
        Self::WebuiApiKey,
        Self::MoogApiKey,
        Self::RedisPass,
        Self::DbPass,
        Self::DbAdminPass,
        Self::VaultSecretId,
    ];

    /// The variable's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::IngestApiKey => "INGEST_API_KEY",
            Self::WebuiApiKey => "WEBUI_API_KEY",
            Self::MoogApiKey => "MOOG_API_KEY",
            Self::RedisPass => "REDIS_PASS",
            Self::DbPass => "DB_PASS",
            Self::DbAdminPass => "DB_ADMIN_PASS",
            Self::VaultSecretId => "VAULT_SECRET_ID",
        }
    }

    /// The names of the value in force, the first wins, and of its successor.
    pub(crate) fn names(self) -> ([String; 2], String) {
        let name = self.name();
        (
            [format!("{name}_CURRENT"), name.to_owned()],
            format!("{name}_NEXT"),
        )
    }

    /// The file of the data directory that holds the key made at first start; the sink's key is
    /// never made by us.
    fn made_in(self) -> Option<&'static str> {
        match self {
            Self::IngestApiKey => Some("ingest_api_key"),
            Self::WebuiApiKey => Some("webui_api_key"),
            _ => None,
        }
    }
}

/// Whether a variable holds or names a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    let name = ["_CURRENT", "_NEXT"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    Secret::ALL.iter().any(|secret| secret.name() == name)
}

/// The secrets in force.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: BTreeMap<Secret, Vec<SecretString>>,
    /// Keys that were made just now, by the file they are in.
    pub made: Vec<PathBuf>,
}

/// Why secrets could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file named by a variable.
    #[error("{name} names {path}, which cannot be read: {error}")]
    File {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// An empty secret is a mistake.
    #[error("{0} is empty; unset it or give it a value")]
    Empty(String),
    /// Keys of the first start.
    #[error("the key file {path} cannot be used: {error}")]
    Made {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// What is done about keys that nobody gave.
#[derive(Clone, Copy, Debug)]
pub enum Home<'a> {
    /// They stay unknown.
    None,
    /// They are read from this data directory, where they are there.
    Read(&'a Path),
    /// They are read from this data directory, and made there where they are missing.
    Make(&'a Path),
}

impl Secrets {
    /// Reads every secret. Keys that are made are only readable by their owner (mode 0600).
    ///
    /// # Errors
    /// A file that cannot be read or written, or an empty secret; never with the secret in it.
    pub fn read(
        environment: &BTreeMap<String, String>,
        home: Home<'_>,
    ) -> Result<Self, SecretsError> {
        let mut secrets = Self::default();
        for secret in Secret::ALL {
            let (current, next) = secret.names();
            let mut values = Vec::new();
            for name in &current {
                if values.is_empty() {
                    values.extend(given(environment, name, secret != Secret::VaultSecretId)?);
                }
            }
            if values.is_empty() && secret == Secret::RedisPass {
                values.extend(
                    environment
                        .get("REDIS_URL")
                        .and_then(|url| crate::server::password_in(url.trim())),
                );
            }
            if secret != Secret::VaultSecretId {
                values.extend(given(environment, &next, true)?);
            }
            if values.is_empty()
                && let Some(file) = secret.made_in()
            {
                let (dir, make) = match home {
                    Home::None => (None, false),
                    Home::Read(dir) => (Some(dir), false),
                    Home::Make(dir) => (Some(dir), true),
                };
                if let Some(path) = dir.map(|dir| dir.join(file)) {
                    let failed = |error| SecretsError::Made {
                        path: path.clone(),
                        error,
                    };
                    let mut key = read_key(&path).map_err(failed)?;
                    if key.is_none() && make {
                        key = Some(make_key(&path).map_err(failed)?);
                        secrets.made.push(path);
                    }
                    values.extend(key);
                }
            }
            secrets.values.insert(secret, values);
        }
        Ok(secrets)
    }

    /// The valid values of a secret: current, then next. Empty where none is known.
    pub fn get(&self, secret: Secret) -> &[SecretString] {
        self.values.get(&secret).map_or(&[], Vec::as_slice)
    }
}

fn given(
    environment: &BTreeMap<String, String>,
    name: &str,
    file_too: bool,
) -> Result<Option<SecretString>, SecretsError> {
    let file_variable = format!("{name}_FILE");
    let path = environment.get(&file_variable).filter(|_| file_too);
    let text = if let Some(path) = path {
        fs::read_to_string(path).map_err(|error| SecretsError::File {
            name: file_variable,
            path: path.into(),
            error,
        })?
    } else if let Some(value) = environment.get(name) {
        value.clone()
    } else {
        return Ok(None);
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(SecretsError::Empty(name.to_owned()));
    }
    Ok(Some(SecretString::from(text)))
}

fn read_key(path: &Path) -> std::io::Result<Option<SecretString>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim())
            .filter(|text| !text.is_empty())
            .map(SecretString::from)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_key(path: &Path) -> std::io::Result<SecretString> {
    let key = random_key()?;
    // Written beside and renamed, so that a crash never leaves half a key.
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(SecretString::from(key))
}

/// 256 bits from the kernel, as hex.
fn random_key() -> std::io::Result<String> {
    use std::fmt::Write as _;
    use std::io::Read as _;

    let mut bytes = [0_u8; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn exposed(secrets: &Secrets, secret: Secret) -> Vec<&str> {
        secrets
            .get(secret)
            .iter()
            .map(ExposeSecret::expose_secret)
            .collect()
    }

    #[test]
    fn keys_are_made_once_and_only_readable_by_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secrets::read(&BTreeMap::new(), Home::Make(dir.path())).unwrap();
        assert_eq!(first.made.len(), 2);
        let mode = fs::metadata(&first.made[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Secrets::read(&BTreeMap::new(), Home::Make(dir.path())).unwrap();
        assert!(second.made.is_empty());
        assert_eq!(
            exposed(&first, Secret::IngestApiKey),
            exposed(&second, Secret::IngestApiKey)
        );
        assert_eq!(exposed(&first, Secret::IngestApiKey)[0].len(), 64);
        assert!(second.get(Secret::MoogApiKey).is_empty());
        let elsewhere = tempfile::tempdir().unwrap();
        let nothing = Secrets::read(&BTreeMap::new(), Home::Read(elsewhere.path())).unwrap();
        assert!(
            nothing.get(Secret::IngestApiKey).is_empty(),
            "reading makes nothing"
        );
        let read = Secrets::read(&BTreeMap::new(), Home::Read(dir.path())).unwrap();
        assert_eq!(
            exposed(&first, Secret::WebuiApiKey),
            exposed(&read, Secret::WebuiApiKey)
        );
    }

    #[test]
    fn files_win_over_variables_and_a_successor_is_valid_beside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, "from-file\n").unwrap();
        let environment = BTreeMap::from([
            ("MOOG_API_KEY".to_owned(), "from-variable".to_owned()),
            ("MOOG_API_KEY_FILE".to_owned(), file.display().to_string()),
            ("MOOG_API_KEY_NEXT".to_owned(), "next".to_owned()),
        ]);
        let secrets = Secrets::read(&environment, Home::None).unwrap();
        assert_eq!(exposed(&secrets, Secret::MoogApiKey), ["from-file", "next"]);
        assert!(!format!("{secrets:?}").contains("from-file"));
    }

    #[test]
    fn an_empty_or_unreadable_secret_is_an_error_without_the_secret() {
        let environment = BTreeMap::from([("INGEST_API_KEY".to_owned(), " ".to_owned())]);
        let error = Secrets::read(&environment, Home::None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "INGEST_API_KEY is empty; unset it or give it a value"
        );
        let environment = BTreeMap::from([(
            "INGEST_API_KEY_FILE".to_owned(),
            "/nonexistent/key".to_owned(),
        )]);
        let error = Secrets::read(&environment, Home::None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("INGEST_API_KEY_FILE names /nonexistent/key"),
            "{error}"
        );
    }
}

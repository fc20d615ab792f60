//! Secrets: where they come from, and keys made at first start.
//!
//! By order: Vault, a file named by `<NAME>_FILE`, the variable `<NAME>`, and on the embedded engine
//! a file of the data directory that is made at first start. Each secret may have a successor,
//! `<NAME>_NEXT`, which is valid (or tried) beside it, so that it can be rotated without a gap.
//! Where Vault has a secret, its successor is looked for there alone: one that was left behind in a
//! file must not come back. No secret is ever printed: [`SecretString`] shows itself as `[REDACTED]`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

pub use secrecy::{ExposeSecret, SecretString};

use crate::vault::{Kept, VaultError};

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
    /// The secret id of `AppRole`. It opens Vault, so it never comes from there; the file with it is
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

/// Where a secret came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Vault.
    Vault,
    /// A file that a variable names.
    File,
    /// The environment.
    Environment,
    /// A file of the data directory, made at first start.
    DataDir,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "Vault",
            Self::File => "file",
            Self::Environment => "environment",
            Self::DataDir => "data directory",
        })
    }
}

#[derive(Clone, Debug)]
struct Known {
    /// Current, then next; never empty.
    values: Vec<SecretString>,
    source: Source,
}

/// The secrets in force.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    known: BTreeMap<Secret, Known>,
    /// The role of PostgreSQL that Vault names, which wins over `DB_USER`.
    pub db_user: Option<String>,
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
    /// Vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Nobody keeps the secrets any more.
    #[error("secrets are not read any more: the process is ending")]
    Ended,
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
    /// Reads every secret of files and environment. Keys that are made are only readable by their
    /// owner (mode 0600).
    ///
    /// # Errors
    /// A file that cannot be read or written, or an empty secret; never with the secret in it.
    pub fn read(
        environment: &BTreeMap<String, String>,
        home: Home<'_>,
    ) -> Result<Self, SecretsError> {
        Self::gather(environment, home, None)
    }

    /// As [`Secrets::read`], with what Vault holds before all else.
    pub(crate) fn gather(
        environment: &BTreeMap<String, String>,
        home: Home<'_>,
        vault: Option<&Kept>,
    ) -> Result<Self, SecretsError> {
        let mut secrets = Self {
            db_user: vault.and_then(|kept| kept.db_user.clone()),
            ..Self::default()
        };
        for secret in Secret::ALL {
            let kept = vault.and_then(|kept| kept.values(secret));
            let known = match kept.map(|values| (values, Source::Vault)) {
                None => match given(environment, secret)? {
                    None => secrets.kept_at_home(secret, home)?,
                    given => given,
                },
                kept => kept,
            };
            if let Some((values, source)) = known {
                secrets.known.insert(secret, Known { values, source });
            }
        }
        Ok(secrets)
    }

    fn kept_at_home(
        &mut self,
        secret: Secret,
        home: Home<'_>,
    ) -> Result<Option<(Vec<SecretString>, Source)>, SecretsError> {
        let (dir, make) = match home {
            Home::None => return Ok(None),
            Home::Read(dir) => (dir, false),
            Home::Make(dir) => (dir, true),
        };
        let Some(path) = secret.made_in().map(|file| dir.join(file)) else {
            return Ok(None);
        };
        let failed = |error| SecretsError::Made {
            path: path.clone(),
            error,
        };
        let mut key = read_key(&path).map_err(failed)?;
        if key.is_none() && make {
            key = Some(make_key(&path).map_err(failed)?);
            self.made.push(path);
        }
        Ok(key.map(|key| (vec![key], Source::DataDir)))
    }

    /// The valid values of a secret: current, then next. Empty where none is known.
    pub fn get(&self, secret: Secret) -> &[SecretString] {
        self.known
            .get(&secret)
            .map_or(&[], |known| known.values.as_slice())
    }

    /// Whether this secret was made just now, so that nobody has seen it yet.
    pub fn was_made(&self, secret: Secret) -> bool {
        secret
            .made_in()
            .is_some_and(|file| self.made.iter().any(|path| path.ends_with(file)))
    }

    /// Where a secret came from, if it is known.
    pub fn source(&self, secret: Secret) -> Option<Source> {
        self.known.get(&secret).map(|known| known.source)
    }

    /// Whether every value is the same, so that nobody has to be told.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let exposed = |secrets: &Self, secret| -> Vec<String> {
            let values = secrets.get(secret).iter();
            values
                .map(|value| value.expose_secret().to_owned())
                .collect()
        };
        self.db_user == other.db_user
            && Secret::ALL.into_iter().all(|secret| {
                self.source(secret) == other.source(secret)
                    && exposed(self, secret) == exposed(other, secret)
            })
    }
}

/// What files and environment hold of a secret. For the value in force and for its successor a file
/// wins over a variable.
fn given(
    environment: &BTreeMap<String, String>,
    secret: Secret,
) -> Result<Option<(Vec<SecretString>, Source)>, SecretsError> {
    let (current, next) = secret.names();
    if secret == Secret::VaultSecretId {
        // Its file is a setting, which may name a file that only the server can read.
        return Ok(variable(environment, secret.name())?.map(|id| (vec![id], Source::Environment)));
    }
    let mut values = Vec::new();
    for name in &current {
        if values.is_empty() {
            values.extend(file_or_variable(environment, name)?);
        }
    }
    if values.is_empty() && secret == Secret::RedisPass {
        let password = environment
            .get("REDIS_URL")
            .and_then(|url| crate::server::password_in(url.trim()));
        values.extend(password.map(|password| (password, Source::Environment)));
    }
    match file_or_variable(environment, &next) {
        // A file for it is mounted all the time, and has something in it during rotations alone.
        Err(SecretsError::Empty(_)) => {}
        next => values.extend(next?),
    }
    let Some(&(_, source)) = values.first() else {
        return Ok(None);
    };
    let values = values.into_iter().map(|(value, _)| value).collect();
    Ok(Some((values, source)))
}

fn file_or_variable(
    environment: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<(SecretString, Source)>, SecretsError> {
    let file_variable = format!("{name}_FILE");
    let Some(path) = environment.get(&file_variable) else {
        let value = variable(environment, name)?;
        return Ok(value.map(|value| (value, Source::Environment)));
    };
    let text = fs::read_to_string(path).map_err(|error| SecretsError::File {
        name: file_variable,
        path: path.into(),
        error,
    })?;
    Ok(Some((not_empty(name, &text)?, Source::File)))
}

fn variable(
    environment: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<SecretString>, SecretsError> {
    environment
        .get(name)
        .map(|text| not_empty(name, text))
        .transpose()
}

fn not_empty(name: &str, text: &str) -> Result<SecretString, SecretsError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SecretsError::Empty(name.to_owned()));
    }
    Ok(SecretString::from(text))
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
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
    }
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
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("not/yet/there");
        let first = Secrets::read(&BTreeMap::new(), Home::Make(&dir)).unwrap();
        assert_eq!(first.made.len(), 2);
        let mode = fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mode = fs::metadata(&first.made[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Secrets::read(&BTreeMap::new(), Home::Make(&dir)).unwrap();
        assert!(second.made.is_empty());
        for secret in [Secret::IngestApiKey, Secret::WebuiApiKey] {
            assert!(first.was_made(secret) && !second.was_made(secret));
        }
        assert!(!first.was_made(Secret::MoogApiKey));
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
        let read = Secrets::read(&BTreeMap::new(), Home::Read(&dir)).unwrap();
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
    fn what_vault_has_is_not_mixed_with_what_files_have() {
        let environment = BTreeMap::from([
            ("REDIS_PASS_CURRENT".to_owned(), "env".to_owned()),
            ("REDIS_PASS_NEXT".to_owned(), "left behind".to_owned()),
            ("DB_PASS".to_owned(), "env".to_owned()),
            ("VAULT_SECRET_ID".to_owned(), "id".to_owned()),
            ("VAULT_SECRET_ID_FILE".to_owned(), "/nonexistent".to_owned()),
        ]);
        let kept = Kept::of(&[
            ("REDIS_PASS", "old name"),
            ("DB_USER", "mutt_b"),
            ("VAULT_SECRET_ID", "never from there"),
            ("MOOG_API_KEY_NEXT", "early"),
            ("INGEST_API_KEY_CURRENT", "one"),
            ("INGEST_API_KEY", "old name"),
            ("INGEST_API_KEY_NEXT", "two"),
        ]);
        let secrets = Secrets::gather(&environment, Home::None, Some(&kept)).unwrap();
        assert_eq!(exposed(&secrets, Secret::RedisPass), ["old name"]);
        assert_eq!(secrets.source(Secret::RedisPass), Some(Source::Vault));
        assert_eq!(exposed(&secrets, Secret::DbPass), ["env"]);
        assert_eq!(secrets.source(Secret::DbPass), Some(Source::Environment));
        assert_eq!(exposed(&secrets, Secret::VaultSecretId), ["id"]);
        assert_eq!(exposed(&secrets, Secret::MoogApiKey), ["early"]);
        assert_eq!(exposed(&secrets, Secret::IngestApiKey), ["one", "two"]);
        assert_eq!(secrets.source(Secret::WebuiApiKey), None);
        assert_eq!(secrets.db_user.as_deref(), Some("mutt_b"));

        let without = Secrets::read(&environment, Home::None).unwrap();
        assert_eq!(exposed(&without, Secret::RedisPass), ["env", "left behind"]);
        assert!(!without.same_as(&secrets) && secrets.same_as(&secrets.clone()));
    }

    #[test]
    fn an_empty_successor_is_none() {
        let environment = BTreeMap::from([
            ("DB_PASS".to_owned(), "one".to_owned()),
            ("DB_PASS_NEXT".to_owned(), "\n".to_owned()),
        ]);
        let secrets = Secrets::read(&environment, Home::None).unwrap();
        assert_eq!(exposed(&secrets, Secret::DbPass), ["one"]);
    }

    #[test]
    fn the_password_of_redis_may_stand_in_its_address() {
        let mut environment =
            BTreeMap::from([("REDIS_URL".to_owned(), "redis://:p%2Fw@h".to_owned())]);
        let secrets = Secrets::read(&environment, Home::None).unwrap();
        assert_eq!(exposed(&secrets, Secret::RedisPass), ["p/w"]);
        environment.insert("REDIS_PASS".to_owned(), "better".to_owned());
        let secrets = Secrets::read(&environment, Home::None).unwrap();
        assert_eq!(exposed(&secrets, Secret::RedisPass), ["better"]);
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

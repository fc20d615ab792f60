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
}

impl Secret {
    /// Every secret.
    pub const ALL: [Self; 3] = [Self::IngestApiKey, Self::WebuiApiKey, Self::MoogApiKey];

    /// The variable's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::IngestApiKey => "INGEST_API_KEY",
            Self::WebuiApiKey => "WEBUI_API_KEY",
            Self::MoogApiKey => "MOOG_API_KEY",
        }
    }

    /// The file of the data directory that holds the key made at first start; the sink's key is
    /// never made by us.
    fn made_in(self) -> Option<&'static str> {
        match self {
            Self::IngestApiKey => Some("ingest_api_key"),
            Self::WebuiApiKey => Some("webui_api_key"),
            Self::MoogApiKey => None,
        }
    }
}

/// Whether a variable holds or names a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    let name = name.strip_suffix("_NEXT").unwrap_or(name);
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

impl Secrets {
    /// Reads every secret. With `make_in`, keys that nobody gave are read from that directory, and
    /// made there (mode 0600) where they are missing.
    ///
    /// # Errors
    /// A file that cannot be read or written, or an empty secret; never with the secret in it.
    pub fn read(
        environment: &BTreeMap<String, String>,
        make_in: Option<&Path>,
    ) -> Result<Self, SecretsError> {
        let mut secrets = Self::default();
        for secret in Secret::ALL {
            let mut values = Vec::new();
            for name in [secret.name().to_owned(), format!("{}_NEXT", secret.name())] {
                values.extend(given(environment, &name)?);
            }
            if values.is_empty()
                && let Some(dir) = make_in
                && let Some(file) = secret.made_in()
            {
                let path = dir.join(file);
                let (value, made) = read_or_make(&path).map_err(|error| SecretsError::Made {
                    path: path.clone(),
                    error,
                })?;
                values.push(value);
                if made {
                    secrets.made.push(path);
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
) -> Result<Option<SecretString>, SecretsError> {
    let file_variable = format!("{name}_FILE");
    let text = if let Some(path) = environment.get(&file_variable) {
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

fn read_or_make(path: &Path) -> std::io::Result<(SecretString, bool)> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok((SecretString::from(text.trim()), false)),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
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
    Ok((SecretString::from(key), true))
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
        let first = Secrets::read(&BTreeMap::new(), Some(dir.path())).unwrap();
        assert_eq!(first.made.len(), 2);
        let mode = fs::metadata(&first.made[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Secrets::read(&BTreeMap::new(), Some(dir.path())).unwrap();
        assert!(second.made.is_empty());
        assert_eq!(
            exposed(&first, Secret::IngestApiKey),
            exposed(&second, Secret::IngestApiKey)
        );
        assert_eq!(exposed(&first, Secret::IngestApiKey)[0].len(), 64);
        assert!(second.get(Secret::MoogApiKey).is_empty());
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
        let secrets = Secrets::read(&environment, None).unwrap();
        assert_eq!(exposed(&secrets, Secret::MoogApiKey), ["from-file", "next"]);
        assert!(!format!("{secrets:?}").contains("from-file"));
    }

    #[test]
    fn an_empty_or_unreadable_secret_is_an_error_without_the_secret() {
        let environment = BTreeMap::from([("INGEST_API_KEY".to_owned(), " ".to_owned())]);
        let error = Secrets::read(&environment, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "INGEST_API_KEY is empty; unset it or give it a value"
        );
        let environment = BTreeMap::from([(
            "INGEST_API_KEY_FILE".to_owned(),
            "/nonexistent/key".to_owned(),
        )]);
        let error = Secrets::read(&environment, None).unwrap_err().to_string();
        assert!(
            error.contains("INGEST_API_KEY_FILE names /nonexistent/key"),
            "{error}"
        );
    }
}

//! What Vault holds for MUTT: the known keys of one secret of a KV engine, and its version.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::secrets::Secret;

/// The role of PostgreSQL may stand beside its password.
const DB_USER: &str = "DB_USER";

/// The known keys of one secret of a KV engine.
#[derive(Default)]
pub(crate) struct Kept {
    texts: BTreeMap<String, SecretString>,
    pub(crate) db_user: Option<String>,
    /// The version that the KV engine counts.
    pub(crate) version: u64,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("keys", &self.texts.keys())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: BTreeMap<String, &'a RawValue>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

impl Kept {
    /// From the answer to a read of KV version 2. Keys that MUTT does not know may hold anything.
    pub(crate) fn parse(answer: &[u8]) -> Result<Self, String> {
        // The error of the parser would repeat what it found, which may be a secret.
        let answer: Answer<'_> = serde_json::from_slice(answer)
            .map_err(|_| "it is no secret of a KV engine of version 2".to_owned())?;
        let mut kept = Self {
            version: answer.data.metadata.version,
            ..Self::default()
        };
        let names = Secret::ALL
            .into_iter()
            .filter(|&secret| secret != Secret::VaultSecretId)
            .flat_map(|secret| {
                let ([current, plain], next) = secret.names();
                [current, plain, next]
            })
            .chain([DB_USER.to_owned()]);
        for name in names {
            let Some(value) = answer.data.data.get(&name) else {
                continue;
            };
            let text: String = serde_json::from_str(value.get())
                .map_err(|_| format!("the value of {name} is no text"))?;
            let text = text.trim();
            // Emptied is how many people take a value away.
            if text.is_empty() {
            } else if name == DB_USER {
                kept.db_user = Some(text.to_owned());
            } else {
                kept.texts.insert(name, SecretString::from(text));
            }
        }
        Ok(kept)
    }

    /// The values of a secret, current, then next; nothing where Vault knows neither.
    pub(crate) fn values(&self, secret: Secret) -> Option<Vec<SecretString>> {
        let (current, next) = secret.names();
        let current = current.iter().find_map(|name| self.texts.get(name));
        let values: Vec<_> = current
            .into_iter()
            .chain(self.texts.get(&next))
            .cloned()
            .collect();
        (!values.is_empty()).then_some(values)
    }

    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let data: BTreeMap<_, _> = pairs.iter().copied().collect();
        let answer = serde_json::json!({"data": {"data": data, "metadata": {"version": 1}}});
        Self::parse(answer.to_string().as_bytes()).expect("it is a secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_keys_count_and_they_are_texts() {
        let answer = br#"{"data":{"data":{"DB_PASS":"p","other":{"a":1},"DB_PASS_NEXT":" "},
            "metadata":{"version":3}}}"#;
        let kept = Kept::parse(answer).unwrap();
        assert_eq!(kept.version, 3);
        assert_eq!(kept.values(Secret::DbPass).unwrap().len(), 1);
        assert!(kept.values(Secret::RedisPass).is_none());
        assert!(!format!("{kept:?}").contains("\"p\""));

        let answer = br#"{"data":{"data":{"DB_PASS":12345},"metadata":{"version":3}}}"#;
        assert_eq!(
            Kept::parse(answer).unwrap_err(),
            "the value of DB_PASS is no text"
        );
        // Version 1 of the engine has no inner data.
        let error = Kept::parse(br#"{"data":{"DB_PASS":"hunter2"}}"#).unwrap_err();
        assert!(
            error.contains("version 2") && !error.contains("hunter2"),
            "{error}"
        );
    }
}

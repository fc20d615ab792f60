//! Keys of users, bound to the engines they talk through, so that they are not derived again for
//! every message.
//!
//! A cache and nothing more: what it forgets is derived again, in microseconds. It is written to
//! only for messages that proved authentic, so that nobody else can turn it over.

use std::collections::HashMap;
use std::sync::Arc;

use async_snmp::LocalizedKey;
use async_snmp::v3::PrivKey;

use crate::users::User;

/// The most pairs of user and engine whose keys are kept, some 400 bytes each.
const MAX_KEYS: usize = 16_384;

/// One user's keys for one engine.
pub(crate) struct Keys {
    pub(crate) auth: LocalizedKey,
    pub(crate) privacy: Option<PrivKey>,
}

impl Keys {
    /// Binds the user's keys to this engine; `None` for a user without keys.
    pub(crate) fn localize(user: &User, engine_id: &[u8]) -> Option<Self> {
        let (auth, privacy) = user.masters()?.localize(engine_id).ok()?;
        Some(Self { auth, privacy })
    }
}

/// Keys by the user's position and the engine ID.
#[derive(Default)]
pub(crate) struct KeyCache {
    users: HashMap<usize, HashMap<Box<[u8]>, Arc<Keys>>>,
    count: usize,
}

impl KeyCache {
    pub(crate) fn get(&self, user: usize, engine_id: &[u8]) -> Option<Arc<Keys>> {
        self.users.get(&user)?.get(engine_id).cloned()
    }

    pub(crate) fn keep(&mut self, user: usize, engine_id: &[u8], keys: &Arc<Keys>) {
        if self.get(user, engine_id).is_some() {
            return;
        }
        // All at once, and rarely: a site with more engines than this derives keys again now and
        // then, which costs less than keeping the order in which they were used.
        if self.count >= MAX_KEYS {
            self.clear();
        }
        let engines = self.users.entry(user).or_default();
        engines.insert(engine_id.into(), Arc::clone(keys));
        self.count += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.users.clear();
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::Access;

    /// RFC 3414, A.3.1 and A.3.2: the password "maplesyrup" bound to engine 00…02.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let engine = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        for (auth, key) in [
            ("md5", "526f5eed9fcce26f8964c2930787d82b"),
            ("sha1", "6695febc9288e36282235fc7151f128497b38f3f"),
        ] {
            let text = format!(
                "[[user]]\nname = \"u\"\nauth = \"{auth}\"\nauth_password = \"maplesyrup\"\n\
                 priv = \"aes128\"\npriv_password = \"maplesyrup\""
            );
            let access = Access::parse(&text).unwrap();
            let (_, user) = access.user(b"u", &engine).unwrap();
            let keys = Keys::localize(user, &engine).unwrap();
            let expected: Vec<u8> = (0..key.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&key[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(keys.auth.as_bytes(), expected);
            let privacy = keys.privacy.unwrap();
            assert_eq!(privacy.encryption_key(), &keys.auth.as_bytes()[..16]);
        }
    }

    #[test]
    fn no_more_keys_are_kept_than_the_bound_says() {
        let text = "[[user]]\nname = \"u\"\nauth = \"md5\"\nauth_password = \"maplesyrup\"";
        let access = Access::parse(text).unwrap();
        let (_, user) = access.user(b"u", b"12345").unwrap();
        let keys = Arc::new(Keys::localize(user, b"12345").unwrap());
        let mut cache = KeyCache::default();
        for engine in 0..MAX_KEYS + 10 {
            cache.keep(0, &engine.to_be_bytes(), &keys);
            cache.keep(0, &engine.to_be_bytes(), &keys);
        }
        assert_eq!(cache.users[&0].len(), 10);
        assert!(cache.get(0, &(MAX_KEYS + 9).to_be_bytes()).is_some());
        assert!(cache.get(1, &(MAX_KEYS + 9).to_be_bytes()).is_none());
    }
}

//! Who may send traps: communities and version 3 users, as an operator's file names them.
//!
//! Promises that a file is taken as a whole or not at all, and that an error says in which line and
//! field the mistake is. Passwords are turned into keys when a user is first heard of, because that
//! takes milliseconds each by design. Reads text, not files.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use async_snmp::{AuthProtocol, MasterKeys, PrivProtocol};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use toml::Spanned;
use zeroize::Zeroizing;

use crate::identity::EngineId;
use crate::trap::SecurityLevel;

/// The most users and the most communities in a file.
const MAX_ENTRIES: usize = 10_000;

/// The shortest password (RFC 3414, 11.2).
const MIN_PASSWORD: usize = 8;

/// The longest user name in octets (RFC 3414, 2.4).
const MAX_NAME: usize = 32;

/// Who may send.
#[derive(Clone, Default)]
pub struct Access {
    /// `None`: any community will do.
    communities: Option<Vec<Zeroizing<Vec<u8>>>>,
    users: Vec<Arc<User>>,
    by_name: HashMap<Box<[u8]>, Vec<usize>>,
}

/// A mistake in a file of users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct AccessError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, naming the field, and what is allowed.
    pub problem: String,
}

/// A version 3 user.
pub(crate) struct User {
    pub(crate) name: Box<str>,
    /// The one engine this entry is for; `None`: any.
    pub(crate) engine_id: Option<EngineId>,
    pub(crate) level: SecurityLevel,
    secrets: Secrets,
    masters: OnceLock<Option<MasterKeys>>,
}

#[derive(PartialEq, Eq)]
struct Secrets {
    auth: Option<(AuthProtocol, Zeroizing<String>)>,
    privacy: Option<(PrivProtocol, Zeroizing<String>)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    communities: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    user: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    auth: Option<Spanned<String>>,
    auth_password: Option<Spanned<String>>,
    #[serde(rename = "priv")]
    privacy: Option<Spanned<String>>,
    priv_password: Option<Spanned<String>>,
    level: Option<Spanned<String>>,
    engine_id: Option<Spanned<String>>,
}

const AUTH: [(&str, AuthProtocol); 6] = [
    ("md5", AuthProtocol::Md5),
    ("sha1", AuthProtocol::Sha1),
    ("sha224", AuthProtocol::Sha224),
    ("sha256", AuthProtocol::Sha256),
    ("sha384", AuthProtocol::Sha384),
    ("sha512", AuthProtocol::Sha512),
];

const PRIVACY: [(&str, PrivProtocol); 7] = [
    ("des", PrivProtocol::Des),
    ("3des", PrivProtocol::Des3),
    ("aes128", PrivProtocol::Aes128),
    ("aes192", PrivProtocol::Aes192Blumenthal),
    ("aes256", PrivProtocol::Aes256Blumenthal),
    ("aes192c", PrivProtocol::Aes192Reeder),
    ("aes256c", PrivProtocol::Aes256Reeder),
];

const LEVELS: [(&str, SecurityLevel); 3] = [
    ("noAuthNoPriv", SecurityLevel::NoAuthNoPriv),
    ("authNoPriv", SecurityLevel::AuthNoPriv),
    ("authPriv", SecurityLevel::AuthPriv),
];

/// What a word of a closed list means.
fn word<T: Copy>(words: &[(&str, T)], found: &str, field: &str) -> Result<T, String> {
    let known = words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(found));
    known.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!(
            "{field} = \"{found}\" is not known; known are {}",
            known.join(", ")
        )
    })
}

impl Access {
    /// Any community, and no version 3 users: what holds without a file.
    pub fn open() -> Self {
        Self::default()
    }

    /// What the text of a file says (TOML).
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, AccessError> {
        let at = |position: usize, problem: String| AccessError {
            line: text[..position.min(text.len())].matches('\n').count() + 1,
            problem,
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let position = error.span().map_or(0, |span| span.start);
            at(position, error.message().trim().to_owned())
        })?;
        let mut access = Self::default();
        if let Some(communities) = file.communities {
            let position = communities.span().start;
            let communities = communities.into_inner();
            if communities.len() > MAX_ENTRIES {
                return Err(at(
                    position,
                    format!("communities: more than {MAX_ENTRIES}"),
                ));
            }
            if let Some(empty) = communities.iter().find(|one| one.get_ref().is_empty()) {
                let problem = "communities: one is empty".to_owned();
                return Err(at(empty.span().start, problem));
            }
            let communities = communities.into_iter();
            let octets = communities.map(|one| Zeroizing::new(one.into_inner().into_bytes()));
            access.communities = Some(octets.collect());
        }
        if file.user.len() > MAX_ENTRIES {
            return Err(at(0, format!("[[user]]: more than {MAX_ENTRIES}")));
        }
        for entry in file.user {
            let position = entry.span().start;
            let user = User::parse(entry.into_inner(), position)
                .map_err(|(position, problem)| at(position, problem))?;
            let same_name = access
                .by_name
                .entry(user.name.as_bytes().into())
                .or_default();
            if same_name
                .iter()
                .any(|&other| access.users[other].engine_id == user.engine_id)
            {
                let problem = format!("name = \"{}\": this user is there already", user.name);
                return Err(at(position, problem));
            }
            same_name.push(access.users.len());
            access.users.push(Arc::new(user));
        }
        Ok(access)
    }

    /// Keys that were derived already are taken over for users that did not change.
    pub fn take_over_keys(&mut self, before: &Self) {
        for user in &mut self.users {
            let same = before
                .candidates(user.name.as_bytes())
                .find(|other| other.engine_id == user.engine_id && other.secrets == user.secrets);
            if let Some(same) = same
                && same.level == user.level
            {
                *user = Arc::clone(same);
            }
        }
    }

    /// Whether any community will do.
    pub fn is_open(&self) -> bool {
        self.communities.is_none()
    }

    /// How many communities are named.
    pub fn communities(&self) -> usize {
        self.communities.as_ref().map_or(0, Vec::len)
    }

    /// How many version 3 users there are.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Whether this community may send. Takes as long whichever octets differ.
    pub(crate) fn admits(&self, community: &[u8]) -> bool {
        let Some(communities) = &self.communities else {
            return true;
        };
        let mut found = subtle::Choice::from(0);
        for known in communities {
            found |= known.as_slice().ct_eq(community);
        }
        found.into()
    }

    /// The user of this name for messages of this engine, with its position.
    pub(crate) fn user(&self, name: &[u8], engine_id: &[u8]) -> Option<(usize, &Arc<User>)> {
        let positions = self.by_name.get(name)?;
        let of = |wanted: Option<&[u8]>| {
            let position = positions.iter().copied().find(|&position| {
                self.users[position]
                    .engine_id
                    .as_ref()
                    .map(EngineId::octets)
                    == wanted
            })?;
            Some((position, &self.users[position]))
        };
        of(Some(engine_id)).or_else(|| of(None))
    }

    fn candidates(&self, name: &[u8]) -> impl Iterator<Item = &Arc<User>> {
        let positions = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        positions.iter().map(|&position| &self.users[position])
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("communities", &self.communities.as_ref().map(Vec::len))
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

impl User {
    fn parse(entry: Entry, position: usize) -> Result<Self, (usize, String)> {
        let name = entry.name.get_ref();
        if name.is_empty() || name.len() > MAX_NAME {
            let problem = format!("name: a user name has 1 to {MAX_NAME} octets");
            return Err((entry.name.span().start, problem));
        }
        let auth = protocol(entry.auth, entry.auth_password, "auth", &AUTH, position)?;
        let privacy = protocol(
            entry.privacy,
            entry.priv_password,
            "priv",
            &PRIVACY,
            position,
        )?;
        let own = match (&auth, &privacy) {
            (None, None) => SecurityLevel::NoAuthNoPriv,
            (Some(_), None) => SecurityLevel::AuthNoPriv,
            (Some(_), Some(_)) => SecurityLevel::AuthPriv,
            (None, Some(_)) => {
                let problem = "priv without auth: privacy needs authentication (RFC 3411, 3.4.3)";
                return Err((position, problem.to_owned()));
            }
        };
        let level = match entry.level {
            None => own,
            Some(level) => {
                let start = level.span().start;
                let wanted = word(&LEVELS, level.get_ref(), "level").map_err(|e| (start, e))?;
                if wanted > own {
                    let problem = format!(
                        "level = \"{}\" needs what this user does not have; it can have {} at most",
                        wanted.name(),
                        own.name()
                    );
                    return Err((start, problem));
                }
                wanted
            }
        };
        let engine_id = match entry.engine_id {
            None => None,
            Some(hex) => {
                let start = hex.span().start;
                let parsed = hex.get_ref().parse();
                Some(parsed.map_err(|problem| (start, format!("engine_id: {problem}")))?)
            }
        };
        Ok(Self {
            name: entry.name.into_inner().into(),
            engine_id,
            level,
            secrets: Secrets { auth, privacy },
            masters: OnceLock::new(),
        })
    }

    /// The most that this user's keys can do.
    pub(crate) fn capability(&self) -> SecurityLevel {
        match (&self.secrets.auth, &self.secrets.privacy) {
            (None, _) => SecurityLevel::NoAuthNoPriv,
            (Some(_), None) => SecurityLevel::AuthNoPriv,
            (Some(_), Some(_)) => SecurityLevel::AuthPriv,
        }
    }

    /// The keys before they are bound to an engine; `None` for a user without any. The first call
    /// takes some milliseconds.
    pub(crate) fn masters(&self) -> Option<&MasterKeys> {
        self.masters.get_or_init(|| self.derive()).as_ref()
    }

    fn derive(&self) -> Option<MasterKeys> {
        let (auth, password) = self.secrets.auth.as_ref()?;
        let masters = MasterKeys::new(*auth, password.as_bytes()).ok()?;
        match &self.secrets.privacy {
            None => Some(masters),
            Some((privacy, password)) => masters.with_privacy(*privacy, password.as_bytes()).ok(),
        }
    }
}

type Secret<T> = Option<(T, Zeroizing<String>)>;

fn protocol<T: Copy>(
    name: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
    field: &str,
    known: &[(&str, T)],
    position: usize,
) -> Result<Secret<T>, (usize, String)> {
    match (name, password) {
        (None, None) => Ok(None),
        (Some(name), None) => {
            let problem = format!("{field}_password is missing");
            Err((name.span().start, problem))
        }
        (None, Some(_)) => Err((position, format!("{field} is missing: which protocol?"))),
        (Some(name), Some(password)) => {
            let protocol =
                word(known, name.get_ref(), field).map_err(|e| (name.span().start, e))?;
            if password.get_ref().len() < MIN_PASSWORD {
                let problem =
                    format!("{field}_password is too short: {MIN_PASSWORD} characters at least");
                return Err((password.span().start, problem));
            }
            Ok(Some((protocol, Zeroizing::new(password.into_inner()))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_who_may_send() {
        let access = Access::parse(
            r#"
communities = ["public", "dc1"]

[[user]]
name = "netops"
auth = "SHA256"
auth_password = "maplesyrup"
priv = "aes128"
priv_password = "maplesyrup2"

[[user]]
name = "netops"
engine_id = "80001f8880aabbccdd"
level = "noAuthNoPriv"
auth = "md5"
auth_password = "maplesyrup"

[[user]]
name = "plain"
"#,
        )
        .unwrap();
        assert!(access.admits(b"dc1") && !access.admits(b"dc") && !access.is_open());
        let any = access.user(b"netops", b"\x80\0\0\0\x01").unwrap().1;
        assert_eq!(any.level, SecurityLevel::AuthPriv);
        assert!(any.masters().is_some());
        let engine = [0x80, 0, 0x1f, 0x88, 0x80, 0xaa, 0xbb, 0xcc, 0xdd];
        let one = access.user(b"netops", &engine).unwrap().1;
        assert_eq!(one.level, SecurityLevel::NoAuthNoPriv);
        assert_eq!(one.capability(), SecurityLevel::AuthNoPriv);
        let plain = access.user(b"plain", b"").unwrap().1;
        assert!(plain.masters().is_none());
        assert!(access.user(b"nobody", b"").is_none());
        assert!(!format!("{access:?}").contains("maple"));
        assert!(Access::open().admits(b"anything"));
        assert!(!Access::parse("communities = []").unwrap().admits(b"public"));
    }

    #[test]
    fn keys_of_users_that_did_not_change_are_taken_over() {
        let text = |password: &str| {
            format!("[[user]]\nname = \"a\"\nauth = \"sha1\"\nauth_password = \"{password}\"\n")
        };
        let before = Access::parse(&text("maplesyrup")).unwrap();
        let mut same = Access::parse(&text("maplesyrup")).unwrap();
        same.take_over_keys(&before);
        assert!(Arc::ptr_eq(&same.users[0], &before.users[0]));
        let mut other = Access::parse(&text("maplesyrup2")).unwrap();
        other.take_over_keys(&before);
        assert!(!Arc::ptr_eq(&other.users[0], &before.users[0]));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_field() {
        let user = |rest: &str| format!("# users\n[[user]]\nname = \"a\"\n{rest}\n");
        for (text, line, words) in [
            ("communities = [\"a\"\n".to_owned(), 1, "array"),
            (
                "communities = [\n  \"a\",\n  \"\",\n]".to_owned(),
                3,
                "communities",
            ),
            ("\ncommunity = \"a\"".to_owned(), 2, "community"),
            (
                user("auth = \"sha3\"\nauth_password = \"maplesyrup\""),
                4,
                "sha512",
            ),
            (
                user("auth = \"sha1\"\nauth_password = \"short\""),
                5,
                "8 characters",
            ),
            (user("auth = \"sha1\""), 4, "auth_password is missing"),
            (
                user("priv = \"des\"\npriv_password = \"maplesyrup\""),
                2,
                "priv without auth",
            ),
            (user("level = \"authPriv\""), 4, "noAuthNoPriv at most"),
            (user("engine_id = \"12\""), 4, "engine_id"),
            (user("passwort = \"x\""), 4, "passwort"),
            (user("[[user]]\nname = \"a\""), 4, "there already"),
            (user("[[user]]\nname = \"\""), 5, "name"),
        ] {
            let error = Access::parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{error} in {text}");
            assert!(error.problem.contains(words), "{error} lacks {words}");
        }
    }
}

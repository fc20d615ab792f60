//! MUTT's own identity as an SNMP engine: its engine ID, how often it has started, and its clock.
//!
//! Senders of informs make sure with these that a message is fresh, so they must never go back:
//! the file is written and synchronised before the count in it is used.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The greatest snmpEngineBoots and snmpEngineTime. At this count of boots the engine is latched
/// (RFC 3414, 2.2.2): it accepts no authenticated message until it gets a new identity.
pub(crate) const MAX_BOOTS: u32 = i32::MAX.cast_unsigned();

/// How long before or after now a message may have been made (RFC 3414, 2.2.3), in seconds.
pub(crate) const TIME_WINDOW: u32 = 150;

/// An `SnmpEngineID`: 5 to 32 octets, not all 0 or all 255.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EngineId(Box<[u8]>);

impl EngineId {
    /// The engine ID with these octets, if they are one.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let uniform = |value: u8| octets.iter().all(|&octet| octet == value);
        ((5..=32).contains(&octets.len()) && !uniform(0) && !uniform(0xff))
            .then(|| Self(octets.into()))
    }

    /// A new one for this installation. MUTT has no enterprise number of its own, so it uses none
    /// (0), in the form that RFC 3411 has for octets of the administrator's choice (5): 12 random
    /// ones.
    fn generate() -> Self {
        let mut octets = vec![0x80, 0, 0, 0, 5];
        octets.extend_from_slice(&rand::random::<[u8; 12]>());
        Self(octets.into())
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineId({self})")
    }
}

impl FromStr for EngineId {
    type Err = &'static str;

    /// Hexadecimal digits, with or without `0x` in front or colons between octets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PROBLEM: &str =
            "an engine ID is 5 to 32 octets in hexadecimal digits, not all 0 or ff";
        let digits: Vec<u8> = text
            .strip_prefix("0x")
            .unwrap_or(text)
            .bytes()
            .filter(|&byte| byte != b':')
            .collect();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let octets: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| match *pair {
                [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
                _ => None,
            })
            .collect();
        octets.and_then(|octets| Self::new(&octets)).ok_or(PROBLEM)
    }
}

/// Why the engine has no identity.
#[derive(Debug, thiserror::Error)]
pub enum EngineFileError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what MUTT wrote.
    #[error(
        "{path} is damaged ({problem}); put it back from a backup, or remove it: MUTT then gets a \
         new SNMP engine ID, which senders of informs find out by themselves"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        problem: String,
    },
}

/// Where the identity is kept between starts.
#[derive(Clone, Debug)]
pub struct EngineFile(PathBuf);

#[derive(Serialize, Deserialize)]
struct Content {
    engine_id: String,
    boots: u32,
}

impl EngineFile {
    /// The file at this path, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The engine of this start: the kept ID, or a new one where there is no file, and one boot
    /// more. Both are on disk when it returns. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, written or understood.
    pub fn start(&self, now: Instant) -> Result<LocalEngine, EngineFileError> {
        let io = |source| EngineFileError::Io {
            path: self.0.clone(),
            source,
        };
        let (id, boots) = match fs::read_to_string(&self.0) {
            Ok(text) => self.parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (EngineId::generate(), 0),
            Err(error) => return Err(io(error)),
        };
        let boots = (boots + 1).min(MAX_BOOTS);
        let content = format!(
            "# MUTT's identity towards SNMP senders, written at every start.\n\
             # Two MUTTs must not have the same: do not copy it.\n\
             engine_id = \"{id}\"\nboots = {boots}\n"
        );
        write_durably(&self.0, content.as_bytes()).map_err(io)?;
        Ok(LocalEngine::new(id, boots, now))
    }

    fn parse(&self, text: &str) -> Result<(EngineId, u32), EngineFileError> {
        let damaged = |problem: String| EngineFileError::Damaged {
            path: self.0.clone(),
            problem,
        };
        let content: Content =
            toml::from_str(text).map_err(|error| damaged(error.message().trim().to_owned()))?;
        let id = content
            .engine_id
            .parse()
            .map_err(|e: &str| damaged(e.to_owned()))?;
        if content.boots > MAX_BOOTS {
            return Err(damaged(format!("boots is above {MAX_BOOTS}")));
        }
        Ok((id, content.boots))
    }
}

/// Replaces the file as a whole: after a crash there is the old content or the new, never a part.
fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// MUTT as the authoritative engine of the informs it gets.
#[derive(Clone, Debug)]
pub struct LocalEngine {
    id: EngineId,
    boots: u32,
    started: Instant,
}

impl LocalEngine {
    /// An engine that started for the `boots`th time at `started`.
    pub fn new(id: EngineId, boots: u32, started: Instant) -> Self {
        Self { id, boots, started }
    }

    /// The engine ID.
    pub fn id(&self) -> &EngineId {
        &self.id
    }

    /// snmpEngineBoots.
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// snmpEngineTime: seconds since the start. It stops at its greatest value, after 68 years.
    pub fn time(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.started).as_secs();
        u32::try_from(seconds).unwrap_or(MAX_BOOTS).min(MAX_BOOTS)
    }

    /// Whether a message that claims to be made at this time is fresh (RFC 3414, 3.2, step 7a).
    pub(crate) fn is_timely(&self, boots: u32, time: u32, now: Instant) -> bool {
        self.boots != MAX_BOOTS
            && boots == self.boots
            && time.abs_diff(self.time(now)) <= TIME_WINDOW
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_identity_stays_and_every_start_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = EngineFile::new(directory.path().join("snmp-engine"));
        let first = file.start(Instant::now()).unwrap();
        let second = file.start(Instant::now()).unwrap();
        assert_eq!(first.boots(), 1);
        assert_eq!(second.boots(), 2);
        assert_eq!(first.id(), second.id());
        assert!(first.id().octets().starts_with(&[0x80, 0, 0, 0, 5]));
        let other = EngineFile::new(directory.path().join("other"));
        assert_ne!(other.start(Instant::now()).unwrap().id(), first.id());
    }

    #[test]
    fn at_its_greatest_count_the_engine_is_latched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snmp-engine");
        let text = format!("engine_id = \"8000000005aa\"\nboots = {}\n", MAX_BOOTS - 1);
        fs::write(&path, text).unwrap();
        let now = Instant::now();
        for _ in 0..2 {
            let engine = EngineFile::new(path.clone()).start(now).unwrap();
            assert_eq!(engine.boots(), MAX_BOOTS);
            assert!(!engine.is_timely(MAX_BOOTS, 0, now));
        }
    }

    #[test]
    fn a_damaged_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snmp-engine");
        for text in [
            "",
            "boots = 1",
            "engine_id = \"00\"\nboots = 1",
            "engine_id = \"8000000005aa\"\nboots = 2147483648",
        ] {
            fs::write(&path, text).unwrap();
            let error = EngineFile::new(path.clone())
                .start(Instant::now())
                .unwrap_err();
            assert!(error.to_string().contains("is damaged"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_message_is_fresh_within_the_window() {
        let start = Instant::now();
        let engine = LocalEngine::new(EngineId::new(b"12345").unwrap(), 7, start);
        let now = start + Duration::from_secs(1_000);
        assert_eq!(engine.time(now), 1_000);
        assert!(engine.is_timely(7, 850, now) && engine.is_timely(7, 1_150, now));
        assert!(!engine.is_timely(7, 849, now) && !engine.is_timely(7, 1_151, now));
        assert!(!engine.is_timely(6, 1_000, now) && !engine.is_timely(8, 1_000, now));
    }
}

//! The names of traps as they stand now: MUTT's own, the operator's MIB files and the operator's names
//! file; read at the start, when a file changes, and when asked.
//!
//! Promises that receiving never waits for it: until MIB files are read, and where they cannot be,
//! the names known before hold. What is wrong with a file is logged and costs that file alone.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mutt_snmp::mibs::{self, Mibs};
use mutt_snmp::names::{Entry, LineError, Names, parse_names_file};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The largest names file that is read, in bytes.
const MAX_NAMES_FILE: u64 = 64 << 20;

/// How many problems of one reading are logged; `mutt mibs check` tells them all.
const LOGGED_PROBLEMS: usize = 20;

/// Where the operator's names are.
#[derive(Clone, Debug, Default)]
pub struct NameFiles {
    /// `OID name` per line.
    pub names_file: Option<PathBuf>,
    /// A directory of MIB files.
    pub mib_dir: Option<PathBuf>,
}

/// Why the operator's names cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The names file cannot be read.
    #[error("SNMP_NAMES_FILE: {} cannot be read: {source}", path.display())]
    NamesFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The directory cannot be read.
    #[error("SNMP_MIB_DIR: {} cannot be read: {source}", path.display())]
    MibDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What was read.
#[derive(Debug)]
pub struct LoadedNames {
    /// All names.
    pub names: Names,
    /// The modules and problems of the MIB files; their names have moved to `names`.
    pub mibs: Mibs,
    /// How many names the names file has.
    pub lines: usize,
    /// The lines of the names file that are none.
    pub line_errors: Vec<LineError>,
}

impl NameFiles {
    /// Reads everything. Takes from milliseconds to seconds, and blocks.
    ///
    /// # Errors
    /// The names file or the directory cannot be read. Whatever is wrong with a file in the directory
    /// or a line of the names file is no error: it stands in the result.
    pub fn load(&self) -> Result<LoadedNames, NamesError> {
        let (lines, line_errors) = match &self.names_file {
            Some(path) => {
                parse_names_file(&read_bounded(path).map_err(|source| NamesError::NamesFile {
                    path: path.clone(),
                    source,
                })?)
            }
            None => (Vec::new(), Vec::new()),
        };
        let mut mibs = match &self.mib_dir {
            Some(path) => mibs::load(path).map_err(|source| NamesError::MibDir {
                path: path.clone(),
                source,
            })?,
            None => Mibs::default(),
        };
        let count = lines.len();
        let of_mibs = std::mem::take(&mut mibs.entries);
        let of_file = lines.into_iter().map(Entry::from);
        Ok(LoadedNames {
            names: Names::new(of_mibs.into_iter().chain(of_file)),
            mibs,
            lines: count,
            line_errors,
        })
    }

    fn is_none(&self) -> bool {
        self.names_file.is_none() && self.mib_dir.is_none()
    }

    /// A number that changes when a file comes, goes or is written.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        if let Some(path) = &self.names_file {
            hash_file(path, &mut hasher);
        }
        if let Some(path) = &self.mib_dir {
            let mut left = mibs::MAX_FILES;
            hash_directory(path, 0, &mut left, &mut hasher);
        }
        hasher.finish()
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > MAX_NAMES_FILE {
        return Err(std::io::Error::other(format!(
            "it is larger than {MAX_NAMES_FILE} bytes"
        )));
    }
    let octets = fs::read(path)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    if let Ok(metadata) = fs::metadata(path) {
        metadata.len().hash(hasher);
        if let Ok(modified) = metadata.modified() {
            modified.hash(hasher);
        }
    }
}

fn hash_directory(path: &Path, depth: usize, left: &mut usize, hasher: &mut DefaultHasher) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths {
        if *left == 0 {
            return;
        }
        *left -= 1;
        hash_file(&path, hasher);
        if depth < mibs::MAX_DEPTH && path.is_dir() {
            hash_directory(&path, depth + 1, left, hasher);
        }
    }
}

/// The names, and how they are kept up to date.
#[derive(Debug)]
pub struct TrapNames {
    files: NameFiles,
    current: Arc<ArcSwap<Names>>,
    /// Of the files that were read last; one reading at a time.
    seen: Mutex<Option<u64>>,
}

impl TrapNames {
    /// MUTT's own names; the operator's come with the first [`TrapNames::reload`].
    pub fn new(files: NameFiles) -> Arc<Self> {
        Arc::new(Self {
            files,
            current: Arc::new(ArcSwap::new(Names::builtin())),
            seen: Mutex::new(None),
        })
    }

    /// The names, always the latest.
    pub fn current(&self) -> Arc<ArcSwap<Names>> {
        self.current.clone()
    }

    /// Reads the files again, whether they changed or not. Blocks, perhaps for seconds.
    pub fn reload(&self) {
        if !self.files.is_none() {
            self.read(&mut self.seen.lock());
        }
    }

    /// Reads the files again where they changed since. Blocks.
    fn refresh(&self) {
        let mut seen = self.seen.lock();
        if *seen != Some(self.files.fingerprint()) {
            self.read(&mut seen);
        }
    }

    fn read(&self, seen: &mut Option<u64>) {
        // What changes while it is read is read again.
        *seen = Some(self.files.fingerprint());
        let begun = Instant::now();
        match self.files.load() {
            Ok(loaded) => {
                report(&loaded, begun.elapsed(), &self.files);
                self.current.store(Arc::new(loaded.names));
            }
            Err(error) => {
                tracing::error!(%error, "the names of traps stay as they are");
            }
        }
    }

    /// Reads the files, and again when they change, until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        while !self.files.is_none() {
            let this = self.clone();
            // A panic in there costs one reading.
            if let Err(error) = tokio::task::spawn_blocking(move || this.refresh()).await {
                tracing::error!(%error, "the names of traps stay as they are");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

fn report(loaded: &LoadedNames, took: Duration, files: &NameFiles) {
    let problems = loaded.mibs.problems.iter().map(ToString::to_string);
    let names_file = files.names_file.as_deref().unwrap_or(Path::new(""));
    let lines = loaded
        .line_errors
        .iter()
        .map(|error| format!("{}: {error}", names_file.display()));
    let mut left = LOGGED_PROBLEMS;
    for problem in lines.chain(problems).take(LOGGED_PROBLEMS) {
        left -= 1;
        tracing::warn!(%problem, "a name of traps is missing");
    }
    let problems = loaded.mibs.problems.len() + loaded.line_errors.len();
    if left == 0 && problems > LOGGED_PROBLEMS {
        tracing::warn!(problems, "`mutt mibs check` tells all of them");
    }
    tracing::info!(
        names = loaded.names.entries().len(),
        modules = loaded.mibs.modules.len(),
        files = loaded.mibs.files,
        lines = loaded.lines,
        problems,
        milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "names of traps were read"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: &str = "ACME-MIB DEFINITIONS ::= BEGIN\n\
        IMPORTS enterprises FROM SNMPv2-SMI;\n\
        acme OBJECT IDENTIFIER ::= { enterprises 99999 }\n\
        pumps OBJECT IDENTIFIER ::= { acme 7 }\nEND\n";

    fn name(names: &ArcSwap<Names>, number: &str) -> String {
        names
            .load()
            .name(&number.parse().unwrap())
            .unwrap_or_default()
    }

    /// Waits until `number` is called `expected`.
    async fn until(names: &ArcSwap<Names>, number: &str, expected: &str) {
        while name(names, number) != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn names_come_with_the_files_and_change_with_them() {
        let directory = tempfile::tempdir().unwrap();
        let (mibs, list) = (directory.path().join("mibs"), directory.path().join("list"));
        fs::create_dir(&mibs).unwrap();
        fs::write(mibs.join("ACME-MIB"), MIB).unwrap();
        fs::write(&list, "1.3.6.1.4.1.99999.7.1 bigPump\n").unwrap();
        let names = TrapNames::new(NameFiles {
            names_file: Some(list.clone()),
            mib_dir: Some(mibs.clone()),
        });
        let now = names.current();
        assert_eq!(name(&now, "1.3.6.1.4.1.99999.7.1"), "enterprises.99999.7.1");

        let stop = CancellationToken::new();
        let running = tokio::spawn(names.clone().run(Duration::from_millis(1), stop.clone()));
        until(&now, "1.3.6.1.4.1.99999.7.1", "bigPump").await;
        assert_eq!(name(&now, "1.3.6.1.4.1.99999.7.2"), "pumps.2");

        fs::write(mibs.join("ACME-MIB"), MIB.replace("pumps", "allPumps")).unwrap();
        until(&now, "1.3.6.1.4.1.99999.7.2", "allPumps.2").await;
        // A directory that is gone for a moment takes no name with it.
        fs::rename(&mibs, directory.path().join("away")).unwrap();
        names.reload();
        assert_eq!(name(&now, "1.3.6.1.4.1.99999.7.2"), "allPumps.2");
        // The list changes, with a line that is none.
        fs::rename(directory.path().join("away"), &mibs).unwrap();
        fs::write(&list, "what\n1.3.6.1.4.1.99999.7.1 smallPump\n").unwrap();
        until(&now, "1.3.6.1.4.1.99999.7.1", "smallPump").await;
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn without_files_there_is_nothing_to_do() {
        let names = TrapNames::new(NameFiles::default());
        names
            .clone()
            .run(Duration::from_hours(1), CancellationToken::new())
            .await;
        names.reload();
        assert_eq!(name(&names.current(), "1.3.6.1.6.3.1.1.5.3"), "linkDown");
    }
}

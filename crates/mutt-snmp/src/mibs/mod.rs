//! The operator's MIB files: read, resolved among each other, and reduced to names and what is known
//! of values. Nothing of the texts is kept.
//!
//! Promises that a file that is broken, missing something or no MIB at all costs what depends on it
//! and nothing else, and that [`Mibs::problems`] says which file, which line and why. Takes from
//! milliseconds to seconds and reads files: belongs off the threads that serve events.

mod guard;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mib_rs::source::Source;
use mib_rs::types::{DiagCode, Diagnostic, DiagnosticConfig, Severity};
use mib_rs::{Loader, Mib, Object};

use crate::names::{Display, Entry, Kind, Labels, MAX_NAME, Origin};
use crate::oid::Oid;

/// The largest file that is read, in bytes. The largest MIB file known here has 4 MB.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How many files are read.
pub const MAX_FILES: usize = 20_000;

/// How many problems are kept.
pub const MAX_PROBLEMS: usize = 10_000;

/// How deep directories are followed.
pub const MAX_DEPTH: usize = 8;

/// What was read.
#[derive(Debug, Default)]
pub struct Mibs {
    /// The names.
    pub entries: Vec<Entry>,
    /// The modules, by name.
    pub modules: Vec<Module>,
    /// What was wrong, by file and line.
    pub problems: Vec<Problem>,
    /// How many files were looked at.
    pub files: usize,
}

/// One module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The file it is from.
    pub file: PathBuf,
    /// How many notifications it defines that have a number.
    pub notifications: usize,
    /// How many variables.
    pub objects: usize,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something could not be read or has no number.
    Error,
    /// Against the rules, and understood all the same.
    Warning,
}

impl Level {
    /// `error` or `warning`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which file; `None` for what belongs to none.
    pub file: Option<PathBuf>,
    /// Which line, from 1.
    pub line: Option<usize>,
    /// How bad it is.
    pub level: Level,
    /// Which module, where it is known.
    pub module: Option<String>,
    /// In words.
    pub text: String,
}

impl Problem {
    fn of_all(text: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            level: Level::Error,
            module: None,
            text: text.into(),
        }
    }

    fn of_file(file: &Path, text: impl Into<String>) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..Self::of_all(text)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{}: ", self.level.name())?;
        if let Some(module) = &self.module {
            write!(f, "{module}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl Mibs {
    /// How many problems are errors.
    pub fn errors(&self) -> usize {
        self.problems
            .iter()
            .filter(|problem| problem.level == Level::Error)
            .count()
    }
}

/// Reads every file in `directory` and below; what begins with a dot is passed over. Where several
/// files define the same module, the first by path counts.
///
/// # Errors
/// The directory cannot be read. Whatever is wrong with a file is a problem, not an error.
pub fn load(directory: &Path) -> std::io::Result<Mibs> {
    let mut mibs = Mibs::default();
    let mut paths = Vec::new();
    walk(directory, 0, &mut paths, &mut mibs.problems)?;
    paths.sort();
    mibs.files = paths.len();

    let mut sources: Vec<Arc<File>> = Vec::new();
    for path in paths {
        match File::read(&path) {
            Ok(file) => sources.push(Arc::new(file)),
            Err(text) => mibs.problems.push(Problem::of_file(&path, text)),
        }
    }
    report_duplicates(&sources, &mut mibs.problems);
    let mib = resolve(&sources, &mut mibs.problems);
    if let Some(mib) = mib {
        take_names(&mib, &mut mibs);
        take_problems(&mib, &mut mibs.problems);
    }
    mibs.problems.sort();
    mibs.problems.dedup();
    let more = mibs.problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        mibs.problems.truncate(MAX_PROBLEMS);
        mibs.problems
            .push(Problem::of_all(format!("and {more} more")));
    }
    Ok(mibs)
}

/// Lists the files in `directory` and below. Only the directory itself must be readable.
fn walk(
    directory: &Path,
    depth: usize,
    paths: &mut Vec<PathBuf>,
    problems: &mut Vec<Problem>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Follows links: a mounted ConfigMap is made of them.
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => {
                problems.push(Problem::of_file(&path, format!("cannot be read: {error}")));
                continue;
            }
        };
        if metadata.is_dir() {
            if depth + 1 == MAX_DEPTH {
                problems.push(Problem::of_file(
                    &path,
                    format!("is passed over: more than {MAX_DEPTH} directories deep"),
                ));
            } else if let Err(error) = walk(&path, depth + 1, paths, problems) {
                problems.push(Problem::of_file(&path, format!("cannot be read: {error}")));
            }
        } else if metadata.is_file() {
            if paths.len() == MAX_FILES {
                problems.push(Problem::of_file(
                    &path,
                    format!("is passed over: there are more than {MAX_FILES} files"),
                ));
                return Ok(());
            }
            paths.push(path);
        }
    }
    Ok(())
}

/// A file with the modules that it says to define.
struct File {
    path: PathBuf,
    modules: Vec<String>,
    source: Box<dyn Source>,
}

impl File {
    fn read(path: &Path) -> Result<Self, String> {
        let size = std::fs::metadata(path).map(|metadata| metadata.len());
        match size {
            Ok(size) if size > MAX_FILE => {
                return Err(format!("is passed over: larger than {MAX_FILE} bytes"));
            }
            Ok(0) => return Err("is empty".into()),
            _ => {}
        }
        let octets = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        if let Some(refusal) = guard::refusal(&octets) {
            return Err(refusal);
        }
        let no_module = "has no module: expected a line such as ACME-MIB DEFINITIONS ::= BEGIN";
        let source = catch_unwind(|| mib_rs::source::file(path))
            .map_err(|_| "cannot be taken apart".to_owned())?
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData => no_module.to_owned(),
                _ => format!("cannot be read: {error}"),
            })?;
        let modules = source.list_modules().unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            modules,
            source,
        })
    }
}

/// A [`File`] in the hands of the loader.
struct Shared(Arc<File>);

impl Source for Shared {
    fn find(&self, name: &str) -> std::io::Result<Option<mib_rs::source::SourceCandidate>> {
        self.0.source.find(name)
    }

    fn list_modules(&self) -> std::io::Result<Vec<String>> {
        Ok(self.0.modules.clone())
    }
}

fn report_duplicates(files: &[Arc<File>], problems: &mut Vec<Problem>) {
    let mut first: HashMap<&str, &Path> = HashMap::new();
    for file in files {
        for module in &file.modules {
            if let Some(other) = first.get(module.as_str()) {
                problems.push(Problem {
                    level: Level::Warning,
                    module: Some(module.clone()),
                    ..Problem::of_file(
                        &file.path,
                        format!("is defined in {} too, which counts", other.display()),
                    )
                });
            } else {
                first.insert(module, &file.path);
            }
        }
    }
}

/// Resolves all files among each other. The reader is young: should it break on a file, that file
/// alone is left out.
fn resolve(files: &[Arc<File>], problems: &mut Vec<Problem>) -> Option<Mib> {
    if files.is_empty() {
        return None;
    }
    if let Some(mib) = attempt(files) {
        return Some(mib);
    }
    let sound: Vec<Arc<File>> = files
        .iter()
        .filter(|file| {
            let sound = attempt(std::slice::from_ref(*file)).is_some();
            if !sound {
                problems.push(Problem::of_file(&file.path, "cannot be taken apart"));
            }
            sound
        })
        .cloned()
        .collect();
    let mib = attempt(&sound);
    if mib.is_none() && !sound.is_empty() {
        problems.push(Problem::of_all("the files cannot be resolved together"));
    }
    mib
}

fn attempt(files: &[Arc<File>]) -> Option<Mib> {
    let sources = files
        .iter()
        .map(|file| Box::new(Shared(file.clone())) as Box<dyn Source>)
        .collect();
    catch_unwind(AssertUnwindSafe(|| {
        Loader::new()
            .sources(sources)
            // No problem of one module keeps the others out.
            .diagnostic_config(DiagnosticConfig {
                fail_at: Severity::Fatal,
                ..DiagnosticConfig::default()
            })
            .load()
            .ok()
    }))
    .ok()
    .flatten()
}

fn take_names(mib: &Mib, mibs: &mut Mibs) {
    let mut modules: BTreeMap<&str, Module> = BTreeMap::new();
    let mut names: HashMap<&str, Arc<str>> = HashMap::new();
    for module in mib.user_modules() {
        let Some(file) = module.source_label() else {
            continue;
        };
        modules.insert(
            module.name(),
            Module {
                name: module.name().to_owned(),
                file: file.into(),
                notifications: 0,
                objects: 0,
            },
        );
        names.insert(module.name(), module.name().into());
    }
    for node in mib.nodes() {
        let Some(module) = node.module() else {
            continue;
        };
        let (Some(name), Some(known)) = (names.get(module.name()), modules.get_mut(module.name()))
        else {
            continue;
        };
        if node.name().is_empty() || node.name().len() > MAX_NAME {
            continue;
        }
        let Ok(oid) = Oid::from_arcs(node.oid().as_ref().iter().copied()) else {
            continue;
        };
        let object = node.object();
        let kind = if node.notification().is_some() {
            known.notifications += 1;
            Kind::Trap
        } else if object.is_some_and(|object| object.is_column() || object.is_scalar()) {
            known.objects += 1;
            Kind::Object
        } else {
            Kind::Node
        };
        let mut entry = Entry::new(oid, node.name(), kind, Origin::Mib);
        entry.module = Some(name.clone());
        if let Some(object) = object.filter(|_| kind == Kind::Object) {
            entry.labels = labels(object.effective_enums());
            entry.display = display(object);
        }
        mibs.entries.push(entry);
    }
    mibs.modules = modules.into_values().collect();
}

fn labels(values: &[mib_rs::mib::NamedValue]) -> Option<Labels> {
    (!values.is_empty()).then(|| {
        values
            .iter()
            .map(|named| (named.value, named.label.as_str().into()))
            .collect()
    })
}

/// How the values of a variable are to be read: by its textual convention or its DISPLAY-HINT.
fn display(object: Object<'_>) -> Display {
    use mib_rs::types::BaseType;

    if let Some(labels) = labels(object.effective_bits()) {
        return Display::Bits(labels);
    }
    let hint = object.effective_display_hint();
    let convention = object
        .ty()
        .and_then(mib_rs::mib::Type::effective_tc)
        .map_or("", |ty| ty.name());
    let octets = object.ty().is_some_and(|ty| {
        matches!(
            ty.effective_base(),
            BaseType::OctetString | BaseType::Opaque
        )
    });
    if !octets {
        return match hint.split_once('-') {
            Some(("d", places)) => places.parse().map_or(Display::Looks, |places: u8| {
                // More digits than a number has would be nonsense.
                Display::Decimals(places.min(20))
            }),
            None if hint == "x" => Display::Hex,
            _ => Display::Looks,
        };
    }
    match (convention, hint) {
        ("DateAndTime", _) => Display::DateAndTime,
        ("InetAddress" | "InetAddressIPv4" | "InetAddressIPv6", _) => Display::Address,
        ("MacAddress" | "PhysAddress", _) | (_, "1x:") => Display::Mac,
        (_, "") => Display::Looks,
        (_, hint) => match hint.strip_suffix(['a', 't']).map(str::parse::<u32>) {
            Some(Ok(_)) => Display::Text,
            _ => Display::Octets(hint.into()),
        },
    }
}

fn take_problems(mib: &Mib, problems: &mut Vec<Problem>) {
    let report = mib.diagnostic_report();
    let orphans: HashSet<(&str, &str)> = report
        .diagnostics()
        .iter()
        .filter_map(|diagnostic| orphan(diagnostic).map(|orphan| (orphan.module, orphan.name)))
        .collect();
    for entry in report.iter() {
        let diagnostic = entry.diagnostic();
        // What stands below something without a number is told with it.
        if orphan(diagnostic)
            .is_some_and(|orphan| orphans.contains(&(orphan.module, orphan.parent)))
        {
            continue;
        }
        let place = entry.range().ok().flatten();
        let line = place.and_then(|(source, range)| {
            source.line_column(range.start()).ok().map(|(line, _)| line)
        });
        problems.push(Problem {
            file: place.map(|(source, _)| source.label().into()),
            line,
            level: level(diagnostic.code, diagnostic.severity),
            module: diagnostic.module.clone(),
            text: words(diagnostic.code, &diagnostic.message),
        });
    }
}

/// A definition whose parent is not known.
struct Orphan<'a> {
    module: &'a str,
    name: &'a str,
    parent: &'a str,
}

fn orphan(diagnostic: &Diagnostic) -> Option<Orphan<'_>> {
    let mut quoted = diagnostic.message.split('"').skip(1).step_by(2);
    let orphan = Orphan {
        module: diagnostic.module.as_deref()?,
        name: quoted.next()?,
        parent: quoted.next()?,
    };
    // A definition below itself is told as what it is.
    (diagnostic.code == DiagCode::OidOrphan && orphan.name != orphan.parent).then_some(orphan)
}

/// What costs names is an error. Most of what the reader calls one is a rule of style to people who
/// want names.
fn level(code: DiagCode, severity: Severity) -> Level {
    let costs = match code {
        DiagCode::ImportNotFound
        | DiagCode::ImportModuleNotFound
        | DiagCode::OidOrphan
        | DiagCode::OidRecursive
        | DiagCode::TypeCycle
        | DiagCode::TrapNumberOverflow => true,
        DiagCode::IdentifierLength64
        | DiagCode::BadIdentifierCase
        | DiagCode::IdentifierHyphenEnd
        | DiagCode::KeywordReserved => false,
        _ => matches!(code.phase(), "lexer" | "parser") && severity.at_least(Severity::Error),
    };
    if costs { Level::Error } else { Level::Warning }
}

/// The reader's words; for what is missing, said plainly.
fn words(code: DiagCode, message: &str) -> String {
    let mut quoted = message.split('"').skip(1).step_by(2);
    match (code, quoted.next(), quoted.next()) {
        (DiagCode::ImportModuleNotFound, Some(symbol), Some(module)) => {
            format!("imports {symbol} from {module}, which is in none of the files")
        }
        (DiagCode::ImportNotFound, Some(symbol), Some(module)) => {
            format!("imports {symbol} from {module}, which does not define it")
        }
        (DiagCode::OidOrphan, Some(name), Some(parent)) => format!(
            "{name} has no number, nor has anything below it: its parent {parent} is not known"
        ),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;

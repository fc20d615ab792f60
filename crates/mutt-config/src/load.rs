//! From environment and file to settings: by precedence, with origins, every problem at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::contradictions::{self, NAMES_A_REDIS, Origins};
use crate::server::without_password;
use crate::settings::{Backend, Settings, VARIABLES, Variable};
use crate::value::Value as _;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nothing was set.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The environment.
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("environment"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// Where it was set.
    pub origin: Origin,
    /// What is wrong and what is allowed, in one sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.message)
    }
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "the configuration has {count} problem{}:",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What is read.
#[derive(Clone, Default)]
pub struct Sources {
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The configuration file: its path and its text.
    pub file: Option<(PathBuf, String)>,
}

/// Without the values, for secrets are among them.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|(path, _)| path);
        f.debug_struct("Sources")
            .field("environment", &self.environment.keys())
            .field("file", &file)
            .finish()
    }
}

/// The file that is read where `--config` names none and it exists.
pub const DEFAULT_FILE: &str = "/etc/mutt/mutt.toml";

impl Sources {
    /// The process environment and the file at `path`, else [`DEFAULT_FILE`] where it exists.
    ///
    /// # Errors
    /// Where the file that was asked for cannot be read.
    pub fn of_process(path: Option<&Path>) -> Result<Self, Problems> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let path = match path {
            Some(path) => path.to_owned(),
            None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
            None => {
                return Ok(Self {
                    environment,
                    file: None,
                });
            }
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self {
                environment,
                file: Some((path, text)),
            }),
            Err(error) => Err(Problems(vec![Problem {
                key: "--config".into(),
                origin: Origin::File(path),
                message: format!("the file cannot be read: {error}"),
            }])),
        }
    }
}

/// The settings in force, with where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings, typed.
    pub settings: Settings,
    /// By variable: its text and origin.
    pub origins: BTreeMap<&'static str, (String, Origin)>,
    /// Things that work and should be changed, in words.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// The values of dynamic keys that environment and file set.
    pub fn dynamic(&self) -> mutt_engine::Dynamic {
        let set = mutt_engine::dynamic::KEYS.iter().filter_map(|key| {
            let (text, origin) = self.origins.get(key.variable?)?;
            (*origin != Origin::Default).then_some((key.name, text.as_str()))
        });
        mutt_engine::Dynamic::default().with(set)
    }
}

/// Reads settings by precedence: environment, file, default.
///
/// # Errors
/// Every problem at once: unknown keys, values that are not allowed, contradictions.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut origins: Origins = VARIABLES
        .iter()
        .map(|variable| {
            (
                variable.name,
                (variable.default.to_owned(), Origin::Default),
            )
        })
        .collect();

    let mut given: Vec<(String, String, Origin)> = Vec::new();
    if let Some((path, text)) = &sources.file {
        read_file(path, text, &mut given, &mut problems);
    }
    for (name, value) in &sources.environment {
        given.push((name.clone(), value.clone(), Origin::Environment));
    }
    let mut strangers = Vec::new();
    for (name, value, origin) in given {
        if let Some((_, now)) = RETIRED.iter().find(|(retired, _)| *retired == name) {
            warnings.push(format!("{name} ({origin}) has no effect any more: {now}"));
            continue;
        }
        // Kubernetes tells every pod of a service named redis that REDIS_PORT=tcp://…
        if origin == Origin::Environment && name.ends_with("_PORT") && value.contains("://") {
            continue;
        }
        let Some((variable, deprecated)) = find(&name) else {
            if origin == Origin::Environment
                && SERVERS.iter().any(|prefix| name.starts_with(prefix))
            {
                strangers.push(name);
            } else if let Some(message) = unknown(&name, &origin) {
                problems.push(Problem {
                    key: name,
                    origin,
                    message,
                });
            }
            continue;
        };
        if deprecated {
            warnings.push(format!(
                "{name} ({origin}) is deprecated; use {} instead",
                variable.name
            ));
            // The present name wins over the old one, from wherever it was set.
            if origins[variable.name].1 == origin {
                continue;
            }
        }
        let value = translated(&name, value.trim());
        if name == "REDIS_URL"
            && origin != Origin::Environment
            && crate::server::password_in(&value).is_some()
        {
            problems.push(Problem {
                key: name,
                origin,
                message: "a password does not belong into this file; leave it out and name a file \
                          in REDIS_PASS_FILE"
                    .into(),
            });
            continue;
        }
        if let Err(message) = check(variable, &value) {
            problems.push(Problem {
                key: name,
                origin,
                message,
            });
            continue;
        }
        origins.insert(variable.name, (value, origin));
    }
    imply_backend(&mut origins);
    if Backend::parse(&origins["MUTT_BACKEND"].0) == Ok(Backend::Distributed) {
        for key in strangers {
            let origin = Origin::Environment;
            if let Some(message) = unknown(&key, &origin) {
                problems.push(Problem {
                    key,
                    origin,
                    message,
                });
            }
        }
    }
    check_log_level(&origins, &mut problems);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let mut settings = Settings::from_texts(|name| origins[name].0.clone());
    if let Some(warning) = contradictions::stray_vault(&settings, &origins) {
        settings.vault_addr = None;
        warnings.push(warning);
    }
    contradictions::check(&settings, &origins, &mut problems, &mut warnings);
    hide(&mut origins);
    if problems.is_empty() {
        Ok(Loaded {
            settings,
            origins,
            warnings,
        })
    } else {
        Err(Problems(problems))
    }
}

/// Names that 2.5 read and that nothing replaces, with what holds now.
const RETIRED: [(&str, &str); 2] = [
    (
        "ALERTER_DLQ_NAME",
        "its dead letters are in mutt:dlq:alerter",
    ),
    (
        "MOOG_DLQ_NAME",
        "dead letters of the sink are in mutt:dlq:moog",
    ),
];

/// Where nobody chose an engine, naming a Redis does.
fn imply_backend(origins: &mut Origins) {
    if origins["MUTT_BACKEND"].1 == Origin::Default
        && let Some(origin) = NAMES_A_REDIS
            .iter()
            .map(|name| &origins[name])
            .find(|(text, _)| !text.is_empty())
            .map(|(_, origin)| origin.clone())
    {
        origins.insert("MUTT_BACKEND", ("distributed".into(), origin));
    }
}

/// The text in the words of today, where an old name had its own.
fn translated(name: &str, value: &str) -> String {
    match (name, bool::parse(value)) {
        ("DB_TLS_ENABLED", Ok(true)) => "require".into(),
        ("DB_TLS_ENABLED", Ok(false)) => "disable".into(),
        _ => value.to_owned(),
    }
}

/// Texts that people are shown hold nothing that lets somebody in.
fn hide(origins: &mut Origins) {
    for (name, (text, _)) in origins.iter_mut() {
        if *name == "VAULT_ROLE_ID" && !text.is_empty() {
            "***".clone_into(text);
        } else if text.contains("://") {
            *text = without_password(text);
        }
    }
}

fn find(name: &str) -> Option<(&'static Variable, bool)> {
    VARIABLES.iter().find_map(|variable| {
        if variable.name == name {
            Some((variable, false))
        } else {
            variable.aliases.contains(&name).then_some((variable, true))
        }
    })
}

fn check(variable: &Variable, value: &str) -> Result<(), String> {
    let refused = |why: &str| {
        let value = without_password(value);
        let bounds = match variable.bounds {
            Some((min, max)) => format!(" from {min} to {max}"),
            None => String::new(),
        };
        let unit = if variable.unit.is_empty() {
            String::new()
        } else {
            format!(" ({})", variable.unit)
        };
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        format!(
            "'{value}' is not allowed{why}; allowed is {}{bounds}{unit}",
            variable.allowed
        )
    };
    (variable.check)(value).map_err(|why| refused(&why))?;
    if let Some((min, max)) = variable.bounds {
        let number: f64 = value.parse().map_err(|_| refused(""))?;
        if !(min..=max).contains(&number) {
            return Err(refused(""));
        }
    }
    Ok(())
}

/// `mutt.toml`: the variables' names in lower case, at the top level.
fn read_file(
    path: &Path,
    text: &str,
    given: &mut Vec<(String, String, Origin)>,
    problems: &mut Vec<Problem>,
) {
    let origin = Origin::File(path.to_owned());
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            problems.push(Problem {
                key: "file".into(),
                origin,
                message: error.to_string().trim_end().to_owned(),
            });
            return;
        }
    };
    for (key, value) in table {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => items
                .iter()
                .filter_map(toml::Value::as_str)
                .collect::<Vec<_>>()
                .join(","),
            _ => {
                problems.push(Problem {
                    key,
                    origin: origin.clone(),
                    message: "a text, a number, true, false or a list of texts is allowed here"
                        .into(),
                });
                continue;
            }
        };
        given.push((key.to_ascii_uppercase(), text, origin.clone()));
    }
}

/// The prefixes under which an unknown variable of the environment is a mistake of ours and not
/// somebody else's.
const PREFIXES: [&str; 6] = [
    "MUTT_",
    "MOOG_",
    "ALERTER_",
    "REMEDIATION_",
    "UNHANDLED_",
    "SYSLOG_",
];

/// Prefixes of servers that other programs speak to as well: only on the distributed engine an
/// unknown variable is taken for a mistake of ours.
const SERVERS: [&str; 2] = ["REDIS_", "DB_"];

fn unknown(name: &str, origin: &Origin) -> Option<String> {
    if crate::secrets::is_secret_name(name) {
        return match origin {
            Origin::Environment => None,
            _ => Some(
                "a secret does not belong into this file; name a file in the variable \
                       with _FILE behind its name"
                    .into(),
            ),
        };
    }
    if *origin == Origin::Environment {
        let ours = PREFIXES
            .iter()
            .chain(&SERVERS)
            .any(|prefix| name.starts_with(prefix));
        // Kubernetes sets these for every service in a namespace.
        let kubernetes =
            name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT");
        if !ours || kubernetes || name.starts_with("MUTT_TEST_") {
            return None;
        }
    }
    let nearest = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .chain(crate::secrets::Secret::ALL.map(crate::secrets::Secret::name))
        .map(|known| (distance(known, name), known))
        .min()
        .filter(|&(distance, _)| distance <= 4);
    Some(match nearest {
        Some((_, near)) => format!("there is no such setting; did you mean {near}?"),
        None => "there is no such setting; `mutt config docs` lists them".into(),
    })
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn check_log_level(
    origins: &BTreeMap<&'static str, (String, Origin)>,
    problems: &mut Vec<Problem>,
) {
    let (value, origin) = &origins["LOG_LEVEL"];
    let words = ["error", "warn", "warning", "info", "debug", "trace"];
    if !value.contains('=') && !words.contains(&value.to_ascii_lowercase().as_str()) {
        problems.push(Problem {
            key: "LOG_LEVEL".into(),
            origin: origin.clone(),
            message: format!(
                "'{value}' is not allowed; allowed is error, warn, info, debug or trace"
            ),
        });
    }
}

#[cfg(test)]
mod tests;

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
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The configuration file: its path and its text.
    pub file: Option<(PathBuf, String)>,
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
mod tests {
    use crate::server::{Port, RedisServers, SslMode};

    use super::*;

    fn from(environment: &[(&str, &str)], file: Option<&str>) -> Result<Loaded, Problems> {
        load(&Sources {
            environment: environment
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            file: file.map(|text| ("mutt.toml".into(), text.to_owned())),
        })
    }

    #[test]
    fn every_default_is_allowed() {
        let loaded = from(&[], None).expect("defaults fit");
        assert_eq!(loaded.settings.server_port_ingestor, 8080);
        for variable in VARIABLES {
            assert_eq!(
                check(variable, variable.default),
                Ok(()),
                "{}",
                variable.name
            );
        }
    }

    #[test]
    fn defaults_agree_with_the_dynamic_keys() {
        for key in mutt_engine::dynamic::KEYS {
            let Some(name) = key.variable else { continue };
            if let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) {
                assert_eq!(variable.default, key.default, "{name}");
            }
        }
    }

    #[test]
    fn environment_wins_over_file_wins_over_default() {
        let loaded = from(
            &[("MOOG_RATE_LIMIT", "7")],
            Some("moog_rate_limit = 9\nmoog_max_retries = 2\nrequired_fields = [\"a\", \"b\"]"),
        )
        .expect("fits");
        assert_eq!(loaded.settings.moog_rate_limit, 7);
        assert_eq!(loaded.settings.moog_max_retries, 2);
        assert_eq!(loaded.settings.required_fields, "a,b");
        assert_eq!(loaded.origins["MOOG_RATE_LIMIT"].1, Origin::Environment);
        assert_eq!(
            loaded.origins["MOOG_MAX_RETRIES"].1,
            Origin::File("mutt.toml".into())
        );
        assert_eq!(loaded.dynamic().integer("moog_rate_limit"), 7);
        assert_eq!(loaded.dynamic().integer("moog_max_retries"), 2);
    }

    #[test]
    fn every_problem_is_listed_with_key_value_origin_and_what_is_allowed() {
        let problems = from(
            &[
                ("MOOG_RATE_LIMIT", "0"),
                ("MOOG_RATE_LIMT", "1"),
                ("MUTT_BACKEND", "oracle"),
                ("MUTT_INGESTOR_SERVICE_HOST", "10.0.0.1"),
                ("PATH", "/bin"),
            ],
            Some("nonsense = 1\nmoog_api_key = \"x\"\ntls_cert_file = 3"),
        )
        .expect_err("nothing of this fits");
        let text = problems.to_string();
        assert_eq!(problems.0.len(), 5, "{text}");
        assert!(text.contains(
            "MOOG_RATE_LIMIT (environment): '0' is not allowed; allowed is a whole number from 1 to \
             1000000 (requests)"
        ));
        assert!(text.contains("did you mean MOOG_RATE_LIMIT?"), "{text}");
        assert!(
            text.contains(
                "MUTT_BACKEND (environment): 'oracle' is not allowed; allowed is embedded or distributed"
            )
        );
        assert!(text.contains("NONSENSE (mutt.toml)"), "{text}");
        assert!(
            text.contains("MOOG_API_KEY (mutt.toml): a secret does not belong"),
            "{text}"
        );
    }

    #[test]
    fn contradictions_are_problems() {
        let text = from(
            &[
                ("TLS_CERT_FILE", "/a"),
                ("MOOG_WEBHOOK_URL", "ftp://x"),
                ("SERVER_PORT_ALERTER", "8080"),
            ],
            None,
        )
        .expect_err("contradictions")
        .to_string();
        assert!(text.contains("set both or none"), "{text}");
        assert!(text.contains("begins with http://"), "{text}");
        assert!(
            text.contains("port 8080 is also SERVER_PORT_INGESTOR"),
            "{text}"
        );
    }

    #[test]
    fn names_of_older_versions_are_understood_with_a_warning() {
        let loaded = from(
            &[
                ("UNHANDLED_THRESHOLD", "5"),
                ("REMEDIATION_INTERVAL", "9"),
                ("REMEDIATION_SCAN_INTERVAL", "8"),
            ],
            None,
        )
        .expect("fits");
        assert_eq!(loaded.settings.unhandled_event_threshold, 5);
        assert_eq!(
            loaded.settings.remediation_scan_interval, 8,
            "the present name wins"
        );
        assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    }

    const SERVERS_GIVEN: [(&str, &str); 2] = [("REDIS_HOST", "redis"), ("DB_HOST", "a,b:5433")];

    #[test]
    fn naming_a_redis_means_the_distributed_engine_unless_one_was_chosen() {
        let loaded = from(&SERVERS_GIVEN, None).expect("fits");
        assert_eq!(loaded.settings.backend, Backend::Distributed);
        assert_eq!(loaded.origins["MUTT_BACKEND"].1, Origin::Environment);
        let target = loaded.settings.redis_target().expect("named");
        assert_eq!(target.servers, RedisServers::One("redis".into(), 6379));
        assert!(target.tls);
        assert_eq!(
            loaded.settings.db_servers(),
            [("a".to_owned(), 5432), ("b".to_owned(), 5433)]
        );
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

        let loaded = from(&SERVERS_GIVEN, Some("mutt_backend = \"embedded\"")).expect("fits");
        assert_eq!(loaded.settings.backend, Backend::Embedded);
        assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
        assert!(
            loaded.warnings[0].contains("REDIS_HOST (environment) has no effect"),
            "{:?}",
            loaded.warnings
        );
        let loaded = from(&[("REDIS_HOST", "")], None).expect("empty is not set");
        assert_eq!(loaded.settings.backend, Backend::Embedded);
    }

    #[test]
    fn the_distributed_engine_needs_its_servers() {
        let text = from(&[("MUTT_BACKEND", "distributed")], None)
            .expect_err("no servers")
            .to_string();
        assert!(text.contains("needs a Redis: set REDIS_HOST"), "{text}");
        assert!(text.contains("needs a PostgreSQL: set DB_HOST"), "{text}");
    }

    #[test]
    fn settings_of_servers_that_contradict_are_problems() {
        let text = from(
            &[
                ("REDIS_URL", "redis://redis"),
                ("REDIS_HOST", "redis"),
                ("REDIS_TLS_ENABLED", "true"),
                ("REDIS_POOL_MIN_CONN", "20"),
                ("REDIS_PASSWRD", "hunter2"),
                ("DB_HOST", "pg"),
                ("ALERT_QUEUE_NAME", "mutt:ingest_queue"),
                ("VAULT_ADDR", "https://vault"),
            ],
            None,
        )
        .expect_err("contradictions");
        assert!(!text.to_string().contains("hunter2"), "{text}");
        let keys: Vec<&str> = text.0.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["REDIS_PASSWRD"], "unknown keys come first: {text}");
        assert!(
            text.to_string().contains("did you mean REDIS_PASS?"),
            "{text}"
        );
    }

    #[test]
    fn every_contradiction_is_listed() {
        let problems = from(
            &[
                ("REDIS_URL", "redis://redis"),
                ("REDIS_HOST", "redis"),
                ("REDIS_TLS_ENABLED", "true"),
                ("REDIS_POOL_MIN_CONN", "20"),
                ("DB_HOST", "pg"),
                ("ALERT_QUEUE_NAME", "mutt:ingest_queue"),
                ("VAULT_ADDR", "https://vault"),
            ],
            None,
        )
        .expect_err("contradictions");
        let keys: Vec<&str> = problems
            .0
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "REDIS_URL",
                "REDIS_TLS_ENABLED",
                "REDIS_POOL_MIN_CONN",
                "ALERT_QUEUE_NAME",
                "VAULT_ROLE_ID"
            ],
            "{problems}"
        );
    }

    #[test]
    fn an_address_of_vault_alone_is_meant_for_another_program() {
        let addr = ("VAULT_ADDR", "https://vault:8200");
        let loaded = from(&[addr], None).expect("fits");
        assert!(loaded.settings.vault_addr.is_none());
        assert!(loaded.warnings[0].contains("VAULT_ADDR has no effect"));
        let text = from(&[addr, ("VAULT_AUTH", "kubernetes")], None)
            .expect_err("no role")
            .to_string();
        assert!(text.contains("VAULT_K8S_ROLE (default): "), "{text}");
        let loaded = from(&[addr, ("VAULT_ROLE_ID", "id")], None).expect("fits");
        assert_eq!(
            loaded.settings.vault_addr.expect("set").to_string(),
            "https://vault:8200"
        );
    }

    #[test]
    fn a_password_in_an_address_is_never_shown() {
        let url = "rediss://mutt:hunter2@redis:6380/1";
        let loaded = from(&[("REDIS_URL", url), ("DB_HOST", "pg")], None).expect("fits");
        assert_eq!(
            loaded.origins["REDIS_URL"].0,
            "rediss://mutt:***@redis:6380/1"
        );
        assert!(!format!("{loaded:?}").contains("hunter2"));
        let text = from(&[("REDIS_URL", "rediss://mutt:hunter2@redis:x")], None)
            .expect_err("no port")
            .to_string();
        assert!(text.contains("***") && !text.contains("hunter2"), "{text}");
        let text = from(&[], Some(&format!("redis_url = \"{url}\"")))
            .expect_err("a secret in the file")
            .to_string();
        assert!(
            text.contains("does not belong into this file") && !text.contains("hunter2"),
            "{text}"
        );
        let loaded = from(&[("VAULT_ROLE_ID", "hunter2")], None).expect("fits");
        assert!(!format!("{loaded:?}").contains("hunter2"));
    }

    #[test]
    fn old_names_of_servers_are_translated_and_links_of_kubernetes_are_no_settings() {
        let loaded = from(
            &[
                ("REDIS_HOST", "redis"),
                ("REDIS_PORT", "tcp://10.0.0.1:6379"),
                ("REDIS_CA_CERT_PATH", "/ca.pem"),
                ("DB_HOST", "pg"),
                ("DB_TLS_ENABLED", "false"),
                ("DB_TLS_CA_CERT_PATH", "/pg.pem"),
                ("MOOG_DLQ_NAME", "mutt:dlq:moog"),
            ],
            None,
        )
        .expect("fits");
        let settings = &loaded.settings;
        assert_eq!(settings.redis_port, Port(6379));
        assert_eq!(settings.redis_tls_ca_cert, Some("/ca.pem".into()));
        assert_eq!(settings.db_ssl_mode, SslMode::Disable);
        assert_eq!(settings.db_ssl_root_cert, Some("/pg.pem".into()));
        assert_eq!(loaded.warnings.len(), 4, "{:?}", loaded.warnings);
    }
}

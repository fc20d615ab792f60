//! From environment and file to settings: by precedence, with origins, every problem at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::settings::{Settings, VARIABLES, Variable};

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
    let mut origins: BTreeMap<&'static str, (String, Origin)> = VARIABLES
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
    for (name, value, origin) in given {
        let Some((variable, deprecated)) = find(&name) else {
            if let Some(message) = unknown(&name, &origin) {
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
        let value = value.trim().to_owned();
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
    check_log_level(&origins, &mut problems);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let settings = Settings::from_texts(|name| origins[name].0.clone());
    contradictions(&settings, &origins, &mut problems);
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
        let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        // Kubernetes sets these for every service in a namespace.
        let kubernetes =
            name.contains("_SERVICE_") || name.contains("_PORT_") || name.ends_with("_PORT");
        if !ours || kubernetes || name.starts_with("MUTT_TEST_") {
            return None;
        }
    }
    let nearest = VARIABLES
        .iter()
        .map(|variable| (distance(variable.name, name), variable.name))
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

fn contradictions(
    settings: &Settings,
    origins: &BTreeMap<&'static str, (String, Origin)>,
    problems: &mut Vec<Problem>,
) {
    let mut problem = |key: &'static str, message: String| {
        problems.push(Problem {
            key: key.into(),
            origin: origins[key].1.clone(),
            message,
        });
    };
    if settings.tls_cert_file.is_some() != settings.tls_key_file.is_some() {
        let key = if settings.tls_cert_file.is_some() {
            "TLS_CERT_FILE"
        } else {
            "TLS_KEY_FILE"
        };
        problem(
            key,
            "TLS_CERT_FILE and TLS_KEY_FILE belong together: set both or none".into(),
        );
    }
    for (key, url) in [
        ("MOOG_WEBHOOK_URL", &settings.moog_webhook_url),
        ("MOOG_HEALTH_URL", &settings.moog_health_url),
    ] {
        if let Some(url) = url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            problem(
                key,
                format!("'{url}' is no address of the sink; it begins with http:// or https://"),
            );
        }
    }
    if settings.moog_retry_base_delay > settings.moog_retry_max_delay {
        problem(
            "MOOG_RETRY_BASE_DELAY",
            format!(
                "{} s is longer than MOOG_RETRY_MAX_DELAY ({} s)",
                settings.moog_retry_base_delay, settings.moog_retry_max_delay
            ),
        );
    }
    let ports = settings.http_ports();
    for (index, &(name, port)) in ports.iter().enumerate() {
        if port != 0
            && let Some((other, _)) = ports[..index].iter().find(|&&(_, earlier)| earlier == port)
        {
            problem(
                name,
                format!("port {port} is also {other}; every listener needs its own"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
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
                "MUTT_BACKEND (environment): 'oracle' is not allowed; allowed is embedded"
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
}

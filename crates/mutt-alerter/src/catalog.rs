//! Rules, development hosts and device teams as workers see them: one immutable snapshot that is
//! swapped whole, so that a worker never waits for a reload and never sees half of one.
//!
//! Knows how to load a snapshot from the engine; when to load is [`crate::reload`]'s business.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use jiff::Timestamp;
use mutt_engine::{Engine, EngineError};
use mutt_rules::{Environment, Rule, RuleSet};

/// What the team says, at one moment.
#[derive(Debug)]
pub struct Snapshot {
    rules: Arc<RuleSet>,
    rule_teams: HashMap<i64, Arc<str>>,
    development_hosts: HashSet<Box<str>>,
    device_teams: HashMap<Box<str>, Arc<str>>,
    loaded_at: Timestamp,
}

impl Snapshot {
    /// A snapshot of these rules, development hosts and device teams (host, team). Host names are
    /// told apart without regard to case.
    pub fn new<'a>(
        rules: Arc<RuleSet>,
        development_hosts: impl IntoIterator<Item = &'a str>,
        device_teams: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut names = HashSet::<Arc<str>>::new();
        let mut shared =
            |name: &str| Arc::clone(names.get_or_insert_with(name, |name| name.into()));
        let rule_teams = rules
            .rules()
            .iter()
            .map(|rule| (rule.id, shared(&rule.draft.team_assignment)))
            .collect();
        let device_teams = device_teams
            .into_iter()
            .map(|(host, team)| (host.to_lowercase().into(), shared(team)))
            .collect();
        Self {
            rules,
            rule_teams,
            development_hosts: development_hosts
                .into_iter()
                .map(|host| host.to_lowercase().into())
                .collect(),
            device_teams,
            loaded_at: Timestamp::now(),
        }
    }

    /// A snapshot that knows nothing.
    pub fn empty() -> Self {
        Self::new(Arc::new(RuleSet::compile([])), [], [])
    }

    /// The rules in force.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The number of development hosts.
    pub fn development_hosts(&self) -> usize {
        self.development_hosts.len()
    }

    /// The number of devices with a team.
    pub fn device_teams(&self) -> usize {
        self.device_teams.len()
    }

    /// When it was loaded.
    pub fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }

    /// Whether this host is in production or in development. `buffer` is memory to work in.
    pub fn environment(&self, hostname: &str, buffer: &mut String) -> Environment {
        let listed = !self.development_hosts.is_empty()
            && self.development_hosts.contains(lowered(hostname, buffer));
        if listed {
            Environment::Development
        } else {
            Environment::Production
        }
    }

    /// The team of this device, where it has one. `buffer` is memory to work in.
    pub fn device_team(&self, hostname: &str, buffer: &mut String) -> Option<&Arc<str>> {
        if self.device_teams.is_empty() {
            return None;
        }
        self.device_teams.get(lowered(hostname, buffer))
    }

    /// The team of a rule in force.
    pub(crate) fn rule_team(&self, rule: &Rule) -> Option<&Arc<str>> {
        self.rule_teams.get(&rule.id)
    }
}

/// `name` in lower case; `buffer` is used only where something has to change.
fn lowered<'a>(name: &'a str, buffer: &'a mut String) -> &'a str {
    if name
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        return name;
    }
    buffer.clear();
    if name.is_ascii() {
        buffer.push_str(name);
        buffer.make_ascii_lowercase();
    } else {
        // As whole text: the form of some letters depends on what stands beside them.
        buffer.push_str(&name.to_lowercase());
    }
    buffer
}

/// Loads what is stored now. Rules are compiled off the async threads, and only where they differ
/// from those of `last`.
///
/// # Errors
/// `Unavailable`.
pub(crate) async fn load(engine: &dyn Engine, last: &Snapshot) -> Result<Snapshot, EngineError> {
    let stored = engine.rules().await?;
    let development_hosts = engine.development_hosts().await?;
    let device_teams = engine.device_teams().await?;
    let rules = if says_the_same(&last.rules, &stored) {
        Arc::clone(&last.rules)
    } else {
        let compiled = tokio::task::spawn_blocking(|| RuleSet::compile(stored)).await;
        Arc::new(compiled.map_err(|error| {
            EngineError::Invalid(format!("the rules could not be compiled: {error}"))
        })?)
    };
    Ok(Snapshot::new(
        rules,
        development_hosts.iter().map(String::as_str),
        device_teams
            .iter()
            .map(|(host, team)| (host.as_str(), team.as_str())),
    ))
}

/// Whether compiling `stored` would give `set` again. A set with skipped rules never says so.
fn says_the_same(set: &RuleSet, stored: &[Rule]) -> bool {
    let mut active: Vec<_> = stored
        .iter()
        .filter(|rule| rule.draft.is_active && rule.deleted_at.is_none())
        .collect();
    active.sort_by_key(|rule| (rule.draft.priority, rule.id));
    set.skipped().is_empty()
        && set.len() == active.len()
        && set
            .rules()
            .iter()
            .zip(active)
            .all(|(known, stored)| **known == *stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{draft, rule};

    #[test]
    fn hosts_are_told_apart_without_regard_to_case() {
        let snapshot = Snapshot::new(
            Arc::new(RuleSet::compile([])),
            ["Dev-1", "zürich-ÜBUNG"],
            [("Core-SW1", "LAN"), ("core-sw2", "LAN")],
        );
        let buffer = &mut String::new();
        for host in ["dev-1", "DEV-1", "Dev-1", "ZÜRICH-übung"] {
            assert_eq!(
                snapshot.environment(host, buffer),
                Environment::Development,
                "{host}"
            );
        }
        assert_eq!(
            snapshot.environment("dev-10", buffer),
            Environment::Production
        );
        assert_eq!(
            snapshot.device_team("CORE-sw1", buffer).map(|team| &**team),
            Some("LAN")
        );
        assert_eq!(snapshot.device_team("core-sw3", buffer), None);
        assert_eq!(
            (snapshot.development_hosts(), snapshot.device_teams()),
            (2, 2)
        );
    }

    #[test]
    fn equal_rules_are_recognised_whatever_their_order_and_changed_ones_are_not() {
        let rules = [
            rule(1, draft("down")),
            rule(
                2,
                mutt_rules::RuleDraft {
                    priority: 1,
                    ..draft("up")
                },
            ),
            rule(
                3,
                mutt_rules::RuleDraft {
                    is_active: false,
                    ..draft("flap")
                },
            ),
        ];
        let set = RuleSet::compile(rules.clone());
        assert!(says_the_same(&set, &rules));
        let mut reversed = rules.clone();
        reversed.reverse();
        assert!(says_the_same(&set, &reversed));
        assert!(!says_the_same(&set, &rules[..1]), "a rule was deleted");
        let mut changed = rules.clone();
        changed[0].draft.team_assignment = "LAN".to_owned();
        assert!(!says_the_same(&set, &changed));
        let mut activated = rules.clone();
        activated[2].draft.is_active = true;
        assert!(!says_the_same(&set, &activated));
    }
}

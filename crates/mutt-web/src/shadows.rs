//! Which rule takes every event from which other: proved from what both say, or observed on events
//! that both match. Says always which of the two it is.

use mutt_rules::{MatchType, Mode, Oid, Rule};
use serde::Serialize;
use utoipa::ToSchema;

use crate::judge::order;

/// How certain it is that a rule is shadowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It follows from what both rules say.
    Proved,
    /// Every event that was looked at says so; another may come.
    Observed,
}

/// Why a rule cannot decide anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shadow {
    /// The earlier rule.
    pub by: i64,
    /// How certain that is.
    pub certainty: Certainty,
    /// In words.
    pub why: String,
}

impl Shadow {
    /// It matched so many events, won none, and lost so many of them to the rule `by`.
    pub fn observed(by: i64, matched: u64, lost: u64) -> Self {
        Self {
            by,
            certainty: Certainty::Observed,
            why: format!(
                "it matched {matched} of the events looked at and decided none; rule {by} decided \
                {lost} of them"
            ),
        }
    }
}

/// A rule that could decide nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Shadowed {
    /// The later rule.
    pub rule_id: i64,
    /// How certain that is.
    pub certainty: Certainty,
    /// In words.
    pub why: String,
}

/// What a rule asks for, made ready to be compared.
struct Criteria {
    id: i64,
    enforced: bool,
    kind: MatchType,
    text: Option<String>,
    oid: Option<Oid>,
    severity: Option<u8>,
}

impl Criteria {
    fn of(rule: &Rule) -> Self {
        let draft = &rule.draft;
        let oid = draft.trap_oid.as_deref().and_then(|oid| oid.parse().ok());
        Self {
            id: rule.id,
            enforced: draft.is_active && draft.mode == Mode::Enforce && rule.deleted_at.is_none(),
            kind: match draft.match_type {
                MatchType::Regex => MatchType::Regex,
                MatchType::Contains | MatchType::OidPrefix => MatchType::Contains,
            },
            text: draft
                .match_string
                .as_deref()
                .map(|text| match draft.match_type {
                    MatchType::Regex => text.to_owned(),
                    MatchType::Contains | MatchType::OidPrefix => text.to_lowercase(),
                }),
            oid,
            severity: draft.syslog_severity,
        }
    }

    /// Why this rule, which is earlier, matches whatever `later` matches; `None` where that is not
    /// certain.
    fn covers(&self, later: &Self) -> Option<String> {
        let mut why = Vec::new();
        match (&self.text, &later.text) {
            (None, _) => {}
            (Some(_), None) => return None,
            (Some(mine), Some(theirs)) => {
                if self.kind == later.kind && mine == theirs {
                    why.push("both look for the same text".to_owned());
                } else if self.kind == MatchType::Contains
                    && later.kind == MatchType::Contains
                    && theirs.contains(mine.as_str())
                {
                    why.push(format!("whatever contains '{theirs}' contains '{mine}'"));
                } else {
                    return None;
                }
            }
        }
        match (&self.oid, &later.oid) {
            (None, _) => {}
            (Some(_), None) => return None,
            (Some(mine), Some(theirs)) => {
                if mine == theirs {
                    why.push("both are for the same OID".to_owned());
                } else if mine.covers(theirs) {
                    why.push(format!("{theirs} lies below {mine}"));
                } else {
                    return None;
                }
            }
        }
        match (self.severity, later.severity) {
            (None, _) => {}
            (Some(mine), Some(theirs)) if mine == theirs => {}
            _ => return None,
        }
        (!why.is_empty()).then(|| why.join(", and "))
    }
}

/// For each rule, in the order in which they win, the first that takes everything from it.
pub fn shadows(rules: &[Rule]) -> Vec<Option<Shadow>> {
    let criteria: Vec<_> = rules.iter().map(Criteria::of).collect();
    criteria
        .iter()
        .enumerate()
        .map(|(index, later)| {
            if !later.enforced {
                return None;
            }
            criteria[..index]
                .iter()
                .filter(|earlier| earlier.enforced)
                .find_map(|earlier| {
                    Some(Shadow {
                        why: earlier.covers(later)?,
                        by: earlier.id,
                        certainty: Certainty::Proved,
                    })
                })
        })
        .collect()
}

/// What is proved of `rule` among `others`: the first that takes everything from it, and those that
/// it takes everything from.
pub fn proved(rule: &Rule, others: &[Rule]) -> (Option<Shadow>, Vec<Shadowed>) {
    let tested = Criteria::of(rule);
    if !tested.enforced {
        return (None, Vec::new());
    }
    let (mut by, mut shadows) = (None, Vec::new());
    let mut others: Vec<_> = others.iter().filter(|other| other.id != rule.id).collect();
    others.sort_by_key(|other| order(other));
    for other in others {
        let criteria = Criteria::of(other);
        if !criteria.enforced {
            continue;
        }
        if order(other) < order(rule) {
            if by.is_none()
                && let Some(why) = criteria.covers(&tested)
            {
                by = Some(Shadow {
                    by: other.id,
                    certainty: Certainty::Proved,
                    why,
                });
            }
        } else if let Some(why) = tested.covers(&criteria) {
            shadows.push(Shadowed {
                rule_id: other.id,
                certainty: Certainty::Proved,
                why,
            });
        }
    }
    (by, shadows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: i64, what: &serde_json::Value) -> Rule {
        let mut fields = serde_json::json!({
            "prod_handling": "Ignore", "dev_handling": "Ignore", "team_assignment": "t",
        });
        for (key, value) in what.as_object().unwrap() {
            fields[key] = value.clone();
        }
        crate::bench::as_rule(id, serde_json::from_value(fields).unwrap())
    }

    fn shadowed(earlier: &serde_json::Value, later: &serde_json::Value) -> bool {
        shadows(&[rule(1, earlier), rule(2, later)])[1].is_some()
    }

    #[test]
    fn what_is_proved_is_shadowed_and_nothing_else() {
        use serde_json::json;
        for (earlier, later, expected) in [
            (
                json!({"match_string": "Link"}),
                json!({"match_string": "LINK down"}),
                true,
            ),
            (
                json!({"match_string": "link down"}),
                json!({"match_string": "link"}),
                false,
            ),
            (
                json!({"match_string": "link", "syslog_severity": 3}),
                json!({"match_string": "link"}),
                false,
            ),
            (
                json!({"match_string": "link"}),
                json!({"match_string": "link", "syslog_severity": 3}),
                true,
            ),
            (
                json!({"match_string": "a.c", "match_type": "regex"}),
                json!({"match_string": "a.c", "match_type": "regex"}),
                true,
            ),
            (
                json!({"match_string": "a.c", "match_type": "regex"}),
                json!({"match_string": "abc"}),
                false,
            ),
            (
                json!({"match_string": "a"}),
                json!({"match_string": "a.c", "match_type": "regex"}),
                false,
            ),
            (
                json!({"trap_oid": "1.3.6.1"}),
                json!({"trap_oid": ".1.3.6.1.4"}),
                true,
            ),
            (
                json!({"trap_oid": "1.3.6.1"}),
                json!({"trap_oid": ".1.3.6.14"}),
                false,
            ),
            (
                json!({"trap_oid": "1.3.6.1", "match_string": "x"}),
                json!({"trap_oid": ".1.3.6.1"}),
                false,
            ),
            (
                json!({"match_string": "x"}),
                json!({"trap_oid": ".1.3.6.1", "match_string": "xy"}),
                true,
            ),
            (
                json!({"match_string": "x", "mode": "observe"}),
                json!({"match_string": "x"}),
                false,
            ),
            (
                json!({"match_string": "x", "is_active": false}),
                json!({"match_string": "x"}),
                false,
            ),
        ] {
            assert_eq!(shadowed(&earlier, &later), expected, "{earlier} {later}");
        }
    }

    #[test]
    fn a_draft_is_compared_with_both_sides() {
        use serde_json::json;
        let draft = rule(10, &json!({"match_string": "link down", "priority": 5}));
        let others = [
            rule(2, &json!({"match_string": "LINK DOWN core", "priority": 9})),
            rule(1, &json!({"match_string": "link", "priority": 5})),
            rule(
                3,
                &json!({"match_string": "link down", "priority": 9, "mode": "observe"}),
            ),
            rule(4, &json!({"match_string": "fan", "priority": 9})),
        ];
        let (by, shadows) = proved(&draft, &others);
        assert_eq!(
            by.map(|shadow| (shadow.by, shadow.certainty)),
            Some((1, Certainty::Proved))
        );
        let ids: Vec<_> = shadows.iter().map(|shadow| shadow.rule_id).collect();
        assert_eq!(ids, [2]);
        let watching = rule(10, &json!({"match_string": "link", "mode": "observe"}));
        assert_eq!(proved(&watching, &others), (None, Vec::new()));
    }
}

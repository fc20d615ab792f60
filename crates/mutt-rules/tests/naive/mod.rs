//! The truth about matching, in the plainest words: every rule in order, every criterion. Slow on
//! purpose, and shares no code with the matcher.

use mutt_rules::{MatchType, Mode, Rule, Subject};

pub struct Naive {
    rules: Vec<(Rule, Option<regex::Regex>)>,
}

impl Naive {
    #[allow(dead_code, reason = "used by the benchmark")]
    pub fn new(rules: &[Rule]) -> Self {
        Self::with_regexes(rules, |pattern| {
            regex::RegexBuilder::new(pattern)
                .case_insensitive(true)
                .build()
                .ok()
        })
    }

    /// A rule whose pattern `compile` refuses takes no part.
    pub fn with_regexes(
        rules: &[Rule],
        mut compile: impl FnMut(&str) -> Option<regex::Regex>,
    ) -> Self {
        let mut rules: Vec<_> = rules
            .iter()
            .filter(|rule| rule.draft.is_active && rule.deleted_at.is_none())
            .filter_map(|rule| {
                let regex = match (rule.draft.match_type, &rule.draft.match_string) {
                    (MatchType::Regex, Some(pattern)) => Some(compile(pattern)?),
                    _ => None,
                };
                Some((rule.clone(), regex))
            })
            .collect();
        rules.sort_by_key(|(rule, _)| (rule.draft.priority, rule.id));
        Self { rules }
    }

    /// The winner's id, and the ids of the rules in mode `observe` that match.
    pub fn find(&self, subject: &Subject<'_>) -> (Option<i64>, Vec<i64>) {
        let lowered = subject.message.to_lowercase();
        let matching: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|(rule, regex)| holds(rule, regex.as_ref(), subject, &lowered))
            .map(|(rule, _)| rule)
            .collect();
        let of = |mode: Mode| {
            matching
                .iter()
                .filter(move |rule| rule.draft.mode == mode)
                .map(|rule| rule.id)
        };
        (of(Mode::Enforce).next(), of(Mode::Observe).collect())
    }

    /// The winner only, and no look at what comes after it: what a linear scan costs at best.
    #[allow(dead_code, reason = "used by the benchmark")]
    pub fn first(&self, subject: &Subject<'_>) -> Option<i64> {
        let lowered = subject.message.to_lowercase();
        self.rules
            .iter()
            .find(|(rule, regex)| holds(rule, regex.as_ref(), subject, &lowered))
            .map(|(rule, _)| rule.id)
    }
}

fn holds(rule: &Rule, regex: Option<&regex::Regex>, subject: &Subject<'_>, lowered: &str) -> bool {
    let draft = &rule.draft;
    let text = match (regex, &draft.match_string) {
        (Some(regex), _) => regex.is_match(subject.message),
        (None, Some(text)) => lowered.contains(&text.to_lowercase()),
        (None, None) => true,
    };
    let severity = draft
        .syslog_severity
        .is_none_or(|wanted| subject.severity.is_some_and(|got| got.number() == wanted));
    let oid = draft
        .trap_oid
        .as_ref()
        .is_none_or(|wanted| subject.trap_oid.is_some_and(|got| below(wanted, got)));
    text && severity && oid
}

fn below(wanted: &str, got: &str) -> bool {
    let plain = |oid: &str| {
        let oid = oid.strip_prefix('.').unwrap_or(oid);
        let oid = oid
            .strip_suffix(".*")
            .or(oid.strip_suffix('.'))
            .unwrap_or(oid)
            .to_owned();
        oid.split('.')
            .map(str::parse::<u32>)
            .collect::<Result<Vec<_>, _>>()
    };
    match (plain(wanted), plain(got)) {
        (Ok(wanted), Ok(got)) => {
            let below = |got: &[u32]| got.starts_with(&wanted);
            below(&got)
                || bare(&got).is_some_and(|bare| {
                    let mut with_zero = bare.clone();
                    with_zero.insert(bare.len() - 1, 0);
                    below(&bare) || below(&with_zero)
                })
                || bare(&got).is_some() && bare(&got) == self::bare(&wanted)
        }
        _ => false,
    }
}

/// A trap's OID without the zeros before its last number; `None` where nothing would be left.
fn bare(oid: &[u32]) -> Option<Vec<u32>> {
    let mut oid = oid.to_vec();
    let last = oid.pop()?;
    while oid.last() == Some(&0) {
        oid.pop();
    }
    (!oid.is_empty()).then(|| {
        oid.push(last);
        oid
    })
}

use mutt_rules::Subject;
use serde_json::{Value, json};

use super::*;
use crate::judge::{Judges, alone, decides};
use crate::shadows::Certainty;
use crate::verdicts::NEW;

fn rule(id: i64, text: &str, priority: i32) -> Rule {
    let fields = json!({
        "match_string": text, "prod_handling": "Page_only", "dev_handling": "Log_only",
        "team_assignment": "t", "priority": priority,
    });
    crate::bench::as_rule(id, serde_json::from_value(fields).unwrap())
}

fn event(second: i64, message: &str, environment: &str) -> Arc<Sampled> {
    let subject = Subject {
        message,
        trap_oid: None,
        severity: None,
    };
    let at = Timestamp::from_second(second).unwrap();
    let hostname = format!("host-{environment}");
    Arc::new(Sampled::whole(
        EventId::new(),
        at,
        &hostname,
        environment,
        &subject,
    ))
}

/// Everything that happened, by the minute.
fn events(minutes: &[(i64, &[&str])]) -> Events {
    let spans = minutes.iter().map(|(minute, messages)| {
        let events = messages.iter().map(|message| {
            let (environment, message) = match message.strip_prefix("dev ") {
                Some(message) => ("development", message),
                None => ("production", *message),
            };
            event(minute * 60, message, environment)
        });
        let start = Timestamp::from_second(minute * 60).unwrap();
        Arc::new(Span::whole(start, events.collect()))
    });
    Events {
        from: Timestamp::from_second(30).unwrap(),
        to: Timestamp::from_second(4 * 60 + 10).unwrap(),
        seconds: 60,
        spans: spans.collect(),
        partial: false,
        about: String::new(),
    }
}

fn found(
    rules: &[Rule],
    tested: Option<Rule>,
    events: &Events,
) -> (Findings, Option<Shadow>, Vec<Shadowed>) {
    let judges = Judges::default();
    let id = tested.as_ref().map(|rule| rule.id);
    let tested = tested.map(|rule| Tested {
        alone: alone(&rule),
        decides: decides(&rule),
        stored: rule.id != NEW,
        rule,
    });
    let trial = Trial {
        today: &judges.by(rules, None),
        others: &judges.by(rules, id.filter(|id| *id != NEW)),
        tested: tested.as_ref(),
    };
    trial.on(events)
}

fn goes(taken: &[Taken]) -> Value {
    taken
        .iter()
        .map(|taken| json!([taken.rule_id, taken.events.value]))
        .collect()
}

#[test]
fn a_draft_takes_and_loses() {
    let rules = [rule(1, "critical", 1), rule(2, "link", 50)];
    let events = events(&[
        (1, &["link down", "dev link down", "link up", "fan down"]),
        (3, &["critical down", "link down", "link down", "power"]),
    ]);
    let (findings, by, shadows) = found(&rules, Some(rule(NEW, "down", 10)), &events);
    assert_eq!(findings.events, Figure::exact(8));
    assert_eq!(findings.would_match, Figure::exact(6));
    assert_eq!(findings.would_win, Figure::exact(5));
    assert_eq!(goes(&findings.takes_from), json!([[2, 4], [null, 1]]));
    assert_eq!(goes(&findings.loses_to), json!([[1, 1]]));
    assert!(findings.leaves_to.is_empty());
    // The one in development only logs.
    assert_eq!(findings.alerts, Figure::exact(4));
    let alerts: Vec<_> = findings
        .histogram
        .iter()
        .map(|part| part.alerts.value)
        .collect();
    assert_eq!(
        alerts,
        [0, 2, 0, 2, 0],
        "every minute from the first to the last"
    );
    let peak = findings.peak.unwrap();
    assert_eq!((peak.at.as_second(), peak.per_hour.value), (60, 120));
    assert_eq!(findings.hosts.production, Figure::exact(1));
    assert_eq!(findings.hosts.development, Figure::exact(1));
    assert_eq!(findings.examples.len(), 6);
    assert!(
        findings
            .examples
            .is_sorted_by_key(|example| std::cmp::Reverse(example.received_at))
    );
    let lost = findings
        .examples
        .iter()
        .find(|example| !example.wins)
        .unwrap();
    assert_eq!(
        (lost.message.as_str(), lost.winner_today),
        ("critical down", Some(1))
    );
    assert_eq!(lost.matched.unwrap().bytes, [9, 13]);
    assert_eq!(
        (by, shadows),
        (None, Vec::new()),
        "too few events to say so"
    );
}

#[test]
fn a_changed_rule_gives_up() {
    let rules = [rule(1, "link", 10), rule(2, "down", 50)];
    let events = events(&[(1, &["link down", "link up", "fan down", "power"])]);
    let (findings, ..) = found(&rules, Some(rule(1, "fan", 10)), &events);
    assert_eq!(findings.would_match, Figure::exact(1));
    assert_eq!(goes(&findings.takes_from), json!([[2, 1]]));
    assert_eq!(goes(&findings.leaves_to), json!([[null, 1], [2, 1]]));

    // With a lower priority it still matches and decides less.
    let (findings, ..) = found(&rules, Some(rule(1, "link", 90)), &events);
    assert_eq!(findings.would_match, Figure::exact(2));
    assert_eq!(findings.would_win, Figure::exact(1));
    assert_eq!(goes(&findings.loses_to), json!([[2, 1]]));
    assert_eq!(goes(&findings.leaves_to), json!([[2, 1]]));
    assert!(findings.takes_from.is_empty());

    // As it is, nothing changes.
    let (findings, ..) = found(&rules, Some(rules[0].clone()), &events);
    assert_eq!(findings.would_win, Figure::exact(2));
    assert!(findings.takes_from.is_empty() && findings.leaves_to.is_empty());
}

#[test]
fn a_rule_that_only_watches_matches_and_decides_nothing() {
    let mut watching = rule(1, "link", 10);
    watching.draft.mode = mutt_rules::Mode::Observe;
    let events = events(&[(1, &["link down", "power"])]);
    let (findings, ..) = found(&[watching.clone()], Some(watching), &events);
    assert_eq!(findings.would_match, Figure::exact(1));
    assert_eq!(findings.would_win, Figure::exact(0));
    assert!(findings.peak.is_none());
}

#[test]
fn all_rules_together_decide_what_they_decide() {
    let rules = [rule(1, "link", 10), rule(2, "down", 50)];
    let events = events(&[(1, &["link down", "dev fan down", "power"])]);
    let (findings, ..) = found(&rules, None, &events);
    assert_eq!(findings.would_win, Figure::exact(2));
    assert_eq!(findings.alerts, Figure::exact(1));
    assert!(findings.takes_from.is_empty());
}

#[test]
fn what_is_seen_of_shadows_is_said_to_be_seen() {
    let rules = [
        rule(1, "link d", 10),
        rule(2, "fan", 50),
        rule(3, "down", 60),
    ];
    let mut minute = vec!["link down"; 25];
    minute.extend(["fan broken"; 20]);
    let events = events(&[(1, &minute)]);
    let mut regex = rule(NEW, "fan|ldown", 20);
    regex.draft.match_type = mutt_rules::MatchType::Regex;
    let (_, by, shadows) = found(&rules, Some(regex), &events);
    assert!(by.is_none());
    assert_eq!(
        shadows
            .iter()
            .map(|it| (it.rule_id, it.certainty))
            .collect::<Vec<_>>(),
        [(2, Certainty::Observed)]
    );
    let (_, by, shadows) = found(&rules, Some(rule(NEW, "own", 20)), &events);
    assert_eq!(
        by.map(|by| (by.by, by.certainty)),
        Some((1, Certainty::Observed))
    );
    assert!(shadows.is_empty());
}

#[test]
fn where_events_are_missing_nothing_is_exact() {
    let events = Events {
        partial: true,
        ..events(&[(1, &["link down"])])
    };
    let (findings, ..) = found(&[], Some(rule(NEW, "down", 20)), &events);
    for figure in [
        findings.events,
        findings.would_match,
        findings.alerts,
        findings.takes_from[0].events,
        findings.hosts.production,
        findings.histogram[1].alerts,
    ] {
        assert_eq!(figure, Figure::at_least(1));
    }
}

#[test]
fn examples_are_bounded_and_stay() {
    let minute = vec!["link down"; 2_000];
    let events = events(&[(1, &minute)]);
    let ids = |text: &str| {
        let (findings, ..) = found(&[], Some(rule(NEW, text, 20)), &events);
        let ids: Vec<_> = findings
            .examples
            .iter()
            .map(|example| example.event_id)
            .collect();
        ids
    };
    assert_eq!(ids("link").len(), EXAMPLES);
    assert_eq!(ids("link"), ids("link d"));
}

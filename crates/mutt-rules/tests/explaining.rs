//! Rule sets as people meet them: order, what is left out, and the words that explain a decision.

use jiff::Timestamp;
use mutt_event::Severity;
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft, RuleSet, Scratch, Subject, Verdict};

fn rule(id: i64, priority: i32, match_type: MatchType, text: &str) -> Rule {
    Rule {
        id,
        draft: RuleDraft {
            match_string: Some(text.to_owned()).filter(|text| !text.is_empty()),
            trap_oid: None,
            syslog_severity: None,
            match_type,
            priority,
            prod_handling: Handling::PageOnly,
            dev_handling: Handling::Ignore,
            team_assignment: "NetOps".into(),
            is_active: true,
            mode: Mode::Enforce,
            description: None,
        },
        version: 1,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deleted_at: None,
    }
}

fn contains(id: i64, priority: i32, text: &str) -> Rule {
    rule(id, priority, MatchType::Contains, text)
}

fn with(mut rule: Rule, change: impl FnOnce(&mut Rule)) -> Rule {
    change(&mut rule);
    rule
}

fn message(message: &str) -> Subject<'_> {
    Subject {
        message,
        trap_oid: None,
        severity: None,
    }
}

fn trap<'a>(message: &'a str, oid: &'a str) -> Subject<'a> {
    Subject {
        message,
        trap_oid: Some(oid),
        severity: None,
    }
}

#[test]
fn priority_first_then_id() {
    let set = RuleSet::compile([
        contains(2, 10, "down"),
        contains(3, 5, "LINK"),
        contains(1, 10, "down"),
    ]);
    let mut scratch = Scratch::new();
    assert_eq!(
        set.rules().iter().map(|rule| rule.id).collect::<Vec<_>>(),
        [3, 1, 2]
    );
    assert_eq!(set.find(&message("Link down"), &mut scratch).unwrap().id, 3);
    assert_eq!(set.find(&message("DOWN"), &mut scratch).unwrap().id, 1);
    assert!(set.find(&message("up"), &mut scratch).is_none());
}

#[test]
fn what_takes_no_part() {
    let set = RuleSet::compile([
        with(contains(1, 1, "down"), |rule| rule.draft.is_active = false),
        with(contains(2, 1, "down"), |rule| {
            rule.deleted_at = Some(Timestamp::UNIX_EPOCH);
        }),
        rule(3, 1, MatchType::Regex, "(down"),
        with(contains(4, 1, ""), |rule| {
            rule.draft.trap_oid = Some("x".into());
        }),
        contains(5, 1, ""),
        with(contains(6, 1, "down"), |rule| {
            rule.draft.syslog_severity = Some(8);
        }),
        rule(7, 1, MatchType::OidPrefix, "down"),
        contains(8, 9, "down"),
    ]);
    assert_eq!(set.len(), 1);
    let skipped: Vec<_> = set
        .skipped()
        .iter()
        .map(|skipped| skipped.rule_id)
        .collect();
    assert_eq!(skipped, [3, 4, 5, 6, 7]);
    assert_eq!(
        set.skipped()[0].reason,
        "match_string: unclosed group at character 1 of the regular expression"
    );
    assert_eq!(
        set.find(&message("down"), &mut Scratch::new()).unwrap().id,
        8
    );
}

#[test]
fn slow_rules_are_counted() {
    let regex = |id, text: &str| rule(id, 1, MatchType::Regex, text);
    let set = RuleSet::compile([regex(1, r"\d+"), regex(2, "up|down"), regex(3, "link|down")]);
    assert_eq!(set.without_literal(), 2);
}

#[test]
fn an_empty_set_finds_nothing() {
    let set = RuleSet::compile([]);
    assert!(set.is_empty());
    assert!(
        set.find(&trap("down", ".1.3"), &mut Scratch::new())
            .is_none()
    );
    assert!(set.explain(&message("down")).verdicts.is_empty());
}

#[test]
fn a_set_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<RuleSet>();
}

#[test]
fn watching_rules_are_reported_whoever_wins() {
    let watch = |rule: Rule| with(rule, |rule| rule.draft.mode = Mode::Observe);
    let set = RuleSet::compile([
        contains(1, 1, "down"),
        watch(contains(2, 0, "link")),
        watch(rule(3, 9, MatchType::Regex, "link.*down")),
        watch(contains(4, 9, "up")),
    ]);
    let mut scratch = Scratch::new();
    assert_eq!(
        set.find(&message("LINK is DOWN"), &mut scratch).unwrap().id,
        1
    );
    assert_eq!(scratch.observed(), [2, 3]);
    assert!(set.find(&message("x"), &mut scratch).is_none());
    assert_eq!(scratch.observed(), [0_i64; 0]);
}

#[test]
fn every_verdict_in_words() {
    let cisco = |rule: &mut Rule| rule.draft.trap_oid = Some("1.3.6.1.4.1.9.*".into());
    let set = RuleSet::compile([
        contains(1, 1, "FLAP"),
        rule(2, 2, MatchType::Regex, "vlan [0-9]+"),
        with(contains(3, 3, "link"), |rule| {
            rule.draft.syslog_severity = Some(2);
        }),
        with(contains(4, 4, "link"), cisco),
        with(contains(5, 5, "link"), |rule| {
            rule.draft.mode = Mode::Observe;
        }),
        rule(
            6,
            6,
            MatchType::Regex,
            r"interface (?P<port>\S+) (up|down)|(never)",
        ),
        contains(7, 7, "DOWN"),
    ]);
    let subject = Subject {
        message: "LINK: Interface Gi1/0/1 down",
        trap_oid: None,
        severity: Severity::new(3),
    };
    let explanation = set.explain(&subject);
    assert_eq!(explanation.winner, Some(6));
    let sentences: Vec<String> = explanation
        .verdicts
        .iter()
        .map(|(id, verdict)| format!("{id}: {verdict}"))
        .collect();
    assert_eq!(
        sentences,
        [
            "1: The message does not contain 'FLAP'.",
            "2: The regular expression 'vlan [0-9]+' finds nothing in the message.",
            "3: The rule is for severity 2 (crit) only, the event has 3 (err).",
            "4: The rule is for traps with OID .1.3.6.1.4.1.9, and the event has no trap OID.",
            "5: It matches (the message has 'LINK'), but it is in mode observe and decides nothing.",
            "6: This rule decides: the message has 'Interface Gi1/0/1 down'.",
            "7: It matches too (the message has 'down'), but an earlier rule decides.",
        ]
    );

    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["verdicts"][0]["verdict"], "message_differs");
    assert_eq!(
        json["verdicts"][5],
        serde_json::json!({
            "rule_id": 6,
            "verdict": "won",
            "matched": {
                "text": {"span": {"start": 6, "end": 28}, "text": "Interface Gi1/0/1 down"},
                "groups": [
                    {"number": 1, "name": "port",
                     "found": {"span": {"start": 16, "end": 23}, "text": "Gi1/0/1"}},
                    {"number": 2, "found": {"span": {"start": 24, "end": 28}, "text": "down"}},
                    {"number": 3, "found": null},
                ],
            },
            "sentence": "This rule decides: the message has 'Interface Gi1/0/1 down'.",
        })
    );
}

#[test]
fn traps_in_words() {
    let oid = |id, oid: &str| {
        with(rule(id, 1, MatchType::OidPrefix, ""), |rule| {
            rule.draft.trap_oid = Some(oid.into());
        })
    };
    let set = RuleSet::compile([oid(1, ".1.3.6.1.4.1.99"), oid(2, ".1.3.6.1.4.1.9")]);
    let explanation = set.explain(&trap("anything", "1.3.6.1.4.1.9.9.41"));
    assert_eq!(explanation.winner, Some(2));
    assert_eq!(
        explanation.verdicts[0].1.to_string(),
        "The trap OID 1.3.6.1.4.1.9.9.41 is neither .1.3.6.1.4.1.99 nor below it."
    );
    assert_eq!(
        explanation.verdicts[1].1.to_string(),
        "This rule decides: the trap OID is .1.3.6.1.4.1.9 or below it."
    );
}

#[test]
fn the_span_is_that_of_the_message_as_it_came() {
    let set = RuleSet::compile([contains(1, 1, "STANBUL Σ")]);
    let explanation = set.explain(&message("at İstanbul σ now"));
    let Verdict::Won { matched } = &explanation.verdicts[0].1 else {
        panic!("{explanation:?}")
    };
    let found = matched.text.as_ref().unwrap();
    assert_eq!(
        (found.span.clone(), found.text.as_str()),
        (5..15, "stanbul σ")
    );
    // The rule's 'i' is half of what the message's 'İ' is in lower case; all of 'İ' is shown.
    let set = RuleSet::compile([contains(1, 1, "I")]);
    let explanation = set.explain(&message("at İstanbul"));
    let Verdict::Won { matched } = &explanation.verdicts[0].1 else {
        panic!("{explanation:?}")
    };
    assert_eq!(matched.text.as_ref().unwrap().span, 3..5);
}

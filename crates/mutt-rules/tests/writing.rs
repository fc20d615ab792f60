//! What a rule may say, and what people are told when it says something else.

use mutt_rules::{FieldError, Handling, MatchType, Mode, RuleDraft};

fn draft() -> RuleDraft {
    RuleDraft {
        match_string: Some("LINK-DOWN".into()),
        trap_oid: None,
        syslog_severity: None,
        match_type: MatchType::Contains,
        priority: 100,
        prod_handling: Handling::PageOnly,
        dev_handling: Handling::Ignore,
        team_assignment: "NetOps".into(),
        is_active: true,
        mode: Mode::Enforce,
        description: None,
    }
}

fn errors(change: impl FnOnce(&mut RuleDraft)) -> Vec<FieldError> {
    let mut draft = draft();
    change(&mut draft);
    draft
        .check()
        .err()
        .map(|invalid| invalid.0)
        .unwrap_or_default()
}

fn only(change: impl FnOnce(&mut RuleDraft)) -> FieldError {
    let mut errors = errors(change);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[test]
fn what_is_allowed() {
    assert_eq!(errors(|_| {}), []);
    assert_eq!(errors(|rule| rule.match_string = Some("é".repeat(255))), []);
    assert_eq!(errors(|rule| rule.team_assignment = "é".repeat(100)), []);
    assert_eq!(errors(|rule| rule.syslog_severity = Some(7)), []);
    for match_type in [MatchType::Contains, MatchType::Regex, MatchType::OidPrefix] {
        let oid_only = errors(|rule| {
            rule.match_type = match_type;
            rule.match_string = None;
            rule.trap_oid = Some(".1.3.6.1.4.1.9.*".into());
        });
        assert_eq!(oid_only, [], "{match_type:?}");
    }
    let regex = |rule: &mut RuleDraft| {
        rule.match_type = MatchType::Regex;
        rule.match_string = Some(r"%(\w+)-[0-3]-.*\bdown\b".into());
    };
    assert_eq!(errors(regex), []);
    // Not a regex: nothing to compile.
    assert_eq!(
        errors(|rule| rule.match_string = Some("port (1".into())),
        []
    );
}

#[test]
fn one_sentence_with_field_and_place() {
    let error = only(|rule| rule.match_string = None);
    assert_eq!(error.field, "match_string");
    assert_eq!(
        error.message,
        "is missing; a rule needs match_string, trap_oid or both"
    );

    let error = only(|rule| rule.match_string = Some(String::new()));
    assert_eq!(error.field, "match_string");
    assert!(error.message.contains("is empty"), "{error:?}");

    let error = only(|rule| rule.match_string = Some("é".repeat(256)));
    assert_eq!((error.field, error.position), ("match_string", Some(255)));
    assert_eq!(error.message, "has 256 characters; at most 255 are allowed");

    let error = only(|rule| rule.match_string = Some("a\0".into()));
    assert_eq!((error.field, error.position), ("match_string", Some(1)));

    let error = only(|rule| rule.match_type = MatchType::OidPrefix);
    assert_eq!(error.field, "trap_oid");

    let error = only(|rule| rule.trap_oid = Some("1.3.six".into()));
    assert_eq!((error.field, error.position), ("trap_oid", Some(4)));
    assert_eq!(
        error.message,
        "'1.3.six' is no OID: 's' is no digit; allowed are numbers from 0 to 4294967295 with dots \
         between, such as .1.3.6.1.4.1.9"
    );

    let error = only(|rule| rule.syslog_severity = Some(8));
    assert_eq!(error.field, "syslog_severity");
    assert!(
        error.message.contains("0 (emergency) to 7 (debug)"),
        "{error:?}"
    );

    assert_eq!(
        only(|rule| rule.team_assignment = " ".into()).field,
        "team_assignment"
    );
    assert_eq!(
        only(|rule| rule.team_assignment = "x".repeat(101)).field,
        "team_assignment"
    );
}

fn regex_error(pattern: &str) -> FieldError {
    only(|rule| {
        rule.match_type = MatchType::Regex;
        rule.match_string = Some(pattern.into());
    })
}

#[test]
fn a_regex_is_refused_with_its_place() {
    let error = regex_error("é(down");
    assert_eq!((error.field, error.position), ("match_string", Some(1)));
    assert_eq!(
        error.message,
        "unclosed group at character 2 of the regular expression"
    );

    let error = regex_error("down(?=now)");
    assert_eq!(error.position, Some(4));
    assert!(error.message.contains("look-around"), "{error:?}");

    let error = regex_error(r"\p{Nothing}");
    assert_eq!(error.position, Some(0));

    let error = regex_error(r"(?:\w{100}){100}");
    assert_eq!(error.position, None);
    assert!(error.message.contains("too large"), "{error:?}");

    let error = regex_error(&format!("{}a{}", "(".repeat(60), ")".repeat(60)));
    assert!(error.message.contains("nest"), "{error:?}");
}

#[test]
fn all_problems_at_once() {
    let mut rule = draft();
    rule.match_type = MatchType::Regex;
    rule.match_string = Some("[".into());
    rule.trap_oid = Some(String::new());
    rule.syslog_severity = Some(9);
    rule.team_assignment = String::new();
    let invalid = rule.check().unwrap_err();
    let fields: Vec<_> = invalid.0.iter().map(|error| error.field).collect();
    assert_eq!(
        fields,
        [
            "match_string",
            "trap_oid",
            "syslog_severity",
            "team_assignment"
        ]
    );
    assert!(
        invalid
            .to_string()
            .starts_with("match_string: unclosed character class at")
    );
}

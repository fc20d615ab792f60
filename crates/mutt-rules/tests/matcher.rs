//! The matcher against the naive reference, over random rules and lines, ASCII and not.

mod naive;

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use mutt_event::Severity;
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft, RuleSet, Scratch, Subject, Verdict};
use naive::Naive;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What lines and rules are made of: words that overlap, and letters whose case is a trap.
const PIECES: &[&str] = &[
    "link",
    "LINK-3-UPDOWN",
    "down",
    "up",
    "Interface",
    "Ethernet1/0/1",
    "bgp",
    "ospf",
    "neighbor",
    "ask",
    "sk",
    "skip",
    "kelvin",
    "task",
    "disk",
    "s",
    "k",
    "i",
    "ſ",
    "\u{212a}",
    "ſk",
    "aſk",
    "di\u{212a}",
    "İ",
    "ı",
    "istanbul",
    "straße",
    "STRASSE",
    "ΣΑΣ",
    "σας",
    "Σ",
    "ς",
    "É",
    "é",
    "ﬁ",
    "日本",
    "Ǆ",
    "Å",
    " ",
    ":",
    "%",
    "-",
    ".",
    "1",
    "42",
    "\n",
    "error",
    "ERR",
    "aaa",
    "aab",
];

/// What regexes are made of besides the words.
const ATOMS: &[&str] = &[
    ".*",
    ".+",
    r"\s+",
    r"\w+",
    r"\d+",
    r"\W",
    r"\S+",
    r"\D",
    r"\b",
    r"\B",
    "^",
    "$",
    "[a-z]",
    "[^k]",
    "[^s]+",
    "[[:^alpha:]]",
    "[[:^word:]]",
    "[[:alpha:]]+",
    r"[\w--k]",
    r"(?-u:\w)",
    r"(?-u:\b)",
    "(?-i:K)",
    "(?-i:[A-K]+)",
    "(?-i:[l-z])",
    "(?-i:ask)",
    "(?i:SK)",
    "(?s:.)",
    r"\x{212a}",
    r"\x{17f}",
    r"\u0130",
    r"\p{Greek}",
    r"\p{Lu}",
    r"\P{L}",
    "(up|down)",
    "(?:link|bgp|ask)",
    "(ask|error|ospf)+",
    "(?:di[sk]k|task)",
    "k{2,3}",
    "a{3,}",
    "s{0,2}",
    "(?:sk){2}",
    "(link)?",
    "(?P<what>down)",
    "(?:aab|aaa|ab)",
    "k?",
    "i+",
    "(?:ask|)",
    r"\.",
    "a|b",
    r"[0-9]{1,3}",
    r"(?-u:[^\n])?",
    "[ſK]",
    "[^ſ]",
    r"\b{start}",
    r"\b{end-half}",
];

const OIDS: &[&str] = &[
    ".1.3.6.1.4.1.9",
    "1.3.6.1.4.1.9",
    ".1.3.6.1.4.1.99",
    ".1.3.6.1.4.1.9.9.41.2",
    ".1.3.6.1.4.*",
    "1.3.6.1.6.3.1.1.5.3",
    ".1.3.6.1.6.3.1.1.5.",
    ".1",
    "0",
    "1.4294967295",
    "1.3.6.1.4.1.318.5",
    "1.3.6.1.4.1.318.0",
    "1.3.6.1.4.1.318.0.5",
    "1.3.6.1.4.1.318.0.0.5",
    "1.3.6.1.4.1.318.0.0",
    "0.0.5",
];
const TRAPS: &[&str] = &[
    ".1.3.6.1.4.1.9",
    "1.3.6.1.4.1.9.9.41.2.0.1",
    ".1.3.6.1.4.1.99.1",
    ".1.3.6.1.6.3.1.1.5.3",
    ".1.4294967295.7",
    "0.0",
    "linkDown",
    "",
    ".1.3.6.1.4",
    "1.3.6.1.4.1.318.5",
    "1.3.6.1.4.1.318.0.5",
    "1.3.6.1.4.1.318.0.0.5",
    "1.3.6.1.4.1.318.0",
    "1.3.6.1.4.1.318.0.0",
    "0.5",
];

fn text(pieces: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec((select(PIECES), 0..6_u8), pieces).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(piece, case)| match case {
                0 => piece.to_uppercase(),
                1 => piece.to_lowercase(),
                2 => piece.replace('s', "ſ").replace('k', "\u{212a}"),
                _ => piece.to_owned(),
            })
            .collect()
    })
}

/// Lines of ASCII only must be common: they go another way.
fn line() -> impl Strategy<Value = String> {
    (text(0..20), any::<bool>()).prop_map(|(line, ascii)| {
        if ascii {
            line.chars().filter(char::is_ascii).collect()
        } else {
            line
        }
    })
}

fn pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        text(1..3).prop_map(|text| regex::escape(&text)),
        select(ATOMS).prop_map(str::to_owned),
    ];
    prop_oneof![
        2 => text(1..2).prop_map(|text| regex::escape(&text)),
        2 => select(ATOMS).prop_map(str::to_owned),
        1 => (select(PIECES), select(PIECES)).prop_map(|(one, other)| {
            format!("{}.*{}", regex::escape(one), regex::escape(other))
        }),
        4 => vec(atom.clone(), 1..5).prop_map(|atoms| atoms.concat()),
        1 => (vec(atom.clone(), 1..3), vec(atom, 1..3)).prop_map(|(one, other)| {
            format!("(?:{}|{}){}", one.concat(), other.concat(), "+")
        }),
    ]
}

fn draft(patterns: &'static [String]) -> impl Strategy<Value = RuleDraft> {
    (
        prop_oneof![
            5 => Just(MatchType::Contains),
            4 => Just(MatchType::Regex),
            1 => Just(MatchType::OidPrefix),
        ],
        text(1..3),
        any::<Index>(),
        option::weighted(0.15, select(OIDS)),
        option::weighted(0.2, 0..8_u8),
        0..20_i32,
        0..10_u8,
    )
        .prop_map(|(match_type, text, regex, oid, severity, priority, dice)| {
            let trap_oid = oid.or((match_type == MatchType::OidPrefix).then_some(OIDS[0]));
            let text = match match_type {
                MatchType::Regex => Some(regex.get(patterns).clone()),
                _ => Some(text),
            };
            RuleDraft {
                match_string: text.filter(|_| trap_oid.is_none() || dice < 5),
                trap_oid: trap_oid.map(str::to_owned),
                syslog_severity: severity,
                match_type,
                priority,
                prod_handling: Handling::LogOnly,
                dev_handling: Handling::Ignore,
                team_assignment: "NETO".into(),
                is_active: dice != 9,
                mode: if dice == 0 || dice == 7 {
                    Mode::Observe
                } else {
                    Mode::Enforce
                },
                description: None,
            }
        })
}

fn rule(id: i64, draft: RuleDraft) -> Rule {
    Rule {
        id,
        draft,
        version: 1,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deleted_at: None,
    }
}

fn rules(drafts: Vec<RuleDraft>) -> Vec<Rule> {
    // Ids run against the order in which the rules are given.
    (1..)
        .zip(drafts.into_iter().rev())
        .map(|(id, draft)| rule(id, draft))
        .collect()
}

type Event = (String, Option<&'static str>, Option<u8>);

fn event() -> impl Strategy<Value = Event> {
    (
        line(),
        option::weighted(0.4, select(TRAPS)),
        option::weighted(0.8, 0..8_u8),
    )
}

fn subject(event: &Event) -> Subject<'_> {
    Subject {
        message: &event.0,
        trap_oid: event.1,
        severity: event.2.and_then(Severity::new),
    }
}

/// Random patterns, made once: compiling them is what takes the time.
fn patterns() -> &'static [String] {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let patterns = std::iter::repeat_with(|| {
        pattern()
            .new_tree(&mut runner)
            .expect("the strategy has no filter")
            .current()
    });
    Vec::leak(patterns.take(pool_size()).collect())
}

/// More in a long run (`PROPTEST_CASES=100000`).
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(usual)
}

fn pool_size() -> usize {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        20_000
    } else {
        600
    }
}

thread_local! {
    static REGEXES: RefCell<HashMap<String, Option<regex::Regex>>> = RefCell::default();
}

fn regex(pattern: &str) -> Option<regex::Regex> {
    REGEXES.with_borrow_mut(|known| {
        known
            .entry(pattern.to_owned())
            .or_insert_with(|| {
                regex::RegexBuilder::new(pattern)
                    .case_insensitive(true)
                    .build()
                    .ok()
            })
            .clone()
    })
}

/// Both find the same, and the explanation says the same.
fn agree(rules: &[Rule], events: &[Event], scratch: &mut Scratch, explain: bool) {
    let set = RuleSet::compile(rules.to_vec());
    let naive = Naive::with_regexes(rules, regex);
    for event in events {
        let subject = subject(event);
        let winner = set.find(&subject, scratch).map(|rule| rule.id);
        let (expected, observed) = naive.find(&subject);
        assert_eq!(winner, expected, "winner of {event:?}");
        assert_eq!(scratch.observed(), observed, "observed of {event:?}");
        if explain {
            let explanation = set.explain(&subject);
            assert_eq!(explanation.winner, expected);
            let watching = explanation
                .verdicts
                .iter()
                .filter(|(_, verdict)| matches!(verdict, Verdict::Observed { .. }))
                .map(|(id, _)| *id);
            assert!(watching.eq(observed));
        }
    }
}

#[test]
fn finds_what_the_naive_scan_finds() {
    let patterns = patterns();
    // One scratch for all, as a worker has: nothing may be left over from another rule set.
    let scratch = RefCell::new(Scratch::new());
    proptest!(
        ProptestConfig { cases: cases(2_000), failure_persistence: None, ..Default::default() },
        |(
            drafts in prop_oneof![vec(draft(patterns), 0..40), vec(draft(patterns), 40..90)],
            events in vec(event(), 1..12),
            explain in prop::bool::weighted(0.05),
        )| agree(&rules(drafts), &events, &mut scratch.borrow_mut(), explain)
    );
}

/// Enough literals for the automaton of large rule sets.
#[test]
fn finds_the_same_in_thousands_of_rules() {
    let patterns = patterns();
    let scratch = RefCell::new(Scratch::new());
    proptest!(
        ProptestConfig { cases: cases(3).min(50), failure_persistence: None, ..Default::default() },
        |(
            drafts in vec(draft(&patterns[..40]), 200..300),
            numbers in vec((0..4_000_u32, text(1..2)), 3_300),
            events in vec((event(), 0..4_000_u32), 20),
        )| {
            let template = drafts[0].clone();
            let many = numbers.into_iter().map(|(number, word)| RuleDraft {
                match_string: Some(format!("{word}{number}")),
                trap_oid: None,
                match_type: MatchType::Contains,
                priority: 5,
                ..template.clone()
            });
            let rules = rules(drafts.iter().cloned().chain(many).collect());
            let events: Vec<Event> = events
                .into_iter()
                .map(|((line, oid, severity), n)| (format!("{line}{n} error{n}"), oid, severity))
                .collect();
            agree(&rules, &events, &mut scratch.borrow_mut(), false);
        }
    );
}

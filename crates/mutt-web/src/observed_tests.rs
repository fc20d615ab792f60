use jiff::Timestamp;
use mutt_event::EventId;
use mutt_rules::{MatchType, Subject};
use serde_json::json;

use super::*;
use crate::judge::Judges;

fn rule(id: i64, text: &str) -> Rule {
    let fields = json!({
        "match_string": text, "prod_handling": "Ignore", "dev_handling": "Ignore",
        "team_assignment": "t",
    });
    crate::bench::as_rule(id, serde_json::from_value(fields).unwrap())
}

fn events(minutes: &[&[&str]]) -> Events {
    let spans = (0..).zip(minutes).map(|(minute, messages)| {
        let start = Timestamp::from_second(minute * 60).unwrap();
        let events = messages.iter().map(|message| {
            let subject = Subject {
                message,
                trap_oid: None,
                severity: None,
            };
            let event = Sampled::whole(EventId::new(), start, "h", "production", &subject);
            Arc::new(event)
        });
        Arc::new(Span::whole(start, events.collect()))
    });
    Events {
        from: Timestamp::UNIX_EPOCH,
        to: Timestamp::UNIX_EPOCH,
        seconds: 60,
        spans: spans.collect(),
        partial: false,
        about: String::new(),
    }
}

fn counts(seen: &HashMap<i64, Seen>, id: i64) -> (Figure, Figure, Vec<(i64, u64)>) {
    let seen = &seen[&id];
    let lost = seen
        .lost_to
        .iter()
        .map(|(to, count)| (to.rule_id.unwrap(), *count));
    (seen.matched, seen.won, lost.collect())
}

#[test]
fn every_match_is_seen_and_who_won_it() {
    let judges = Judges::default();
    let mut observer = Observer::default();
    let mut watching = rule(4, "power");
    watching.draft.mode = Mode::Observe;
    let mut rules = vec![rule(1, "link"), rule(2, "down"), rule(3, "fan"), watching];
    let hour = events(&[
        &["link down", "fan down", "link up"],
        &["link down", "power"],
    ]);
    for _ in 0..2 {
        let seen = observer.seen(&rules, &judges.by(&rules, None), &hour);
        assert_eq!(
            counts(&seen, 1),
            (Figure::exact(3), Figure::exact(3), vec![])
        );
        assert_eq!(
            counts(&seen, 2),
            (Figure::exact(3), Figure::exact(1), vec![(1, 2)])
        );
        assert_eq!(
            counts(&seen, 3),
            (Figure::exact(1), Figure::exact(0), vec![(2, 1)])
        );
        assert_eq!(
            counts(&seen, 4),
            (Figure::exact(1), Figure::exact(0), vec![])
        );
    }

    // A minute goes, a minute comes, and the old one is not counted twice.
    let mut later = hour;
    later.spans.remove(0);
    later
        .spans
        .extend(events(&[&[], &[], &["link"]]).spans.pop());
    let seen = observer.seen(&rules, &judges.by(&rules, None), &later);
    assert_eq!(counts(&seen, 1).0, Figure::exact(2));

    // Other rules, other winners, of minutes that are known as well.
    rules[0].draft.match_string = Some("power".to_owned());
    let seen = observer.seen(&rules, &judges.by(&rules, None), &later);
    assert_eq!(
        counts(&seen, 1),
        (Figure::exact(1), Figure::exact(1), vec![])
    );
    assert_eq!(
        counts(&seen, 2),
        (Figure::exact(1), Figure::exact(1), vec![])
    );
}

#[test]
fn what_is_dear_is_told_from_what_is_cheap() {
    let mut observer = Observer::default();
    let mut rules: Vec<_> = (1..10).map(|id| rule(id, &format!("text {id}"))).collect();
    // No literal that could rule a message out: every message is gone through to its end.
    let mut dear = rule(10, r"\w \w \d");
    dear.draft.match_type = MatchType::Regex;
    rules.push(dear);
    let mut off = rule(11, "off");
    off.draft.is_active = false;
    rules.push(off);
    let message = "a b c d e f g h ".repeat(200);
    let some = events(&[&vec![message.as_str(); TIMED_MIN]]);
    let few = events(&[&vec![message.as_str(); TIMED_MIN - 1]]);
    assert!(observer.costs(&rules, &few).is_empty());
    // As often as its budget wants.
    let start = Instant::now();
    let costs = loop {
        let costs = observer.costs(&rules, &some);
        if costs.len() == 10 {
            break costs;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{costs:?}");
    };
    let cheap = costs[&1].nanoseconds;
    assert!(costs[&10].nanoseconds > 2 * cheap, "{costs:?}");
    rules.truncate(3);
    assert_eq!(
        observer.costs(&rules, &some).len(),
        3,
        "what is gone is forgotten"
    );
}

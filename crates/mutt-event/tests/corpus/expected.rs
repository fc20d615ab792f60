//! The lines of `tests/corpus`, each with what a network engineer expects of it.
//!
//! The lines come from vendors' documents and not from this parser: a line that is read wrongly is
//! listed here, and more than a few of them fail the test. None may be lost or lose text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::support::{self, Line, event_of};

/// Of a hundred lines, how many must be read as expected in every field.
const RIGHT: f64 = 98.0;

/// What is expected and differs, one line each.
fn differences(line: &Line, event: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |field: &str, expected: &str, read: &str| {
        if expected != read {
            differences.push(format!("{field}: expected {expected:?}, read {read:?}"));
        }
    };
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let expect = &line.expect;
    let host = text("hostname");
    let named = if host == support::PEER { "" } else { host };
    if let Some(expected) = &expect.host {
        compare("host", expected, named);
    }
    if let Some(expected) = &expect.timestamp {
        // To the digits that are expected.
        let digits = expected.trim_end_matches('Z');
        let read = text("timestamp");
        let same = read.starts_with(digits) && digits.is_empty() == read.is_empty();
        compare("timestamp", if same { read } else { expected }, read);
    }
    if let Some(expected) = expect.severity {
        let severity = event["syslog_severity"].to_string();
        compare("severity", &expected.to_string(), &severity);
    }
    for (field, expected) in [
        ("facility", &expect.facility),
        ("program", &expect.program),
        ("mnemonic", &expect.mnemonic),
        ("message", &expect.message),
        ("sequence", &expect.sequence),
        ("procid", &expect.procid),
        ("msgid", &expect.msgid),
    ] {
        if let Some(expected) = expected {
            compare(field, expected.trim(), text(field).trim());
        }
    }
    let notes = event["parse_notes"].to_string();
    for expected in expect.notes.iter().flatten() {
        if !notes.contains(&format!("\"{expected}\"")) {
            differences.push(format!("notes: expected {expected}, read {notes}"));
        }
    }
    differences
}

/// Whether the message is the end of the line, to the last byte that is no line end.
fn is_whole(line: &Line, event: &Value) -> bool {
    let text = String::from_utf8_lossy(&line.bytes).replace('\0', "\u{fffd}");
    let ends = ['\r', '\n', '\u{fffd}'];
    let message = event["message"].as_str().unwrap_or_default();
    if message == "(empty message)" {
        return text
            .trim_matches([' ', '\t', '\r', '\n', '\u{fffd}', '\u{feff}'])
            .is_empty();
    }
    text.trim_end_matches(ends)
        .ends_with(message.trim_end_matches(ends))
}

#[test]
fn the_corpus_is_read_as_engineers_expect() {
    examine("");
}

/// Written apart from the others and after them: the parser was not made with them in sight.
#[test]
fn lines_that_were_held_out_are_read_as_engineers_expect() {
    examine("held-out");
}

fn examine(directory: &str) {
    let lines = support::lines(directory);
    assert!(lines.len() > 100, "only {} lines", lines.len());
    let mut report = String::new();
    let mut vendors: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut lost = Vec::new();
    for line in &lines {
        let event = event_of(line);
        let differences = differences(line, &event);
        let (right, all) = vendors.entry(&line.vendor).or_default();
        *all += 1;
        *right += usize::from(differences.is_empty());
        let (vendor, shown) = (&line.vendor, String::from_utf8_lossy(&line.bytes));
        if !differences.is_empty() {
            let differences = differences.join("\n    ");
            let _ = writeln!(report, "\n{vendor}: {shown}\n    {differences}");
        }
        if !is_whole(line, &event) {
            lost.push(format!("{vendor}: {shown}\n    read {}", event["message"]));
        }
    }
    for (vendor, (right, all)) in &vendors {
        let _ = writeln!(report, "{right:4}/{all:<4} {vendor}");
    }
    let right: usize = vendors.values().map(|(right, _)| right).sum();
    let share = 100.0 * right as f64 / lines.len() as f64;
    println!("{report}{right}/{} right: {share:.1} %", lines.len());
    assert!(lost.is_empty(), "text is lost:\n{}", lost.join("\n"));
    assert!(
        share >= RIGHT,
        "only {share:.1} % of the corpus is read right"
    );
}

//! Reads `tests/corpus` and makes events of its lines.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mutt_event::syslog::{Origin, parse_into};
use serde::Deserialize;
use serde_json::Value;

/// Whom every line comes from.
pub const PEER: &str = "192.0.2.250";
const RECEIVED: &str = "2026-11-21T13:00:05Z";

#[derive(Debug, Deserialize)]
struct File {
    line: Vec<Written>,
}

/// A line as it stands in a file. Either `text` or `text_base64` is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    text: Option<String>,
    text_base64: Option<String>,
    #[serde(rename = "source")]
    _source: String,
    received: Option<String>,
    zone: Option<String>,
    expect: Expect,
}

/// What is expected of a line; what is left out may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Empty where the line names no host.
    pub host: Option<String>,
    /// Empty where there is none.
    pub timestamp: Option<String>,
    pub severity: Option<u64>,
    pub facility: Option<String>,
    pub program: Option<String>,
    pub mnemonic: Option<String>,
    pub message: Option<String>,
    pub sequence: Option<String>,
    pub procid: Option<String>,
    pub msgid: Option<String>,
    pub notes: Option<Vec<String>>,
}

/// One line of the corpus.
#[derive(Debug)]
pub struct Line {
    /// The file's name.
    pub vendor: String,
    pub bytes: Vec<u8>,
    pub received_at: Timestamp,
    pub zone: TimeZone,
    pub expect: Expect,
}

/// All lines of a directory under `tests/corpus`, by file.
pub fn lines(under: &str) -> Vec<Line> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let directory = corpus.join(under);
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    let mut lines = Vec::new();
    for path in files {
        let vendor = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{vendor}: {error}"));
        for written in file.line {
            let bytes = match (written.text, written.text_base64) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(text)) => base64(&text),
                _ => panic!("{vendor}: a line needs either text or text_base64"),
            };
            let received = written.received.as_deref().unwrap_or(RECEIVED);
            let zone = written.zone.as_deref().unwrap_or("UTC");
            lines.push(Line {
                vendor: vendor.clone(),
                bytes,
                received_at: received.parse().unwrap(),
                zone: TimeZone::get(zone).unwrap(),
                expect: written.expect,
            });
        }
    }
    lines
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = alphabet.iter().position(|known| *known == byte).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

/// The event that a line becomes.
pub fn event_of(line: &Line) -> Value {
    let origin = Origin {
        zone: &line.zone,
        ..Origin::new(PEER.parse().unwrap(), line.received_at, 65_536)
    };
    let mut element = Vec::new();
    parse_into(&line.bytes, &origin, &mut element);
    serde_json::from_slice(&element).unwrap()
}

//! Exports: rows as CSV or NDJSON while they are read, and who took what with them. A row of the config
//! audit stands before the first byte leaves, another says how it ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use mutt_engine::changes::Operation;
use mutt_engine::{Change, Engine, Note};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use utoipa::IntoParams;

use crate::error::{ApiError, Result};

/// The name under which exports stand in the config audit.
const TABLE: &str = "exports";

/// Rows that an export reads at once.
pub const CHUNK: usize = 1_000;
/// The most rows of one export: a longer one breaks off.
const EXPORT_MAX: usize = 1_000_000;
/// How long to wait before it is tried again to note an end, in seconds.
const NOTE_AGAIN: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// How to export.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `csv` or `ndjson` (the default).
    format: Option<String>,
    /// Why, for the config audit.
    pub reason: Option<String>,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Ndjson,
}

impl ExportQuery {
    pub fn format(&self) -> Result<Format> {
        match self.format.as_deref() {
            None | Some("ndjson" | "") => Ok(Format::Ndjson),
            Some("csv") => Ok(Format::Csv),
            Some(other) => {
                let text = format!("'{other}' is not allowed; csv or ndjson is");
                Err(ApiError::field("format", text))
            }
        }
    }
}

/// An export on its way.
pub struct Export {
    engine: Arc<dyn Engine>,
    by: Change,
    id: String,
    sender: mpsc::Sender<io::Result<Bytes>>,
    rows: u64,
}

impl Export {
    /// Puts the export on record and begins its answer. `what` names the trail, `filters` what of it.
    pub async fn begin(
        engine: Arc<dyn Engine>,
        by: Change,
        what: &str,
        format: Format,
        filters: Value,
    ) -> Result<(Self, Response)> {
        let id = uuid::Uuid::now_v7().to_string();
        let (kind, ending) = match format {
            Format::Csv => ("text/csv; charset=utf-8", "csv"),
            Format::Ndjson => ("application/x-ndjson", "ndjson"),
        };
        let note = Note {
            operation: Operation::Create,
            table: TABLE,
            key: Some(id.clone()),
            values: json!({ "what": what, "format": ending, "filters": filters }),
        };
        engine.note(note, &by).await?;
        let (sender, receiver) = mpsc::channel(2);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let disposition = format!("attachment; filename=\"{what}.{ending}\"");
        let headers = [
            (header::CONTENT_TYPE, kind.to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ];
        let export = Self {
            engine,
            by,
            id,
            sender,
            rows: 0,
        };
        Ok((export, (headers, body).into_response()))
    }

    /// Sends page after page in the background, the first of which is here. `id` is what the next page
    /// comes before.
    pub fn run<Row, Fetch>(
        mut self,
        format: Format,
        first: Vec<Row>,
        id: fn(&Row) -> i64,
        written: fn(Vec<Row>, Format, bool) -> Bytes,
        fetch: impl Fn(Option<i64>) -> Fetch + Send + 'static,
    ) where
        Row: Send + 'static,
        Fetch: Future<Output = mutt_engine::Result<Vec<Row>>> + Send,
    {
        tokio::spawn(async move {
            let (mut rows, mut left, mut header) = (first, EXPORT_MAX, format == Format::Csv);
            let end = loop {
                let count = rows.len();
                left = left.saturating_sub(count);
                let last = rows.last().map(id);
                let text = written(rows, format, header);
                header = false;
                if self.sender.send(Ok(text)).await.is_err() {
                    break End::Gone;
                }
                self.rows += count as u64;
                if count < CHUNK {
                    break End::Complete;
                }
                if left == 0 {
                    break End::Limit;
                }
                match fetch(last).await {
                    Ok(next) => rows = next,
                    Err(error) => {
                        tracing::warn!(%error, "an export broke off");
                        break End::Failed;
                    }
                }
            };
            self.end(end).await;
        });
    }

    /// Puts on record how it ended. What is not whole must not look so: its connection breaks.
    async fn end(self, how: End) {
        if matches!(how, End::Failed | End::Limit) {
            let _ = self.sender.send(Err(io::Error::other(how.name()))).await;
        }
        drop(self.sender);
        let note = Note {
            operation: Operation::Update,
            table: TABLE,
            key: Some(self.id),
            values: json!({ "rows": self.rows, "ended": how.name() }),
        };
        // The engine that failed the export may be the one that is to note it.
        for wait in NOTE_AGAIN {
            match self.engine.note(note.clone(), &self.by).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the end of an export is not on record yet"),
            }
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
        tracing::error!("how an export ended could not be put on record");
    }
}

/// How an export ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything was sent.
    Complete,
    /// There was more than one export may have.
    Limit,
    /// Whoever asked went away.
    Gone,
    /// The engine failed in the middle.
    Failed,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Limit => "limit",
            Self::Gone => "client went away",
            Self::Failed => "failed",
        }
    }
}

/// A cell that no spreadsheet takes for a formula.
pub fn cell(text: String) -> String {
    if text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{FF1D}', '\u{FF0B}', '\u{FF0D}', '\u{FF20}',
    ]) {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@x",
            "\t=1",
            "\r=1",
            "\n=1",
            "\u{FF1D}1",
        ] {
            assert_eq!(cell(text.to_owned()), format!("'{text}"));
        }
        for text in ["", "a=1", "'=1", "1", " x"] {
            assert_eq!(cell(text.to_owned()), text);
        }
    }
}

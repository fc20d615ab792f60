//! The items of a `_bulk` request: each becomes an event or a rejected record, and an answer in
//! Elasticsearch's shape.

use mutt_event::Batch;
use mutt_event::json::{self, Accept, Action, Bulk, BulkItem};
use mutt_http::Held;

use super::answer::{Failure, put, text};
use super::decode::{ADDED, MAX_RECORDS, Prepared, malformed, reason};
use crate::metrics::RejectReason;

/// What the answer to an item takes, in bytes, besides names that the sender chose.
const ANSWER: usize = 384;

/// Makes events of the items of a body. `holds` is what is booked on `held` already, in bytes;
/// `index` is for items that name none.
///
/// # Errors
/// A line of it says not what to do: nobody knows then which lines are documents.
pub(super) fn items(
    body: &[u8],
    index: &str,
    how: &Accept<'_>,
    holds: usize,
    held: &mut Held,
) -> Result<Prepared, Failure> {
    let lines = memchr::memchr_iter(b'\n', body).count() + 1;
    let items = lines.min(2 * MAX_RECORDS).div_ceil(2);
    let events = body.len() + items * ADDED;
    let answers = body.len() / 4 + items * ANSWER;
    held.grow_to(holds + events + answers)
        .map_err(|_| Failure::crowded())?;
    let mut prepared = Prepared::default();
    prepared.is_batch = true;
    prepared.batch = Batch::with_capacity(items, events);
    let mut answer = Vec::with_capacity(answers.min(1 << 20));
    for item in Bulk::new(body) {
        let item = item.map_err(malformed)?;
        if prepared.records() == MAX_RECORDS {
            return Err(Failure::too_many(MAX_RECORDS));
        }
        take(&item, index, how, &mut prepared, &mut answer);
    }
    if prepared.records() == 0 {
        return Err(Failure::malformed(
            RejectReason::Json,
            "the request holds no items: send an action line and a document line per event"
                .to_owned(),
        ));
    }
    prepared.items = Some(answer);
    Ok(prepared)
}

fn take(
    item: &BulkItem<'_>,
    index: &str,
    how: &Accept<'_>,
    prepared: &mut Prepared,
    answer: &mut Vec<u8>,
) {
    if prepared.records() > 0 {
        answer.push(b',');
    }
    put(
        answer,
        format_args!(r#"{{"{}":{{"_index":"#, item.action.name()),
    );
    text(answer, item.index.as_deref().unwrap_or(index));
    answer.extend_from_slice(br#","_id":"#);
    let document = item.document.unwrap_or_default();
    let refused = match item.action {
        Action::Index | Action::Create => {
            let accepted = prepared
                .batch
                .try_push_with(|out| json::accept_document(document, how, out));
            match accepted {
                Ok(event) => {
                    match &item.id {
                        Some(id) => text(answer, id),
                        None => put(answer, format_args!("\"{event}\"")),
                    }
                    answer.extend_from_slice(br#","_version":1,"result":"created","status":201}}"#);
                    return;
                }
                Err(why) => {
                    let kind = match reason(&why) {
                        RejectReason::Json => "document_parsing_exception",
                        _ => "mapper_parsing_exception",
                    };
                    prepared.reject(reason(&why), document, why.message.clone());
                    (kind, why.message)
                }
            }
        }
        Action::Update => {
            let why = "events are not changed: send them with `index` or `create`".to_owned();
            prepared.reject(RejectReason::Request, document, why.clone());
            ("illegal_argument_exception", why)
        }
        Action::Delete => {
            prepared.count_rejected(RejectReason::Request);
            let why = "events are not deleted by whoever sends them".to_owned();
            ("illegal_argument_exception", why)
        }
    };
    let (kind, why) = refused;
    match &item.id {
        Some(id) => text(answer, id),
        None => answer.extend_from_slice(b"null"),
    }
    put(
        answer,
        format_args!(r#","status":400,"error":{{"type":"{kind}","reason":"#),
    );
    text(answer, &why);
    answer.extend_from_slice(b"}}}");
}

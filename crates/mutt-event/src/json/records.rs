//! From a request body to its records.
//!
//! Only the outline is looked at here (strings and brackets), so that one bad record of a batch is
//! that record's trouble: [`accept`](super::accept) says what is wrong with it.

use memchr::memchr;

use super::Rejected;

/// The records of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// One object.
    Single(&'a [u8]),
    /// An array's elements, or lines; each may still turn out to be no event. Never empty.
    Batch(Vec<&'a [u8]>),
}

/// Splits a body into records: a JSON object, a JSON array of objects, or newline-delimited objects
/// (blank lines do not matter; an object may be spread over several lines). A byte order mark and
/// white space around are tolerated.
///
/// # Errors
/// [`Rejected`] where nothing can be told apart: an empty body, a broken array, neither object nor
/// array.
pub fn records(body: &[u8]) -> Result<Records<'_>, Rejected> {
    let body = trim(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    match body.first() {
        None => Err(Rejected::not_json(
            "the body is empty: send a JSON object, a JSON array of objects, or one object per line",
        )),
        Some(b'[') => array(body).map(Records::Batch),
        Some(b'{') => {
            let Some(newline) = memchr(b'\n', body) else {
                return Ok(Records::Single(body));
            };
            match object_end(body) {
                Some(end) if end == body.len() => Ok(Records::Single(body)),
                Some(end) if end > newline => Ok(Records::Batch(objects(body))),
                _ => Ok(Records::Batch(lines(body))),
            }
        }
        Some(_) => {
            let lines = lines(body);
            if lines.iter().any(|line| line.first() == Some(&b'{')) {
                Ok(Records::Batch(lines))
            } else {
                // Says more exactly what it is: a number, a string, no JSON.
                Ok(Records::Single(body))
            }
        }
    }
}

fn trim(mut text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    while text.first().is_some_and(blank) {
        text = &text[1..];
    }
    while text.last().is_some_and(blank) {
        text = &text[..text.len() - 1];
    }
    text
}

fn lines(body: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::with_capacity(body.len() / 256 + 1);
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        let line = trim(line);
        if !line.is_empty() {
            lines.push(line);
        }
        rest = after;
    }
    lines
}

/// Objects that follow one another, the first of them spread over lines. Where the outline breaks,
/// the rest is one record, which will be rejected.
fn objects(body: &[u8]) -> Vec<&[u8]> {
    let mut objects = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let end = if rest[0] == b'{' {
            object_end(rest)
        } else {
            None
        }
        .unwrap_or(rest.len());
        objects.push(&rest[..end]);
        rest = trim(&rest[end..]);
    }
    objects
}

/// Just behind the object that `text` begins with; `None` where it does not end.
fn object_end(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => at = string_end(text, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// Just behind the closing quote of the string whose inside begins at `at`. A raw line end does not
/// belong in a JSON string: there the outline is broken.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            b'\n' => return None,
            _ => at += 1,
        }
    }
}

fn array(body: &[u8]) -> Result<Vec<&[u8]>, Rejected> {
    let broken = |what: &str| Rejected::not_json(format!("not a valid JSON array: {what}"));
    let mut elements = Vec::with_capacity(body.len() / 256 + 1);
    let mut depth = 0_usize;
    let mut start = 1;
    let mut at = 1;
    loop {
        match body.get(at) {
            None => return Err(broken("it does not end (`]` is missing)")),
            Some(b'"') => {
                at = string_end(body, at + 1).ok_or_else(|| broken("a string does not end"))?;
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(b']') if depth == 0 => break,
            Some(b'}' | b']') => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| broken("a `}` too many"))?;
            }
            Some(b',') if depth == 0 => {
                elements.push(trim(&body[start..at]));
                start = at + 1;
            }
            Some(_) => {}
        }
        at += 1;
    }
    let last = trim(&body[start..at]);
    if at + 1 != body.len() {
        return Err(broken("there is text after its `]`"));
    }
    if last.is_empty() && elements.is_empty() {
        return Err(Rejected::not_object(
            "the array is empty: send at least one event",
        ));
    }
    elements.push(last);
    Ok(elements)
}

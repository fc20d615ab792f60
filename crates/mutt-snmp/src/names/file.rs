//! The operator's names file: one name per line, as `OID name` or, as lists made with snmptranslate
//! often are, `name = OID`.
//!
//! Promises that a wrong line costs that line alone, and that the error says which one and why.

use crate::oid::Oid;

use super::{Entry, Kind, MAX_NAME, Origin};

/// One name of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is named.
    pub oid: Oid<'static>,
    /// Its name, without a module in front.
    pub name: Box<str>,
}

/// A line that says no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct LineError {
    /// Which line, from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

impl From<Line> for Entry {
    /// Whether it is a notification or a variable the file does not say: an identifier that stands
    /// in snmpTrapOID is looked up as a notification, so it counts as one.
    fn from(line: Line) -> Self {
        Self::new(line.oid, &*line.name, Kind::Trap, Origin::NamesFile)
    }
}

/// The names of a file's text, and the lines that are none. Empty lines and what follows a `#` say
/// nothing.
pub fn parse(text: &str) -> (Vec<Line>, Vec<LineError>) {
    let mut names = Vec::new();
    let mut errors = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let line = line.trim_start_matches('\u{feff}');
        if line.is_empty() {
            continue;
        }
        match read(line) {
            Ok(name) => names.push(name),
            Err(reason) => errors.push(LineError {
                line: index + 1,
                reason,
            }),
        }
    }
    (names, errors)
}

fn read(line: &str) -> Result<Line, String> {
    let (oid, name) = match line.split_once('=') {
        Some((name, oid)) => (oid.trim(), name.trim()),
        None => match line.split_once(|c: char| c.is_ascii_whitespace()) {
            Some((oid, name)) => (oid, name.trim()),
            None => {
                return Err(format!(
                    "'{line}' is one word; expected an OID and a name, such as \
                     1.3.6.1.4.1.99999.0.1 pumpFailed, or pumpFailed = 1.3.6.1.4.1.99999.0.1"
                ));
            }
        },
    };
    let oid: Oid<'static> = oid
        .parse()
        .map_err(|error| format!("'{oid}' is no OID: {error}"))?;
    // snmptranslate puts the module in front.
    let name = name.rsplit("::").next().unwrap_or(name);
    if name.is_empty() {
        return Err("the name is missing".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!("the name is longer than {MAX_NAME} bytes"));
    }
    if let Some(wrong) = name
        .chars()
        .find(|&c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')))
    {
        return Err(format!(
            "'{name}' is no name: '{wrong}' is neither a letter, a digit, '-', '_' nor '.'"
        ));
    }
    Ok(Line {
        oid,
        name: name.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let (names, errors) = parse(
            "# pumps\n\n.1.3.6.1.4.1.99999.0.1 pumpFailed # of hall 3\n\
             pumpOk = 1.3.6.1.4.1.99999.0.2\nIF-MIB::ifDescr = .1.3.6.1.2.1.2.2.1.2\r\n\
             1.3.6.1.4.1.99999\tpumps\n",
        );
        assert_eq!(errors, []);
        let names: Vec<_> = names
            .iter()
            .map(|line| format!("{} {}", line.oid, line.name))
            .collect();
        assert_eq!(
            names,
            [
                "1.3.6.1.4.1.99999.0.1 pumpFailed",
                "1.3.6.1.4.1.99999.0.2 pumpOk",
                "1.3.6.1.2.1.2.2.1.2 ifDescr",
                "1.3.6.1.4.1.99999 pumps",
            ]
        );
    }

    #[test]
    fn a_wrong_line_is_named_and_costs_no_other() {
        let (names, errors) = parse(
            "1.3.6.1.4.1.9 mine\n1.3.six oops\npumpFailed\n1.3.6.1 two words\nx =\n= 1.3.6\n\
             1.3.6.1.4.1.10 also\n",
        );
        assert_eq!(names.len(), 2);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "line 2: '1.3.six' is no OID: a part is no number",
                "line 3: 'pumpFailed' is one word; expected an OID and a name, such as \
                 1.3.6.1.4.1.99999.0.1 pumpFailed, or pumpFailed = 1.3.6.1.4.1.99999.0.1",
                "line 4: 'two words' is no name: ' ' is neither a letter, a digit, '-', '_' nor '.'",
                "line 5: '' is no OID: it has no numbers",
                "line 6: the name is missing",
            ]
        );
    }
}

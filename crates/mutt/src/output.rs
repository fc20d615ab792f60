//! Output for people and for machines: colour and tables on a terminal, plain text elsewhere.

use std::io::{IsTerminal as _, Write as _};

use jiff::Timestamp;
use serde::Serialize;

/// Terminal styles by their SGR code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Wrong.
    Red,
    /// Worth a look.
    Yellow,
    /// Good.
    Green,
    /// A name.
    Cyan,
}

/// Whether standard output takes colour: a terminal, and `NO_COLOR` is not set.
pub fn colour() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var("TERM").as_deref() != Ok("dumb")
}

/// `text` in this style where colour is wanted.
pub fn paint(colour: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Plain => return text.to_owned(),
        Style::Dim => 2,
        Style::Bold => 1,
        Style::Red => 31,
        Style::Yellow => 33,
        Style::Green => 32,
        Style::Cyan => 36,
    };
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Text from outside, safe to show: control characters cannot move the cursor or change colours.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// At most `width` characters, the last an ellipsis where something was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The terminal's width in columns; 100 where there is none.
pub fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .unwrap_or_else(|| {
            terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
        })
}

/// Prints a value as JSON, one line.
pub fn json(value: &impl Serialize) {
    line(&serde_json::to_string(value).expect("what we print is representable as JSON"));
}

/// Prints a line; a reader that went away ends the program quietly.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A table without borders: columns as wide as their widest cell, the last as long as it is.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| harmless(&cell)).collect());
    }

    /// Whether there is nothing under the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// The lines; on a terminal cut to its width.
    pub fn lines(&self, colour: bool, width: Option<usize>) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        self.rows
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let mut text = String::new();
                for (column, cell) in row.iter().enumerate() {
                    text.push_str(cell);
                    if column + 1 < row.len() {
                        let gap = widths[column] - cell.chars().count() + 2;
                        text.extend(std::iter::repeat_n(' ', gap));
                    }
                }
                let text = width.map_or(text.clone(), |width| cut(&text, width));
                if index == 0 {
                    paint(colour, Style::Bold, &text)
                } else {
                    text
                }
            })
            .collect()
    }

    /// Prints it.
    pub fn print(&self) {
        let terminal = std::io::stdout().is_terminal();
        for text in self.lines(colour(), terminal.then(width)) {
            line(&text);
        }
    }
}

/// A time as a person at this machine reads it, with its offset.
pub fn local(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S%:z")
        .to_string()
}

/// A count with thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_nothing_from_outside_moves_the_cursor() {
        let mut table = Table::new(&["ID", "HOST"]);
        table.row(["1".into(), "a\x1b[2Jb".into()]);
        table.row(["1000".into(), "c".into()]);
        assert_eq!(
            table.lines(false, None),
            ["ID    HOST", "1     a [2Jb", "1000  c"]
        );
        assert_eq!(table.lines(false, Some(6))[1], "1    …");
    }

    #[test]
    fn counts_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
    }
}

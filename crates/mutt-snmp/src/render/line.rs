//! A text that never grows beyond its limit, and says so where it would have.

use std::fmt;

/// What stands at the end of a text that was cut.
pub const CUT: &str = " … (cut)";

/// Appends to a text until the limit is reached; what comes after that is dropped.
pub(crate) struct Line<'o> {
    out: &'o mut String,
    /// Length of `out` that is never passed, the mark included.
    limit: usize,
    cut: bool,
}

impl<'o> Line<'o> {
    /// At most `limit` bytes are added to `out`; `limit` has room for the mark.
    pub(crate) fn new(out: &'o mut String, limit: usize) -> Self {
        let limit = out.len() + limit.max(CUT.len());
        Self {
            out,
            limit,
            cut: false,
        }
    }

    /// Whether nothing more will be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.cut
    }

    /// Appends a text that has no line ends.
    pub(crate) fn push(&mut self, text: &str) {
        if self.cut {
            return;
        }
        if self.out.len() + text.len() <= self.limit {
            self.out.push_str(text);
            return;
        }
        self.cut = true;
        let mut room = self.limit.saturating_sub(self.out.len()).min(text.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.out.push_str(&text[..room]);
        let mut end = self.limit - CUT.len();
        if self.out.len() > end {
            while !self.out.is_char_boundary(end) {
                end -= 1;
            }
            self.out.truncate(end);
        }
        self.out.push_str(CUT);
    }

    /// Appends a text from outside: whatever is no visible character becomes a blank.
    pub(crate) fn push_plain(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            self.push(&rest[..at]);
            if self.cut {
                return;
            }
            self.push(" ");
            let end = rest[at..]
                .find(|c: char| !c.is_control())
                .map_or(rest.len(), |more| at + more);
            rest = &rest[end..];
        }
        self.push(rest);
    }
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_whatever_comes() {
        for limit in 0..40 {
            for pieces in [
                &["abc", "ä", "€uro", "a long piece of text"][..],
                &["ää", "ää"],
            ] {
                let mut out = String::from("x");
                let mut line = Line::new(&mut out, limit);
                for piece in pieces {
                    line.push(piece);
                }
                let cut = line.is_full();
                let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
                assert!(out.len() <= 1 + limit.max(CUT.len()), "{limit}: {out}");
                assert_eq!(cut, whole > limit.max(CUT.len()), "{limit}: {out}");
                assert_eq!(cut, out.ends_with(CUT), "{limit}: {out}");
                if !cut {
                    assert_eq!(out, format!("x{}", pieces.concat()));
                }
            }
        }
    }

    #[test]
    fn control_characters_become_one_blank() {
        let mut out = String::new();
        Line::new(&mut out, 100).push_plain("two\r\nlines\x07 and\u{85}more\n");
        assert_eq!(out, "two lines  and more ");
    }
}

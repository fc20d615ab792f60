//! Refuses files that would break the reader of MIBs before it sees them: it follows braces, brackets
//! and numbers by calling itself or by copying, and has no bound of its own.
//!
//! Looks at octets alone and takes nothing apart. No MIB file of a device comes near the bounds.

/// How deep braces may be nested. MIBs nest three.
const MAX_BRACES: usize = 100;

/// How many bracketed tags may follow one another. MIBs have none.
const MAX_TAGS: usize = 100;

/// How many numbers may follow one another; an object identifier has at most 128.
const MAX_NUMBERS: usize = 300;

/// Why the reader must not see this file.
pub(super) fn refusal(octets: &[u8]) -> Option<String> {
    let mut braces: usize = 0;
    let mut tags: usize = 0;
    let mut numbers: usize = 0;
    let mut before = b' ';
    for &octet in octets {
        match octet {
            b'{' => braces += 1,
            b'}' => braces = braces.saturating_sub(1),
            b'[' => tags += 1,
            // What may stand between two tags: their numbers and words such as IMPLICIT.
            b']' => {}
            _ if octet.is_ascii_alphanumeric() || octet.is_ascii_whitespace() => {}
            _ => tags = 0,
        }
        if octet.is_ascii_digit() {
            numbers += usize::from(!before.is_ascii_digit());
        } else if !octet.is_ascii_whitespace() {
            numbers = 0;
        }
        before = octet;
        if braces > MAX_BRACES {
            return Some(format!(
                "is not read: its braces are nested more than {MAX_BRACES} deep"
            ));
        }
        if tags > MAX_TAGS {
            return Some(format!(
                "is not read: it has more than {MAX_TAGS} tags in brackets one after another"
            ));
        }
        if numbers > MAX_NUMBERS {
            return Some(format!(
                "is not read: it has more than {MAX_NUMBERS} numbers one after another"
            ));
        }
    }
    None
}

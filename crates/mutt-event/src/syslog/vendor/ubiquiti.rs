//! Ubiquiti `UniFi`.

use super::super::content::is_mac;

/// The name in `sw-office,788a20000001,v4.0.66.10832`. Older devices write their model where the name
/// should be, which is no name: there the whole word stays, because it is the device's alone.
pub(super) fn without_model(word: &str) -> &str {
    let mut parts = word.split(',');
    match (parts.next(), parts.next()) {
        (Some(name), Some(address)) if is_mac(address) && !is_model(name) => name,
        _ => word,
    }
}

/// `U7PG2`, `UAP`, `US24P250`: models are in capitals and begin with a U.
fn is_model(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    name.is_empty() || (name.starts_with('U') && name.bytes().all(plain))
}

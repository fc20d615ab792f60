//! The key that a request shows. `X-API-KEY` is MUTT's own header; clients of Elasticsearch can only
//! say `Authorization`, where the key is the secret part of an API key or of a basic login.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, header};
use mutt_http::Keys;

/// Whether the key in `X-API-KEY` is valid.
pub(super) fn has_key(headers: &HeaderMap, keys: &Keys) -> bool {
    headers
        .get("x-api-key")
        .is_some_and(|key| keys.is_valid(key.as_bytes()))
}

/// As [`has_key`], or the one in `Authorization`: `ApiKey` with the key itself or with base64 of
/// `id:key`, `Basic` with the key as the password. Names and ids do not matter.
pub(super) fn has_key_as_elastic(headers: &HeaderMap, keys: &Keys) -> bool {
    if has_key(headers, keys) {
        return true;
    }
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return false;
    };
    let value = value.as_bytes().trim_ascii();
    let Some(space) = value.iter().position(|byte| *byte == b' ') else {
        return false;
    };
    let (scheme, shown) = (&value[..space], value[space..].trim_ascii());
    let secret = decoded(shown);
    let secret = secret.as_deref().and_then(behind_colon);
    let is_valid = |key: Option<&[u8]>| key.is_some_and(|key| keys.is_valid(key));
    if scheme.eq_ignore_ascii_case(b"apikey") {
        is_valid(secret) || keys.is_valid(shown)
    } else {
        scheme.eq_ignore_ascii_case(b"basic") && is_valid(secret)
    }
}

fn decoded(shown: &[u8]) -> Option<Vec<u8>> {
    let decoded = STANDARD.decode(shown);
    decoded.or_else(|_| STANDARD_NO_PAD.decode(shown)).ok()
}

/// A key may hold colons, a name may not.
fn behind_colon(login: &[u8]) -> Option<&[u8]> {
    let colon = login.iter().position(|byte| *byte == b':')?;
    Some(&login[colon + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_wherever_clients_can_put_it() {
        let keys = Keys::new(["k:ey"]);
        let encoded = |login: &str| STANDARD.encode(login);
        for (value, expected) in [
            (format!("ApiKey {}", encoded("id:k:ey")), true),
            (format!("apikey {}", encoded("id:k:ey")), true),
            ("ApiKey k:ey".to_owned(), true),
            (format!("Basic {}", encoded("elastic:k:ey")), true),
            (
                format!("basic  {}", encoded(":k:ey").trim_end_matches('=')),
                true,
            ),
            (format!("Basic {}", encoded("k:ey")), false),
            (format!("Basic {}", encoded("elastic:wrong")), false),
            ("Basic k:ey".to_owned(), false),
            (format!("Bearer {}", encoded("id:k:ey")), false),
            ("ApiKey".to_owned(), false),
            ("ApiKey ".to_owned(), false),
            ("Basic %%%".to_owned(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(has_key_as_elastic(&headers, &keys), expected, "{value}");
            assert!(!has_key(&headers, &keys));
            headers.insert("x-api-key", "k:ey".parse().unwrap());
            assert!(has_key_as_elastic(&headers, &keys) && has_key(&headers, &keys));
        }
    }
}

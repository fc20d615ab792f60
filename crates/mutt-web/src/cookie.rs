//! What a browser shows and is given: the session cookie, the token against forged requests (CSRF),
//! and whether a request comes from our own pages. Knows nothing of keys and of where sessions are.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::access::hex;
use crate::error::{ApiError, Result};

/// The header that shows the token against forged requests.
pub const CSRF: &str = "x-csrf-token";

/// How the session cookie is given.
#[derive(Clone, Copy, Debug)]
pub struct Cookie {
    /// Only over HTTPS.
    secure: bool,
}

impl Cookie {
    pub fn new(secure: bool) -> Self {
        Self { secure }
    }

    fn name(self) -> &'static str {
        // Browsers take a cookie with this prefix from this very host, over HTTPS, and no other.
        if self.secure {
            "__Host-mutt_session"
        } else {
            "mutt_session"
        }
    }

    /// The token that a browser shows, if it can be one. Two cookies of that name are none: another
    /// host of the site, or another port of this one, may have set the first.
    pub fn token(self, headers: &HeaderMap) -> Option<&str> {
        let mut shown = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|&(name, _)| name == self.name())
            .map(|(_, token)| token);
        let token = shown.next().filter(|token| is_token(token))?;
        shown.all(|other| other == token).then_some(token)
    }

    /// `Set-Cookie` with this token, for so many seconds.
    pub fn set(self, token: &str, seconds: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!(
            "{}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}",
            self.name()
        ))
        .ok()
    }

    /// `Set-Cookie` that takes it away.
    pub fn clear(self) -> Option<HeaderValue> {
        self.set("", 0)
    }
}

/// A new token: 32 random bytes.
pub fn new_token() -> String {
    hex(&rand::random::<[u8; 32]>())
}

fn is_token(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The token against forged requests that goes with a session's token. Who knows it does not know
/// the session's, and the other way round nobody who has the session needs to guess.
pub fn csrf_token(token: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"mutt csrf ");
    hasher.update(token);
    hex(&hasher.finalize())
}

/// Whether a method changes nothing.
fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

/// Refuses what changes something without the token that only our own pages know.
pub fn check_csrf(method: &Method, headers: &HeaderMap, token: &str) -> Result<()> {
    let right = csrf_token(token);
    let shown = headers.get(CSRF).map_or(&b""[..], HeaderValue::as_bytes);
    if is_safe(method) || bool::from(shown.ct_eq(right.as_bytes())) {
        return Ok(());
    }
    Err(forbidden(
        "with a session the header X-CSRF-Token is needed, with the csrf_token that \
         GET /api/v2/session answers; it is missing or wrong",
    ))
}

/// Refuses what a page of somebody else's sent.
pub fn check_origin(headers: &HeaderMap) -> Result<()> {
    // Browsers say it themselves, and no page can change it; not all say it without TLS.
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Err(forbidden(
            "this request was sent by a page of another site (Sec-Fetch-Site)",
        ));
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok();
    let from = origin.and_then(|origin| origin.split_once("://"));
    match (from, host) {
        (Some((_, from)), Some(host)) if from.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(forbidden(
            "this request was sent by a page of another site: its Origin is not the Host that was \
             asked; a proxy in between must hand Host on as the browser sent it",
        )),
    }
}

fn forbidden(detail: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_found_among_other_cookies() {
        let (plain, secure) = (Cookie::new(false), Cookie::new(true));
        let token = "0123456789abcdef".repeat(4);
        let both = format!("a=b; mutt_session={token};c=d");
        assert_eq!(plain.token(&headers(&[("cookie", &both)])), Some(&*token));
        let second = headers(&[("cookie", "theme=dark"), ("cookie", &both)]);
        assert_eq!(plain.token(&second), Some(&*token));
        assert_eq!(secure.token(&second), None);
        let prefixed = format!("mutt_session=x; __Host-mutt_session={token}");
        assert_eq!(
            secure.token(&headers(&[("cookie", &prefixed)])),
            Some(&*token)
        );
        let two = format!("mutt_session={token}; mutt_session={}", "0".repeat(64));
        for wrong in [
            "",
            &two,
            "mutt_session",
            "mutt_session=",
            "mutt_session=abc",
            &format!("mutt_session=\"{token}\""),
            &format!("mutt_session={}", token.to_uppercase()),
            &format!("mutt_session={token}x"),
            &format!("mutt_session2={token}"),
            &format!("mutt_session=mutt:sessions:{}", &token[14..]),
        ] {
            assert_eq!(plain.token(&headers(&[("cookie", wrong)])), None, "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_out_of_reach() {
        assert_eq!(
            Cookie::new(false).set("t", 60).unwrap(),
            "mutt_session=t; HttpOnly; SameSite=Strict; Path=/; Max-Age=60"
        );
        assert_eq!(
            Cookie::new(true).clear().unwrap(),
            "__Host-mutt_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0; Secure"
        );
    }

    #[test]
    fn only_our_own_pages_are_let_through() {
        for (pairs, lets) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (
                &[("host", "mutt:8090"), ("origin", "http://mutt:8090")],
                true,
            ),
            (&[("host", "mutt"), ("origin", "https://MUTT")], true),
            (
                &[("host", "mutt:8090"), ("origin", "http://mutt:3000")],
                false,
            ),
            (
                &[("host", "mutt"), ("origin", "http://mutt.evil.example")],
                false,
            ),
            (&[("host", "mutt"), ("origin", "null")], false),
            (&[("origin", "http://mutt")], false),
            (
                &[
                    ("host", "mutt"),
                    ("origin", "http://evil.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
        ] {
            assert_eq!(check_origin(&headers(pairs)).is_ok(), lets, "{pairs:?}");
        }
    }

    #[test]
    fn what_changes_something_shows_the_token() {
        let token = new_token();
        let right = csrf_token(&token);
        assert_ne!(right, token);
        for (method, shown, lets) in [
            (Method::GET, None, true),
            (Method::HEAD, None, true),
            (Method::POST, None, false),
            (Method::PUT, Some("x"), false),
            (Method::DELETE, Some(&*token), false),
            (Method::PATCH, Some(&*right), true),
            (Method::from_bytes(b"ODD").unwrap(), None, false),
        ] {
            let shown: Vec<_> = shown.map(|shown| (CSRF, shown)).into_iter().collect();
            let checked = check_csrf(&method, &headers(&shown), &token);
            assert_eq!(checked.is_ok(), lets, "{method} {shown:?}");
        }
    }
}

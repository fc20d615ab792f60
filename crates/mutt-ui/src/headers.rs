//! What a request's headers ask for: an encoding, a copy that it has already, a page.

use http::{HeaderMap, HeaderName, header};

/// How a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Brotli,
    Gzip,
    Identity,
}

/// The members of a list that may stand in several headers.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// A member without its parameters, and its weight in thousandths.
fn weighted(member: &str) -> (&str, u32) {
    let mut parts = member.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts
        .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .map_or(1000, |weight| {
            let weight = weight.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 1000"
            )]
            let thousandths = (weight * 1000.0) as u32;
            thousandths
        });
    (name, weight)
}

/// The encoding to send, of those that there are.
pub fn preferred(headers: &HeaderMap, brotli: bool, gzip: bool) -> Encoding {
    let weight = |name: &str| {
        let mut any = 0;
        for (member, weight) in members(headers, header::ACCEPT_ENCODING).map(weighted) {
            if member.eq_ignore_ascii_case(name) {
                return weight;
            }
            if member == "*" {
                any = weight;
            }
        }
        any
    };
    let brotli = if brotli { weight("br") } else { 0 };
    let gzip = if gzip { weight("gzip") } else { 0 };
    if brotli > 0 && brotli >= gzip {
        Encoding::Brotli
    } else if gzip > 0 {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// Whether the request has a copy with this entity tag.
pub fn has_etag(headers: &HeaderMap, etag: &str) -> bool {
    members(headers, header::IF_NONE_MATCH)
        .any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

/// Whether the request takes a page. Who asks for JSON at a path that is not there wants to hear that.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::ACCEPT)
        || members(headers, header::ACCEPT)
            .map(weighted)
            .any(|(kind, weight)| {
                weight > 0
                    && ["text/html", "text/*", "*/*"]
                        .iter()
                        .any(|html| kind.eq_ignore_ascii_case(html))
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_best_encoding_that_is_accepted_and_there() {
        use Encoding::{Brotli, Gzip, Identity};
        for (accepted, brotli, gzip, expected) in [
            (&["gzip, deflate, br, zstd"][..], true, true, Brotli),
            (&["gzip, deflate, br"], false, true, Gzip),
            (&["gzip", "br"], true, true, Brotli),
            (&["br;q=0.5, gzip;q=0.8"], true, true, Gzip),
            (&["br;q=0, *"], true, true, Gzip),
            (&["br; q=0.000, gzip;q=0"], true, true, Identity),
            (&["*"], true, true, Brotli),
            (&["BR"], true, true, Brotli),
            (&["identity"], true, true, Identity),
            (&["gzipped, brotli"], true, true, Identity),
            (&["br;q=x"], true, true, Identity),
            (&[""], true, true, Identity),
            (&[], true, true, Identity),
            (&["br, gzip"], false, false, Identity),
        ] {
            let headers = headers(&header::ACCEPT_ENCODING, accepted);
            assert_eq!(preferred(&headers, brotli, gzip), expected, "{accepted:?}");
        }
    }

    #[test]
    fn a_copy_is_recognised() {
        for (known, same) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            let headers = headers(&header::IF_NONE_MATCH, &[known]);
            assert_eq!(has_etag(&headers, "\"a\""), same, "{known}");
        }
    }

    #[test]
    fn a_page_is_for_those_who_take_one() {
        for (accepted, takes) in [
            (&["text/html,application/xhtml+xml,*/*;q=0.8"][..], true),
            (&["*/*"], true),
            (&[], true),
            (&["application/json"], false),
            (&["text/event-stream"], false),
            (&["text/html;q=0, application/json"], false),
        ] {
            let headers = headers(&header::ACCEPT, accepted);
            assert_eq!(accepts_html(&headers), takes, "{accepted:?}");
        }
    }
}

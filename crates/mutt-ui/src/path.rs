//! What a path means: a page, or nothing of ours.

use percent_encoding::percent_decode_str;

/// Types by extension. Browsers are told not to guess.
const TYPES: [(&str, &str); 14] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("wasm", "application/wasm"),
    ("txt", "text/plain; charset=utf-8"),
];

/// What else people and scanners look for that is a file and not a page. Host names stand in paths of
/// pages, so a full stop alone says nothing.
const FILES: [&str; 17] = [
    "asp", "aspx", "bak", "br", "cgi", "env", "gz", "htm", "ini", "jpg", "jsp", "log", "php",
    "sql", "xml", "yaml", "zip",
];

fn extension(path: &str) -> Option<&str> {
    let path = path.trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map(|(_, extension)| extension)
}

/// The type of a file.
pub fn content_type(path: &str) -> &'static str {
    TYPES
        .iter()
        .find(|(known, _)| Some(*known) == extension(path))
        .map_or("application/octet-stream", |(_, kind)| kind)
}

/// Whether a path may be a page's: it does not look like a file, is not the API's, and plays no tricks.
pub fn is_page(path: &str) -> bool {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return false;
    };
    let slashes = |text: &str| text.matches('/').count();
    let is_honest = !decoded.contains(|c: char| c.is_control() || c == '\\')
        && slashes(&decoded) == slashes(path)
        && !decoded.contains("//")
        && decoded.split('/').all(|part| !part.starts_with('.'));
    let first = decoded.split('/').nth(1).unwrap_or_default();
    let is_file = extension(&decoded).is_some_and(|extension| {
        let extension = extension.to_ascii_lowercase();
        TYPES.iter().any(|(known, _)| *known == extension) || FILES.contains(&&*extension)
    });
    is_honest && !is_file && !matches!(first, "api" | "assets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_files_and_tricks() {
        for page in [
            "/events",
            "/rules/12",
            "/api-explorer",
            "/hosts/fw1.example.com",
            "/hosts/10.0.0.1",
            "/config/moog_rate_limit",
            "/search/a%20b%2B%C3%A4",
            "/events/",
        ] {
            assert!(is_page(page), "{page}");
        }
        for other in [
            "/api",
            "/api/v3/rules",
            "/%61pi/v2/rules",
            "/assets/index-gone.js",
            "/assets/",
            "/favicon.ico",
            "/robots.TXT",
            "/wp-login.php",
            "/.env",
            "/.git/config",
            "/../etc/passwd",
            "/events/..",
            "/events/%2e%2e/x",
            "/events/%2e%2e%2fx",
            "/events%2f12",
            "/events%5c..%5cx",
            "/events\\x",
            "//evil.example/x",
            "/events//x",
            "/events%00",
            "/events%0d%0aSet-Cookie:x",
            "/events%ff",
            "/index%2ehtml",
        ] {
            assert!(!is_page(other), "{other}");
        }
    }

    #[test]
    fn every_file_has_a_type() {
        assert_eq!(content_type("/icon.svg"), "image/svg+xml");
        assert_eq!(
            content_type("/assets/a.worker-x.js"),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(content_type("/v1.2/x"), "application/octet-stream");
    }
}

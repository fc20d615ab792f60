//! The files of the web interface, in the program: which one a request means, in which encoding, and
//! what a browser may do with it.
//!
//! Every path that is no file's and does not look like one is a page, which index.html shows. Knows
//! nothing of the API, except that `/api` is not here. A build without the interface says so.

mod headers;
mod path;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

use headers::{Encoding, accepts_html, has_etag, preferred};

/// A file of the interface.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its path, from `/`.
    pub path: &'static str,
    /// Its content.
    pub plain: &'static [u8],
    /// The same, compressed with Brotli.
    pub brotli: Option<&'static [u8]>,
    /// The same, compressed with gzip.
    pub gzip: Option<&'static [u8]>,
}

/// What was there when the program was built.
static EMBEDDED: &[File] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What a build without the interface shows. No styles: the policy lets none in that stand in a page.
const NOT_BUILT: File = File {
    path: "/index.html",
    plain: include_bytes!("not_built.html"),
    brotli: None,
    gzip: None,
};

/// What a page may load, run and connect to: what is ours, and nothing that stands in a page itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types mutt",
);

/// The interface.
#[derive(Debug)]
pub struct Ui {
    files: HashMap<&'static str, Served>,
    index: Served,
}

#[derive(Debug)]
struct Served {
    file: File,
    /// Made when somebody asks: a start need not wait for it.
    hash: OnceLock<String>,
}

impl Served {
    fn new(file: File) -> Self {
        Self {
            file,
            hash: OnceLock::new(),
        }
    }

    fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            let hash = Sha256::digest(self.file.plain);
            hash[..16].iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        })
    }
}

impl Ui {
    /// The interface that was there when the program was built.
    pub fn embedded() -> Self {
        Self::new(EMBEDDED)
    }

    /// The interface that consists of these files. Without `/index.html` there is none.
    pub fn new(files: &[File]) -> Self {
        let index = files.iter().find(|file| file.path == "/index.html");
        Self {
            files: files
                .iter()
                .filter(|_| index.is_some())
                .map(|file| (file.path, Served::new(*file)))
                .collect(),
            index: Served::new(index.copied().unwrap_or(NOT_BUILT)),
        }
    }

    /// Whether there is an interface.
    pub fn is_built(&self) -> bool {
        !self.files.is_empty()
    }

    /// The answer to a request that means something of the interface; `None` where it does not.
    pub fn answer(&self, request: &Request) -> Option<Response> {
        let path = request.uri().path();
        let served = match self.files.get(path) {
            Some(served) => served,
            None if path == "/" => &self.index,
            None if path::is_page(path) && accepts_html(request.headers()) => &self.index,
            None => return None,
        };
        match *request.method() {
            Method::GET | Method::HEAD => Some(respond(served, request.headers())),
            // What a page would be is not there for anybody else.
            _ if path == "/" || self.files.contains_key(path) => Some(wrong_method()),
            _ => None,
        }
    }
}

fn wrong_method() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

fn respond(served: &Served, asked: &HeaderMap) -> Response {
    let file = &served.file;
    let encoding = preferred(asked, file.brotli.is_some(), file.gzip.is_some());
    let (bytes, suffix) = match encoding {
        Encoding::Brotli => (file.brotli, "-br"),
        Encoding::Gzip => (file.gzip, "-gz"),
        Encoding::Identity => (Some(file.plain), ""),
    };
    let etag = format!("\"{}{suffix}\"", served.hash());
    let unchanged = has_etag(asked, &etag);
    let mut response = Response::new(if unchanged {
        Body::empty()
    } else {
        Body::from(bytes.unwrap_or(file.plain))
    });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let mut set = |name, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    if !unchanged {
        set(header::CONTENT_TYPE, path::content_type(file.path));
    }
    match encoding {
        Encoding::Brotli => set(header::CONTENT_ENCODING, "br"),
        Encoding::Gzip => set(header::CONTENT_ENCODING, "gzip"),
        Encoding::Identity => {}
    }
    if file.brotli.is_some() || file.gzip.is_some() {
        set(header::VARY, "Accept-Encoding");
    }
    set(
        header::CACHE_CONTROL,
        // Whatever is in there has a hash in its name.
        if file.path.starts_with("/assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        },
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Of scripts too: a worker's is the policy that it works under.
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

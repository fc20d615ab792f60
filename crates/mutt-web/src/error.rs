//! What goes wrong, said once: a problem of RFC 9457 under `/api/v2`, `{"error"}` under `/api/v1`.
//!
//! A handler returns an [`ApiError`]; it travels in the response's extensions to the outermost
//! layer, which knows the version that was asked and the correlation id, and writes the body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mutt_engine::EngineError;
use mutt_rules::Invalid;
use serde::Serialize;
use utoipa::ToSchema;

/// The longest text of an error, in bytes.
const TEXT_MAX: usize = 4_000;

/// The result of a handler.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field, as a path: `rule.priority`, `lines[3]`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub message: String,
    /// Where in the field's text, in characters from 0, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

/// An error as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What went wrong and what to do.
    detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The request's correlation id.
    correlation_id: String,
}

/// Why a request was not done.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    /// What `/api/v1` says instead.
    v1: Option<String>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            v1: None,
            retry_after: None,
        }
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What is wrong, in words.
    pub fn text(self) -> String {
        self.detail
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// One field is wrong.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError {
            field: field.into(),
            message: message.into(),
            position: None,
        }])
    }

    /// Several fields are wrong.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail: Vec<_> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect();
        Self {
            errors,
            ..Self::bad(detail.join("; "))
        }
    }

    /// This error, said in these words under `/api/v1`.
    #[must_use]
    pub fn or_v1(mut self, words: impl Into<String>) -> Self {
        self.v1 = Some(words.into());
        self
    }

    /// This error, which may be gone after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// This error, of fields within another one.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        for error in &mut self.errors {
            error.field = format!("{outer}.{}", error.field);
        }
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The whole response.
    pub fn render(mut self, v1: bool, correlation_id: &str) -> Response {
        // What is wrong may be quoted, and be megabytes long.
        shorten(&mut self.detail);
        if let Some(words) = &mut self.v1 {
            shorten(words);
        }
        for error in &mut self.errors {
            shorten(&mut error.field);
            shorten(&mut error.message);
        }
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (kind, body) = if v1 {
            let mut body = serde_json::json!({ "error": self.v1.unwrap_or(self.detail) });
            if self.status == StatusCode::UNAUTHORIZED {
                body["correlation_id"] = correlation_id.into();
            }
            ("application/json", body.to_string())
        } else {
            let problem = Problem {
                r#type: "about:blank",
                title,
                status: self.status.as_u16(),
                detail: self.detail,
                errors: self.errors,
                correlation_id: correlation_id.to_owned(),
            };
            let body = serde_json::to_string(&problem).unwrap_or_default();
            ("application/problem+json", body)
        };
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Cuts what nobody reads to its end.
fn shorten(text: &mut String) {
    if text.len() <= TEXT_MAX {
        return;
    }
    let mut end = TEXT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::NotFound(_) => StatusCode::NOT_FOUND,
            EngineError::Conflict(_) => StatusCode::CONFLICT,
            EngineError::Invalid(text) => return invalid(text),
            EngineError::Full { .. }
            | EngineError::SpoolFull { .. }
            | EngineError::Unavailable(_)
            | EngineError::Fenced
            | EngineError::Unusable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let wait = error.is_temporary().then(|| error.retry_after().as_secs());
        Self {
            retry_after: wait,
            ..Self::new(status, error.to_string())
        }
    }
}

/// The engine names the field before a colon.
fn invalid(text: &str) -> ApiError {
    let is_name = |field: &str| {
        !field.is_empty()
            && field
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    match text.split_once(": ") {
        Some((field, message)) if is_name(field) => ApiError::field(field, message),
        _ => ApiError::bad(text),
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::fields(
            invalid
                .0
                .into_iter()
                .map(|error| FieldError {
                    field: error.field.to_owned(),
                    message: error.message,
                    position: error.position,
                })
                .collect(),
        )
    }
}

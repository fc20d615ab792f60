//! What a rule may say. A rule that breaks these is refused when it is written.

use std::fmt;

use serde::Serialize;

use crate::matcher::Pattern;
use crate::{MatchType, Oid, RuleDraft};

/// How long `match_string` and `trap_oid` may be, in characters.
const TEXT_MAX: usize = 255;
/// How long `team_assignment` may be, in characters.
const TEAM_MAX: usize = 100;
/// How long `description` may be, in characters.
const DESCRIPTION_MAX: usize = 4_000;

/// One thing that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as in `alert_rules`.
    pub field: &'static str,
    /// What is wrong and what is allowed, in one sentence.
    pub message: String,
    /// Where in the field's text, in characters from 0, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

/// Everything that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invalid(pub Vec<FieldError>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl RuleDraft {
    /// Whether this rule may be stored.
    ///
    /// `contains` and `regex` need no `match_string` where there is a `trap_oid`: then the OID
    /// alone decides, as with `oid_prefix`.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut errors = Vec::new();
        self.check_match_string(&mut errors);
        self.check_trap_oid(&mut errors);
        if let Some(number) = self.syslog_severity.filter(|number| *number > 7) {
            errors.push(FieldError::new(
                "syslog_severity",
                format!("{number} is no severity; allowed are 0 (emergency) to 7 (debug)"),
            ));
        }
        if self.team_assignment.trim().is_empty() {
            errors.push(FieldError::new(
                "team_assignment",
                format!("is empty; a team of 1 to {TEAM_MAX} characters is needed"),
            ));
        }
        check_text(
            "team_assignment",
            &self.team_assignment,
            TEAM_MAX,
            &mut errors,
        );
        if let Some(description) = &self.description {
            check_text("description", description, DESCRIPTION_MAX, &mut errors);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Invalid(errors))
        }
    }

    fn check_match_string(&self, errors: &mut Vec<FieldError>) {
        const FIELD: &str = "match_string";
        let Some(text) = &self.match_string else {
            if self.trap_oid.is_none() && self.match_type != MatchType::OidPrefix {
                errors.push(FieldError::new(
                    FIELD,
                    "is missing; a rule needs match_string, trap_oid or both",
                ));
            }
            return;
        };
        if text.is_empty() {
            errors.push(FieldError::new(
                FIELD,
                "is empty and would match every message; give 1 to 255 characters, or leave it \
                 out and give trap_oid",
            ));
        } else if check_text(FIELD, text, TEXT_MAX, errors)
            && self.match_type == MatchType::Regex
            && let Err(error) = Pattern::check(text)
        {
            let position = error.position;
            errors.push(FieldError {
                field: FIELD,
                message: error.to_string(),
                position,
            });
        }
    }

    fn check_trap_oid(&self, errors: &mut Vec<FieldError>) {
        const FIELD: &str = "trap_oid";
        let Some(text) = &self.trap_oid else {
            if self.match_type == MatchType::OidPrefix {
                errors.push(FieldError::new(
                    FIELD,
                    "is missing; match_type oid_prefix needs one, such as .1.3.6.1.4.1.9",
                ));
            }
            return;
        };
        if check_text(FIELD, text, TEXT_MAX, errors)
            && let Err(error) = text.parse::<Oid>()
        {
            let position = Some(error.position);
            let message = format!("'{text}' is no OID: {error}");
            errors.push(FieldError {
                field: FIELD,
                message,
                position,
            });
        }
    }
}

impl FieldError {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
            position: None,
        }
    }
}

/// Whether `text` may be stored at all.
fn check_text(field: &'static str, text: &str, max: usize, errors: &mut Vec<FieldError>) -> bool {
    let before = errors.len();
    let length = text.chars().count();
    if length > max {
        let message = format!("has {length} characters; at most {max} are allowed");
        errors.push(FieldError {
            field,
            message,
            position: Some(max),
        });
    }
    if let Some(position) = text.chars().position(|c| c == '\0') {
        // PostgreSQL stores no text with it.
        let message = "has a NUL character, which is not allowed".to_owned();
        errors.push(FieldError {
            field,
            message,
            position: Some(position),
        });
    }
    errors.len() == before
}

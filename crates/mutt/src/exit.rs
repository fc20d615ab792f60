//! How a command ends: 0 done, 1 failed, 2 used wrongly, 3 found a problem, 4 not allowed.

use std::fmt;
use std::process::ExitCode;

use mutt_engine::EngineError;

/// Why a command did not do what it was asked, and its exit code.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// It failed: 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self {
            code: 1,
            message: message.to_string(),
        }
    }

    /// It was used wrongly: 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self {
            code: 2,
            message: message.to_string(),
        }
    }

    /// It found a problem: 3.
    pub fn problem(message: impl fmt::Display) -> Self {
        Self {
            code: 3,
            message: message.to_string(),
        }
    }

    /// Not allowed: 4.
    pub fn denied(message: impl fmt::Display) -> Self {
        Self {
            code: 4,
            message: message.to_string(),
        }
    }

    /// Says why on standard error.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Invalid(_) | EngineError::NotFound(_) => Self::usage(error),
            EngineError::Unusable(_) | EngineError::Conflict(_) => Self::problem(error),
            other => Self::failed(other),
        }
    }
}

impl From<mutt_config::Problems> for Failure {
    fn from(problems: mutt_config::Problems) -> Self {
        Self::problem(problems)
    }
}

impl From<mutt_config::secrets::SecretsError> for Failure {
    fn from(error: mutt_config::secrets::SecretsError) -> Self {
        Self::problem(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

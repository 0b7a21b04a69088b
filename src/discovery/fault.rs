//! Why a call to the API server failed, in a few kinds and one line.

use std::time::Duration;

use kube::core::Status;

use crate::discovery::text::line;

/// Why a call to the API server failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiFault {
    /// 401 or 403: the API forbids it.
    #[error("the API server forbids it: {0}")]
    Forbidden(String),
    /// 404: there is no such object, or no such kind.
    #[error("the API server does not know it: {0}")]
    Absent(String),
    /// 409: somebody else was faster.
    #[error("somebody else changed or made it: {0}")]
    Conflict(String),
    /// 410: the resource version or the page is too old.
    #[error("the API server no longer knows that version: {0}")]
    Expired(String),
    /// Any other status.
    #[error("the API server says {code}: {message}")]
    Refused {
        /// The status.
        code: u16,
        /// What was said about it.
        message: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Something came back that is no answer.
    #[error("not an answer of an API server: {0}")]
    Malformed(String),
    /// No connection, or it broke.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// No answer within this time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl ApiFault {
    /// How long the API server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<&Status> for ApiFault {
    fn from(status: &Status) -> Self {
        let message = line(&status.message);
        match status.code {
            // Any JSON object passes for a Status of which everything is missing.
            0 => Self::Malformed(message),
            401 | 403 => Self::Forbidden(message),
            404 => Self::Absent(message),
            409 => Self::Conflict(message),
            410 => Self::Expired(message),
            code => Self::Refused {
                code,
                message,
                retry_after: status
                    .details
                    .as_ref()
                    .map(|details| u64::from(details.retry_after_seconds))
                    .filter(|seconds| *seconds > 0)
                    .map(Duration::from_secs),
            },
        }
    }
}

impl From<kube::Error> for ApiFault {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => Self::from(&**status),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Malformed(chain(&error)),
            _ => Self::Unreachable(chain(&error)),
        }
    }
}

/// An error and its causes, as one line: the interesting one is the last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause.filter(|_| words.len() < 8) {
        let word = inner.to_string();
        // Many libraries repeat the cause in their own text.
        if !words.iter().any(|earlier| earlier.contains(&word)) {
            words.push(word);
        }
        cause = inner.source();
    }
    line(&words.join(": "))
}

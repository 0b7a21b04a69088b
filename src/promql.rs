//! Asks a Prometheus, or what speaks its HTTP API, for instants and ranges; and reads observations
//! from the series that the recording rules of the chart make.
//!
//! Plain HTTP only: what stands behind TLS is reached through a proxy of one's own. Bounded in time,
//! in bytes and in tries; judges nothing.

mod api;
mod exchange;
mod observations;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use url::Url;

use crate::failure::Fault;
use crate::net::Resolver;
use crate::target::{Endpoint, Host};

pub use api::{Answer, Matrix, Range, Sample, Track};
pub use observations::Seen;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer to one question, bytes.
const MOST: usize = 64 * 1024 * 1024;

/// A Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    endpoint: Endpoint,
    /// What stands before `/api/v1` in its URLs.
    prefix: String,
    credentials: Option<Credentials>,
    resolver: Arc<Resolver>,
    timeout: Duration,
    most: usize,
    /// Further tries when it is overloaded or does not answer.
    retries: u32,
    /// How far its clock was ahead of ours when it answered last, seconds.
    skew: AtomicI64,
}

/// What a Prometheus, or the proxy before it, wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A file with a bearer token.
    Bearer(PathBuf),
    /// A file with `user:password`.
    Basic(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The token or the password cannot be read.
    #[error("{path}: {problem}", path = path.display())]
    Credentials {
        /// Its file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The connection.
    #[error("{0}")]
    Connection(Fault),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// HTTP went wrong, or the answer is too large.
    #[error("{0}")]
    Http(String),
    /// An answer that is none of the API's.
    #[error("the answer is none of Prometheus's: {0}")]
    Malformed(#[source] serde_json::Error),
    /// The question was refused.
    #[error("refused with status {status}: {problem}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// What it says.
        problem: String,
    },
}

/// A URL that no Prometheus of ours has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be http://HOST[:PORT][/PREFIX], without user information: TLS is not spoken here")]
pub struct InvalidUrl;

impl Prometheus {
    /// The one at `url`, asked with the bearer token in the file `token`, which is read each time: it
    /// may be renewed.
    pub fn new(
        url: &str,
        token: Option<PathBuf>,
        resolver: Arc<Resolver>,
    ) -> Result<Self, InvalidUrl> {
        let url = Url::parse(url).map_err(|_| InvalidUrl)?;
        let plain = url.scheme() == "http" && url.username().is_empty();
        let bare = url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().and_then(|host| host.parse::<Host>().ok());
        let host = host.filter(|_| plain && bare).ok_or(InvalidUrl)?;
        Ok(Self {
            endpoint: Endpoint { host, port: url.port().unwrap_or(80) },
            prefix: url.path().trim_end_matches('/').to_owned(),
            credentials: token.map(Credentials::Bearer),
            resolver,
            timeout: TIMEOUT,
            most: MOST,
            retries: 0,
            skew: AtomicI64::new(0),
        })
    }

    /// The same, with other bounds: how long one question may take, and bytes of one answer.
    #[must_use]
    pub fn within(self, timeout: Duration, most: usize) -> Self {
        Self { timeout, most, ..self }
    }

    /// The same, asked with these credentials, whose file is read each time.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self { credentials, ..self }
    }

    /// The same, asked so many times more, with growing pauses, when it is overloaded, does not
    /// answer in time or cannot be reached.
    #[must_use]
    pub fn retrying(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// How far its clock was ahead of this machine's when it answered last, whole seconds; 0 before
    /// the first answer, or when it does not tell.
    pub fn skew_seconds(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }
}

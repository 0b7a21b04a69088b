//! Why an exchange or a connection came to nothing.

use std::error::Error;
use std::io;

use http_body_util::LengthLimitError;
use quinn::{ConnectError, ConnectionError, TransportErrorCode};

/// Why there is no connection, or no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The two sides were not given the same secret, or only one of them was given one.
    #[error(
        "the two sides do not hold the same key: give agents and controllers the same Secret, or \
         none of them any ({0})"
    )]
    Key(String),
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// Nothing came from the other side for [`super::IDLE_TIMEOUT`].
    #[error("nothing was heard of the other side any more")]
    Silent,
    /// The other side ended the connection.
    #[error("the other side closed the connection: {0}")]
    Closed(String),
    /// This side ended the connection.
    #[error("the connection was closed here")]
    Ended,
    /// The other side speaks another protocol, or breaks this one.
    #[error("the other side does not speak this protocol: {0}")]
    Protocol(String),
    /// The exchange ended before its answer was complete.
    #[error("the answer was cut short")]
    Cut,
    /// The body of the answer is longer than was allowed.
    #[error("the body of the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// This machine cannot do its part.
    #[error("this side cannot: {0}")]
    Local(String),
}

/// TLS alerts that say something else than "not this key" (RFC 8446 §6.2).
const NO_APPLICATION_PROTOCOL: u64 = 120;
const PROTOCOL_VERSION: u64 = 70;

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        match &error {
            ConnectionError::TransportError(ours) => of_code(ours.code, &error),
            ConnectionError::ConnectionClosed(theirs) => of_code(theirs.error_code, &error),
            ConnectionError::ApplicationClosed(close) => {
                Self::Closed(String::from_utf8_lossy(&close.reason).into_owned())
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::LocallyClosed => Self::Ended,
            ConnectionError::Reset => Self::Closed("it was restarted".to_owned()),
            ConnectionError::VersionMismatch => Self::Protocol(error.to_string()),
            ConnectionError::CidsExhausted => Self::Local(error.to_string()),
        }
    }
}

fn of_code(code: TransportErrorCode, error: &ConnectionError) -> Fault {
    let number = u64::from(code);
    let alert = (0x100..0x200).contains(&number).then_some(number & 0xff);
    match alert {
        Some(NO_APPLICATION_PROTOCOL | PROTOCOL_VERSION) => Fault::Protocol(error.to_string()),
        Some(alert) => Fault::Key(format!("TLS alert {alert}")),
        None if code == TransportErrorCode::CONNECTION_REFUSED => {
            Fault::Closed("it takes no more connections".to_owned())
        }
        None => Fault::Protocol(error.to_string()),
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        Self::Local(error.to_string())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Local(error.to_string())
    }
}

impl From<hyper::Error> for Fault {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse() {
            return Self::Protocol(error.to_string());
        }
        if error.is_user() {
            return Self::Local(error.to_string());
        }
        Self::Cut
    }
}

/// `error` of a body that may have `most` bytes.
pub(super) fn of_body(error: Box<dyn Error + Send + Sync>, most: usize) -> Fault {
    if error.is::<LengthLimitError>() {
        return Fault::TooLarge(most);
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => (*error).into(),
        Err(_) => Fault::Cut,
    }
}

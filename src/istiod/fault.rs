//! From errors of HTTP/2 and gRPC to a [`Reason`]: the tables.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status};

use crate::failure::{Fault, Reason};
use crate::tls::io_fault;

/// A message of a peer longer than this, in characters, is cut.
const MAX_MESSAGE: usize = 300;

/// An error of HTTP/2 on its way through tonic, which keeps it as the source of a status.
#[derive(Debug)]
pub(super) struct Broken(pub(super) h2::Error);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection broke")
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Tells an error of HTTP/2; `ended` is how the transport ended, if it did.
pub(super) fn http2_fault(error: &h2::Error, ended: Option<Fault>) -> Fault {
    if let Some(io) = error.get_io() {
        return ended.unwrap_or_else(|| io_fault(io));
    }
    let code =
        error.reason().map_or_else(|| error.to_string(), |reason| format!("{reason:?}, {reason}"));
    let remote = error.is_remote();
    let library = error.is_library();
    match (error.is_go_away(), error.is_reset()) {
        (true, _) if remote => Fault::new(Reason::Closed, format!("GOAWAY: {code}")),
        (_, true) if remote => Fault::new(Reason::Reset, format!("RST_STREAM: {code}")),
        (true, _) | (_, true) if library => {
            Fault::new(Reason::HttpMalformed, format!("not HTTP/2: {code}"))
        }
        (true | false, true | false) => Fault::new(Reason::Unclassified, error.to_string()),
    }
}

/// The error of HTTP/2 that `status` stands for, when it was made from one.
pub(super) fn broken(status: &Status) -> Option<&h2::Error> {
    let mut cause = status.source();
    while let Some(inner) = cause {
        if let Some(Broken(error)) = inner.downcast_ref() {
            return Some(error);
        }
        cause = inner.source();
    }
    None
}

/// Tells a status other than OK that the peer sent.
pub(super) fn status_fault(status: &Status) -> Fault {
    let code = status.code();
    let detail = match line(status.message()) {
        message if message.is_empty() => format!("{code:?}"),
        message => format!("{code:?}: {message}"),
    };
    Fault::new(Reason::GrpcStatus, detail)
}

/// Tells a status that was made on this side, of an answer that could not be read.
pub(super) fn local_fault(status: &Status) -> Fault {
    let message = line(status.message());
    let reason = match status.code() {
        // A message over the limit.
        Code::OutOfRange => return Fault::new(Reason::BodyTooLarge, message),
        // An unknown compression, a broken message, no message, no trailers.
        Code::Unimplemented | Code::Internal | Code::Unknown => Reason::HttpMalformed,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Reason::Unclassified,
    };
    Fault::new(reason, format!("not gRPC: {message}"))
}

/// What a peer says, as one line that is fit to be shown.
fn line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut line: String = text.chars().take(MAX_MESSAGE).map(shown).collect();
    if text.chars().nth(MAX_MESSAGE).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_peer_is_one_short_line() {
        let told = status_fault(&Status::unauthenticated("no\n\u{1b}[31mway".to_owned()));
        assert_eq!(told.reason, Reason::GrpcStatus);
        assert_eq!(told.detail, "Unauthenticated: no\u{fffd}\u{fffd}[31mway");
        let long = status_fault(&Status::unauthenticated("ü".repeat(100_000)));
        assert!(long.detail.chars().count() < MAX_MESSAGE + 40);
        assert_eq!(status_fault(&Status::internal("")).detail, "Internal");
    }
}

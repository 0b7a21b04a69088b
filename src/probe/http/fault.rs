//! From errors of the HTTP libraries to a [`Reason`]: the tables.
//!
//! hyper and h2 hide the kinds of their errors behind predicates; the order in which those are
//! asked is part of the table. What is our own bug stays `unclassified`.

use std::error::Error;
use std::io;

use crate::failure::{Fault, Reason};
use crate::tls::{io_fault, is_tls};

/// A fault on its way through a library that knows only I/O errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Carried(Fault);

/// Wraps `fault` for a library; [`transport_fault`] is the way back.
pub(in crate::probe) fn untransported(fault: Fault) -> io::Error {
    io::Error::other(Carried(fault))
}

/// Tells an I/O error of whatever HTTP runs over.
pub(super) fn transport_fault(error: &io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>());
    inner.map_or_else(|| io_fault(error), |Carried(fault)| fault.clone())
}

/// Tells an error of an HTTP/1.1 exchange.
pub(super) fn http1_fault(error: &hyper::Error) -> Fault {
    if let Some(io) = source::<io::Error>(error) {
        return carried(io);
    }
    type Predicate = fn(&hyper::Error) -> bool;
    const TABLE: &[(Predicate, Reason)] = &[
        (hyper::Error::is_incomplete_message, Reason::Closed),
        // Also a head that is too large.
        (hyper::Error::is_parse, Reason::HttpMalformed),
        (hyper::Error::is_timeout, Reason::Timeout),
        // Also an aborted body: the caller of hyper, that is we, broke a rule.
        (hyper::Error::is_user, Reason::Unclassified),
        // A request given to a connection that was not ready for it.
        (hyper::Error::is_canceled, Reason::Unclassified),
        (hyper::Error::is_closed, Reason::Unclassified),
        (hyper::Error::is_shutdown, Reason::Unclassified),
    ];
    // A request that could not be sent carries what befell the idle connection.
    if error.is_canceled()
        && let Some(cause) = source::<hyper::Error>(error)
    {
        return http1_fault(cause);
    }
    let known = TABLE.iter().find(|(applies, _)| applies(error));
    let reason = known.map_or_else(
        || {
            // The only kind left without a source: bytes on a connection that awaited none.
            if error.source().is_none() { Reason::HttpMalformed } else { Reason::Unclassified }
        },
        |(_, reason)| *reason,
    );
    Fault::new(reason, chain(error))
}

/// Tells an I/O error that passed through hyper, which adds its own for a bad body framing.
fn carried(error: &io::Error) -> Fault {
    let framing = matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
    if framing && !is_tls(error) && error.raw_os_error().is_none() {
        return Fault::new(Reason::HttpMalformed, error.to_string());
    }
    transport_fault(error)
}

/// Tells an error of an HTTP/2 exchange; `ended` is how the transport ended, which h2 forgets.
pub(super) fn http2_fault(error: &h2::Error, ended: Option<Fault>) -> Fault {
    if let Some(io) = error.get_io() {
        return ended.unwrap_or_else(|| transport_fault(io));
    }
    let code = error.reason().map_or_else(|| error.to_string(), code);
    // A frame of the peer, an error of the peer that the library found, or our own doing.
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

/// Tells a RST_STREAM of the peer.
pub(super) fn reset_fault(reason: h2::Reason) -> Fault {
    Fault::new(Reason::Reset, format!("RST_STREAM: {}", code(reason)))
}

/// An error code by name and meaning.
fn code(reason: h2::Reason) -> String {
    format!("{reason:?}, {reason}")
}

/// The first error of type `E` among the sources of `error`.
fn source<E: Error + 'static>(error: &dyn Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// An error and its sources in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

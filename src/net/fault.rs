//! From an I/O error to a [`Reason`]: the table of errnos.

use std::io;

use nix::errno::Errno;

use crate::failure::{Fault, Reason};

/// Tells an I/O error of a socket. The detail is the error's own text.
pub fn io_fault(error: &io::Error) -> Fault {
    let reason = match error.raw_os_error() {
        Some(errno) => errno_reason(Errno::from_raw(errno)),
        None => kind_reason(error.kind()),
    };
    Fault::new(reason, error.to_string())
}

/// Linux `errno` values of connect(2), send(2), recv(2) and socket(2).
///
/// EPERM is a packet filter of this machine. EINVAL and the like are our own mistakes: they are not
/// listed, so that they show up as `unclassified` instead of being blamed on the network.
fn errno_reason(errno: Errno) -> Reason {
    const TABLE: &[(Errno, Reason)] = &[
        (Errno::ECONNREFUSED, Reason::Refused),
        (Errno::ECONNRESET, Reason::Reset),
        (Errno::EPIPE, Reason::Reset),
        (Errno::ECONNABORTED, Reason::Reset),
        (Errno::ENOTCONN, Reason::Reset),
        (Errno::ENETUNREACH, Reason::Unreachable),
        (Errno::EHOSTUNREACH, Reason::Unreachable),
        (Errno::ENETDOWN, Reason::Unreachable),
        (Errno::EHOSTDOWN, Reason::Unreachable),
        // A route of type `prohibit`, or a broadcast address.
        (Errno::EACCES, Reason::Unreachable),
        (Errno::ETIMEDOUT, Reason::Timeout),
        (Errno::EMFILE, Reason::LocalResource),
        (Errno::ENFILE, Reason::LocalResource),
        (Errno::ENOBUFS, Reason::LocalResource),
        (Errno::ENOMEM, Reason::LocalResource),
        (Errno::EADDRNOTAVAIL, Reason::LocalResource),
        (Errno::EADDRINUSE, Reason::LocalResource),
        (Errno::EAGAIN, Reason::LocalResource),
        (Errno::EAFNOSUPPORT, Reason::LocalResource),
        (Errno::EPERM, Reason::LocalResource),
    ];
    let known = TABLE.iter().find(|(listed, _)| *listed == errno);
    known.map_or(Reason::Unclassified, |(_, reason)| *reason)
}

/// Errors that libraries make up without an errno.
fn kind_reason(kind: io::ErrorKind) -> Reason {
    const TABLE: &[(io::ErrorKind, Reason)] = &[
        (io::ErrorKind::UnexpectedEof, Reason::Closed),
        (io::ErrorKind::BrokenPipe, Reason::Reset),
        (io::ErrorKind::ConnectionReset, Reason::Reset),
        (io::ErrorKind::ConnectionAborted, Reason::Reset),
        (io::ErrorKind::NotConnected, Reason::Reset),
        (io::ErrorKind::ConnectionRefused, Reason::Refused),
        (io::ErrorKind::TimedOut, Reason::Timeout),
        (io::ErrorKind::OutOfMemory, Reason::LocalResource),
    ];
    let known = TABLE.iter().find(|(listed, _)| *listed == kind);
    known.map_or(Reason::Unclassified, |(_, reason)| *reason)
}

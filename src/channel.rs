//! The control channel: agents dial controllers over QUIC, and on that one connection either side
//! asks the other, one HTTP/1.1 exchange to a stream.
//!
//! UDP, because it must not ride on what is measured: a mesh captures TCP, and takes no other
//! datagrams than DNS. Both sides prove that they were given the same secret; without one the
//! channel is encrypted and open to anybody. Knows nothing of what is asked.

mod bounds;
mod dial;
mod exchange;
mod fault;
mod listen;
mod peer;

pub use crate::tls::{KeyError, SharedKey as Key};
pub use bounds::{Bounds, EXCHANGE_TIMEOUT, HEAD_LIMIT, IDLE_TIMEOUT, MAX_REQUEST_BODY, STREAMS};
pub use dial::Dialer;
pub use exchange::Service;
pub use fault::Fault;
pub use listen::{Counts, Listener, Lock, Meter, Peers, Rejected};
pub use peer::Peer;

/// The port that controllers listen on, UDP.
pub const PORT: u16 = 9854;

/// What is spoken; another version of it is another name.
const ALPN: &[u8] = b"meshprobe/1";

/// Sent as SNI, where QUIC must have something: nobody looks at it.
const SERVER_NAME: &str = "controller.meshprobe";

//! istiod's gRPC API as it is on the wire: messages, and calls over a connection that somebody
//! else opened and measures.
//!
//! Knows nothing of probes, of configuration, or of what the certificates are for.

mod answer;
mod channel;
mod fault;
pub mod messages;
mod session;
mod token;
mod wire;

pub use answer::{address_name, describe};
pub use session::{Session, Signed};
pub use token::Token;

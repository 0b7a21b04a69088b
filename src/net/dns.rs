//! One DNS question on the wire, over our own sockets: what is sent is exactly what was asked.
//!
//! Encoding and decoding are hickory's; sending is not, as its streams retransmit by themselves
//! and so hide a lost packet. Knows nothing of retries, search lists or deadlines: whoever asks
//! decides, drops the future when the time is over, and reads the [`Tally`].

mod rcode;
mod reply;
mod search;
mod tcp;
mod text;
mod udp;
mod wire;

pub use hickory_proto::rr::Name;

pub use rcode::Rcode;
pub use reply::{Answer, Reply};
pub use search::{SearchList, absolute};
pub use tcp::ask_tcp;
pub use udp::ask_udp;
pub(super) use wire::record_type;

use std::net::IpAddr;

use tokio::time::Instant;

use crate::failure::{Fault, Reason};
use crate::spec::Qtype;

/// A name and the type of record that is wanted of it, class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Fully qualified.
    pub name: Name,
    /// Record type.
    pub qtype: Qtype,
}

impl Question {
    /// The name as a zone file has it, with its trailing dot.
    pub fn name_text(&self) -> String {
        text::name(&self.name)
    }
}

/// The name under `in-addr.arpa` or `ip6.arpa` that PTR records of `ip` have.
pub fn reverse_name(ip: IpAddr) -> Name {
    Name::from(ip)
}

/// What an exchange did so far; readable also after its future was dropped at a deadline.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Datagrams and TCP messages sent.
    pub sent: u32,
    /// When the first of them was handed to the kernel.
    pub first_sent: Option<Instant>,
    /// Datagrams that came and were no reply to the question.
    pub ignored: u32,
    /// Why the last of them was none.
    pub ignored_because: Option<&'static str>,
    /// Bytes of every datagram that came.
    pub datagram_bytes: u64,
}

impl Tally {
    fn note_sent(&mut self, at: Instant) {
        self.sent += 1;
        self.first_sent.get_or_insert(at);
    }

    /// What a timeout really was: when something came, but never a reply to the question, the
    /// reason is `dns_malformed`. Other faults stay what they are.
    pub fn explain(&self, fault: Fault) -> Fault {
        match (fault.reason, self.ignored_because) {
            (Reason::Timeout, Some(because)) => Fault::new(
                Reason::DnsMalformed,
                format!("no reply, only {} datagrams to ignore; the last: {because}", self.ignored),
            ),
            (_, _) => fault,
        }
    }
}

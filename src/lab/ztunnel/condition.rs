//! What can be wrong with a stand-in, and how long it waits for things: plain data.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::lab::ca::Authority;

/// What is wrong with one node's ztunnel, and with the packets around it.
///
/// The default is a healthy one; setting it again heals. Each field has one meaning, and several
/// may be set at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    /// The process is gone: connections are cut, every one of its ports is refused.
    pub dead: bool,
    /// The process stands still: the kernel accepts, nothing else happens, also on connections
    /// that are open. Goes on where it stood when healed.
    pub frozen: bool,
    /// New connections are accepted and never get a byte; when healed they are closed.
    pub mute: bool,
    /// There is no workload certificate: HBONE is reset both ways, pooled connections and
    /// plaintext go on.
    pub no_certificate: bool,
    /// Its own workloads are unknown to it (stale xDS): each connection stalls for
    /// [`Timing::workload`] and is closed.
    pub unknown_workloads: bool,
    /// A NetworkPolicy drops packets to port 15008 of this node's pods.
    pub hbone_blocked: bool,
    /// The capture rules are there, the sockets 15001, 15006 and 15008 are not: refused.
    pub listeners_missing: bool,
    /// The pods' traffic is not captured, whatever their annotation says: it leaves and arrives in
    /// plaintext past ztunnel, and 15008 is refused. (Who is captured by an alias stays accepted
    /// first, also when the destination refuses.)
    pub capture_lost: bool,
    /// Pods and ports of this node where plaintext is denied, beyond those that are strict in the
    /// world; open plaintext connections to them are cut.
    pub strict: BTreeSet<(IpAddr, u16)>,
    /// Pods and ports of this node where no application listens any more.
    pub closed_ports: BTreeSet<(IpAddr, u16)>,
    /// STRICT is not enforced: plaintext to a strict port is served.
    pub policy_gap: bool,
    /// An AuthorizationPolicy denies everybody: 401 for HBONE, closed for plaintext.
    pub denies: bool,
    /// Addresses where no host is any more. The node that has such a pod drops every packet to it;
    /// every other gives up after [`Timing::gone`], as when ARP is not answered. So it is to be
    /// set on all nodes.
    pub gone_pods: BTreeSet<IpAddr>,
    /// HBONE connections that are open when this is set get no more packets; new ones work. What a
    /// pool sees after an address was used again.
    pub half_open: bool,
    /// Its certificates are signed by another authority, the only one that it trusts.
    pub trust_split: Option<OtherTrust>,
    /// What is wrong with the certificates that it shows.
    pub leaf: LeafDefect,
    /// Path MTU black hole on the way out of this node: of the bytes that go out in one turn (until
    /// the other side has something to say) only this many arrive. The rest waits until healed.
    pub stall_after: Option<u64>,
    /// Share of connections and of HBONE streams, 0 to 1, that are reset right after they were
    /// accepted.
    pub reset_share: f64,
    /// What readiness names as pending; 200 when empty.
    pub pending: Vec<String>,
}

/// What is wrong with a workload certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LeafDefect {
    /// Nothing.
    #[default]
    Good,
    /// It ended a minute ago.
    Expired,
    /// It is valid; the intermediate authority that signed it ended a minute ago.
    SignerExpired,
    /// It names this SPIFFE ID.
    OtherIdentity(String),
}

/// Another root of trust; equal only to itself.
#[derive(Clone)]
pub struct OtherTrust(pub Arc<Authority>);

impl PartialEq for OtherTrust {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for OtherTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtherTrust")
    }
}

/// How long ztunnel waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For a TCP connection upstream: 10 s.
    pub connect: Duration,
    /// For its own workload to become known: 5 s.
    pub workload: Duration,
    /// For the neighbour of an address without a host, which is the kernel's: 3 s.
    pub gone: Duration,
    /// Between two HTTP/2 pings: 10 s.
    pub ping_interval: Duration,
    /// For the answer to a ping: 20 s. With the interval, a frozen peer is noticed after 20 to
    /// 30 s.
    pub ping_timeout: Duration,
    /// Until a pooled connection without use is closed: 5 min.
    pub pool_idle: Duration,
    /// For open connections when it is told to end: 5 s.
    pub drain: Duration,
    /// Not the real one's, which has no bound here: until a connection that waits for a TLS
    /// handshake is given up, so that the lab's memory is bounded. 10 min.
    pub stuck: Duration,
}

impl Timing {
    /// The real one's, each divided by `factor`.
    ///
    /// `factor` must be above 0.
    pub fn scaled(factor: f64) -> Self {
        let seconds = |seconds: f64| Duration::from_secs_f64(seconds / factor);
        Self {
            connect: seconds(10.0),
            workload: seconds(5.0),
            gone: seconds(3.0),
            ping_interval: seconds(10.0),
            ping_timeout: seconds(20.0),
            pool_idle: seconds(300.0),
            drain: seconds(5.0),
            stuck: seconds(600.0),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::scaled(1.0)
    }
}

//! What a user decides of the fleet as a whole, and what of that a plan can state.

use std::time::Duration;

use crate::config::{ISTIOD_NAME, ISTIOD_PORT, TRUST_DOMAIN};
use crate::schedule::Cadence;
use crate::target::Endpoint;

/// The most nodes that are probed in full mesh.
pub const MOST_FULL_MESH: usize = 64;
/// The most peers of a node in a larger cluster.
pub const MOST_PEERS: usize = 32;
/// The most endpoints of one service that one agent probes.
pub const MOST_ENDPOINTS: usize = 16;

/// How a fleet probes. Values out of range count as the nearest that is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Clusters of up to so many nodes are probed in full mesh; 0 to [`MOST_FULL_MESH`].
    pub full_mesh_up_to: usize,
    /// How many peers a node probes in larger ones; 1 to [`MOST_PEERS`].
    pub peers: usize,
    /// How many endpoints of one service an agent probes by their own addresses, beside the
    /// service's; 1 to [`MOST_ENDPOINTS`].
    pub endpoints_per_service: usize,
    /// Time between attempts of one target, where nothing needs it longer; 10 ms to 24 h.
    pub interval: Duration,
    /// Of a whole attempt; 1 ms to 1 h.
    pub timeout: Duration,
    /// For how long after a change of expectations results are inconclusive.
    pub grace: Duration,
    /// The mesh's.
    pub trust_domain: String,
    /// Where a PeerAuthentication without a selector is the mesh's own.
    pub root_namespace: String,
    /// The domain of the cluster's names, without dots around it.
    pub cluster_domain: String,
    /// By which name istiod is dialled, so that its resolution is probed as well.
    pub istiod: Endpoint,
    /// What the whole fleet may ask of others.
    pub budgets: Budgets,
}

/// What the whole fleet may ask of others, per second. Targets are asked so seldom that their sum
/// stays below; 0 (or less) leaves them out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budgets {
    /// Certificates that istiod signs for ladders.
    pub csr_per_second: f64,
    /// xDS streams that ladders open on istiod.
    pub xds_per_second: f64,
    /// Queries of the plan to one CoreDNS replica, all replicas of a Service counting as one.
    pub dns_per_second: f64,
    /// Requests to one port of a user's service, denied ones and their controls included.
    pub requests_per_second: f64,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            csr_per_second: 1.0,
            xds_per_second: 20.0,
            dns_per_second: 50.0,
            requests_per_second: 10.0,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let domain = "cluster.local";
        let host = format!("{ISTIOD_NAME}.{domain}.");
        Self {
            full_mesh_up_to: 20,
            peers: 10,
            endpoints_per_service: 2,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            grace: Duration::from_secs(30),
            trust_domain: TRUST_DOMAIN.to_owned(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: domain.to_owned(),
            istiod: Endpoint { host: host.parse().expect("a name"), port: ISTIOD_PORT },
            budgets: Budgets::default(),
        }
    }
}

impl Settings {
    /// These settings with each value in its range.
    pub(super) fn in_range(mut self) -> Self {
        self.full_mesh_up_to = self.full_mesh_up_to.min(MOST_FULL_MESH);
        self.peers = self.peers.clamp(1, MOST_PEERS);
        self.endpoints_per_service = self.endpoints_per_service.clamp(1, MOST_ENDPOINTS);
        self.interval = self.interval.clamp(Cadence::MIN_INTERVAL, Cadence::MAX_INTERVAL);
        self.timeout = self.timeout.clamp(Duration::from_millis(1), Duration::from_secs(3600));
        self
    }

    /// Attempts of one target that may be under way at once, so that one which takes all its time
    /// delays no other.
    pub(super) fn max_in_flight(&self) -> u32 {
        let most = self.timeout.as_nanos().div_ceil(self.interval.as_nanos()) + 1;
        most.clamp(1, 1000) as u32
    }

    /// A name that every cluster has and every DNS server of it knows, ztunnel included.
    pub(super) fn known_name(&self) -> String {
        format!("kubernetes.default.svc.{}.", self.cluster_domain.trim_matches('.'))
    }
}

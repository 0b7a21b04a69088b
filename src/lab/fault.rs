//! What can be broken in the lab, by whom and when: `KIND/TARGET[@START][+DURATION]`. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::config::parse_duration;
use crate::lab::cell::Node;

/// CoreDNS replicas of the lab.
pub const REPLICAS: u16 = 2;
/// Namespaces that STRICT can be applied to.
pub const NAMESPACES: [&str; 3] = ["default", "monitoring", "meshprobe-ambient"];

/// What a kind of fault happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One node.
    Node,
    /// One namespace.
    Namespace,
    /// One CoreDNS replica.
    Replica,
    /// There is only one of it.
    Mesh,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $scope:ident, $summary:literal;)+) => {
        /// A way to be wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it happens to.
            pub fn scope(self) -> Scope {
                match self { $(Self::$variant => Scope::$scope,)+ }
            }

            /// What happens, in one line.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }
        }
    };
}

kinds! {
    /// Process gone.
    ZtunnelDead => "ztunnel-dead", Node, "the node's ztunnel is gone: its sockets refuse, its connections are reset";
    /// Process stopped.
    ZtunnelFrozen => "ztunnel-frozen", Node, "the node's ztunnel is stopped: the kernel accepts, nothing answers";
    /// Accepts and says nothing.
    ZtunnelMute => "ztunnel-mute", Node, "the node's ztunnel accepts and sends nothing";
    /// No certificates.
    ZtunnelNoCertificate => "ztunnel-no-certificate", Node, "the node's ztunnel dropped its certificates, as after a failed renewal";
    /// Own workloads unknown.
    ZtunnelStaleXds => "ztunnel-stale-xds", Node, "the node's ztunnel does not know its own pods";
    /// Sockets missing in the pods.
    ListenersMissing => "listeners-missing", Node, "pods are annotated and redirected, ztunnel's sockets in them are missing";
    /// Redirection missing in the pods.
    CaptureLost => "capture-lost", Node, "pods are annotated, redirection is gone, as after a reboot";
    /// 15008 dropped.
    HboneBlocked => "hbone-blocked", Node, "a NetworkPolicy in front of the node's pods drops 15008";
    /// Pods gone.
    PodsGone => "pods-gone", Node, "the addresses of the node's ambient pods answer no more";
    /// Application gone.
    PortClosed => "port-closed", Node, "nothing listens behind the ambient peer's port";
    /// Policy denies.
    PolicyDenies => "policy-denies", Node, "an AuthorizationPolicy on the node's ambient pods denies everybody";
    /// STRICT not enforced.
    PolicyGap => "policy-gap", Node, "the node's ztunnel lets plaintext through STRICT ports";
    /// Another root.
    TrustSplit => "trust-split", Node, "a CA rotation left the node's ztunnel with another root";
    /// Expired leaf.
    CertificateExpired => "certificate-expired", Node, "certificates of the node's pods have expired";
    /// Expired signer.
    SignerExpired => "signer-expired", Node, "the intermediate that signed the certificates of the node's pods has expired, they have not";
    /// Another workload's address.
    AddressReused => "address-reused", Node, "the ambient peer's address belongs to another workload now, pooled connections are half-open";
    /// Large packets vanish.
    MtuBlackhole => "mtu-blackhole", Node, "small packets leave the node's ambient pods, large ones vanish";
    /// STRICT applied.
    Strict => "strict", Namespace, "STRICT is applied: plaintext callers (tunnel daemon, API server) are reset";
    /// istiod not reachable from one node.
    IstiodUnreachable => "istiod-unreachable", Node, "this node alone cannot reach istiod";
    /// istiod's view is stale.
    IstiodStale => "istiod-stale", Node, "istiod describes the node's agents as outside the mesh";
    /// istiod gone.
    IstiodDown => "istiod-down", Mesh, "istiod is gone";
    /// istiod accepts only.
    IstiodSilent => "istiod-silent", Mesh, "istiod accepts connections and never shakes hands";
    /// CA fails.
    IstiodCaDown => "istiod-ca-down", Mesh, "istiod serves xDS, its CA signs nothing";
    /// istiod with another root.
    IstiodWrongRoot => "istiod-wrong-root", Mesh, "istiod's certificate is of another root";
    /// Replica gone.
    CorednsDown => "coredns-down", Replica, "a CoreDNS replica is gone";
    /// Replica drops.
    CorednsSilent => "coredns-silent", Replica, "a CoreDNS replica drops every question";
    /// Replica fails.
    CorednsServfail => "coredns-servfail", Replica, "a CoreDNS replica answers SERVFAIL";
    /// Captured view differs.
    DnsDiffers => "dns-differs", Node, "captured DNS on the node answers another address than CoreDNS";
}

/// What a fault happens to, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Victim {
    /// A node.
    Node(Node),
    /// A namespace.
    Namespace(&'static str),
    /// A CoreDNS replica, counted from 1.
    Replica(u16),
    /// The mesh.
    Mesh,
}

/// A fault with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How it is wrong.
    pub kind: Kind,
    /// What is wrong.
    pub victim: Victim,
    /// From the start of the lab.
    pub start: Duration,
    /// How long; `None` is to the end.
    pub duration: Option<Duration>,
}

impl Fault {
    /// The node that it happens to, if it is one.
    pub fn node(&self) -> Option<Node> {
        match self.victim {
            Victim::Node(node) => Some(node),
            Victim::Namespace(_) | Victim::Replica(_) | Victim::Mesh => None,
        }
    }

    /// Whether a lab of `nodes` nodes has the victim.
    pub fn fits(&self, nodes: u16) -> Result<(), InvalidFault> {
        match self.victim {
            Victim::Node(Node(n)) if n > nodes => Err(InvalidFault::Victim {
                kind: self.kind,
                expected: format!("node-1 to node-{nodes}"),
            }),
            Victim::Node(_) | Victim::Namespace(_) | Victim::Replica(_) | Victim::Mesh => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        match self.victim {
            Victim::Node(node) => write!(f, "/{node}"),
            Victim::Namespace(name) => write!(f, "/{name}"),
            Victim::Replica(replica) => write!(f, "/{replica}"),
            Victim::Mesh => Ok(()),
        }
    }
}

/// Text that states no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// The kind is unknown.
    #[error("`{0}` is no kind of fault: `lab --faults` lists them")]
    Kind(String),
    /// The victim does not fit.
    #[error("{} happens to {expected}", kind.as_str())]
    Victim {
        /// The kind.
        kind: Kind,
        /// What it happens to.
        expected: String,
    },
    /// A time is wrong.
    #[error(
        "`{0}` is no time: write KIND/TARGET[@START][+DURATION], e.g. ztunnel-dead/node-2@10s+20s"
    )]
    Time(String),
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let time =
            |text: &str| parse_duration(text).ok_or_else(|| InvalidFault::Time(text.to_owned()));
        let (rest, duration) = match text.rsplit_once('+') {
            Some((rest, duration)) => (rest, Some(time(duration)?)),
            None => (text, None),
        };
        let (rest, start) = match rest.rsplit_once('@') {
            Some((rest, start)) => (rest, time(start)?),
            None => (rest, Duration::ZERO),
        };
        let (name, victim) = match rest.split_once('/') {
            Some((name, victim)) => (name, Some(victim)),
            None => (rest, None),
        };
        let kind = Kind::ALL.iter().find(|kind| kind.as_str() == name);
        let kind = *kind.ok_or_else(|| InvalidFault::Kind(name.to_owned()))?;
        Ok(Self { kind, victim: find(kind, victim)?, start, duration })
    }
}

fn find(kind: Kind, text: Option<&str>) -> Result<Victim, InvalidFault> {
    let counted = |text: Option<&str>| text?.parse().ok().filter(|n: &u16| *n > 0);
    let (victim, expected) = match kind.scope() {
        Scope::Node => {
            let number = counted(text.and_then(|text| text.strip_prefix("node-")));
            (number.map(|n| Victim::Node(Node(n))), "a node: write /node-1".to_owned())
        }
        Scope::Namespace => {
            let known = NAMESPACES.into_iter().find(|name| Some(*name) == text);
            (
                known.map(Victim::Namespace),
                format!("a namespace: write /{}", NAMESPACES.join(", /")),
            )
        }
        Scope::Replica => {
            let number = counted(text).filter(|n| *n <= REPLICAS);
            (number.map(Victim::Replica), format!("a CoreDNS replica: write /1 to /{REPLICAS}"))
        }
        Scope::Mesh => {
            (text.is_none().then_some(Victim::Mesh), "the only one there is: write no /".to_owned())
        }
    };
    victim.ok_or(InvalidFault::Victim { kind, expected })
}

/// The list that `lab --faults` prints.
pub fn list() -> String {
    let target = |kind: &Kind| match kind.scope() {
        Scope::Node => "/node-N",
        Scope::Namespace => "/NAMESPACE",
        Scope::Replica => "/N",
        Scope::Mesh => "",
    };
    let named: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| (format!("{}{}", kind.as_str(), target(kind)), kind.summary()))
        .collect();
    let width = named.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = named.iter().map(|(name, summary)| format!("{name:width$}  {summary}\n"));
    let namespaces = NAMESPACES.join(", ");
    let legend = format!(
        "\nNAMESPACE is one of {namespaces}. Add @START and +DURATION for a fault that comes and goes:\n\
         meshprobe lab --fault ztunnel-dead/node-2@10s+20s\n"
    );
    lines.chain([legend]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_with_their_times() {
        let fault: Fault = "ztunnel-dead/node-2@10s+20s".parse().expect("a fault");
        assert_eq!(fault.kind, Kind::ZtunnelDead);
        assert_eq!(fault.victim, Victim::Node(Node(2)));
        assert_eq!(fault.start, Duration::from_secs(10));
        assert_eq!(fault.duration, Some(Duration::from_secs(20)));
        assert_eq!(fault.to_string(), "ztunnel-dead/node-2");
        let fault: Fault = "istiod-down".parse().expect("a fault");
        assert_eq!(
            (fault.victim, fault.start, fault.duration),
            (Victim::Mesh, Duration::ZERO, None)
        );
    }

    #[test]
    fn a_wrong_fault_says_what_would_be_right() {
        for (text, part) in [
            ("ztunnel-ded/node-1", "lab --faults"),
            ("ztunnel-dead", "/node-1"),
            ("ztunnel-dead/node-0", "/node-1"),
            ("ztunnel-dead/node-1@soon", "@START"),
            ("strict/kube-system", "/default"),
            ("coredns-down/3", "/1 to /2"),
            ("istiod-down/node-1", "no /"),
        ] {
            let error = text.parse::<Fault>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn every_kind_is_listed_once_and_reads_back() {
        let list = list();
        for kind in Kind::ALL {
            let lines = list.lines().filter(|line| {
                line.split([' ', '/']).next().is_some_and(|word| word == kind.as_str())
            });
            assert_eq!(lines.count(), 1, "{}", kind.as_str());
        }
    }
}

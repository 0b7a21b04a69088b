//! What faults do to attempts, as the mesh does it: written from what was seen on the wire, without
//! a look at the model that is measured.

use meshprobe::failure::Reason::{self, *};

use super::cluster::{Cluster, Path, What, service_name, zone_name};
use super::random::Random;

macro_rules! kinds {
    ($($variant:ident => $name:literal;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($variant,)+
        }

        impl Kind {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

kinds! {
    ZtunnelDead => "ztunnel dead";
    ZtunnelFrozen => "ztunnel frozen";
    NoCertificate => "ztunnel without certificate";
    StaleXds => "ztunnel with stale xDS";
    HboneBlocked => "15008 blocked";
    CaptureLost => "capture lost";
    NodeUnreachable => "node unreachable";
    ZonePartitioned => "zones partitioned";
    CorednsPod => "a CoreDNS pod";
    Coredns => "CoreDNS";
    IstiodPod => "an istiod pod";
    Istiod => "istiod";
    IstiodLink => "a node's way to istiod";
    Workload => "a service";
    PolicyDenies => "a policy that denies";
    Trust => "trust";
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    kind: Kind,
    at: usize,
    other: usize,
    rate: f64,
}

const LOST: &[Reason] = &[Timeout, Timeout, Timeout, Unreachable];
const ENDED: &[Reason] = &[Reset, Reset, Closed];

impl Fault {
    pub(crate) fn drawn(
        kind: Kind,
        cluster: &Cluster,
        random: &mut Random,
        (low, high): (f64, f64),
    ) -> Self {
        let zones = cluster.zone_of.iter().max().expect("nodes") + 1;
        let bound = match kind {
            Kind::CorednsPod => cluster.coredns.len(),
            Kind::IstiodPod => cluster.istiod.len(),
            Kind::Workload | Kind::PolicyDenies => cluster.services.len(),
            Kind::ZonePartitioned => zones,
            _ => cluster.nodes.len(),
        };
        let at = random.below(bound);
        let other = (at + 1 + random.below(zones - 1)) % zones;
        Self { kind, at, other, rate: random.between(low, high) }
    }

    /// The name of what is to be blamed.
    pub(crate) fn component(&self, cluster: &Cluster) -> String {
        let node = || &cluster.nodes[self.at];
        match self.kind {
            Kind::ZtunnelDead | Kind::ZtunnelFrozen | Kind::NoCertificate | Kind::StaleXds => {
                format!("ztunnel/{}", node())
            }
            Kind::HboneBlocked => format!("hbone/{}", node()),
            Kind::CaptureLost => format!("capture/{}", node()),
            Kind::NodeUnreachable => format!("node/{}", node()),
            Kind::ZonePartitioned => {
                let (a, b) = (self.at.min(self.other), self.at.max(self.other));
                format!("zone/{}/{}", zone_name(a), zone_name(b))
            }
            Kind::CorednsPod => format!("coredns/coredns-{}", self.at),
            Kind::Coredns => "coredns".to_owned(),
            Kind::IstiodPod => format!("istiod/istiod-{}", self.at),
            Kind::Istiod => "istiod".to_owned(),
            Kind::IstiodLink => format!("istiod-link/{}", node()),
            Kind::Workload => format!("workload/{}", service_name(self.at)),
            Kind::PolicyDenies => format!("policy/{}", service_name(self.at)),
            Kind::Trust => format!("trust/{}", node()),
        }
    }

    /// The share of attempts on `path` that fail by it, and how; where it goes to several pods one
    /// after the other, for each of them.
    pub(crate) fn on(
        &self,
        path: &Path,
        cluster: &Cluster,
        random: &mut Random,
    ) -> Option<(f64, &'static [Reason])> {
        let (share, reasons) = match path.what {
            What::Service(service, None) => {
                let nodes = &cluster.services[service];
                let hits: Vec<_> =
                    nodes.iter().filter_map(|node| self.hit(path, Some(*node), cluster)).collect();
                (hits.len() as f64 / nodes.len() as f64, *hits.first()?)
            }
            What::Istiod(None) => {
                let pods = &cluster.istiod;
                let hits: Vec<_> = (0..pods.len())
                    .filter_map(|pod| {
                        let to = Path { what: What::Istiod(Some(pod)), ..*path };
                        self.hit(&to, Some(pods[pod]), cluster)
                    })
                    .collect();
                (hits.len() as f64 / pods.len() as f64, *hits.first()?)
            }
            What::Istiod(Some(pod)) => (1.0, self.hit(path, Some(cluster.istiod[pod]), cluster)?),
            What::Coredns(pod) => (1.0, self.hit(path, Some(cluster.coredns[pod]), cluster)?),
            _ => (1.0, self.hit(path, path.far, cluster)?),
        };
        // Connections between ztunnels that are kept outlive certificates and trust.
        let kept = matches!(self.kind, Kind::NoCertificate | Kind::Trust) && path.ambient;
        let hidden = kept && path.what != What::OwnHbone && random.unit() < 0.2;
        (!hidden).then_some((share * self.rate, reasons))
    }

    fn hit(&self, path: &Path, far: Option<usize>, cluster: &Cluster) -> Option<&'static [Reason]> {
        let own = path.source == self.at;
        let there = far == Some(self.at);
        let plain_pod = path.what == What::Underlay;
        let mesh = matches!(
            path.what,
            What::Peer
                | What::Strict
                | What::Held
                | What::Large
                | What::Service(..)
                | What::Certificate
        );
        match self.kind {
            Kind::ZtunnelDead => ztunnel_dead(path, own, there && mesh),
            Kind::ZtunnelFrozen => ztunnel_frozen(path, own, there && mesh),
            Kind::NoCertificate => no_certificate(path, own, there && mesh),
            Kind::StaleXds => {
                let captured = mesh || plain_pod || matches!(path.what, What::Istiod(_));
                (path.ambient && own && captured).then_some(&[Closed, Closed, Timeout, Reset][..])
            }
            Kind::HboneBlocked => match (path.ambient, path.tunnel, path.what) {
                (true, _, _) if there && mesh => Some(&[Reset, Reset, Timeout]),
                (false, true, _) if there => Some(&[Timeout]),
                _ => None,
            },
            Kind::CaptureLost => capture_lost(path, own, there && mesh),
            Kind::NodeUnreachable => {
                let local = matches!(
                    path.what,
                    What::Capture | What::OwnHbone | What::Ztunnel | What::Names
                );
                let cut = (own || there) && !local;
                cut.then_some(if path.ambient { &[Timeout, Reset, Closed] } else { LOST })
            }
            Kind::ZonePartitioned => {
                let (a, b) = (cluster.zone_of[path.source], cluster.zone_of[far?]);
                let cut = (a, b) == (self.at, self.other) || (b, a) == (self.at, self.other);
                cut.then_some(if path.ambient { &[Timeout, Reset, Closed] } else { LOST })
            }
            Kind::CorednsPod => {
                (path.what == What::Coredns(self.at)).then_some(&[Timeout, Timeout, Refused])
            }
            Kind::Coredns => {
                let asked = matches!(path.what, What::Coredns(_));
                asked.then_some(&[Servfail, Timeout])
            }
            Kind::IstiodPod => {
                let asked = path.what == What::Istiod(Some(self.at));
                asked.then_some(if path.ambient { ENDED } else { &[Refused] })
            }
            Kind::Istiod => {
                let asked = matches!(path.what, What::Istiod(_));
                asked.then_some(if path.ambient { ENDED } else { &[Refused] })
            }
            Kind::IstiodLink => {
                let asked = own && matches!(path.what, What::Istiod(_));
                asked.then_some(if path.ambient { ENDED } else { &[Timeout] })
            }
            Kind::Workload => self.of_service(path, &[HboneUnavailable]),
            Kind::PolicyDenies => self.of_service(path, &[HboneDenied]),
            Kind::Trust => trust(path, own, there && mesh),
        }
    }

    fn of_service(&self, path: &Path, told: &'static [Reason]) -> Option<&'static [Reason]> {
        let asked = matches!(path.what, What::Service(service, _) if service == self.at);
        asked.then_some(if path.tunnel { told } else { ENDED })
    }
}

fn ztunnel_dead(path: &Path, own: bool, there: bool) -> Option<&'static [Reason]> {
    match (path.ambient, path.what) {
        (true, What::Names) if own => Some(&[Refused, Timeout]),
        (true, What::Capture) if own => Some(&[Refused, CaptureMismatch]),
        (true, _) if own => Some(&[Refused]),
        (false, What::Ztunnel) if own => Some(&[Refused]),
        (true, _) if there => Some(ENDED),
        (false, _) if there => Some(&[Refused]),
        _ => None,
    }
}

fn ztunnel_frozen(path: &Path, own: bool, there: bool) -> Option<&'static [Reason]> {
    match (path.ambient, path.what) {
        (true, What::Capture) if own => None,
        (true, _) if own => Some(&[Timeout]),
        (false, What::Ztunnel) if own => Some(&[Timeout]),
        (true, _) if there => Some(&[Timeout, Reset]),
        (false, _) if there => Some(&[Timeout]),
        _ => None,
    }
}

fn no_certificate(path: &Path, own: bool, there: bool) -> Option<&'static [Reason]> {
    match (path.ambient, path.tunnel, path.what) {
        (true, _, What::OwnHbone) if own => Some(&[Reset, TlsAlert]),
        (true, _, What::Underlay | What::Names | What::Capture | What::Istiod(_)) => None,
        (true, _, _) if own || there => Some(ENDED),
        (false, true, _) if there => Some(&[Reset, TlsAlert]),
        _ => None,
    }
}

fn capture_lost(path: &Path, own: bool, there: bool) -> Option<&'static [Reason]> {
    match (path.ambient, path.tunnel, path.what) {
        (true, _, What::Capture) if own => Some(&[CaptureMismatch]),
        (true, _, What::OwnHbone) if own => Some(&[Refused]),
        (true, _, What::Strict) if own => Some(ENDED),
        (true, _, _) if there => Some(ENDED),
        (false, true, _) if there => Some(&[Refused]),
        (false, false, What::Strict) if there => Some(&[UnexpectedReply]),
        _ => None,
    }
}

fn trust(path: &Path, own: bool, there: bool) -> Option<&'static [Reason]> {
    match (path.ambient, path.tunnel, path.what) {
        (true, _, What::OwnHbone) if own => Some(&[CertUntrusted]),
        (true, _, What::Underlay | What::Names | What::Capture | What::Istiod(_)) => None,
        (true, _, _) if own || there => Some(ENDED),
        (false, true, _) if there => Some(&[CertUntrusted]),
        _ => None,
    }
}

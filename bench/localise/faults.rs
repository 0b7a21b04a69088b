//! What faults do to attempts, by what the wire does.

use meshprobe::failure::Reason;
use meshprobe::target::Vantage;

use crate::cluster::{Ask, Cluster, Way};
use crate::random::Random;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Met,
    Failed(Reason),
    /// A denial whose control failed, or an attempt that came too late.
    Unsure(Reason),
}

/// How much fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    /// All of it.
    Hard,
    /// 5 to 50 %.
    Gray,
    /// 2 to 5 %.
    Faint,
}

impl Strength {
    pub(crate) const ALL: [Self; 3] = [Self::Hard, Self::Gray, Self::Faint];

    /// Its name as an argument.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Gray => "gray",
            Self::Faint => "faint",
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Gray => "gray 5-50%",
            Self::Faint => "gray 2-5%",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    ZtunnelDead,
    ZtunnelFrozen,
    ZtunnelNoCertificate,
    ZtunnelStaleXds,
    HboneBlocked,
    CaptureLost,
    Node,
    Zone,
    CorednsPod,
    Coredns,
    IstiodPod,
    Istiod,
    IstiodLink,
    Workload,
    PolicyDenies,
    PolicyGap,
    Trust,
    Silent,
    Starved,
}

/// Every kind, when it is hard.
const HARD: [What; 19] = [
    What::ZtunnelDead,
    What::ZtunnelFrozen,
    What::ZtunnelNoCertificate,
    What::ZtunnelStaleXds,
    What::HboneBlocked,
    What::CaptureLost,
    What::Node,
    What::Zone,
    What::CorednsPod,
    What::Coredns,
    What::IstiodPod,
    What::Istiod,
    What::IstiodLink,
    What::Workload,
    What::PolicyDenies,
    What::PolicyGap,
    What::Trust,
    What::Silent,
    What::Starved,
];
/// Those that can be gray.
const GRAY: [What; 9] = [
    What::ZtunnelDead,
    What::Node,
    What::Zone,
    What::CorednsPod,
    What::Coredns,
    What::IstiodPod,
    What::Istiod,
    What::IstiodLink,
    What::Workload,
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) what: What,
    /// Node, pod, zone or Service by number.
    pub(crate) victim: usize,
    pub(crate) rate: f64,
}

impl Fault {
    /// `count` faults that do not lie on top of each other.
    pub(crate) fn pick(
        cluster: &Cluster,
        strength: Strength,
        count: usize,
        trial: usize,
        random: &mut Random,
    ) -> Vec<Self> {
        let mut faults: Vec<Self> = Vec::new();
        while faults.len() < count {
            let kinds: &[What] = if strength == Strength::Hard { &HARD } else { &GRAY };
            let what =
                if faults.is_empty() { kinds[trial % kinds.len()] } else { random.one_of(kinds) };
            let victims = match what {
                What::Zone => 3,
                What::CorednsPod => cluster.coredns.len(),
                What::IstiodPod => cluster.istiod.len(),
                What::Workload => cluster.services.len(),
                _ => cluster.nodes.len(),
            };
            let share = |low: usize, high: usize, random: &mut Random| {
                (low + random.below(high - low + 1)) as f64 / 100.0
            };
            let rate = match strength {
                Strength::Hard => 1.0,
                Strength::Gray => share(5, 50, random),
                Strength::Faint => share(2, 5, random),
            };
            let fault = Self { what, victim: random.below(victims), rate };
            let family = |fault: &Self| match fault.what {
                What::Zone => (1, 0),
                What::CorednsPod | What::Coredns => (2, 0),
                What::IstiodPod | What::Istiod => (3, 0),
                What::Workload => (4, fault.victim),
                _ => (5, fault.victim),
            };
            if faults.iter().all(|other| family(other) != family(&fault)) {
                faults.push(fault);
            }
        }
        faults
    }

    /// The component's name in a report.
    pub(crate) fn name(&self, cluster: &Cluster) -> String {
        let node = || &cluster.nodes[self.victim];
        match self.what {
            What::ZtunnelDead
            | What::ZtunnelFrozen
            | What::ZtunnelNoCertificate
            | What::ZtunnelStaleXds => format!("ztunnel/{}", node()),
            What::HboneBlocked => format!("hbone/{}", node()),
            What::CaptureLost => format!("capture/{}", node()),
            What::Node => format!("node/{}", node()),
            What::Zone => {
                let pair = [("0", "1"), ("1", "2"), ("0", "2")][self.victim];
                format!("zone/zone-{}/zone-{}", pair.0, pair.1)
            }
            What::CorednsPod => format!("coredns/coredns-{}", self.victim),
            What::Coredns => "coredns".to_owned(),
            What::IstiodPod => format!("istiod/istiod-{}", self.victim),
            What::Istiod => "istiod".to_owned(),
            What::IstiodLink => format!("istiod-link/{}", node()),
            What::Workload => format!("workload/default/service-{}", self.victim),
            What::PolicyDenies | What::PolicyGap => format!("policy/meshprobe/peer-{}", node()),
            What::Trust => format!("trust/{}", node()),
            What::Silent | What::Starved => format!("agent/{}/plain", node()),
        }
    }

    /// The fault's word in a report.
    pub(crate) fn word(&self) -> &'static str {
        match self.what {
            What::CaptureLost => "lost",
            What::HboneBlocked => "blocked",
            _ if self.rate < 1.0 => "gray",
            What::ZtunnelFrozen => "frozen",
            What::ZtunnelNoCertificate => "no_certificate",
            What::ZtunnelStaleXds => "stale_xds",
            What::Node => "unreachable",
            What::Zone => "partitioned",
            What::IstiodLink => "broken",
            What::PolicyDenies => "denies",
            What::PolicyGap => "gap",
            What::Trust => "disagree",
            What::Silent => "silent",
            What::Starved => "starved",
            _ => "dead",
        }
    }

    /// Whether the agent's windows do not come through at all.
    pub(crate) fn silences(&self, way: &Way) -> bool {
        let own = way.from == self.victim;
        match self.what {
            What::Silent => own && way.vantage == Vantage::Plain,
            What::Node => own && self.rate >= 1.0,
            _ => false,
        }
    }

    /// A cheap test before the attempts.
    pub(crate) fn may_hit(&self, cluster: &Cluster, way: &Way) -> bool {
        match self.what {
            What::Zone | What::CorednsPod | What::Coredns | What::IstiodPod | What::Istiod => true,
            What::Workload => way.ask == Ask::Service(self.victim),
            What::Silent => false,
            _ => {
                way.from == self.victim
                    || way.to == Some(self.victim)
                    || match way.ask {
                        Ask::Service(s) => cluster.services[s].contains(&self.victim),
                        Ask::Istiod | Ask::IstiodPod(_) => cluster.istiod.contains(&self.victim),
                        Ask::CorednsPod(pod) => cluster.coredns[pod] == self.victim,
                        _ => false,
                    }
            }
        }
    }

    /// How one attempt ends; `pooled` ways do not verify certificates again.
    pub(crate) fn hit(
        &self,
        cluster: &Cluster,
        way: &Way,
        pooled: bool,
        random: &mut Random,
    ) -> Sight {
        if !random.chance(self.rate) {
            return Sight::Met;
        }
        // Where this attempt ends: a Service has a pod for it.
        let to = match way.ask {
            Ask::Service(s) => Some(random.one_of(&cluster.services[s])),
            Ask::Istiod => Some(random.one_of(&cluster.istiod)),
            Ask::IstiodPod(pod) => Some(cluster.istiod[pod]),
            Ask::CorednsPod(pod) => Some(cluster.coredns[pod]),
            _ => way.to,
        };
        let ambient = way.vantage == Vantage::Ambient;
        let own = way.from == self.victim;
        let far = to == Some(self.victim);
        let local = matches!(way.ask, Ask::Capture | Ask::OwnHbone | Ask::Readiness);
        let meshed = match way.ask {
            Ask::Peer | Ask::Strict => true,
            Ask::Service(s) => s % 2 == 0,
            _ => false,
        };
        let denied = way.ask == Ask::Strict && !ambient;
        let ended = [Reason::Reset, Reason::Reset, Reason::Closed];
        let handshake = [Reason::Reset, Reason::Closed, Reason::TlsAlert];
        let lost = [Reason::Timeout, Reason::Timeout, Reason::Timeout, Reason::Unreachable];
        // A denial is only met while its control passes.
        let told =
            |reason: Reason| if denied { Sight::Unsure(reason) } else { Sight::Failed(reason) };
        match self.what {
            What::ZtunnelDead => match way.ask {
                Ask::Readiness if own => told(Reason::Refused),
                Ask::Capture | Ask::Names | Ask::OwnHbone if own && ambient => {
                    told(Reason::Refused)
                }
                _ if local => Sight::Met,
                _ if own && ambient => told(Reason::Refused),
                _ if far && ambient && meshed => told(random.one_of(&ended)),
                Ask::Hbone | Ask::Certificate if far => told(Reason::Refused),
                _ if far && meshed => told(Reason::Refused),
                _ => Sight::Met,
            },
            What::ZtunnelFrozen => match way.ask {
                Ask::Readiness | Ask::OwnHbone | Ask::Names if own => told(Reason::Timeout),
                _ if local => Sight::Met,
                _ if own && ambient => told(Reason::Timeout),
                Ask::Hbone | Ask::Certificate if far => told(Reason::Timeout),
                _ if far && meshed => told(Reason::Timeout),
                _ => Sight::Met,
            },
            What::ZtunnelNoCertificate => match way.ask {
                Ask::OwnHbone if own => told(random.one_of(&handshake)),
                Ask::Hbone | Ask::Certificate if far => told(random.one_of(&handshake)),
                _ if denied && far => told(Reason::Reset),
                _ if ambient && meshed && (own || far) && !pooled => told(random.one_of(&ended)),
                _ => Sight::Met,
            },
            What::ZtunnelStaleXds => match way.ask {
                _ if local => Sight::Met,
                Ask::Names => Sight::Met,
                _ if own && ambient => told(Reason::Closed),
                Ask::Hbone | Ask::Certificate if far => told(random.one_of(&handshake)),
                _ if far && meshed => told(random.one_of(&ended)),
                _ => Sight::Met,
            },
            What::HboneBlocked => match way.ask {
                Ask::Hbone | Ask::Certificate if far => told(Reason::Timeout),
                _ if denied && far => told(Reason::Reset),
                _ if far && ambient && meshed && !own => {
                    told(random.one_of(&[Reason::Reset, Reason::Timeout]))
                }
                _ => Sight::Met,
            },
            What::CaptureLost => match way.ask {
                Ask::Capture if own && ambient => told(Reason::CaptureMismatch),
                Ask::OwnHbone if own => told(Reason::Refused),
                Ask::Hbone | Ask::Certificate if far => told(Reason::Refused),
                _ if denied && far => Sight::Failed(Reason::UnexpectedReply),
                Ask::Strict if own => told(random.one_of(&ended)),
                _ if far && ambient && meshed && !own => told(random.one_of(&ended)),
                _ => Sight::Met,
            },
            What::Node => match way.ask {
                _ if local || (own && far) || (own && way.ask == Ask::Names) => Sight::Met,
                Ask::Istiod | Ask::IstiodPod(_) if ambient && (own || far) => told(Reason::Timeout),
                _ if ambient && (own || far) => {
                    told(random.one_of(&[Reason::Timeout, Reason::Reset]))
                }
                _ if own || far => told(random.one_of(&lost)),
                _ => Sight::Met,
            },
            What::Zone => {
                let (a, b) = [(0, 1), (1, 2), (0, 2)][self.victim];
                let near = cluster.zones[way.from];
                let across = to.map(|to| cluster.zones[to]);
                if !(across == Some(b) && near == a || across == Some(a) && near == b) {
                    return Sight::Met;
                }
                match ambient {
                    true => told(random.one_of(&[Reason::Timeout, Reason::Reset])),
                    false => told(random.one_of(&lost)),
                }
            }
            What::CorednsPod => match way.ask {
                Ask::CorednsPod(pod) if pod == self.victim => told(Reason::Timeout),
                // The ladder by name asks one of the pods.
                Ask::Istiod if !ambient && random.below(cluster.coredns.len()) == 0 => {
                    told(Reason::Timeout)
                }
                _ => Sight::Met,
            },
            What::Coredns => match way.ask {
                Ask::CorednsPod(_) if self.rate < 1.0 => {
                    told(random.one_of(&[Reason::Timeout, Reason::Servfail]))
                }
                Ask::CorednsPod(_) => told(Reason::Timeout),
                Ask::Istiod if !ambient => told(Reason::Timeout),
                _ => Sight::Met,
            },
            What::IstiodPod => match way.ask {
                Ask::IstiodPod(pod) if pod == self.victim => told(Reason::Refused),
                Ask::Istiod if to == Some(cluster.istiod[self.victim]) => {
                    told(if ambient { random.one_of(&handshake) } else { Reason::Refused })
                }
                _ => Sight::Met,
            },
            What::Istiod => match way.ask {
                Ask::IstiodPod(_) | Ask::Istiod => {
                    told(if ambient { random.one_of(&handshake) } else { Reason::Timeout })
                }
                _ => Sight::Met,
            },
            What::IstiodLink => match way.ask {
                Ask::IstiodPod(_) | Ask::Istiod if own => {
                    told(if ambient { random.one_of(&handshake) } else { Reason::Timeout })
                }
                _ => Sight::Met,
            },
            What::Workload => match (way.ask, meshed || ambient) {
                (_, true) => told(random.one_of(&ended)),
                (_, false) => told(Reason::Refused),
            },
            What::PolicyDenies => match way.ask {
                Ask::Hbone if far => told(Reason::HboneDenied),
                Ask::Peer | Ask::Strict if far => told(random.one_of(&ended)),
                Ask::Service(_) if far && meshed => told(random.one_of(&ended)),
                _ => Sight::Met,
            },
            What::PolicyGap if denied && far => Sight::Failed(Reason::UnexpectedReply),
            What::PolicyGap => Sight::Met,
            What::Trust => match way.ask {
                Ask::OwnHbone if own => told(Reason::CertUntrusted),
                Ask::Hbone | Ask::Certificate if far => told(Reason::CertUntrusted),
                _ if denied && far => told(Reason::Reset),
                _ if ambient && meshed && (own || far) && !pooled => told(random.one_of(&ended)),
                _ => Sight::Met,
            },
            What::Starved if own && !ambient && random.chance(0.7) => {
                Sight::Unsure(Reason::ScheduleLag)
            }
            What::Starved | What::Silent => Sight::Met,
        }
    }
}

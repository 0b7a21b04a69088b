//! What is asked of the services that are chosen to be called: built once for all who ask.
//!
//! From the mesh a Service's own address is called; of a headless one some pods. From outside some
//! pods are, each in plaintext and, when it is in the mesh, through a tunnel as well, which is also
//! the control of its denial; the Service's own address only while all pods behind it reply, for a
//! denial says something only beside a control to the same address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::mtls::Policies;
use crate::cluster::{Agent, Endpoint, ObjectRef, Pod, Service};
use crate::fleet::Settings;
use crate::fleet::answer::{
    Answer, from_the_mesh, is_tunnelled, plaintext, spiffe_id, target, through, tunnel, url,
};
use crate::fleet::budget::Share;
use crate::fleet::document::{Question, Target};
use crate::fleet::name::target_name;
use crate::fleet::unknown::{Unknown, UnknownReason, printable};
use crate::target::{Vantage, Via};
use crate::topology::score;

/// The most bytes that all services may take in a plan: agents read 1 MiB.
const MOST_BYTES: usize = 512 * 1024;
/// The most targets that all services may have in a plan: agents take 10,000.
const MOST_TARGETS: usize = 8_000;

/// One port of a service, ready to be asked by either side.
#[derive(Debug)]
pub(super) struct Called {
    by_ambient: Asked,
    by_plain: Asked,
    share: Share,
    /// Addresses of the pods behind it, sorted: none of them is to call itself.
    pods: Vec<IpAddr>,
}

/// What one side asks.
#[derive(Debug, Default)]
struct Asked {
    whole: Option<Target>,
    /// Pods by a hash of their names, of which each agent asks some.
    pods: Vec<(u64, Vec<Target>)>,
}

impl Asked {
    /// Bytes, targets and requests of one agent's round at most, of `most` pods.
    fn cost(&self, most: usize) -> Cost {
        let mut pods: Vec<Cost> = self.pods.iter().map(|(_, list)| Cost::of(list)).collect();
        let largest = |part: fn(&Cost) -> usize, pods: &mut Vec<Cost>| {
            pods.sort_unstable_by_key(|cost| std::cmp::Reverse(part(cost)));
            pods.iter().take(most).map(part).sum::<usize>()
        };
        let whole = Cost::of(self.whole.as_slice());
        Cost {
            bytes: whole.bytes + largest(|cost| cost.bytes, &mut pods),
            targets: whole.targets + largest(|cost| cost.targets, &mut pods),
            requests: whole.requests + largest(|cost| cost.requests, &mut pods),
        }
    }
}

#[derive(Clone, Copy)]
struct Cost {
    bytes: usize,
    targets: usize,
    requests: usize,
}

impl Cost {
    fn of(targets: &[Target]) -> Self {
        // Interval and comma come on top.
        let bytes = |target: &Target| serde_json::to_vec(target).map_or(0, |json| json.len() + 48);
        Self {
            bytes: targets.iter().map(bytes).sum(),
            targets: targets.len(),
            // A denial is followed by its control.
            requests: targets.iter().map(|t| 1 + usize::from(t.control.is_some())).sum(),
        }
    }
}

/// Builds what is asked of services.
pub(super) struct Services<'a> {
    pub(super) settings: &'a Settings,
    pub(super) policies: Option<&'a Policies<'a>>,
    pub(super) unknown: &'a mut BTreeSet<Unknown>,
    /// How many agents there are in the mesh, and outside.
    pub(super) agents: [usize; 2],
}

/// A port of a service with what is ready behind it, by name of the pod.
struct Front<'a> {
    service: &'a Service,
    /// As in the names of targets.
    name: &'a str,
    endpoints: BTreeMap<&'a str, &'a Endpoint>,
}

impl Services<'_> {
    pub(super) fn build(&mut self, services: &[Service]) -> Vec<Called> {
        let mut sorted: Vec<&Service> = services.iter().collect();
        sorted.sort_by_key(|service| (&service.namespace, &service.name, service.port));
        let mut names = BTreeSet::new();
        let mut called = Vec::new();
        let (mut bytes, mut targets) = (0, 0);
        for service in sorted {
            let name = format!("{}/{}:{}", service.namespace, service.name, service.port);
            if !names.insert(name.clone()) {
                self.leave_out(service, None, UnknownReason::Duplicate);
                continue;
            }
            let Some((by_ambient, by_plain)) = self.asked(service, &name) else { continue };
            let most = self.settings.endpoints_per_service;
            let costs = [by_ambient.cost(most), by_plain.cost(most)];
            let more = |part: fn(&Cost) -> usize| costs.iter().map(part).max().unwrap_or_default();
            let (more_bytes, more_targets) = (more(|cost| cost.bytes), more(|cost| cost.targets));
            if bytes + more_bytes > MOST_BYTES || targets + more_targets > MOST_TARGETS {
                self.leave_out(service, None, UnknownReason::PlanFull);
                continue;
            }
            let askers = [0, 1].map(|side| (self.agents[side], costs[side].requests));
            let budget = self.settings.budgets.requests_per_second;
            let share = Share::of(&askers, budget, self.settings.interval);
            if share.interval(self.agents.iter().sum::<usize>().saturating_sub(1)).is_none() {
                self.leave_out(service, None, UnknownReason::NoBudget);
            }
            bytes += more_bytes;
            targets += more_targets;
            let mut pods: Vec<IpAddr> = service.endpoints.iter().map(|e| e.pod.ip).collect();
            pods.sort_unstable();
            called.push(Called { by_ambient, by_plain, share, pods });
        }
        called
    }

    fn asked(&mut self, service: &Service, name: &str) -> Option<(Asked, Asked)> {
        // Of two endpoints of one pod the first by address is asked.
        let mut endpoints: BTreeMap<&str, &Endpoint> = BTreeMap::new();
        for endpoint in service.endpoints.iter().filter(|endpoint| endpoint.pod.ready) {
            let place = endpoints.entry(endpoint.pod.name.as_str()).or_insert(endpoint);
            let key = |endpoint: &Endpoint| (endpoint.pod.ip, endpoint.target_port);
            if key(endpoint) < key(place) {
                *place = endpoint;
            }
        }
        if endpoints.is_empty() {
            self.leave_out(service, None, UnknownReason::NoEndpoints);
            return None;
        }
        let whole = service.cluster_ip.map(|ip| {
            let address = url(ip, service.port, &service.path)?;
            let name = target_name(&["service/", name]);
            Some(of(target(name, address, Question::Http {}).via(Via::ClusterIp), service))
        });
        let addressed = |endpoint: &Endpoint| {
            url(endpoint.pod.ip, endpoint.target_port, &service.path).is_some()
        };
        if whole == Some(None) || !endpoints.values().all(|endpoint| addressed(endpoint)) {
            self.leave_out(service, None, UnknownReason::BadAddress);
            return None;
        }
        let (whole, front) = (whole.flatten(), Front { service, name, endpoints });
        Some((self.by_ambient(&front, whole.clone()), self.by_plain(&front, whole)))
    }

    fn by_ambient(&mut self, front: &Front<'_>, whole: Option<Target>) -> Asked {
        let service = front.service;
        let mut asked = Asked { whole, pods: Vec::new() };
        for (pod, endpoint) in &front.endpoints {
            match from_the_mesh(&endpoint.pod, endpoint.target_port, self.policies) {
                Answer::Reply if service.cluster_ip.is_none() => {
                    let open = front.in_the_open(pod, endpoint);
                    asked.pods.extend(open.map(|open| (score(&[pod]), vec![open])));
                }
                Answer::Reply => {}
                Answer::Denied => asked.whole = None,
                Answer::Unknown(reason) => {
                    asked.whole = None;
                    self.leave_out(service, Some(Vantage::Ambient), reason);
                }
            }
        }
        asked
    }

    fn by_plain(&mut self, front: &Front<'_>, whole: Option<Target>) -> Asked {
        let Front { service, name, endpoints } = front;
        let mut asked = Asked::default();
        asked.pods.extend(self.through_waypoint(service, name));
        let (mut replies, mut denials) = (0, 0);
        for (pod, endpoint) in endpoints {
            let mut answer = plaintext(&endpoint.pod, endpoint.target_port, self.policies);
            if service.waypoint.is_some() && answer != Answer::Unknown(UnknownReason::Sidecar) {
                answer = Answer::Unknown(UnknownReason::Waypoint);
            }
            let id = spiffe_id(&endpoint.pod, &self.settings.trust_domain);
            let id = id.filter(|_| is_tunnelled(&endpoint.pod) && service.waypoint.is_none());
            let control = target_name(&["hbone-service/", name, "/", pod]);
            let open = front.in_the_open(pod, endpoint);
            let mut targets = Vec::new();
            match answer {
                Answer::Reply => {
                    replies += 1;
                    targets.extend(open.clone());
                }
                Answer::Denied => {
                    denials += 1;
                    let open = open.clone().filter(|_| id.is_some());
                    targets.extend(open.map(|open| open.denied(&control)));
                }
                Answer::Unknown(reason) => self.leave_out(service, Some(Vantage::Plain), reason),
            }
            if let (Some(id), Some(open)) = (id, open) {
                let twin = target(control, open.address, tunnel(id)).via(Via::Hbone);
                targets.push(of(twin, service).on(&endpoint.pod.node));
            }
            if !targets.is_empty() {
                asked.pods.push((score(&[pod]), targets));
            }
        }
        if replies == endpoints.len() {
            asked.whole = whole;
        } else if replies > 0 && denials > 0 && whole.is_some() {
            self.leave_out(service, Some(Vantage::Plain), UnknownReason::MixedModes);
        }
        asked
    }

    /// What goes to a Service by way of its waypoint, as ztunnel sends it: the Service's own address
    /// in CONNECT (Istio: HBONE to a waypoint). What the waypoint's policies answer is a reply.
    fn through_waypoint(&self, service: &Service, name: &str) -> Vec<(u64, Vec<Target>)> {
        let address = service.cluster_ip.and_then(|ip| url(ip, service.port, &service.path));
        let asked = |pod: &Pod| {
            let id = spiffe_id(pod, &self.settings.trust_domain)?;
            let name = target_name(&["waypoint/", name, "/", &pod.name]);
            let asked = target(name, address.clone()?, through(pod.ip, id)).via(Via::Hbone);
            Some((score(&[&pod.name]), vec![asked]))
        };
        service.waypoint_pods.iter().filter_map(asked).collect()
    }

    fn leave_out(&mut self, service: &Service, vantage: Option<Vantage>, reason: UnknownReason) {
        let name = printable(&format!("{}/{}:{}", service.namespace, service.name, service.port));
        let why = match reason {
            UnknownReason::NoEndpoints => "nothing ready is behind it",
            UnknownReason::MixedModes => {
                "of the pods behind it some must answer plaintext and some deny it: only pods are \
                 called from outside the mesh, and not its own address"
            }
            UnknownReason::Waypoint => {
                "it is behind a waypoint, whose policies say what plaintext past it meets: it is \
                 called from inside the mesh and, where the waypoint's pods are known, by HBONE"
            }
            UnknownReason::Sidecar => {
                "a pod behind it has a sidecar under STRICT, whose denial has no control"
            }
            UnknownReason::BadAddress => {
                "address and path make no URL: a path begins with / and the URL has at most 8192 \
                 characters"
            }
            UnknownReason::Duplicate => "it is there twice: the first is called",
            UnknownReason::PlanFull => "the plan is full: choose fewer services to be called",
            UnknownReason::NoBudget => {
                "the budget leaves nothing for it, or not for every agent: raise \
                 requests_per_second"
            }
            UnknownReason::PoliciesUnreadable => {
                "whether it must deny plaintext is not known: PeerAuthentications cannot be read"
            }
            UnknownReason::WrongSide | UnknownReason::CanaryNotStrict => "it cannot be judged",
        };
        let object = ObjectRef {
            kind: "Service".to_owned(),
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            uid: None,
        };
        let message = format!("service {name}: {why}");
        self.unknown.insert(Unknown { object, vantage, reason, message });
    }
}

impl Front<'_> {
    fn in_the_open(&self, pod: &str, endpoint: &Endpoint) -> Option<Target> {
        let address = url(endpoint.pod.ip, endpoint.target_port, &self.service.path)?;
        let name = target_name(&["service/", self.name, "/", pod]);
        let open = target(name, address, Question::Http {}).via(Via::PodIp);
        Some(of(open, self.service).on(&endpoint.pod.node))
    }
}

/// What is observed of `target` is observed of `service`.
fn of(target: Target, service: &Service) -> Target {
    target.of(&["service/", &service.namespace, "/", &service.name])
}

impl Called {
    /// What `agent`, the `rank`th of all, asks; of pods those `most` that rendezvous with its node.
    pub(super) fn targets<'a>(
        &'a self,
        agent: &Agent,
        rank: usize,
        most: usize,
    ) -> impl Iterator<Item = (&'a Target, Duration)> {
        let asked = match agent.vantage {
            Vantage::Ambient => &self.by_ambient,
            Vantage::Plain => &self.by_plain,
        };
        // A pod's call to itself is not intercepted and proves nothing.
        let own = self.pods.binary_search(&agent.pod.ip).is_ok();
        let interval = self.share.interval(rank).filter(|_| !own);
        let node = score(&[&agent.pod.node]);
        let mut pods: Vec<(u64, usize)> =
            asked.pods.iter().zip(0..).map(|((pod, _), at)| (mix(node, *pod), at)).collect();
        if pods.len() > most {
            pods.select_nth_unstable(most);
            pods.truncate(most);
        }
        let chosen = pods.into_iter().flat_map(|(_, at)| &asked.pods[at].1);
        let all = asked.whole.iter().chain(chosen);
        interval.into_iter().flat_map(move |every| all.clone().map(move |target| (target, every)))
    }
}

fn mix(node: u64, pod: u64) -> u64 {
    let word = (node ^ pod.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

//! What is asked of the agents of a peer's node: built once for all who ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::mtls::Policies;
use crate::cluster::{Agent, Cluster, Enrolment, ObjectRef, Pod};
use crate::expectation::Expectation;
use crate::fleet::answer::{
    Answer, certificate, is_tunnelled, plaintext, spiffe_id, target, tunnel, url,
};
use crate::fleet::document::{Defaults, Question, Target};
use crate::fleet::name::target_name;
use crate::fleet::unknown::{Unknown, UnknownReason, printable};
use crate::fleet::{CANARY_PORT, RESPONDER_PORT, Settings};
use crate::spec::HBONE_PORT;
use crate::target::{Vantage, Via};

/// How often certificates are looked at, at most.
const CERTIFICATES: Duration = Duration::from_secs(15);
/// How often large bodies are sent, at most.
const LARGE: Duration = Duration::from_secs(30);
/// How long a connection is held, and its heartbeat.
const HOLD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1));

/// What is asked of one node's agents.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// By an agent in the mesh.
    pub(super) by_ambient: Vec<Target>,
    /// By an agent outside.
    pub(super) by_plain: Vec<Target>,
    /// By an agent in the mesh whose first peer this is: what costs too much to ask of all.
    pub(super) by_first: Vec<Target>,
}

/// Builds what is asked of each node's agents.
pub(super) struct Peers<'a> {
    pub(super) settings: &'a Settings,
    pub(super) defaults: &'a Defaults,
    pub(super) policies: Option<&'a Policies<'a>>,
    pub(super) unknown: &'a mut BTreeSet<Unknown>,
}

impl Peers<'_> {
    /// Of one node's agents on one side the first by name that is ready is asked.
    pub(super) fn build(&mut self, cluster: &Cluster) -> BTreeMap<String, Asked> {
        let mut chosen: BTreeMap<(&str, Vantage), &Agent> = BTreeMap::new();
        for agent in cluster.agents.iter().filter(|agent| agent.pod.ready) {
            let place = chosen.entry((&agent.pod.node, agent.vantage)).or_insert(agent);
            let key = |agent: &Agent| (agent.pod.namespace.clone(), agent.pod.name.clone());
            if key(agent) < key(place) {
                *place = agent;
            }
        }
        let mut nodes: BTreeMap<String, Asked> = BTreeMap::new();
        for ((node, vantage), agent) in chosen {
            let enrolled = agent.pod.wanted == Enrolment::Ambient;
            if enrolled != (vantage == Vantage::Ambient) {
                self.leave_out(&agent.pod, None, UnknownReason::WrongSide);
                continue;
            }
            let asked = nodes.entry(node.to_owned()).or_default();
            match vantage {
                Vantage::Ambient => self.ambient(node, &agent.pod, asked),
                Vantage::Plain => self.plain(node, &agent.pod, asked),
            }
        }
        nodes
    }

    fn plain(&self, node: &str, pod: &Pod, asked: &mut Asked) {
        let Some(address) = url(pod.ip, RESPONDER_PORT, "/") else { return };
        let peer = target(target_name(&["plain-peer/", node]), address, Question::Http {});
        let peer = peer.expect(&answered()).via(Via::PodIp).of(&["underlay"]).on(node);
        asked.by_ambient.push(peer.clone());
        asked.by_plain.push(peer);
    }

    fn ambient(&mut self, node: &str, pod: &Pod, asked: &mut Asked) {
        let id = spiffe_id(pod, &self.settings.trust_domain);
        let id = id.filter(|_| is_tunnelled(pod));
        let rows = [
            ("peer/", "hbone/", "peer", RESPONDER_PORT),
            ("canary/", "hbone-canary/", "peer-strict", CANARY_PORT),
        ];
        for (open, tunnelled, subject, port) in rows {
            let Some(address) = url(pod.ip, port, "/") else { return };
            let peer = target(target_name(&[open, node]), address.clone(), Question::Http {});
            let peer = peer.expect(&answered()).via(Via::PodIp).of(&[subject]).on(node);
            asked.by_ambient.push(peer.clone());
            let control = target_name(&[tunnelled, node]);
            let answer = plaintext(pod, port, self.policies);
            match answer {
                Answer::Reply => asked.by_plain.push(peer),
                Answer::Denied if id.is_some() => asked.by_plain.push(peer.denied(&control)),
                Answer::Denied => self.leave_out(pod, PLAIN, UnknownReason::BadAddress),
                Answer::Unknown(reason) => self.leave_out(pod, PLAIN, reason),
            }
            if port == CANARY_PORT && answer == Answer::Reply {
                self.leave_out(pod, PLAIN, UnknownReason::CanaryNotStrict);
            }
            if let Some(id) = &id {
                let twin = target(control, address, tunnel(id.clone()));
                let twin = twin.expect(&answered()).via(Via::Hbone);
                asked.by_plain.push(twin.of(&[subject]).on(node));
            }
        }
        if let Some(id) = id {
            let address = SocketAddr::new(pod.ip, HBONE_PORT).to_string();
            let shown = target(target_name(&["certificate/", node]), address, certificate(id));
            let often = CERTIFICATES.max(self.defaults.interval);
            let shown = shown.via(Via::PodIp).of(&["certificate"]).on(node);
            asked.by_plain.push(shown.every(often, self.defaults));
        }
        self.first(node, pod, asked);
    }

    fn first(&self, node: &str, pod: &Pod, asked: &mut Asked) {
        let (hold, heartbeat) = HOLD;
        let Some(address) = url(pod.ip, RESPONDER_PORT, "/") else { return };
        let held = Question::Hold { heartbeat, hold };
        let held = target(target_name(&["held/", node]), address, held).via(Via::PodIp);
        let held = held.of(&["peer"]).on(node);
        let held = held.every(hold.max(self.defaults.interval), self.defaults);
        // The next begins when this one is over, which jitter may put a moment later.
        asked.by_first.push(Target { max_in_flight: Some(2), ..held });
        let Some(address) = url(pod.ip, RESPONDER_PORT, "/echo") else { return };
        let large = target(target_name(&["large/", node]), address, Question::Mtu {});
        let often = LARGE.max(self.defaults.interval);
        let large = large.via(Via::PodIp).of(&["peer"]).on(node);
        asked.by_first.push(large.every(often, self.defaults));
    }

    fn leave_out(&mut self, pod: &Pod, vantage: Option<Vantage>, reason: UnknownReason) {
        let name = printable(&format!("{}/{}", pod.namespace, pod.name));
        let message = match reason {
            UnknownReason::WrongSide => format!(
                "agent {name} is not on the side of the mesh that its DaemonSet is for: label its \
                 namespace with istio.io/dataplane-mode ambient or none"
            ),
            UnknownReason::CanaryNotStrict => format!(
                "port {CANARY_PORT} of agent {name} is not STRICT, so nothing shows whether STRICT \
                 is enforced: restore the PeerAuthentication of meshprobe's own"
            ),
            UnknownReason::PoliciesUnreadable => format!(
                "whether agent {name} must deny plaintext is not known: PeerAuthentications cannot \
                 be read"
            ),
            UnknownReason::Waypoint => format!(
                "agent {name} is behind a waypoint: label its namespace with \
                 istio.io/use-waypoint none"
            ),
            UnknownReason::BadAddress
            | UnknownReason::Sidecar
            | UnknownReason::NoEndpoints
            | UnknownReason::MixedModes
            | UnknownReason::Duplicate
            | UnknownReason::PlanFull
            | UnknownReason::NoBudget => {
                format!("agent {name} has no address or identity that it could be asked by")
            }
        };
        let object = ObjectRef {
            kind: "Pod".to_owned(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: None,
        };
        self.unknown.insert(Unknown { object, vantage, reason, message });
    }
}

const PLAIN: Option<Vantage> = Some(Vantage::Plain);

/// What our own responders answer.
fn answered() -> Expectation {
    "status 2xx".parse().expect("a class of statuses")
}

//! What a report says of kinds of ways, of faults, and of what to do next.

use crate::diagnosis::component::{Component, Kind, Names};
use crate::diagnosis::path::Class;

impl Class {
    /// What goes this way, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Mesh => "calls within the mesh",
            Self::Passthrough => "calls out of the mesh",
            Self::Plaintext => "plaintext calls into the mesh",
            Self::Denied => "plaintext calls that must be denied",
            Self::Tunnel => "HBONE calls from outside",
            Self::Certificate => "HBONE handshakes from outside",
            Self::Direct => "calls outside the mesh",
            Self::Dns => "questions to CoreDNS",
            Self::CapturedDns => "captured DNS questions",
            Self::AmbientLadder => "ladders to istiod from the mesh",
            Self::PlainLadder => "ladders to istiod from outside",
            Self::Capture => "checks of the pod's own capture",
            Self::OwnHbone => "handshakes with the pod's own HBONE socket",
            Self::Readiness => "readiness checks of ztunnel",
        }
    }
}

/// What `kind` means, as the end of a sentence.
pub(super) fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Dead => "it is gone: its sockets refuse",
        Kind::Listeners => "its sockets in the pods are missing, while it says that it is ready",
        Kind::Frozen => "it accepts and says nothing",
        Kind::NoCertificate => "it has no valid certificate for the pods of its node",
        Kind::StaleXds => "it does not know the pods of its node",
        Kind::DnsProxy => "its captured DNS answers otherwise than CoreDNS",
        Kind::Gray => "it fails a part of what goes through it",
        Kind::Blocked => "port 15008 is dropped while other ports answer",
        Kind::Lost => "pods are not redirected to ztunnel: traffic passes in plaintext",
        Kind::Unreachable => "packets are lost on the way",
        Kind::LargeLost => "small packets pass, large ones vanish",
        Kind::Down => "it does not answer",
        Kind::Cut => "this node alone does not get there",
        Kind::Misdescribed => "istiod describes the pods of this node otherwise than they are",
        Kind::Wrong => "it answers, wrongly",
        Kind::Closed | Kind::PortClosed => "nothing listens behind the port",
        Kind::Gone => "its addresses do not answer",
        Kind::Replaced => "another workload answers at its address",
        Kind::Denies => "a policy denies what is to pass",
        Kind::Strict => "a policy denies plaintext that is to pass",
        Kind::Gap => "plaintext is answered where it must be denied",
        Kind::Disagree => "its certificates lead to another root",
    }
}

/// What to run or look at next for `kind` of `component`.
pub(super) fn next(component: Component, kind: Kind, names: &Names) -> String {
    let node = |number: u32| names.nodes.text(number);
    match component {
        Component::Ztunnel(n) => ztunnel(kind, node(n)),
        Component::Hbone(n) => format!(
            "kubectl get networkpolicies -A: port 15008 to the pods on {} must be allowed",
            node(n)
        ),
        Component::Capture(n) => format!(
            "kubectl -n istio-system logs -l k8s-app=istio-cni-node (the one on {}); restart a pod there to have it redirected again",
            node(n)
        ),
        Component::Node(n) if kind == Kind::LargeLost => {
            format!(
                "meshprobe probe mtu from a pod on {}; compare the MTU of its interfaces",
                node(n)
            )
        }
        Component::Node(n) => format!("kubectl describe node {}; then its network", node(n)),
        Component::Zone(a, b) => format!(
            "look at routes and firewalls between the zones {} and {}",
            names.zones.text(a),
            names.zones.text(b)
        ),
        Component::CorednsPod(pod) => {
            format!("kubectl -n kube-system logs {}", names.coredns.text(pod))
        }
        Component::Coredns => {
            "kubectl -n kube-system get pods,endpointslices -l k8s-app=kube-dns".to_owned()
        }
        Component::IstiodPod(pod) => {
            format!("kubectl -n istio-system logs {}", names.istiod.text(pod))
        }
        Component::Istiod => {
            "kubectl -n istio-system get pods,endpointslices -l app=istiod; then its log".to_owned()
        }
        Component::IstiodLink(n) => format!(
            "meshprobe probe istiod istiod.istio-system.svc from a pod on {}: the first rung that fails names the cause",
            node(n)
        ),
        Component::Peer(n) => format!(
            "kubectl get pods -A --field-selector spec.nodeName={}: compare the addresses of the ambient pods there",
            node(n)
        ),
        Component::Service(s) => {
            let (namespace, name) = names.services.text(s).split_once('/').unwrap_or_default();
            format!(
                "kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}; then the log of its pods"
            )
        }
        Component::Target(t) => {
            format!("meshprobe check: look at the target {}", names.targets.text(t))
        }
        Component::ServicePolicy(s) => {
            let (namespace, _) = names.services.text(s).split_once('/').unwrap_or_default();
            format!("kubectl -n {namespace} get peerauthentications,authorizationpolicies -o yaml")
        }
        Component::PeerPolicy(n) if kind == Kind::Gap => format!(
            "istioctl ztunnel-config policies --node {}: compare with kubectl get peerauthentications -A",
            node(n)
        ),
        Component::PeerPolicy(_) | Component::PeersPolicy => {
            "kubectl get peerauthentications,authorizationpolicies -A -o yaml".to_owned()
        }
        Component::Trust(n) => format!(
            "istioctl ztunnel-config certificates --node {}: compare its root with the ConfigMap istio-ca-root-cert",
            node(n)
        ),
    }
}

/// The same for a ztunnel.
fn ztunnel(kind: Kind, node: &str) -> String {
    match kind {
        Kind::NoCertificate => format!(
            "istioctl ztunnel-config certificates --node {}; then look at the csr rung of `meshprobe probe istiod` there",
            node
        ),
        Kind::StaleXds => format!("istioctl ztunnel-config workloads --node {}", node),
        _ => format!(
            "kubectl -n istio-system get pods -l app=ztunnel --field-selector spec.nodeName={}; then its log",
            node
        ),
    }
}

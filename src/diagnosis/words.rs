//! A diagnosis in words: the evidence for and against it, and what to run next.

use std::collections::BTreeMap;
use std::fmt::Write;

use time::OffsetDateTime;

use crate::diagnosis::Diagnosis;
use crate::diagnosis::component::Component;
use crate::diagnosis::infer::{Found, Hypothesis, Inference};
use crate::diagnosis::path::{Class, Path, Role};
use crate::diagnosis::topology::Index;
use crate::failure::Reason;

/// Kinds of paths that evidence lists, those that say most first.
const LISTED: usize = 6;

#[derive(Debug, Default)]
struct Group {
    paths: u64,
    failing: u64,
    met: u64,
    violated: u64,
    reasons: BTreeMap<Reason, u64>,
}

impl Group {
    fn add(&mut self, path: &Path) {
        self.paths += 1;
        self.failing += u64::from(path.violated > 0);
        self.met += path.met;
        self.violated += path.violated;
        for (reason, count) in &path.reasons {
            *self.reasons.entry(*reason).or_default() += count;
        }
    }
}

/// What was found, in words.
pub(super) fn diagnosis(found: &Found, inference: &Inference<'_>, index: &Index) -> Diagnosis {
    let hypothesis = found.hypothesis;
    let mut groups: BTreeMap<(Role, Class), Group> = BTreeMap::new();
    let mut since: Option<OffsetDateTime> = None;
    for (path, role, fits) in inference.witnesses(hypothesis) {
        groups.entry((role, path.class)).or_default().add(path);
        if fits && let Some(start) = path.since {
            since = Some(since.map_or(start, |since| since.min(start)));
        }
    }
    let hard = hypothesis.rate >= 0.9;
    let alternatives: Vec<String> =
        found.alternatives.iter().map(|rival| rival.component.name(index)).collect();
    let mut evidence = evidence(&groups, hypothesis.component, index);
    if let Some(first) = alternatives.first() {
        let name = hypothesis.component.name(index);
        evidence.push(format!(
            "cannot tell {name} from {first}: {} would",
            telling(hypothesis, found.alternatives[0], index)
        ));
    }
    Diagnosis {
        component: hypothesis.component.name(index),
        fault: hypothesis.fault.word(hypothesis.rate).to_owned(),
        since: since.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        confidence: found.confidence,
        rate: (!hard).then_some(hypothesis.rate),
        evidence,
        alternatives,
        next: next(hypothesis.component, index),
    }
}

fn evidence(
    groups: &BTreeMap<(Role, Class), Group>,
    component: Component,
    index: &Index,
) -> Vec<String> {
    let mut failing: Vec<_> = groups.iter().filter(|(_, group)| group.violated > 0).collect();
    failing.sort_by_key(|(_, group)| std::cmp::Reverse(group.violated));
    let whole = groups.iter().filter(|(_, group)| group.violated == 0);
    let line = |word: &str, ((role, class), group): (&(Role, Class), &Group)| {
        let mut line = format!(
            "{word}: {} of {} paths {} fail ({} of {} attempts",
            group.failing,
            group.paths,
            way(*role, *class, component, index),
            group.violated,
            group.met + group.violated
        );
        if let Some((reason, count)) = group.reasons.iter().max_by_key(|(_, count)| **count) {
            // Writing to a String does not fail.
            let _ = write!(line, ", {reason} {count}");
        }
        line.push(')');
        line
    };
    let mut lines: Vec<String> =
        failing.into_iter().take(LISTED).map(|group| line("for", group)).collect();
    lines.extend(whole.take(LISTED).map(|group| line("against", group)));
    lines
}

/// From where to where, in words.
fn way(role: Role, class: Class, component: Component, index: &Index) -> String {
    let place = component.name(index);
    let node = place.rsplit('/').next().unwrap_or_default();
    let what = match class {
        Class::Mesh => "within the mesh",
        Class::MeshStrict => "within the mesh to STRICT ports",
        Class::MeshLarge => "with large bodies within the mesh",
        Class::Captured => "from the mesh to plain pods",
        Class::Plaintext => "of plaintext into the mesh",
        Class::Denied => "of plaintext that must be denied",
        Class::Tunnel => "by HBONE from outside",
        Class::TunnelStrict => "by HBONE from outside to STRICT ports",
        Class::Certificate => "to port 15008 without a certificate",
        Class::Underlay => "between plain pods",
        Class::Dns => "to CoreDNS",
        Class::CapturedDns => "of captured DNS",
        Class::Istiod => "to istiod from outside",
        Class::CapturedIstiod => "to istiod from the mesh",
        Class::Capture => "of the capture probe",
        Class::OwnHbone => "to the own port 15008",
        Class::Ztunnel => "to ztunnel's readiness",
    };
    match role {
        Role::Near => format!("{what}, from {node},"),
        Role::Far => format!("{what}, towards {node},"),
        Role::On => what.to_owned(),
    }
}

/// The probe that would tell two components apart.
fn telling(one: Hypothesis, other: Hypothesis, index: &Index) -> String {
    use Component::*;
    match (one.component, other.component) {
        (Node(n), _) | (_, Node(n)) => {
            format!("a probe of a plain pod on {}", index.node_name(n))
        }
        (Workload(s) | Policy(s), _) | (_, Workload(s) | Policy(s)) => {
            format!("`meshprobe probe hbone` to a pod of {}", index.services[s as usize].name)
        }
        (Ztunnel(n), _) | (_, Ztunnel(n)) => format!(
            "`meshprobe probe hbone` to another pod on {}, or its ztunnel's log",
            index.node_name(n)
        ),
        _ => "a probe from one more node".to_owned(),
    }
}

fn next(component: Component, index: &Index) -> String {
    use Component::*;
    let on = |node: u32| index.node_name(node);
    match component {
        Ztunnel(n) => format!(
            "kubectl -n istio-system get pods -l app=ztunnel -o wide --field-selector \
             spec.nodeName={}; then its log",
            on(n)
        ),
        Hbone(n) => format!(
            "kubectl get networkpolicies -A: what selects pods on {} must let TCP 15008 in",
            on(n)
        ),
        Capture(n) => format!(
            "kubectl -n istio-system logs -l k8s-app=istio-cni-node --field-selector \
             spec.nodeName={}; pods captured before a reboot must be restarted",
            on(n)
        ),
        Node(n) => format!("kubectl describe node {}", on(n)),
        Zone(a, b) => format!(
            "look at the network between zones {} and {}",
            index.zone_name(a),
            index.zone_name(b)
        ),
        CorednsPod(pod) => {
            format!("kubectl -n kube-system logs {}", index.coredns[pod as usize].0)
        }
        Coredns => "kubectl -n kube-system get pods,endpointslices -l k8s-app=kube-dns".to_owned(),
        IstiodPod(pod) => {
            format!("kubectl -n istio-system logs {}", index.istiod[pod as usize].0)
        }
        Istiod => "kubectl -n istio-system get pods,endpointslices -l app=istiod".to_owned(),
        IstiodLink(n) => format!(
            "meshprobe probe istiod istiod.istio-system.svc:15012 from a pod on {}; \
             istioctl proxy-status",
            on(n)
        ),
        Workload(s) => {
            let name = &index.services[s as usize].name;
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            format!("kubectl -n {namespace} get endpointslices,pods -l app={name}")
        }
        NodeWorkload(n) => {
            format!("kubectl get pods -A -o wide --field-selector spec.nodeName={}", on(n))
        }
        Policy(_) | NodePolicy(_) | PeerPolicy => {
            "kubectl get authorizationpolicies,peerauthentications -A".to_owned()
        }
        Trust(n) => format!(
            "istioctl ztunnel-config certificates --node {}; compare the ConfigMap \
             istio-ca-root-cert of all namespaces",
            on(n)
        ),
    }
}

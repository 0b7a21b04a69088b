//! Labels whose value is none that they may have, where it matters to what is probed. Pure.

use std::collections::BTreeSet;

use crate::cluster::{Finding, FindingReason, Labels, ObjectRef};
use crate::discovery::assemble::VANTAGE;
use crate::discovery::enrolment::DATAPLANE_MODE;
use crate::discovery::reduce::PodSeen;
use crate::discovery::seen::Seen;
use crate::discovery::settings::Settings;
use crate::discovery::text::{finding, quoted};
use crate::target::Vantage;

/// Tells of agents, of the namespaces of agents and `called` Services, and of the pods there.
pub(super) fn unknown(
    seen: &Seen,
    settings: &Settings,
    called: &BTreeSet<String>,
    findings: &mut Vec<Finding>,
) {
    for pod in seen.agents.values().flat_map(|watched| watched.objects().values()) {
        let told = pod.pod.labels.get(VANTAGE);
        if let Some(value) = told.filter(|value| value.parse::<Vantage>().is_err()) {
            let sides = Vantage::ALL.map(Vantage::as_str).join(" or ");
            let why = format!("write {sides}; until then its namespace says which");
            findings.push(bad(of_pod(pod), VANTAGE, value, &why));
        }
    }
    let mode = "write ambient or none; until then it is as if it were not there";
    for name in called.iter().chain([&settings.ambient_namespace, &settings.plain_namespace]) {
        let Some(namespace) = seen.namespaces.find("", name) else { continue };
        if let Some(value) = bad_mode(&namespace.labels) {
            let object = ObjectRef::new("Namespace", "", name, namespace.uid.clone());
            findings.push(bad(object, DATAPLANE_MODE, value, mode));
        }
    }
    let pods = seen.agents.values().chain(seen.pods.values());
    for pod in pods.flat_map(|watched| watched.objects().values()) {
        if let Some(value) = bad_mode(&pod.pod.labels) {
            findings.push(bad(of_pod(pod), DATAPLANE_MODE, value, mode));
        }
    }
}

fn bad_mode(labels: &Labels) -> Option<&String> {
    labels.get(DATAPLANE_MODE).filter(|value| !["ambient", "none"].contains(&value.as_str()))
}

fn of_pod(pod: &PodSeen) -> ObjectRef {
    ObjectRef::new("Pod", &pod.pod.namespace, &pod.pod.name, pod.uid.clone())
}

fn bad(object: ObjectRef, label: &str, value: &str, why: &str) -> Finding {
    let place = if object.namespace.is_empty() { "" } else { "/" };
    let message = format!(
        "{} {}{place}{}: label {label} is {}: {why}",
        object.kind,
        object.namespace,
        object.name,
        quoted(value),
    );
    finding(object, FindingReason::BadLabel, &message)
}

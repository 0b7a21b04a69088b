//! From objects of the Kubernetes API to the little that is kept of them. Pure.
//!
//! Managed fields, specs and statuses end here: what is not named below is never stored.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::{apps, core::v1 as core, discovery::v1 as slices};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::cluster::{DaemonSet, Enrolment, Labels, Namespace, Node, Pod};
use crate::discovery::enrolment::{self, REDIRECTION, SIDECAR};

/// A pod, before its namespace's labels are known.
#[derive(Debug, Clone, PartialEq)]
pub struct PodSeen {
    /// The pod; `wanted` and `waypoint` are not filled in yet.
    pub pod: Pod,
    /// On the host's network or with a sidecar: never captured.
    pub excluded: bool,
    /// On the host's network.
    pub host_network: bool,
    /// `metadata.uid`.
    pub uid: Option<String>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The Service that it belongs to (label `kubernetes.io/service-name`).
    pub service: String,
    /// Its ports: the name of the Service's port, and the number on the pods.
    pub ports: Vec<(String, u16)>,
    /// What is ready: the pod's name (empty when there is no pod behind it) and its address.
    pub ready: Vec<(String, IpAddr)>,
}

/// Zone and readiness.
pub fn node(object: core::Node) -> Node {
    let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
    let zone = |labels: Labels| labels.get("topology.kubernetes.io/zone").cloned();
    Node {
        zone: object.metadata.labels.and_then(zone).filter(|zone| !zone.is_empty()),
        ready: conditions.iter().any(|is| is.type_ == "Ready" && is.status == "True"),
    }
}

/// Istio's labels of a namespace; the others say nothing here.
pub fn namespace(object: core::Namespace) -> Namespace {
    let mut labels = object.metadata.labels.unwrap_or_default();
    labels.retain(|key, _| {
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        domain == "istio.io" || domain.ends_with(".istio.io") || key == "istio-injection"
    });
    Namespace { labels, uid: object.metadata.uid }
}

/// What decides how a pod is reached; `None` for one that has no address or no node yet, and for
/// one that has run to its end.
pub fn pod(object: core::Pod) -> Option<PodSeen> {
    let core::Pod { metadata, spec: Some(spec), status: Some(status) } = object else {
        return None;
    };
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let ready = status.conditions.unwrap_or_default();
    let ready = ready.iter().any(|is| is.type_ == "Ready" && is.status == "True");
    let annotations = metadata.annotations.unwrap_or_default();
    let pod = Pod {
        name: metadata.name?,
        namespace: metadata.namespace?,
        node: spec.node_name?,
        ip: status.pod_ip?.parse().ok()?,
        service_account: spec.service_account_name.unwrap_or_else(|| "default".to_owned()),
        labels: metadata.labels.unwrap_or_default(),
        ready: ready && metadata.deletion_timestamp.is_none(),
        wanted: Enrolment::None,
        actual: enrolment::actual(annotations.get(REDIRECTION).map(String::as_str)),
        waypoint: None,
    };
    let host_network = spec.host_network == Some(true);
    let excluded = host_network || annotations.contains_key(SIDECAR);
    Some(PodSeen { pod, excluded, host_network, uid: metadata.uid })
}

/// How far a DaemonSet of the data plane got; `None` for any other.
pub fn daemon_set(object: apps::v1::DaemonSet) -> Option<DaemonSet> {
    let name = object.metadata.name.as_deref()?;
    if !["ztunnel", "istio-cni-node"].contains(&name) {
        return None;
    }
    let status = object.status.unwrap_or_default();
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    Some(DaemonSet {
        desired: count(status.desired_number_scheduled),
        ready: count(status.number_ready),
        updated: count(status.updated_number_scheduled.unwrap_or(0)),
    })
}

/// The ready endpoints of a Service; `None` for a slice that belongs to none, or names no
/// addresses but host names.
pub fn slice(object: slices::EndpointSlice) -> Option<Slice> {
    let labels = object.metadata.labels?;
    let service = labels.get("kubernetes.io/service-name")?.clone();
    if object.address_type == "FQDN" {
        return None;
    }
    let ports = object.ports.unwrap_or_default().into_iter();
    let ports = ports.filter_map(|port| {
        let number = port.port.and_then(|number| u16::try_from(number).ok())?;
        Some((port.name.unwrap_or_default(), number))
    });
    let ready = object.endpoints.into_iter().filter_map(|endpoint| {
        // Absent means ready, says the API.
        if endpoint.conditions.and_then(|is| is.ready) == Some(false) {
            return None;
        }
        let address = endpoint.addresses.first()?.parse().ok()?;
        let pod = endpoint.target_ref.filter(|object| object.kind.as_deref() == Some("Pod"));
        Some((pod.and_then(|pod| pod.name).unwrap_or_default(), address))
    });
    Some(Slice { service, ports: ports.collect(), ready: ready.collect() })
}

/// Namespace and name, as a key.
pub(super) fn key(metadata: &ObjectMeta) -> (String, String) {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    (part(&metadata.namespace), part(&metadata.name))
}

/// The value of a label or annotation.
pub(super) fn value<'a>(
    map: &'a Option<BTreeMap<String, String>>,
    key: &str,
) -> Option<&'a String> {
    map.as_ref()?.get(key)
}

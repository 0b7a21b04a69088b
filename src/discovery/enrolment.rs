//! Whether a pod is meant to be in the mesh, whether it is, and through which waypoint: Istio's
//! labels and annotations. Pure.

use crate::cluster::{Enrolment, Labels, Redirection};

/// Label of namespaces and pods: `ambient` or `none`.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// Label of namespaces, Services and pods: a waypoint's name, or `none`.
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Label beside it: where the waypoint is, when that is not the object's own namespace.
pub const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Label of a waypoint's pods: its name.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Annotation that istio-cni sets on a pod whose traffic it captures.
pub const REDIRECTION: &str = "ambient.istio.io/redirection";
/// Annotation of a pod with a sidecar.
pub const SIDECAR: &str = "sidecar.istio.io/status";

/// Whether a pod with `labels` in a namespace with labels `namespace` is to be captured.
/// `excluded`: it is on the host's network or has a sidecar.
pub fn wanted(labels: &Labels, namespace: &Labels, excluded: bool) -> Enrolment {
    let ambient = |labels: &Labels| labels.get(DATAPLANE_MODE).is_some_and(|is| is == "ambient");
    let opted_out = labels.get(DATAPLANE_MODE).is_some_and(|is| is == "none");
    if !excluded && !opted_out && (ambient(labels) || ambient(namespace)) {
        Enrolment::Ambient
    } else {
        Enrolment::None
    }
}

/// What istio-cni says, by the value of [`REDIRECTION`].
pub fn actual(annotation: Option<&str>) -> Redirection {
    match annotation {
        Some("enabled") => Redirection::Enabled,
        Some("pending") => Redirection::Pending,
        Some(_) | None => Redirection::Absent,
    }
}

/// The waypoint of an object: its own label goes before its namespace's; `none` is none.
pub fn waypoint(object: Option<&str>, namespace: &Labels) -> Option<String> {
    let name = object.or_else(|| namespace.get(USE_WAYPOINT).map(String::as_str))?;
    (!name.is_empty() && name != "none").then(|| name.to_owned())
}

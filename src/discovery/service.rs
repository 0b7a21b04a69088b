//! Services: their ports, and what their annotations ask for. Pure.

use std::net::IpAddr;

use http::uri::PathAndQuery;
use k8s_openapi::api::core::v1 as core;

use crate::cluster::Labels;
use crate::discovery::enrolment::{USE_WAYPOINT, USE_WAYPOINT_NAMESPACE};
use crate::discovery::reduce::value;
use crate::discovery::settings::{PortRef, Selection};
use crate::discovery::text::quoted;

/// Annotation: `true` for every TCP port, `false` for none whatever the configuration says, or
/// ports by name and number, separated by commas.
pub const PROBE: &str = "meshprobe.dev/probe";
/// Annotation: what is requested.
pub const PATH: &str = "meshprobe.dev/path";

/// The longest path, in bytes.
const MAX_PATH: usize = 1024;
/// The most ports that one annotation may name.
const MAX_PORTS: usize = 32;
/// The longest value of [`PROBE`] that is read, in bytes: 32 names of 63.
const MAX_PROBE: usize = 2100;

/// A Service that may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSeen {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `spec.clusterIP`; `None` for a headless one.
    pub cluster_ip: Option<IpAddr>,
    /// Of type ExternalName: nothing in the cluster is behind it.
    pub external: bool,
    /// Its ports, of every protocol.
    pub ports: Vec<Port>,
    /// What its annotation [`PROBE`] asks for.
    pub asked: Asked,
    /// Its annotation [`PATH`].
    pub path: Option<String>,
    /// What is wrong with its annotations.
    pub mistakes: Vec<String>,
    /// Its label `istio.io/use-waypoint`.
    pub waypoint: Option<String>,
    /// Its label `istio.io/use-waypoint-namespace`.
    pub waypoint_namespace: Option<String>,
    /// The entries of the configuration that choose it, by index.
    pub selected: Vec<usize>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty when it has none.
    pub name: String,
    /// Its number.
    pub number: u16,
    /// Whether it is TCP.
    pub tcp: bool,
}

/// What an annotation asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// There is no annotation, or no usable one.
    Nothing,
    /// `false`.
    Never,
    /// `true`.
    Every,
    /// These ports.
    Ports(Vec<PortRef>),
}

/// A Service; `None` when neither an annotation nor the configuration wants anything of it.
pub fn service(object: core::Service, selections: &[Selection]) -> Option<ServiceSeen> {
    let seen = any_service(object, selections)?;
    let wanted =
        seen.asked != Asked::Nothing || !seen.selected.is_empty() || !seen.mistakes.is_empty();
    wanted.then_some(seen)
}

/// A Service, wanted or not.
pub fn any_service(object: core::Service, selections: &[Selection]) -> Option<ServiceSeen> {
    let core::Service { metadata, spec: Some(spec), .. } = object else { return None };
    let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    let mut mistakes = Vec::new();
    let asked = value(&metadata.annotations, PROBE);
    let asked = asked.map_or(Asked::Nothing, |text| asked_ports(text, &mut mistakes));
    let path = value(&metadata.annotations, PATH);
    let path = path.and_then(|text| request_path(text, &mut mistakes));
    let nothing = Labels::new();
    let labels = metadata.labels.as_ref().unwrap_or(&nothing);
    let chosen = |selection: &Selection| selection.choice.matches(namespace, name, labels);
    let ports = spec.ports.unwrap_or_default().into_iter();
    Some(ServiceSeen {
        cluster_ip: spec.cluster_ip.and_then(|address| address.parse().ok()),
        external: spec.type_.as_deref() == Some("ExternalName"),
        ports: ports.filter_map(port).collect(),
        asked,
        path,
        mistakes,
        waypoint: labels.get(USE_WAYPOINT).cloned(),
        waypoint_namespace: labels.get(USE_WAYPOINT_NAMESPACE).cloned(),
        selected: (0..).zip(selections).filter(|(_, is)| chosen(is)).map(|(at, _)| at).collect(),
        uid: metadata.uid,
    })
}

fn port(object: core::ServicePort) -> Option<Port> {
    Some(Port {
        number: u16::try_from(object.port).ok()?,
        tcp: object.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"),
        name: object.name.unwrap_or_default(),
    })
}

fn asked_ports(text: &str, mistakes: &mut Vec<String>) -> Asked {
    let words = "write \"true\", \"false\", or names and numbers of ports separated by commas";
    match text.trim() {
        "true" => return Asked::Every,
        "false" => return Asked::Never,
        _ => {}
    }
    if text.len() > MAX_PROBE {
        let length = text.len();
        mistakes
            .push(format!("annotation {PROBE} is {length} bytes long ({}): {words}", quoted(text)));
        return Asked::Nothing;
    }
    let mut ports = Vec::new();
    for item in text.split(',').map(str::trim) {
        match port_ref(item) {
            Some(port) if ports.contains(&port) => {}
            Some(_) if ports.len() == MAX_PORTS => {
                mistakes.push(format!(
                    "annotation {PROBE} names more than {MAX_PORTS} ports: the others are left out"
                ));
                break;
            }
            Some(port) => ports.push(port),
            None => mistakes.push(format!(
                "annotation {PROBE} names {}, which is no port: {words}",
                quoted(item)
            )),
        }
    }
    // One line per mistake, but not a thousand of them.
    mistakes.truncate(MAX_PORTS);
    if ports.is_empty() { Asked::Nothing } else { Asked::Ports(ports) }
}

/// A port by number (1 to 65535) or by name (a DNS label).
pub fn port_ref(text: &str) -> Option<PortRef> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: u16 = text.parse().ok()?;
        return (number != 0).then_some(PortRef::Number(number));
    }
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = text.len() <= 63
        && text.bytes().all(word)
        && !text.starts_with('-')
        && !text.ends_with('-');
    label.then(|| PortRef::Name(text.to_owned()))
}

fn request_path(text: &str, mistakes: &mut Vec<String>) -> Option<String> {
    let plain = text.len() <= MAX_PATH
        && text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let path = plain.then(|| text.parse::<PathAndQuery>().ok()).flatten();
    if path.is_none() {
        mistakes.push(format!(
            "annotation {PATH} is {}: write an absolute path of at most {MAX_PATH} ASCII characters, as /healthz",
            quoted(text)
        ));
    }
    path.map(|path| path.as_str().to_owned())
}

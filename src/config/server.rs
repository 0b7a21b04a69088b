//! The agent itself: who it is, what it listens on, what it may use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::decode::{Field, Fields};
use crate::config::{AdminConfig, Identity, Limits, ResponderConfig};
use crate::target::Vantage;

pub(super) const VANTAGES: [(&str, Vantage); 2] =
    [("ambient", Vantage::Ambient), ("plain", Vantage::Plain)];

/// The default bounds of latency histograms, seconds: from a denial on the same node (0.3 ms)
/// past a cold HBONE connection (50 to 95 ms) to the stalls of a broken ztunnel (5 and 10 s).
pub const DEFAULT_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const MOST_BUCKETS: usize = 32;
const LONGEST_BUCKET: f64 = 3600.0;

/// `node`, `zone`, `vantage`: from the text, else from the environment; and whether `node` was
/// stated as such, the host name being a stand-in.
pub(super) fn identity(
    root: &mut Fields<'_>,
    environment: &BTreeMap<String, String>,
) -> (Identity, bool) {
    let variable = |name: &str| {
        let value = environment.get(name).filter(|value| !value.is_empty())?;
        Some((format!("environment variable {name}"), value.as_str()))
    };
    let written = root.take("node");
    let stated = written.is_some() || variable("MESHPROBE_NODE").is_some();
    let node = match written {
        Some(field) => label(&field),
        None => variable("MESHPROBE_NODE")
            .or_else(|| variable("HOSTNAME"))
            .and_then(|(source, value)| label_of(root.parent(), "node", &source, value)),
    };
    let zone = match root.take("zone") {
        Some(field) => label(&field),
        None => variable("MESHPROBE_ZONE")
            .and_then(|(source, value)| label_of(root.parent(), "zone", &source, value)),
    };
    let vantage = match root.take("vantage") {
        Some(field) => field.word(&VANTAGES),
        None => variable("MESHPROBE_VANTAGE").and_then(|(source, value)| {
            let vantage = value.parse();
            if vantage.is_err() {
                let problem = format!("{value:?} of {source} is not a vantage");
                environmental(root.parent(), "vantage", problem, "ambient or plain");
            }
            vantage.ok()
        }),
    };
    let stated = stated && node.is_some();
    (Identity { node: node.unwrap_or_else(|| "localhost".to_owned()), zone, vantage }, stated)
}

pub(super) const LABEL: &str = "1 to 253 visible ASCII characters";

/// Whether `text` may be a node's or zone's name: what a label of a series can hold.
pub fn is_label(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
}

pub(super) fn label(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if !is_label(text) {
        field.wrong("cannot be a label value", format!("write {LABEL}"));
    }
    is_label(text).then(|| text.to_owned())
}

fn label_of(root: &Field<'_>, path: &str, source: &str, value: &str) -> Option<String> {
    if !is_label(value) {
        let problem = format!("the value of {source} cannot be a label value");
        environmental(root, path, problem, LABEL);
    }
    is_label(value).then(|| value.to_owned())
}

/// A mistake that stands in no text.
pub(super) fn environmental(root: &Field<'_>, path: &str, problem: String, allowed: &str) {
    let mut field = root.clone();
    path.clone_into(&mut field.path);
    field.at = Default::default();
    field.unvalued(problem, format!("write {allowed}"));
}

/// `admin`.
pub(super) fn admin(field: Option<&Field<'_>>) -> AdminConfig {
    let mut admin = AdminConfig {
        listen: SocketAddr::from(([0, 0, 0, 0], 9850)),
        max_connections: 64,
        max_probes: 16,
        probe_networks: Vec::new(),
    };
    let Some(mut fields) = field.map(Field::fields) else {
        return admin;
    };
    set(&mut admin.listen, fields.take("listen").and_then(|f| listen(&f)));
    set(&mut admin.max_connections, whole(&mut fields, "max_connections", 65_536));
    set(&mut admin.max_probes, whole(&mut fields, "max_probes", 65_536));
    if let Some(networks) = fields.take("probe_networks") {
        admin.probe_networks = networks.items().iter().filter_map(network).collect();
    }
    fields.finish();
    admin
}

/// `responder`.
pub(super) fn responder(field: &Field<'_>, admin: SocketAddr) -> ResponderConfig {
    let mut responder = ResponderConfig {
        listen: vec![SocketAddr::from(([0, 0, 0, 0], 9851))],
        max_connections: 256,
        max_body: 64 * 1024,
        max_requests_per_second: 1000,
        idle_timeout: Duration::from_secs(300),
    };
    let mut fields = field.fields();
    if let Some(addresses) = fields.take("listen") {
        responder.listen = distinct_addresses(&addresses, admin);
    }
    set(&mut responder.max_connections, whole(&mut fields, "max_connections", 65_536));
    let body = fields.take("max_body");
    set(&mut responder.max_body, body.and_then(|f| f.size(64 << 20)));
    let rate = whole(&mut fields, "max_requests_per_second", 1_000_000);
    set(&mut responder.max_requests_per_second, rate);
    let idle = fields.take("idle_timeout");
    let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
    set(&mut responder.idle_timeout, idle.and_then(|f| f.duration(range)));
    fields.finish();
    responder
}

fn distinct_addresses(field: &Field<'_>, admin: SocketAddr) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    let mut addresses = Vec::new();
    let items = field.items();
    if items.is_empty() && field.is_list() {
        field.wrong("is empty", "write at least one address, or leave responder out");
    }
    for item in &items {
        let Some(address) = listen(item) else {
            continue;
        };
        if address.port() != 0 && address == admin {
            item.wrong("is where admin listens", "give each a port of its own");
        } else if address.port() != 0 && !seen.insert(address) {
            item.wrong("is listed twice", "leave one of the two out");
        }
        addresses.push(address);
    }
    addresses
}

/// `limits`.
pub(super) fn limits(field: Option<&Field<'_>>) -> Limits {
    let mut limits = Limits { max_in_flight: 1024, max_schedule_lag: Duration::from_millis(250) };
    let Some(mut fields) = field.map(Field::fields) else {
        return limits;
    };
    set(&mut limits.max_in_flight, whole(&mut fields, "max_in_flight", 65_536));
    let lag = fields.take("max_schedule_lag");
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    set(&mut limits.max_schedule_lag, lag.and_then(|f| f.duration(range)));
    fields.finish();
    limits
}

/// `buckets`.
pub(super) fn buckets(field: Option<&Field<'_>>) -> Vec<f64> {
    let Some(field) = field else {
        return DEFAULT_BUCKETS.to_vec();
    };
    let mut buckets: Vec<f64> = Vec::new();
    let items = field.items();
    if field.is_list() && !(1..=MOST_BUCKETS).contains(&items.len()) {
        let problem = format!("has {} bounds", items.len());
        field.wrong(problem, format!("write 1 to {MOST_BUCKETS} of them"));
    }
    for item in items {
        let Some(bound) = item.real(0.0..=LONGEST_BUCKET) else {
            continue;
        };
        if bound <= 0.0 {
            item.wrong("is no bound", "write seconds, more than 0");
        } else if buckets.last().is_some_and(|last| bound <= *last) {
            item.wrong("is not above the bound before it", "write bounds in ascending order");
        }
        buckets.push(bound);
    }
    buckets
}

pub(super) fn listen(field: &Field<'_>) -> Option<SocketAddr> {
    let address = field.text()?.parse().ok();
    if address.is_none() {
        field.wrong(
            "is not an address to listen on",
            "write an IP address and a port, e.g. 0.0.0.0:9850 or \"[::]:9850\"",
        );
    }
    address
}

/// A network; a bare address is a network of one.
pub(super) fn network(field: &Field<'_>) -> Option<IpNet> {
    let text = field.text()?;
    let network =
        text.parse::<IpNet>().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
    if network.is_none() {
        field.wrong("is not a network", "write a CIDR, e.g. 10.0.0.0/8 or fd00::/8");
    }
    network
}

/// A whole number from 1 to `most`.
pub(super) fn whole(fields: &mut Fields<'_>, key: &'static str, most: u32) -> Option<u32> {
    fields.take(key)?.whole(1..=most)
}

/// Replaces a default by what was written, if it was.
pub(super) fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

//! What a stand-in counts, as the real one exposes it on `/stats/prometheus`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::lab::world::{Pod, Service};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Stats {
    counters: Mutex<BTreeMap<Name, u64>>,
}

/// A metric and its labels, as written.
type Name = (&'static str, String);

/// Metrics without their prefix and suffix, and what they are about.
const HELP: &[(&str, &str)] = &[
    ("dns_requests", "Questions to the DNS proxy"),
    ("dns_upstream_failures", "Forwarded questions without an answer"),
    ("dns_upstream_requests", "Questions that were forwarded"),
    ("tcp_connections_closed", "Connections that ended"),
    ("tcp_connections_failed", "Connections that ended in failure"),
    ("tcp_connections_opened", "Connections that began"),
    ("xds_connection_terminations", "Connections to istiod that ended"),
];

/// Which version it is.
const BUILD: &str = "# HELP istio_build Istio component build info.\n# TYPE istio_build gauge\n\
                     istio_build{component=\"ztunnel\",tag=\"lab\"} 1\n";

impl Stats {
    /// Another process begins: it has counted nothing yet.
    pub(super) fn restarted(&self) {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A connection to istiod ended: `ConnectionError`, `Error`, `Reconnect` or `Complete`.
    pub fn xds_terminated(&self, reason: &'static str) {
        self.add("xds_connection_terminations", format!("reason=\"{reason}\""));
    }

    /// A question reached the DNS proxy over `protocol`, `udp` or `tcp`.
    pub fn dns_request(&self, protocol: &'static str) {
        self.add("dns_requests", format!("request_protocol=\"{protocol}\""));
    }

    /// A question over `protocol` was forwarded to the upstream resolver, which `answered` or not.
    pub fn dns_upstream(&self, protocol: &'static str, answered: bool) {
        let labels = format!("request_protocol=\"{protocol}\"");
        if !answered {
            self.add("dns_upstream_failures", labels.clone());
        }
        self.add("dns_upstream_requests", labels);
    }

    /// A connection began; it ends when the guard is dropped.
    pub(super) fn opened(self: &Arc<Self>, connection: &Connection<'_>) -> Open {
        let open = Open { stats: Arc::clone(self), labels: connection.labels(), flag: Flag::None };
        self.add("tcp_connections_opened", open.flagged(Flag::None));
        open
    }

    /// The exposition.
    pub(super) fn render(&self) -> String {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = BUILD.to_owned();
        for (metric, help) in HELP {
            let _ = writeln!(text, "# HELP istio_{metric} {help}.\n# TYPE istio_{metric} counter");
            let series = counters.iter().filter(|((name, _), _)| name == metric);
            for ((_, labels), value) in series {
                let _ = writeln!(text, "istio_{metric}_total{{{labels}}} {value}");
            }
        }
        text + "# EOF\n"
    }

    fn add(&self, metric: &'static str, labels: String) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry((metric, labels)).or_default() += 1;
    }
}

/// How a connection ended: `response_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    None,
    Deny,
    Connect,
    TlsFailure,
    H2Handshake,
    NetworkPolicy,
    Identity,
}

impl Flag {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Deny => "DENY",
            Self::Connect => "CONNECT",
            Self::TlsFailure => "TLS_FAILURE",
            Self::H2Handshake => "H2_HANDSHAKE_FAILURE",
            Self::NetworkPolicy => "NETWORK_POLICY",
            Self::Identity => "IDENTITY_ERROR",
        }
    }
}

/// Who talks to whom, as one side reports it.
pub(super) struct Connection<'a> {
    /// `source` or `destination`.
    pub(super) reporter: &'static str,
    pub(super) mutual_tls: bool,
    pub(super) source: Option<&'a Pod>,
    /// From the source's certificate; without one nobody vouches for it.
    pub(super) source_principal: Option<String>,
    pub(super) destination: Option<&'a Pod>,
    pub(super) service: Option<&'a Service>,
}

impl Connection<'_> {
    fn labels(&self) -> String {
        let mut text = format!("reporter=\"{}\"", self.reporter);
        let mut label = |name: &str, value: Option<&str>| {
            // Only names of the lab's own world and identities that its authority signed.
            let value = value.unwrap_or("unknown").replace(['"', '\\', '\n'], "_");
            let _ = write!(text, ",{name}=\"{value}\"");
        };
        for (side, pod) in [("source", self.source), ("destination", self.destination)] {
            let name = pod.map(Pod::workload);
            label(&format!("{side}_workload"), name);
            label(&format!("{side}_canonical_service"), name);
            label(&format!("{side}_canonical_revision"), pod.map(|_| "latest"));
            label(&format!("{side}_workload_namespace"), pod.map(|pod| pod.namespace.as_str()));
            let principal = match side {
                "source" => self.source_principal.clone(),
                _ => pod.map(Pod::spiffe_id),
            };
            label(&format!("{side}_principal"), principal.as_deref());
            label(&format!("{side}_app"), name);
            label(&format!("{side}_version"), pod.map(|_| "latest"));
            label(&format!("{side}_cluster"), pod.map(|_| "Kubernetes"));
        }
        let hostname = self.service.map(Service::hostname);
        label("destination_service", hostname.as_deref());
        label("destination_service_namespace", self.service.map(|it| it.namespace.as_str()));
        label("destination_service_name", self.service.map(|it| it.name.as_str()));
        label("request_protocol", Some("tcp"));
        let policy = if self.mutual_tls { "mutual_tls" } else { "unknown" };
        label("connection_security_policy", Some(policy));
        text
    }
}

/// A connection that is counted as closed when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    stats: Arc<Stats>,
    labels: String,
    flag: Flag,
}

impl Open {
    /// It ends for this reason.
    pub(super) fn failed(&mut self, flag: Flag) {
        self.flag = flag;
    }

    fn flagged(&self, flag: Flag) -> String {
        format!("{},response_flags=\"{}\"", self.labels, flag.as_str())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.add("tcp_connections_closed", self.flagged(self.flag));
        if self.flag != Flag::None {
            self.stats.add("tcp_connections_failed", self.flagged(self.flag));
        }
    }
}

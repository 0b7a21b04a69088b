//! The flags of the probes that know the mesh.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use regex::bytes::Regex;

use crate::cli::flags::{CommonFlags, IpFlags, TrustFlags};
use crate::cli::words::{self, Header, OrOff};
use crate::config;
use crate::expectation::StatusSet;
use crate::target::Endpoint;

/// Whom the mesh trusts, and how it knows us.
#[derive(Debug, Args)]
pub(crate) struct MeshFlags {
    /// The mesh's roots, PEM: the mounted ConfigMap istio-ca-root-cert.
    #[arg(long, value_name = "FILE", default_value = config::CA)]
    pub(crate) ca: PathBuf,
    /// Service account token for istiod, audience istio-ca.
    #[arg(long, value_name = "FILE", default_value = config::TOKEN)]
    pub(crate) token: PathBuf,
    /// Cluster that istiod knows this pod's by.
    #[arg(long, value_name = "ID", default_value = config::CLUSTER_ID)]
    pub(crate) cluster_id: String,
    /// Trust domain of the mesh.
    #[arg(long, value_name = "DOMAIN", default_value = config::TRUST_DOMAIN)]
    pub(crate) trust_domain: String,
    /// Verify nothing; still tell what was shown.
    #[arg(long, short = 'k')]
    pub(crate) insecure: bool,
    /// Share of every certificate's validity that must be left, 0 to 1, e.g. 0.2.
    #[arg(long, value_name = "SHARE", value_parser = words::share)]
    pub(crate) min_remaining: Option<f64>,
    /// Name of the pod that this is; default: $MESHPROBE_POD_NAME.
    #[arg(long, value_name = "NAME")]
    pub(crate) pod_name: Option<String>,
    /// Its namespace; default: $MESHPROBE_POD_NAMESPACE.
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) pod_namespace: Option<String>,
    /// Its service account; default: $MESHPROBE_POD_SERVICE_ACCOUNT.
    #[arg(long, value_name = "NAME")]
    pub(crate) pod_service_account: Option<String>,
    /// Its address; default: $MESHPROBE_POD_IP.
    #[arg(long, value_name = "IP")]
    pub(crate) pod_ip: Option<IpAddr>,
    /// Its Istio network, in a mesh of several.
    #[arg(long, value_name = "NETWORK", default_value = "", hide_default_value = true)]
    pub(crate) pod_network: String,
}

#[derive(Debug, Args)]
pub(crate) struct HboneFlags {
    /// What to request through the tunnel, an http:// URL or host:port; with --uncredentialed the
    /// peer, port 15008 unless given.
    #[arg(value_name = "URL|HOST[:PORT]")]
    pub(crate) target: String,
    /// Show no certificate: look at the peer's chain, and at its alert certificate_required.
    #[arg(long, conflicts_with_all = ["cert", "peer", "warm", "method", "header", "data", "status",
          "body_regex", "body_limit"])]
    pub(crate) uncredentialed: bool,
    /// SPIFFE ID that the peer's certificate must carry, instead of any of the mesh.
    #[arg(long, value_name = "spiffe://…", conflicts_with = "insecure")]
    pub(crate) spiffe_id: Option<String>,
    /// Own certificate chain, PEM, leaf first; without it istiod is asked for one.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of the own certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// istiod that signs the own certificate; port 15012 unless given.
    #[arg(long, value_name = "HOST[:PORT]", default_value = config::ISTIOD_NAME,
          value_parser = words::istiod)]
    pub(crate) istiod: Endpoint,
    /// Name that istiod's certificate must carry.
    #[arg(long, value_name = "NAME", default_value = config::ISTIOD_NAME)]
    pub(crate) server_name: String,
    /// Who terminates the tunnel: a waypoint, or a pod behind the hostname of the URL; port 15008
    /// unless given. Default: the URL's host.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = words::hbone)]
    pub(crate) peer: Option<Endpoint>,
    /// With --count: keep the tunnel, so that all but the first attempt are warm.
    #[arg(long)]
    pub(crate) warm: bool,
    /// Request method.
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    pub(crate) method: http::Method,
    /// Request header, `Name: value`; may be given more than once.
    #[arg(long, short = 'H', value_name = "HEADER", value_parser = words::header)]
    pub(crate) header: Vec<Header>,
    /// Request body.
    #[arg(long, short = 'd', value_name = "TEXT")]
    pub(crate) data: Option<String>,
    /// Statuses that are a good reply: 200, 2xx, 200-299, separated by commas.
    #[arg(long, value_name = "LIST", conflicts_with = "expect")]
    pub(crate) status: Option<StatusSet>,
    /// Regular expression that the body must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) body_regex: Option<Regex>,
    /// Largest body in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub(crate) body_limit: u64,
    #[command(flatten)]
    pub(crate) mesh: MeshFlags,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct IstiodFlags {
    /// Where istiod stands; port 15012 unless given.
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) target: String,
    /// Name that its certificate must carry.
    #[arg(long, value_name = "NAME", default_value = config::ISTIOD_NAME)]
    pub(crate) server_name: String,
    /// Leave out the rung xds.
    #[arg(long)]
    pub(crate) no_xds: bool,
    /// Ask for a certificate at most once in this time, 10s to 24h, or `off`.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = words::csr)]
    pub(crate) csr: OrOff<std::time::Duration>,
    /// Whether istiod must say that this pod is reached by HBONE; default: by --vantage.
    #[arg(long, value_name = "YES|NO", conflicts_with = "no_xds",
          value_parser = words::one_of(words::YES_NO, words::yes_no))]
    pub(crate) workload_hbone: Option<bool>,
    /// Node that istiod must say this pod is on; default: $MESHPROBE_NODE.
    #[arg(long, value_name = "NODE", conflicts_with = "no_xds")]
    pub(crate) workload_node: Option<String>,
    #[command(flatten)]
    pub(crate) mesh: MeshFlags,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct CaptureFlags {
    /// Name of a mesh service, e.g. kubernetes.default.svc.cluster.local.
    pub(crate) name: String,
    /// Whether this pod is enrolled; default: by --vantage.
    #[arg(long, value_name = "YES|NO",
          value_parser = words::one_of(words::YES_NO, words::yes_no))]
    pub(crate) enrolled: Option<bool>,
    /// Address without a DNS server: an answer from there proves capture.
    #[arg(long, value_name = "IP[:PORT]", default_value = "192.0.2.53:53",
          value_parser = words::dns_literal)]
    pub(crate) dns_server: Endpoint,
    /// Address without a host: a connection there proves capture.
    #[arg(long, value_name = "IP[:PORT]", default_value = "192.0.2.53:80",
          value_parser = words::http_literal)]
    pub(crate) decoy: Endpoint,
    /// ztunnel's own HBONE socket in this pod, or `off`.
    #[arg(long, value_name = "IP[:PORT]", default_value = "127.0.0.1:15008",
          value_parser = words::hbone_or_off)]
    pub(crate) hbone: OrOff<Endpoint>,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct MtuFlags {
    /// What echoes bodies, such as a responder of meshprobe; http:// unless a scheme is given.
    #[arg(value_name = "URL")]
    pub(crate) target: String,
    /// Body that fits into one segment, 1 to 1200 bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 512,
          value_parser = clap::value_parser!(u32).range(1..=1200))]
    pub(crate) small: u32,
    /// Body of several segments, 2048 to 1048576 bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(2048..=1 << 20))]
    pub(crate) large: u32,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct ZtunnelFlags {
    /// The ztunnel pod, by name or address.
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// Port of /healthz/ready.
    #[arg(long, value_name = "PORT", default_value_t = crate::spec::ZTUNNEL_READINESS_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) readiness_port: u16,
    /// Port of /stats/prometheus, or `off`.
    #[arg(long, value_name = "PORT", default_value = "15020", value_parser = words::port_or_off)]
    pub(crate) metrics_port: OrOff<u16>,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

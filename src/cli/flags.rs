//! The command line as clap reads it: raw words, no effects.

mod diagnose;
mod gate;
mod mesh;
mod report;
mod rules;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::bytes::Regex;

use crate::cli::words::{self, Header};
use crate::config::SourceChoice;
use crate::expectation::{Expectation, StatusSet};
use crate::spec::{HttpVersion, Qtype, TlsVersion, Transport};
use crate::target::{Endpoint, Vantage};
pub(crate) use diagnose::{DiagnoseFlags, DiagnoseOutput};
pub(crate) use gate::{GateCommand, GateOutput, StrictFlags};
pub(crate) use mesh::{CaptureFlags, HboneFlags, IstiodFlags, MeshFlags, MtuFlags, ZtunnelFlags};
pub(crate) use report::{ReportCommand, ReportOutput, SloReportFlags};
pub(crate) use rules::{DashboardsFlags, Part, RulesFlags, RulesOutput, SloCommand};

const AFTER_HELP: &str = "\
Exit codes:
  0  every expectation met            2  an expectation violated
  3  inconclusive: the attempt cannot tell
  1  could not run                   64  bad usage or configuration

Examples:
  meshprobe lab --duration 20s
  meshprobe probe dns kubernetes.default.svc.cluster.local. --server 10.96.0.10:53
  meshprobe probe http http://mirai-frontend.default:80/ --status 2xx
  meshprobe probe tls istiod.istio-system.svc:15012 --ca root-cert.pem
  meshprobe probe istiod istiod.istio-system.svc --ca root-cert.pem
  meshprobe probe hbone 10.244.1.17 --uncredentialed --ca root-cert.pem
  meshprobe check --config config/example.yaml
  meshprobe gate strict -n default --server http://127.0.0.1:9853";

/// Synthetic connectivity prober for Istio ambient mesh.
///
/// Every attempt states what it expects, tells where the time went, and ends in a verdict:
/// met, violated, or inconclusive when the attempt cannot tell.
#[derive(Debug, Parser)]
#[command(name = "meshprobe", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
pub(crate) enum Command {
    /// Make one attempt from here and tell everything about it.
    #[command(subcommand)]
    Probe(ProbeCommand),
    /// Tell what holds and what does not: per node and vantage, or once from here with --config.
    Check(CheckFlags),
    /// Tell what is broken and since when, by what the agents saw.
    Diagnose(DiagnoseFlags),
    /// Tell whether a change of policy is safe, and what stands in the way.
    #[command(subcommand)]
    Gate(GateCommand),
    /// Probe for ever: metrics, health, responder, /probe.
    Agent(AgentFlags),
    /// Watch a cluster, tell each agent what to probe, and hear what it sees.
    Controller(ControllerRoleFlags),
    /// Check or print a configuration; never touches the network.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print rules for Prometheus: what to record, when to alert, for the SLOs of a configuration.
    Rules(RulesFlags),
    /// Write dashboards for Grafana, one file each.
    Dashboards(DashboardsFlags),
    /// Tell what became of what was promised.
    #[command(subcommand)]
    Report(ReportCommand),
    /// Work with SLOs of others.
    #[command(subcommand)]
    Slo(SloCommand),
    /// A small mesh on loopback: see the prober work without a cluster.
    #[cfg(feature = "lab")]
    Lab(LabFlags),
    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete in.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
pub(crate) enum ProbeCommand {
    /// Ask one DNS question: exactly one packet unless --retries.
    Dns(DnsFlags),
    /// Connect, optionally send bytes, and wait for bytes back.
    Tcp(TcpFlags),
    /// Shake hands and look at the certificate chain.
    Tls(TlsFlags),
    /// Make one HTTP request over a fresh connection.
    Http(HttpFlags),
    /// Keep one HTTP connection open under a heartbeat and tell how it ends.
    Hold(HoldFlags),
    /// Open an HBONE tunnel and make one request through it, or look at who would terminate it.
    Hbone(HboneFlags),
    /// Climb to istiod rung by rung: resolve, tcp, tls, http2, xds, csr.
    Istiod(IstiodFlags),
    /// Find out whether this pod's traffic is captured, as its enrolment says.
    Capture(CaptureFlags),
    /// Send a small and a large body both ways.
    Mtu(MtuFlags),
    /// Read a ztunnel's readiness and counters.
    Ztunnel(ZtunnelFlags),
}

impl ProbeCommand {
    /// What every probe has.
    pub(crate) fn common(&mut self) -> &mut CommonFlags {
        match self {
            Self::Dns(flags) => &mut flags.common,
            Self::Tcp(flags) => &mut flags.common,
            Self::Tls(flags) => &mut flags.common,
            Self::Http(flags) => &mut flags.common,
            Self::Hold(flags) => &mut flags.common,
            Self::Hbone(flags) => &mut flags.common,
            Self::Istiod(flags) => &mut flags.common,
            Self::Capture(flags) => &mut flags.common,
            Self::Mtu(flags) => &mut flags.common,
            Self::Ztunnel(flags) => &mut flags.common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CommonFlags {
    /// Longest time for the whole attempt, 1ms to 24h; for hold, of everything but the holding.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = words::duration)]
    pub(crate) timeout: Duration,
    /// What must come back: reply (the default), `status LIST` (http, hbone), connect (tcp), or
    /// denied (tcp, tls, http, hbone).
    #[arg(long, value_name = "EXPECTATION")]
    pub(crate) expect: Option<Expectation>,
    /// Attempts to make, 1 to 1000000; more than one prints a line each.
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// Time from one attempt to the next, 1ms to 24h, with --count.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = words::duration)]
    pub(crate) interval: Duration,
    /// Side of the mesh that this machine is on, for the record; default: $MESHPROBE_VANTAGE.
    #[arg(long, value_name = "SIDE",
          value_parser = words::one_of(words::VANTAGES, words::vantage))]
    pub(crate) vantage: Option<Vantage>,
    /// Where nameservers and search domains come from.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub(crate) resolv_conf: PathBuf,
    /// How to print the attempt.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object per attempt and line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct IpFlags {
    /// Use IPv4 addresses only.
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// Use IPv6 addresses only.
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrustFlags {
    /// Trust the roots in this PEM file instead of the machine's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Name for SNI, and the one that the certificate must carry; default: the target's host.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// SPIFFE ID that the certificate must carry, instead of a name.
    #[arg(long, value_name = "spiffe://…", conflicts_with = "insecure")]
    pub(crate) spiffe_id: Option<String>,
    /// Own certificate chain, PEM, leaf first.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of the own certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Verify nothing; still tell what was shown.
    #[arg(long, short = 'k')]
    pub(crate) insecure: bool,
    /// Protocols to offer by ALPN, in order, separated by commas, e.g. h2,http/1.1.
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',')]
    pub(crate) alpn: Vec<String>,
    /// Lowest TLS version to offer.
    #[arg(long, value_name = "VERSION", value_parser = words::one_of(words::TLS_VERSIONS, words::tls_version))]
    pub(crate) tls_min: Option<TlsVersion>,
    /// Highest TLS version to offer.
    #[arg(long, value_name = "VERSION", value_parser = words::one_of(words::TLS_VERSIONS, words::tls_version))]
    pub(crate) tls_max: Option<TlsVersion>,
    /// Share of every certificate's validity that must be left, 0 to 1, e.g. 0.2.
    #[arg(long, value_name = "SHARE", value_parser = words::share)]
    pub(crate) min_remaining: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct DnsFlags {
    /// The name in question; a trailing dot keeps the search list out.
    pub(crate) name: String,
    /// Whom to ask; default: the first nameserver of resolv.conf.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = words::dns_server)]
    pub(crate) server: Option<Endpoint>,
    /// Record type.
    #[arg(long, value_name = "TYPE", default_value = "A", ignore_case = true,
          value_parser = words::one_of(words::QTYPES, words::qtype))]
    pub(crate) qtype: Qtype,
    /// How to ask.
    #[arg(long, value_name = "TRANSPORT", default_value = "udp",
          value_parser = words::one_of(words::TRANSPORTS, words::transport))]
    pub(crate) transport: Transport,
    /// Further packets after the first went unanswered, 0 to 255.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u8,
    /// Expand the name with search and ndots of resolv.conf, each name its own query.
    #[arg(long)]
    pub(crate) search: bool,
    /// RCODE that is a good reply; may be given more than once.
    #[arg(long, value_name = "RCODE", default_value = "NOERROR", ignore_case = true,
          value_parser = words::one_of(words::RCODES, words::rcode))]
    pub(crate) rcode: Vec<String>,
    /// Fewest answers that are a good reply, 0 to 65535.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) min_answers: u16,
    /// Network that every address in the answer must be in, e.g. 10.0.0.0/8; may be given more
    /// than once.
    #[arg(long, value_name = "CIDR", value_parser = words::network)]
    pub(crate) address: Vec<ipnet::IpNet>,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct TcpFlags {
    /// Where to connect to, host:port.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) target: String,
    /// Text to send after the connect; \r \n \t \\ and \xNN are understood.
    #[arg(long, value_name = "TEXT", value_parser = words::escaped)]
    pub(crate) send: Option<words::Escaped>,
    /// Regular expression that the reply must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) reply_regex: Option<Regex>,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct TlsFlags {
    /// Where to connect to; port 443 unless given.
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct HttpFlags {
    /// What to request; http:// unless a scheme is given.
    #[arg(value_name = "URL")]
    pub(crate) target: String,
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
    /// Largest body in bytes, as sent and decompressed.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub(crate) body_limit: u64,
    /// Version of HTTP; 2 on http:// is with prior knowledge.
    #[arg(long, value_name = "VERSION", default_value = "auto",
          value_parser = words::one_of(words::HTTP_VERSIONS, words::http_version))]
    pub(crate) http_version: HttpVersion,
    /// Redirects to follow, 0 to 20, each over a fresh connection.
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) redirects: u8,
    /// Offer gzip and deflate, and undo them.
    #[arg(long)]
    pub(crate) compressed: bool,
    /// With --count: keep the connection, so that all but the first attempt are warm.
    #[arg(long)]
    pub(crate) keepalive: bool,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct HoldFlags {
    /// What each heartbeat requests; http:// unless a scheme is given.
    #[arg(value_name = "URL")]
    pub(crate) target: String,
    /// Time between heartbeats, 10ms to 1h, and at most --hold.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = words::pace)]
    pub(crate) heartbeat: Duration,
    /// How long the connection must live, 1s to 12h.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = words::hold)]
    pub(crate) hold: Duration,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) ip: IpFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

#[derive(Debug, Args)]
pub(crate) struct CheckFlags {
    /// Run the targets of this configuration once, from here. Without it a controller is asked what
    /// the agents of every node see.
    #[arg(long, value_name = "FILE", conflicts_with = "ControllerFlags")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) controller: ControllerFlags,
    /// How to print the result.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = CheckOutput::Table)]
    pub(crate) output: CheckOutput,
    /// With --config, only the targets whose name contains this.
    #[arg(long, value_name = "TEXT", requires = "config")]
    pub(crate) target: Option<String>,
}

/// Where the controller is that a reading command asks.
#[derive(Debug, Args)]
pub(crate) struct ControllerFlags {
    /// The controller's API, as http://HOST:PORT. Without it a controller's pod is found through
    /// the kubeconfig and reached by port-forward.
    #[arg(long, value_name = "URL", conflicts_with_all = ["kubeconfig", "context", "namespace"])]
    pub(crate) server: Option<String>,
    /// The kubeconfig; default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The controllers' namespace [default: meshprobe-plain].
    #[arg(long, short = 'n', value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Only this node, with each of its targets.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckOutput {
    /// Every target.
    Table,
    /// Only what is not met.
    Short,
    /// Categories as linkerd check prints them, and the attempts.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct AgentFlags {
    /// The configuration to run; changes of the file are picked up, SIGHUP asks for it at once.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Log lines for people or for machines; MESHPROBE_LOG says how many, e.g. debug or warn.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ControllerRoleFlags {
    /// The configuration to run; it is read once.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// From whom it hears what agents saw: agents, or prometheus[=URL], which scrapes them and runs
    /// the chart's recording rules; stands before `source` of the configuration.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<SourceChoice>,
    /// A kubeconfig; without it the ServiceAccount of the pod is used.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Log lines for people or for machines; MESHPROBE_LOG says how many, e.g. debug or warn.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Tell every mistake of a configuration, each with its place and its mend.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Print the configuration as it takes effect, every default filled in, secrets hidden.
    Print {
        /// The configuration.
        file: PathBuf,
    },
}

/// Flags of the lab.
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub(crate) struct LabFlags {
    /// Nodes of the lab, 1 to 50, each with a ztunnel and the agents of both vantages.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) nodes: u16,
    /// End by itself after this long, 1ms to 24h; without it, on Ctrl-C.
    #[arg(long, value_name = "DURATION", value_parser = words::duration)]
    pub(crate) duration: Option<Duration>,
    /// Peers that each agent probes, 1 to 49.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=49))]
    pub(crate) peers: u16,
    /// Time between two attempts of one target, 10ms to 1h; by default 1s, or as much as keeps a
    /// big lab light.
    #[arg(long, value_name = "DURATION", value_parser = words::pace)]
    pub(crate) interval: Option<Duration>,
    /// Leave the agents of node-1 to you: write their configurations to this directory instead of
    /// starting them. Run each with `meshprobe agent --config` while the lab runs.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) export: Option<PathBuf>,
    /// Answer a controller's API here: the page for a browser at http://ADDRESS/, and what
    /// `meshprobe diagnose` and `meshprobe gate strict` ask with --server http://ADDRESS. A
    /// Prometheus scrapes /metrics, and finds all agents (http_sd_configs) at /prometheus/targets.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Put the tunnel daemon of namespace `ingress` into the mesh.
    #[arg(long)]
    pub(crate) enrol_ingress: bool,
    /// Break something: KIND/TARGET[@START][+DURATION], e.g. ztunnel-dead/node-2@10s+20s; may be
    /// given several times.
    #[arg(long = "fault", value_name = "FAULT")]
    pub(crate) faults: Vec<crate::lab::fault::Fault>,
    /// List the kinds of faults and end.
    #[arg(long = "faults")]
    pub(crate) list_faults: bool,
    /// Divide the long timeouts of a real ztunnel (3s, 5s, 10s, 23s) by this, 1 to 1000.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = words::scale)]
    pub(crate) time_scale: f64,
}

//! One Envoy with a listener for each thing that probes have to tell apart.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::real::support::{Daemon, free_port, temp_dir, tool, write_file};

/// What CONNECT names to be led to an upstream that is gone.
pub(crate) const DEAD: &str = "dead.test:80";
/// What CONNECT names to be answered with 403.
pub(crate) const FORBIDDEN: &str = "forbidden.test:80";

/// A running Envoy and its listeners.
pub(crate) struct Envoy {
    /// HTTP/1.1 and h2c.
    pub(crate) plain: SocketAddr,
    /// TLS with ALPN h2 and http/1.1.
    pub(crate) tls: SocketAddr,
    /// TLS that demands a client certificate of the mesh.
    pub(crate) mtls: SocketAddr,
    /// mTLS with ALPN h2 that takes CONNECT and tunnels to the upstream: the shape of HBONE.
    pub(crate) connect: SocketAddr,
    /// TCP in front of an upstream that is gone.
    pub(crate) dead_tcp: SocketAddr,
    /// TCP in front of no endpoint at all.
    pub(crate) empty_tcp: SocketAddr,
    daemon: Daemon,
    _dir: TempDir,
}

/// PEM texts that Envoy serves with.
pub(crate) struct ServerFiles<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
    /// Who signs client certificates.
    pub(crate) client_ca: &'a Path,
}

impl Envoy {
    /// Starts Envoy; CONNECT tunnels to `upstream`.
    pub(crate) async fn start(files: &ServerFiles<'_>, upstream: SocketAddr) -> Self {
        let [plain, tls, mtls, connect, dead_tcp, empty_tcp] = std::array::from_fn(|_| local());
        let config = json!({
            "static_resources": {
                "listeners": [
                    listener("plain", plain, &http(), None),
                    listener("tls", tls, &http(), Some(&transport(files, false))),
                    listener("mtls", mtls, &http(), Some(&transport(files, true))),
                    listener("connect", connect, &tunnel(), Some(&transport(files, true))),
                    listener("dead_tcp", dead_tcp, &tcp("dead"), None),
                    listener("empty_tcp", empty_tcp, &tcp("empty"), None),
                ],
                "clusters": [
                    cluster("dead", &[local()]),
                    cluster("empty", &[]),
                    cluster("upstream", &[upstream]),
                ],
            },
        });
        let dir = temp_dir();
        let path = write_file(&dir, "envoy.json", config.to_string());
        let mut command = Command::new(tool("envoy"));
        command.arg("-c").arg(path);
        command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        // The last listener: when it accepts, all do.
        let daemon = Daemon::start(command, empty_tcp).await;
        Self { plain, tls, mtls, connect, dead_tcp, empty_tcp, daemon, _dir: dir }
    }

    /// Stops the process where it is: the kernel goes on accepting for it.
    pub(crate) fn freeze(&self) {
        self.daemon.freeze();
    }

    /// Lets it run again.
    pub(crate) fn thaw(&self) {
        self.daemon.signal("CONT");
    }

    /// What Envoy logged.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }
}

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

fn listener(name: &str, at: SocketAddr, filter: &Value, transport: Option<&Value>) -> Value {
    let mut chain = json!({"filters": [filter]});
    if let Some(transport) = transport {
        chain["transport_socket"] = transport.clone();
    }
    json!({"name": name, "address": address(at), "filter_chains": [chain]})
}

fn typed(kind: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    fields
}

fn transport(files: &ServerFiles<'_>, demand_certificate: bool) -> Value {
    let mut common = json!({
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [{
            "certificate_chain": {"filename": files.certificate},
            "private_key": {"filename": files.key},
        }],
    });
    if demand_certificate {
        common["validation_context"] = json!({"trusted_ca": {"filename": files.client_ca}});
    }
    json!({
        "name": "tls",
        "typed_config": typed(
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            json!({
                "common_tls_context": common,
                "require_client_certificate": demand_certificate,
            }),
        ),
    })
}

fn manager(routes: &Value, extra: &Value) -> Value {
    let router = typed("extensions.filters.http.router.v3.Router", json!({}));
    let mut fields = json!({
        "stat_prefix": "http",
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    });
    for (name, value) in extra.as_object().expect("an object") {
        fields[name] = value.clone();
    }
    let kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    json!({"name": "http", "typed_config": typed(kind, fields)})
}

fn http() -> Value {
    let answer = |path: &str, status: u16, body: &str| {
        let body = json!({"inline_string": body});
        json!({"match": {"path": path}, "direct_response": {"status": status, "body": body}})
    };
    let routes = json!([
        answer("/", 200, "envoy answers\n"),
        answer("/teapot", 418, "short and stout\n"),
        {"match": {"path": "/moved"}, "redirect": {"path_redirect": "/"}},
        {"match": {"path": "/dead"}, "route": {"cluster": "dead"}},
        {"match": {"path": "/empty"}, "route": {"cluster": "empty"}},
    ]);
    manager(&routes, &json!({}))
}

fn tunnel() -> Value {
    let named = |authority: &str| {
        json!({
            "connect_matcher": {},
            "headers": [{"name": ":authority", "string_match": {"exact": authority}}],
        })
    };
    let to = |cluster: &str| {
        let upgrade = json!([{"upgrade_type": "CONNECT", "connect_config": {}}]);
        json!({"cluster": cluster, "upgrade_configs": upgrade})
    };
    let routes = json!([
        {"match": named(DEAD), "route": to("dead")},
        {"match": named(FORBIDDEN), "direct_response": {"status": 403}},
        {"match": {"connect_matcher": {}}, "route": to("upstream")},
    ]);
    // The windows of ztunnel, which are not Envoy's own.
    let http2 = json!({
        "allow_connect": true,
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 4 << 20,
        "initial_connection_window_size": 16 << 20,
    });
    manager(&routes, &json!({"http2_protocol_options": http2}))
}

fn tcp(cluster: &str) -> Value {
    let kind = "extensions.filters.network.tcp_proxy.v3.TcpProxy";
    let fields = json!({"stat_prefix": "tcp", "cluster": cluster});
    json!({"name": "tcp", "typed_config": typed(kind, fields)})
}

fn cluster(name: &str, endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> =
        endpoints.iter().map(|at| json!({"endpoint": {"address": address(*at)}})).collect();
    json!({
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    })
}

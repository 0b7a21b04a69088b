//! Envoy as a caller of the lab's ztunnel stand-in: an HBONE client that others wrote.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use meshprobe::lab::ztunnel::{Condition, LeafDefect};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::stand_in::{Bench, CLOSED, PERMISSIVE, SERVER_ID, STRANGER_ID, STRICT, Seen, ask, open};
use super::support::{Daemon, free_port, temp_dir, tool, write_file};

/// Envoy with a listener per CONNECT authority, each in front of the stand-in's port 15008.
struct Caller {
    listeners: Vec<SocketAddr>,
    _daemon: Daemon,
    _dir: TempDir,
}

impl Caller {
    async fn start(bench: &Bench, authorities: &[String]) -> Self {
        let dir = temp_dir();
        let issued = bench.issue(STRANGER_ID);
        let certificate = write_file(&dir, "client.pem", &issued.chain_pem);
        let key = write_file(&dir, "client.key", issued.key.serialize_pem());
        let root = write_file(&dir, "root.pem", bench.authority.root_pem());
        let transport = json!({
            "name": "tls",
            "typed_config": typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", json!({
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_3",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "tls_certificates": [{
                        "certificate_chain": {"filename": certificate},
                        "private_key": {"filename": key},
                    }],
                    "validation_context": {
                        "trusted_ca": {"filename": root},
                        "match_typed_subject_alt_names": [
                            {"san_type": "URI", "matcher": {"exact": SERVER_ID}},
                        ],
                    },
                },
            })),
        });
        let http2 = typed(
            "extensions.upstreams.http.v3.HttpProtocolOptions",
            json!({
                "explicit_http_config": {"http2_protocol_options": {}},
            }),
        );
        let cluster = json!({
            "name": "hbone",
            "connect_timeout": "2s",
            "load_assignment": {
                "cluster_name": "hbone",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(bench.hbone())}}]}],
            },
            "transport_socket": transport,
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2,
            },
        });
        let listeners: Vec<SocketAddr> =
            authorities.iter().map(|_| (Ipv4Addr::LOCALHOST, free_port()).into()).collect();
        let doors: Vec<_> = listeners.iter().zip(authorities).map(listener).collect();
        let config = json!({"static_resources": {"listeners": doors, "clusters": [cluster]}});
        let path = write_file(&dir, "envoy.json", config.to_string());
        let mut command = Command::new(tool("envoy"));
        command.arg("-c").arg(path);
        command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        let last = *listeners.last().expect("an authority");
        let daemon = Daemon::start(command, last).await;
        Self { listeners, _daemon: daemon, _dir: dir }
    }
}

fn listener((at, authority): (&SocketAddr, &String)) -> Value {
    let proxy = typed(
        "extensions.filters.network.tcp_proxy.v3.TcpProxy",
        json!({
            "stat_prefix": "tunnel",
            "cluster": "hbone",
            "tunneling_config": {"hostname": authority},
        }),
    );
    let filter = json!({"name": "tunnel", "typed_config": proxy});
    json!({"address": address(*at), "filter_chains": [{"filters": [filter]}]})
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

fn typed(kind: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    fields
}

#[tokio::test]
async fn envoy_tunnels_through_the_stand_in() {
    let bench = Bench::start().await;
    let authorities = [
        bench.plain(PERMISSIVE).to_string(),
        bench.plain(STRICT).to_string(),
        "web.default.svc.cluster.local:80".to_owned(),
    ];
    let caller = Caller::start(&bench, &authorities).await;
    for (listener, authority) in caller.listeners.iter().zip(&authorities) {
        assert_eq!(ask(*listener).await, Seen::Reply, "{authority}");
    }
    let mut held = open(caller.listeners[1]).await.expect("accepted");
    let large = vec![7; 300_000];
    assert_eq!(held.ask(&large).await, Seen::Reply, "beyond every initial window");
    assert_eq!(held.ask(b"more").await, Seen::Reply);
}

#[tokio::test]
async fn envoy_is_told_what_the_stand_in_rejects() {
    let bench = Bench::start().await;
    let authorities = [
        bench.plain(CLOSED).to_string(),
        "127.0.0.9:80".to_owned(),
        bench.plain(STRICT).to_string(),
    ];
    let caller = Caller::start(&bench, &authorities).await;
    ask(caller.listeners[0]).await.assert_denied();
    ask(caller.listeners[1]).await.assert_denied();
    assert_eq!(ask(caller.listeners[2]).await, Seen::Reply);
    bench.break_there(Condition { denies: true, ..Condition::default() }).await;
    ask(caller.listeners[2]).await.assert_denied();
}

#[tokio::test]
async fn envoy_turns_away_from_another_identity() {
    let bench = Bench::start().await;
    let caller = Caller::start(&bench, &[bench.plain(STRICT).to_string()]).await;
    assert_eq!(ask(caller.listeners[0]).await, Seen::Reply);
    let leaf = LeafDefect::OtherIdentity(STRANGER_ID.to_owned());
    // Dead first, or the connection that is pooled goes on.
    bench.break_there(Condition { dead: true, ..Condition::default() }).await;
    bench.break_there(Condition { leaf, ..Condition::default() }).await;
    ask(caller.listeners[0]).await.assert_denied();
}

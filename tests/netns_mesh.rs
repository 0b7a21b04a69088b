//! The stand-in behind real capture rules, in network namespaces: capture, refused, reset, dropped
//! and unroutable are the kernel's own here.

mod netns_mesh {
    mod channel;
    pub(crate) mod net;
}

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meshprobe::config::{Identity, ResponderConfig};
use meshprobe::lab::ca::Authority;
use meshprobe::lab::world::{self, PodPort, Service, World};
use meshprobe::lab::ztunnel::{Condition, Timing, Ztunnel};
use meshprobe::responder::Responder;
use netns_mesh::net::{Pod, bridge, isolated};
use serde_json::Value;

const PERMISSIVE: u16 = 8080;
const STRICT: u16 = 8081;
const CLOSED: u16 = 9999;
/// An agent's admin port in `client`, STRICT as all else there.
const ADMIN: u16 = 9850;

/// `client` and `web` are ambient, each with its ztunnel; `daemon` and `legacy` are plain.
struct Mesh {
    client: Pod,
    web: Pod,
    daemon: Pod,
    legacy: Pod,
    here: Arc<Ztunnel>,
    there: Arc<Ztunnel>,
}

impl Mesh {
    async fn start(timing: Timing) -> Self {
        bridge();
        let (client, web) = (Pod::start(11).await, Pod::start(12).await);
        let (daemon, legacy) = (Pod::start(21).await, Pod::start(22).await);
        let world = Arc::new(world(&client, &web, &legacy));
        let authority = Arc::new(Authority::new("mesh root").expect("a root"));
        for pod in [&web, &legacy] {
            respond(pod).await;
        }
        let mut ztunnels = Vec::new();
        for pod in [&client, &web] {
            let (ip, world, authority) = (pod.ip().into(), Arc::clone(&world), authority.clone());
            let started =
                pod.within(move || Ztunnel::start_in_pod(ip, world, authority, timing)).await;
            ztunnels.push(Arc::new(started.expect("a namespace without listeners")));
            pod.capture().await;
        }
        let [here, there] = ztunnels.try_into().ok().expect("two");
        Self { client, web, daemon, legacy, here, there }
    }

    fn web(&self, port: u16) -> SocketAddr {
        (self.web.ip(), port).into()
    }

    fn legacy(&self) -> SocketAddr {
        (self.legacy.ip(), PERMISSIVE).into()
    }
}

async fn set(ztunnel: &Ztunnel, condition: Condition) {
    ztunnel.set(condition);
    ztunnel.settled().await;
}

fn world(client: &Pod, web: &Pod, legacy: &Pod) -> World {
    let pod = |pod: &Pod, name: &str, ambient, ports: &[(u16, bool, bool)]| {
        let ip = IpAddr::from(pod.ip());
        let port = |(number, strict, open): &(u16, bool, bool)| PodPort {
            number: *number,
            strict: *strict,
            application: open.then(|| SocketAddr::new(ip, *number)),
        };
        world::Pod {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            service_account: name.to_owned(),
            node: format!("node-of-{name}"),
            ip,
            ambient,
            ports: ports.iter().map(port).collect(),
        }
    };
    let serves = [(PERMISSIVE, false, true), (STRICT, true, true)];
    World {
        nodes: Vec::new(),
        pods: vec![
            pod(client, "client", true, &[(ADMIN, true, true)]),
            pod(web, "web", true, &serves),
            pod(legacy, "legacy", false, &serves[..1]),
        ],
        services: vec![Service {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            ip: [10, 78, 0, 1].into(),
            ports: vec![(80, STRICT)],
            endpoints: vec!["web".to_owned()],
        }],
    }
}

/// The real responder on both ports of the pod.
async fn respond(pod: &Pod) {
    let ip = pod.ip();
    pod.within(move || async move {
        let config = ResponderConfig {
            listen: vec![(ip, PERMISSIVE).into(), (ip, STRICT).into()],
            max_connections: 64,
            max_body: 1024 * 1024,
            max_requests_per_second: 1000,
            idle_timeout: Duration::from_secs(60),
        };
        let identity = Identity { node: "node".to_owned(), zone: None, vantage: None };
        let responder = Responder::bind(&config, &identity).expect("free ports");
        tokio::spawn(responder.serve(std::future::pending()));
    })
    .await;
}

#[track_caller]
fn assert_reply(attempt: &Value) {
    assert_eq!(attempt["verdict"], "met", "{attempt}");
}

#[track_caller]
fn assert_fails(attempt: &Value, phase: &str, reasons: &[&str]) {
    let failure = &attempt["failure"];
    assert_eq!(failure["phase"], phase, "{attempt}");
    assert!(reasons.iter().any(|reason| failure["reason"] == *reason), "{attempt}");
}

/// Accepted, then ended without a byte.
#[track_caller]
fn assert_denied(attempt: &Value) {
    assert_fails(attempt, "processing", &["reset", "closed"]);
}

#[test]
fn redirected_pods_reach_each_other_and_the_outside() {
    isolated("redirected_pods_reach_each_other_and_the_outside", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        assert_reply(&mesh.client.get(mesh.web(PERMISSIVE)).await);
        assert_reply(&mesh.client.get(mesh.web(STRICT)).await);
        assert_reply(&mesh.client.get("10.78.0.1").await);
        assert_reply(&mesh.client.get(mesh.legacy()).await);
        assert_reply(&mesh.daemon.get(mesh.web(PERMISSIVE)).await);
        assert_reply(&mesh.daemon.get(mesh.legacy()).await);
    });
}

#[test]
fn capture_accepts_for_addresses_where_nobody_is() {
    isolated("capture_accepts_for_addresses_where_nobody_is", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        let captured = mesh.client.probe("tcp 192.0.2.53:80 --expect connect").await;
        assert_reply(&captured);
        assert_denied(&mesh.client.get("192.0.2.53").await);
        let plain = mesh.daemon.probe("tcp 192.0.2.53:80 --expect connect").await;
        assert_fails(&plain, "connect", &["timeout", "unreachable"]);
        // Without its rules the same pod is a plain one.
        mesh.client.command("iptables -w -t nat -F").await;
        let lost = mesh.client.probe("tcp 192.0.2.53:80 --expect connect").await;
        assert_fails(&lost, "connect", &["timeout", "unreachable"]);
        assert_reply(&mesh.client.get(mesh.web(PERMISSIVE)).await);
        assert_denied(&mesh.client.get(mesh.web(STRICT)).await);
    });
}

#[test]
fn strict_and_closed_ports_are_accepted_and_reset() {
    isolated("strict_and_closed_ports_are_accepted_and_reset", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        assert_denied(&mesh.daemon.get(mesh.web(STRICT)).await);
        assert_denied(&mesh.daemon.get(mesh.web(CLOSED)).await);
        assert_denied(&mesh.client.get(mesh.web(CLOSED)).await);
        let own = mesh.daemon.probe(&format!("tcp {}", mesh.web(15006))).await;
        assert_denied(&own);
        let raw = mesh.client.get(mesh.web(15008)).await;
        assert_denied(&raw);
        set(&mesh.there, Condition { policy_gap: true, ..Condition::default() }).await;
        assert_reply(&mesh.daemon.get(mesh.web(STRICT)).await);
    });
}

#[test]
fn without_ztunnel_the_rules_lead_to_nobody() {
    isolated("without_ztunnel_the_rules_lead_to_nobody", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        let dead = Condition { dead: true, ..Condition::default() };
        set(&mesh.there, dead.clone()).await;
        assert_fails(&mesh.daemon.get(mesh.web(PERMISSIVE)).await, "connect", &["refused"]);
        assert_fails(&mesh.daemon.get(mesh.web(15008)).await, "connect", &["refused"]);
        assert_denied(&mesh.client.get(mesh.web(PERMISSIVE)).await);
        set(&mesh.here, dead).await;
        for address in [mesh.web(PERMISSIVE), mesh.legacy()] {
            assert_fails(&mesh.client.get(address).await, "connect", &["refused"]);
        }
        assert_reply(&mesh.daemon.get(mesh.legacy()).await);
        set(&mesh.here, Condition::default()).await;
        set(&mesh.there, Condition::default()).await;
        assert_reply(&mesh.client.get(mesh.web(STRICT)).await);
    });
}

#[test]
fn a_frozen_ztunnel_is_accepted_for_by_the_kernel() {
    isolated("a_frozen_ztunnel_is_accepted_for_by_the_kernel", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        set(&mesh.here, Condition { frozen: true, ..Condition::default() }).await;
        let probe = format!("http http://{}/ --timeout 1s", mesh.web(PERMISSIVE));
        assert_fails(&mesh.client.probe(&probe).await, "processing", &["timeout"]);
        set(&mesh.here, Condition::default()).await;
        assert_reply(&mesh.client.get(mesh.web(PERMISSIVE)).await);
    });
}

#[test]
fn dropped_hbone_is_a_timeout_beside_a_port_that_answers() {
    isolated("dropped_hbone_is_a_timeout_beside_a_port_that_answers", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        mesh.web.command("iptables -w -A INPUT -p tcp --dport 15008 -j DROP").await;
        let hbone = format!("tcp {} --timeout 1s", mesh.web(15008));
        assert_fails(&mesh.daemon.probe(&hbone).await, "connect", &["timeout"]);
        assert_reply(&mesh.daemon.get(mesh.web(PERMISSIVE)).await);
        assert_denied(&mesh.client.get(mesh.web(PERMISSIVE)).await);
        mesh.web.command("iptables -w -F INPUT").await;
        assert_reply(&mesh.client.get(mesh.web(PERMISSIVE)).await);
    });
}

#[test]
fn a_pod_that_is_gone_is_unreachable_and_reset_for_captured_callers() {
    isolated("a_pod_that_is_gone_is_unreachable_and_reset_for_captured_callers", async || {
        // The kernel's own three seconds, well before ztunnel's ten.
        let mesh = Mesh::start(Timing::scaled(1.0)).await;
        mesh.web.command("ip link set eth0 down").await;
        let (ambient, plain) = tokio::join!(
            mesh.client.get(mesh.web(PERMISSIVE)),
            mesh.daemon.get(mesh.web(PERMISSIVE)),
        );
        assert_denied(&ambient);
        assert_fails(&plain, "connect", &["unreachable"]);
        let took = ambient["duration_seconds"].as_f64().expect("a number");
        assert!(took >= 1.0, "not told by ztunnel but by ARP: {ambient}");
    });
}

#[test]
fn the_own_hbone_port_shows_the_own_certificate() {
    isolated("the_own_hbone_port_shows_the_own_certificate", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        let attempt = mesh.client.probe("tls 127.0.0.1:15008 --timeout 5s").await;
        let id = "spiffe://cluster.local/ns/default/sa/client";
        assert_eq!(attempt["facts"]["tls"]["peer_spiffe_id"], id, "{attempt}");
    });
}

#[test]
fn large_requests_stall_behind_a_small_mtu_that_nobody_tells_of() {
    isolated("large_requests_stall_behind_a_small_mtu_that_nobody_tells_of", async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        // The bridge drops what is larger and sends no ICMP.
        netns_mesh::net::run("ip link set v22 mtu 1000");
        // Segments are made here, not offloaded past the bridge.
        mesh.daemon.command("ip link set eth0 gso_max_segs 1").await;
        assert_reply(&mesh.daemon.get(mesh.legacy()).await);
        let ballast = "x".repeat(4000);
        let large =
            format!("http http://{}/ --header x-ballast:{ballast} --timeout 1s", mesh.legacy());
        let large = mesh.daemon.probe(&large).await;
        assert_fails(&large, "processing", &["timeout"]);
    });
}

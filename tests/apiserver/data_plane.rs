//! Everything at once: the real API server describes a mesh that the lab is, the chart's objects
//! are those that a user applies, the controller and the agents run as the chart has them run, and
//! `meshprobe check` reads what holds.
//!
//! Each pod is a network namespace, all within one that nothing leads out of. On plain loopback
//! this cannot be had: capture is the kernel's rules for one pod, every agent listens on the same
//! ports, and an API server takes no EndpointSlice with addresses of 127.0.0.0/8 or `::1`.
//!
//! What stands in: the lab for ztunnel, istio-cni, istiod, CoreDNS and kube-proxy; the test for
//! kubelet and kube-controller-manager. `check` is given the controller's address, since a
//! port-forward needs a kubelet.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use kube::Client;
use meshprobe::flow::{FleetFlows, FlowSecurity, NodeStanding};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::chart::{install, run_agent};
use super::control_plane::ControlPlane;
use super::lab::{
    COREDNS, FRONTEND, FRONTEND_SERVICE, ISTIOD, ISTIOD_SERVICE, KUBE_DNS_SERVICE, Lab, NODES,
    SERVICES, Seat, ztunnel,
};
use super::net::{OUTSIDE, address, isolated};
use super::objects::{
    Pod, api_of, apply, daemon_set, endpoint_slice, namespace, node, peer_authentication, service,
    service_account,
};
use super::seed::{ZONES, install_istio_kinds, node_name};
use super::support::{Daemon, fetch, temp_dir, write_file};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The slowest question is asked once a minute; twice that, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks: a process each.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Rows of the truth table that an agent in the mesh has here, its own configuration's included.
const AMBIENT: [&str; 12] = [
    "canary",
    "capture",
    "coredns",
    "hbone",
    "held",
    "istiod",
    "large",
    "names",
    "own-hbone",
    "peer",
    "plain-peer",
    "service",
];
/// And one outside.
const PLAIN: [&str; 14] = [
    "canary",
    "capture",
    "certificate",
    "coredns",
    "coredns-tcp",
    "coredns-udp",
    "hbone",
    "hbone-canary",
    "hbone-service",
    "istiod",
    "peer",
    "plain-peer",
    "service",
    "ztunnel",
];

/// The cluster, its data plane, its controller and its agents.
struct Everything {
    // In the order in which they end.
    _agents: Vec<Daemon>,
    _controller: Daemon,
    client: Client,
    _plane: ControlPlane,
    lab: Lab,
    _files: TempDir,
}

impl Everything {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let plane = ControlPlane::start_with(SERVICES).await;
        let client = plane.admin().await;
        install_istio_kinds(&client).await;
        let key = format!("channelKey.value={SECRET}");
        // Often and soon enough for a test; otherwise as by default.
        let values = "agent.interval=2s,controller.probes.interval=2s,controller.probes.grace=2s";
        install(&plane, &["--set", &key, "--set", values]);
        describe(&client, &lab).await;
        let files = temp_dir();
        let controller = controller(&plane, &client, &files).await;
        let mut agents = Vec::new();
        for seat in &lab.seats {
            agents.push(agent(&client, &files, seat, &lab.root_pem).await);
        }
        Self { _agents: agents, _controller: controller, client, _plane: plane, lab, _files: files }
    }

    /// What `check` tells once `holds` is true of it.
    async fn until(&self, what: &str, holds: impl Fn(&Told) -> bool) -> Told {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = Told::ask();
            if holds(&told) {
                return told;
            }
            if Instant::now() >= deadline {
                let table = check(&[]);
                panic!("{what} did not come:\n{}", String::from_utf8_lossy(&table.stdout));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What `check` says.
struct Told {
    code: Option<i32>,
    /// The worst verdict of each row, by node and vantage.
    rows: BTreeMap<(usize, &'static str), BTreeMap<String, String>>,
    links: BTreeMap<(usize, &'static str), String>,
}

impl Told {
    fn ask() -> Self {
        let output = check(&["-o", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let (mut rows, mut links) = (BTreeMap::new(), BTreeMap::new());
        for index in 0..NODES {
            for agent in report["fleet"]["nodes"][index]["agents"].as_array().expect("a list") {
                let vantage = if agent["vantage"] == "ambient" { "ambient" } else { "plain" };
                let all = agent["rows"].as_array().expect("a list").iter();
                let all = all.map(|row| (text(&row["row"]), worst(row))).collect();
                rows.insert((index, vantage), all);
                links.insert((index, vantage), text(&agent["link"]));
            }
        }
        Self { code: output.status.code(), rows, links }
    }

    /// Whether these rows, of that side, have that verdict.
    fn are(&self, verdict: &str, index: usize, vantage: &'static str, rows: &[&str]) -> bool {
        let side = &self.rows[&(index, vantage)];
        rows.iter().all(|row| side.get(*row).is_some_and(|found| found == verdict))
    }

    fn rows(&self, index: usize, vantage: &'static str) -> Vec<&str> {
        self.rows[&(index, vantage)].keys().map(String::as_str).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn worst(row: &Value) -> String {
    let any = |verdict: &str| row["verdicts"][verdict].as_u64().unwrap_or(0) > 0;
    let order = ["violated", "inconclusive", "met"];
    order.into_iter().find(|verdict| any(verdict)).expect("a target").to_owned()
}

/// `meshprobe check` as the user of a workstation runs it.
fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    command.args(["check", "--server", &format!("http://{OUTSIDE}:9853")]).args(arguments);
    command.output().expect("the binary")
}

#[allow(clippy::print_stdout, reason = "what a user sees")]
fn show(what: &str) {
    let table = check(&["-o", "short"]);
    println!("--- {what}\n{}", String::from_utf8_lossy(&table.stdout));
}

#[test]
#[allow(clippy::print_stdout, reason = "what a user sees")]
fn check_reads_from_the_labs_mesh_what_holds_what_a_dead_ztunnel_breaks_and_where_strict_is() {
    let name = "apiserver::data_plane::check_reads_from_the_labs_mesh_what_holds_what_a_dead_ztunnel_breaks_and_where_strict_is";
    let shown = isolated(name, async || {
        let all = Everything::start().await;
        everything_is_met(&all).await;
        plaintext_callers_are_told().await;
        one_dead_ztunnel_is_seen_where_it_is(&all).await;
        strict_is_expected_once_applied_and_met_once_enforced(&all).await;
    });
    println!("{shown}");
}

async fn everything_is_met(all: &Everything) {
    let told = all.until("that everything is met", |told| told.code == Some(0)).await;
    show("nothing is broken");
    for index in 0..NODES {
        // The slow ones are with the first peer of each: here both have one.
        assert_eq!(told.rows(index, "ambient"), AMBIENT);
        assert_eq!(told.rows(index, "plain"), PLAIN);
    }
    let full = check(&[]);
    assert!(String::from_utf8_lossy(&full.stdout).ends_with("Status check results are √\n"));
}

/// Nobody but the probers outside calls in plaintext, and they are told by their namespace.
async fn plaintext_callers_are_told() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let path = "/v1/flows?namespace=default";
        let told = fetch((OUTSIDE, 9853).into(), path).await;
        let (status, body) = told.expect("the controller answers");
        assert_eq!(status, 200, "{body}");
        let fleet: FleetFlows = serde_json::from_str(&body).expect("flows");
        let read = |node: &NodeStanding| node.ztunnel.as_ref().is_some_and(|it| it.scrapes > 1);
        let all = fleet.nodes.iter().filter(|node| read(node)).count() == NODES;
        let plaintext: Vec<String> = fleet.plaintext().map(ToString::to_string).collect();
        if all && !plaintext.is_empty() {
            assert_eq!(plaintext, ["meshprobe-plain/meshprobe-agent to default/mirai-frontend"]);
            assert_eq!(fleet.plaintext_of_users(&["meshprobe-plain".to_owned()].into()).count(), 0);
            assert!(fleet.pairs.iter().any(|pair| pair.security == FlowSecurity::MutualTls));
            assert!(fleet.pairs.iter().all(|pair| pair.nodes == [node_name(0)].into()));
            return;
        }
        assert!(Instant::now() < deadline, "{fleet:#?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The first node has the application, so that the second's ztunnel concerns agents only.
async fn one_dead_ztunnel_is_seen_where_it_is(all: &Everything) {
    all.lab.kill_ztunnel(1, true).await;
    let unharmed = ["plain-peer", "names", "istiod", "service", "own-hbone", "coredns"];
    let unharmed_outside =
        ["plain-peer", "service", "hbone-service", "istiod", "coredns-udp", "ztunnel"];
    let unharmed_there = ["peer", "canary", "hbone", "hbone-canary", "certificate", "plain-peer"];
    // At once: on a busy machine an attempt may come late anywhere.
    let told = all.until("the dead ztunnel in its rows, and in no others", |told| {
        told.are("violated", 0, "ambient", &["peer", "canary"])
            && told.are("violated", 0, "plain", &["peer", "hbone", "hbone-canary", "certificate"])
            && told.are("violated", 1, "ambient", &["peer", "canary", "plain-peer", "service"])
            && told.are("violated", 1, "ambient", &["names", "istiod", "own-hbone"])
            && told.are("violated", 1, "plain", &["ztunnel"])
            // A denial without its control is no evidence of anything.
            && told.are("inconclusive", 0, "plain", &["canary"])
            && told.are("met", 0, "ambient", &unharmed)
            && told.are("met", 0, "plain", &unharmed_outside)
            && told.are("met", 1, "plain", &unharmed_there)
    });
    let told = told.await;
    show("the ztunnel of node-1 is dead");
    assert_eq!(told.code, Some(2));
    // TCP leads nowhere from there, and its windows still arrive.
    assert_eq!(told.links[&(1, "ambient")], "current");

    all.lab.kill_ztunnel(1, false).await;
    all.until("that it is back", |told| {
        told.are("met", 0, "ambient", &["peer", "canary"])
            && told.are("met", 0, "plain", &["peer", "canary", "hbone", "hbone-canary"])
            && told.are("met", 1, "ambient", &["peer", "canary", "plain-peer", "service", "names"])
            && told.are("met", 1, "plain", &["ztunnel"])
    })
    .await;
}

async fn strict_is_expected_once_applied_and_met_once_enforced(all: &Everything) {
    let strict = peer_authentication("default", "strict", json!({ "mtls": { "mode": "STRICT" } }));
    apply(&all.client, &strict).await;
    let gap = all.until("the enforcement gap", |told| {
        (0..NODES).all(|index| told.are("violated", index, "plain", &["service"]))
    });
    assert_eq!(gap.await.code, Some(2));
    let output = check(&["-o", "json", "--node", "node-0"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let plain = &report["fleet"]["nodes"][0]["agents"][1];
    let rows = plain["rows"].as_array().expect("a list");
    let service = rows.iter().find(|row| row["row"] == "service").expect("it was there");
    assert_eq!(service["unmet"][0]["expect"], "denied", "{service}");
    assert_eq!(service["unmet"][0]["reason"], "unexpected_reply", "{service}");
    show("STRICT is applied and not enforced");

    all.lab.enforce_strict().await;
    let told = all.until("that STRICT is enforced", |told| {
        (0..NODES).all(|index| {
            told.are("met", index, "plain", &["service", "hbone-service"])
                && told.are("met", index, "ambient", &["service"])
        })
    });
    told.await;
    let output = check(&["-o", "json", "--node", "node-0"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let targets = report["fleet"]["nodes"][0]["agents"][1]["targets"].as_array().expect("a list");
    let name = "service/default/mirai-frontend:80/mirai-frontend-0";
    let denied = targets.iter().find(|target| target["target"] == name).expect("it is asked");
    assert_eq!(denied["expect"], "denied", "{denied}");
}

/// Writes into the API server what a cluster would hold that is as `lab`.
async fn describe(client: &Client, lab: &Lab) {
    let enrolled = json!({ "istio.io/dataplane-mode": "ambient" });
    for (name, labels) in
        [("default", enrolled), ("istio-system", json!({})), ("kube-system", json!({}))]
    {
        apply(client, &namespace(name, labels)).await;
        apply(client, &service_account(name, "default")).await;
    }
    for (index, zone) in ZONES.iter().enumerate().take(NODES) {
        apply(client, &node(&node_name(index), zone, true)).await;
    }
    for name in ["ztunnel", "istio-cni-node"] {
        apply(client, &daemon_set("istio-system", name, NODES)).await;
    }
    for seat in &lab.seats {
        let namespace = namespace_of(seat);
        run_agent(client, namespace, seat.node, &seat.pod.ip().to_string()).await;
    }
    let pod = |namespace: &'static str, app: &str, index: usize, number: u8, captured| Pod {
        namespace,
        name: format!("{app}-{index}"),
        node: node_name(index),
        ip: address(number).to_string(),
        service_account: "default",
        labels: json!({ "app": app }),
        captured,
    };
    for index in 0..NODES {
        let ztunnel = pod("istio-system", "ztunnel", index, ztunnel(index), false);
        apply(client, &ztunnel.object()).await;
    }
    let coredns = (0..).zip(COREDNS);
    let coredns =
        coredns.map(|(index, number)| pod("kube-system", "coredns", index, number, false));
    let mut frontend = service(
        "default",
        "mirai-frontend",
        json!({ "app": "mirai-frontend" }),
        &[("http", "TCP", 80, super::lab::APPLICATION)],
    );
    frontend["metadata"]["annotations"] = json!({ "meshprobe.dev/probe": "true" });
    let services = [
        (
            service(
                "kube-system",
                "kube-dns",
                json!({ "app": "coredns" }),
                &[("dns", "UDP", 53, 53), ("dns-tcp", "TCP", 53, 53)],
            ),
            KUBE_DNS_SERVICE,
            coredns.collect(),
        ),
        (
            service(
                "istio-system",
                "istiod",
                json!({ "app": "istiod" }),
                &[("https-dns", "TCP", 15012, 15012), ("http-monitoring", "TCP", 15014, 15014)],
            ),
            ISTIOD_SERVICE,
            vec![pod("istio-system", "istiod", 0, ISTIOD, false)],
        ),
        (frontend, FRONTEND_SERVICE, vec![pod("default", "mirai-frontend", 0, FRONTEND, true)]),
    ];
    for (mut service, ip, pods) in services {
        service["spec"]["clusterIP"] = json!(ip);
        apply(client, &service).await;
        for pod in &pods {
            apply(client, &pod.object()).await;
        }
        apply(client, &endpoint_slice(&service, &pods)).await;
    }
    let channel = service(
        "meshprobe-plain",
        "meshprobe-controller-channel",
        json!({}),
        &[("channel", "UDP", 9854, 9854)],
    );
    let mut controller = pod("meshprobe-plain", "meshprobe-controller", 0, 0, false);
    controller.ip = OUTSIDE.to_string();
    apply(client, &endpoint_slice(&channel, &[controller])).await;
}

fn namespace_of(seat: &Seat) -> &'static str {
    if seat.ambient { "meshprobe-ambient" } else { "meshprobe-plain" }
}

/// A file that the chart gives to pods of `namespace`.
async fn config(client: &Client, namespace: &str, name: &str, file: &str) -> String {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": namespace, "name": name },
    });
    let found = api_of(client, &object).get(name).await.expect("the chart makes it");
    text(&found.data["data"][file])
}

/// The prober in a mount namespace of its own, where `secrets` are at `/var/run/secrets`, and
/// CoreDNS is the only nameserver: what the kubelet sees to.
fn mounted(files: &Path, name: &str, secrets: &[(&str, &str)]) -> Command {
    let folder = files.join(name);
    for (path, content) in secrets {
        let path = folder.join("secrets").join(path);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }
    let namespace = name.split('.').next_back().expect("a part");
    let search = format!("{namespace}.svc.cluster.local svc.cluster.local cluster.local");
    let resolving = format!("nameserver {KUBE_DNS_SERVICE}\nsearch {search}\noptions ndots:5\n");
    std::fs::write(folder.join("resolv.conf"), resolving).expect("writable");
    let script = "mount -t tmpfs tmpfs /var/run\n\
                  cp -r \"$1/secrets\" /var/run/secrets\n\
                  mount --bind \"$1/resolv.conf\" /etc/resolv.conf\n\
                  shift\n\
                  exec setpriv --pdeathsig KILL \"$@\"\n";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", script, "sh"]).arg(folder);
    command.arg(env!("CARGO_BIN_EXE_meshprobe"));
    command
}

/// The controller that the chart describes, with its ServiceAccount's token.
async fn controller(plane: &ControlPlane, client: &Client, files: &TempDir) -> Daemon {
    let namespace = "meshprobe-plain";
    let config = config(client, namespace, "meshprobe-controller", "controller.yaml").await;
    let config = write_file(files, "controller.yaml", config);
    let token = plane.token(namespace, "meshprobe-controller").await;
    let mut command =
        mounted(files.path(), "controller.meshprobe-plain", &[("meshprobe/key", SECRET)]);
    command.arg("controller").arg("--config").arg(config);
    command.arg("--kubeconfig").arg(plane.kubeconfig_of(&token));
    command.env("MESHPROBE_POD_NAME", "meshprobe-controller-0");
    command.env("MESHPROBE_POD_NAMESPACE", namespace);
    let api = (OUTSIDE, 9853).into();
    let ready = || async move { matches!(fetch(api, "/readyz").await, Some((200, _))) };
    Daemon::start_when(command, ready).await
}

/// The agent that the chart describes, in its pod.
async fn agent(client: &Client, files: &TempDir, seat: &Seat, root_pem: &str) -> Daemon {
    let namespace = namespace_of(seat);
    let config = config(client, namespace, "meshprobe-agent", "agent.yaml").await;
    let name = format!("{}.{namespace}", node_name(seat.node));
    let config = write_file(files, &format!("{name}.yaml"), config);
    let secrets = [
        ("istio/root-cert.pem", root_pem),
        ("tokens/istio-token", &seat.token),
        ("meshprobe/key", SECRET),
    ];
    let mut command = mounted(files.path(), &name, &secrets);
    command.arg("agent").arg("--config").arg(config);
    for (key, value) in [
        ("NODE", node_name(seat.node)),
        ("VANTAGE", if seat.ambient { "ambient" } else { "plain" }.to_owned()),
        ("ZONE", ZONES[seat.node].to_owned()),
        ("POD_NAME", format!("meshprobe-agent-{}", seat.node)),
        ("POD_NAMESPACE", namespace.to_owned()),
        ("POD_SERVICE_ACCOUNT", "meshprobe-agent".to_owned()),
        ("POD_IP", seat.pod.ip().to_string()),
    ] {
        command.env(format!("MESHPROBE_{key}"), value);
    }
    let admin = (std::net::Ipv4Addr::LOCALHOST, 9850).into();
    let ready = move || async move { matches!(fetch(admin, "/readyz").await, Some((200, _))) };
    seat.pod.within(move || Daemon::start_when(command, ready)).await
}

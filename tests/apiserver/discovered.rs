//! What happens in the cluster is in the next snapshot.

use meshprobe::cluster::mtls::{Mode, PeerAuthentication};
use meshprobe::cluster::{Cluster, Enrolment, Redirection};
use meshprobe::target::Vantage;
use serde_json::{Value, json};

use super::chart::{AGENTS, change, grow, install, mesh};
use super::control_plane::ControlPlane;
use super::objects::{Pod, apply, delete, namespace, node, peer_authentication, service_account};
use super::seed::{ZONES, address, install_istio_kinds, node_name, node_pods, plant};
use super::watching::Watching;

#[tokio::test]
async fn the_seed_cluster_is_seen_as_it_is() {
    let (plane, _) = mesh(3).await;
    let mut watching = Watching::start(&plane).await;
    let cluster = watching.until("the frontend", |it| it.services.len() == 1).await;

    let zones: Vec<_> = cluster.nodes.values().map(|node| node.zone.as_deref()).collect();
    assert_eq!(zones, ZONES.map(Some));
    assert!(cluster.nodes.values().all(|node| node.ready));
    assert_eq!(cluster.agents.len(), 6);
    for agent in &cluster.agents {
        let ambient = agent.vantage == Vantage::Ambient;
        let wanted = if ambient { Enrolment::Ambient } else { Enrolment::None };
        let actual = if ambient { Redirection::Enabled } else { Redirection::Absent };
        assert_eq!((agent.pod.wanted, agent.pod.actual), (wanted, actual), "{agent:?}");
    }
    let [service] = &cluster.services[..] else { panic!("{:?}", cluster.services) };
    assert_eq!((service.name.as_str(), service.port), ("mirai-frontend", 80));
    assert!(service.cluster_ip.is_some());
    let ports: Vec<_> = service.endpoints.iter().map(|it| it.target_port).collect();
    assert_eq!(ports, [3000, 3000]);
    assert_eq!(cluster.coredns.service, Some("10.96.0.10:53".parse().unwrap()));
    assert_eq!(cluster.coredns.replicas.len(), 2);
    assert_eq!(cluster.istiod.service.map(|it| it.port()), Some(15012));
    assert_eq!(cluster.istiod.replicas.len(), 1);
    assert_eq!(cluster.ztunnels.len(), 3);
    let sets: Vec<_> = cluster.daemon_sets.iter().map(|(name, it)| (&name[..], it.ready)).collect();
    assert_eq!(sets, [("istio-cni-node", 3), ("ztunnel", 3)]);
    // The chart's own: the canary port is STRICT.
    let policies = cluster.peer_authentications.expect("the kind exists");
    let [own] = &policies[..] else { panic!("{policies:?}") };
    let ports = [(9850, Mode::Permissive), (9851, Mode::Permissive), (9852, Mode::Strict)];
    assert_eq!((own.mode, &own.ports[..]), (Mode::Permissive, &ports[..]));
    assert_eq!(cluster.findings, []);
}

#[tokio::test]
async fn nodes_join_and_leave_and_namespaces_are_labelled() {
    let (plane, client) = mesh(2).await;
    let mut watching = Watching::start(&plane).await;
    let whole = |nodes: usize| {
        move |it: &Cluster| {
            (it.nodes.len(), it.agents.len(), it.ztunnels.len()) == (nodes, 2 * nodes, nodes)
        }
    };
    watching.until("the cluster", whole(2)).await;
    grow(&client, 2).await;
    watching.until("the third node", whole(3)).await;

    apply(&client, &node(&node_name(2), ZONES[2], false)).await;
    watching.until("that it is not ready", |it| !it.nodes["node-2"].ready).await;

    for pod in node_pods(2) {
        delete(&client, &pod.object()).await;
    }
    for (namespace, _) in AGENTS {
        let agent = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": namespace, "name": "meshprobe-agent-2" },
        });
        delete(&client, &agent).await;
    }
    delete(&client, &node(&node_name(2), ZONES[2], false)).await;
    watching.until("that it left", whole(2)).await;

    let frontend_is = |wanted: Enrolment| {
        move |it: &Cluster| {
            let pods = it.services.iter().flat_map(|it| &it.endpoints).map(|it| &it.pod);
            let all: Vec<_> = pods.map(|pod| pod.wanted).collect();
            all == [wanted, wanted]
        }
    };
    watching.until("the enrolled frontend", frontend_is(Enrolment::Ambient)).await;
    apply(&client, &namespace("default", json!({ "istio.io/dataplane-mode": "none" }))).await;
    watching.until("that it left the mesh", frontend_is(Enrolment::None)).await;
    apply(&client, &namespace("default", json!({ "istio.io/dataplane-mode": "ambient" }))).await;
    watching.until("that it is back", frontend_is(Enrolment::Ambient)).await;
}

#[tokio::test]
async fn strict_is_seen_per_mesh_namespace_workload_and_port() {
    let (plane, client) = mesh(2).await;
    let mut watching = Watching::start(&plane).await;
    let strict = json!({ "mode": "STRICT" });
    let selector = json!({ "matchLabels": { "app": "mirai-frontend" } });
    let levels = [
        ("istio-system", "mesh", json!({ "mtls": strict })),
        ("default", "namespace", json!({ "mtls": strict })),
        ("default", "workload", json!({ "selector": selector, "mtls": strict })),
        ("default", "port", json!({ "selector": selector, "portLevelMtls": { "3000": strict } })),
    ];
    for (namespace, name, spec) in levels {
        let policy = peer_authentication(namespace, name, spec.clone());
        apply(&client, &policy).await;
        let cluster = watching.until(name, |it| find(it, name).is_some()).await;
        let seen = find(&cluster, name).expect("it was just there");
        assert_eq!(seen.namespace, namespace);
        let labels = seen.selector.as_ref().map(|it| it["app"].as_str());
        assert_eq!(labels, spec.get("selector").map(|_| "mirai-frontend"));
        let expected = match name {
            "port" => (Mode::Unset, vec![(3000, Mode::Strict)]),
            _ => (Mode::Strict, vec![]),
        };
        assert_eq!((seen.mode, seen.ports.clone()), expected, "{name}");
        delete(&client, &policy).await;
        watching.until("that it is gone", |it| find(it, name).is_none()).await;
    }
}

#[tokio::test]
async fn without_the_istio_kinds_policies_are_unknown_until_they_come() {
    let plane = ControlPlane::start().await;
    let client = plane.admin().await;
    install(&plane, &["--set", "istio.enabled=false"]);
    plant(&client, 2).await;
    let mut watching = Watching::start(&plane).await;
    let cluster = watching.until("the cluster", |it| it.services.len() == 1).await;
    assert_eq!(cluster.peer_authentications, None);
    assert_eq!(cluster.findings, []);
    install_istio_kinds(&client).await;
    watching.until("the new kind", |it| it.peer_authentications == Some(vec![])).await;
}

#[tokio::test]
async fn wishes_that_cannot_be_met_are_told_and_cost_nothing_else() {
    let (plane, client) = mesh(2).await;
    let mut watching = Watching::start(&plane).await;
    watching.until("the frontend", |it| it.services.len() == 1).await;
    let annotate =
        |value: &str| json!({ "metadata": { "annotations": { "meshprobe.dev/probe": value } } });
    let prometheus = service_named("monitoring", "prometheus");
    change(&client, &prometheus, &annotate(&"\u{7}x".repeat(60_000))).await;
    let cluster = watching.until("the hostile annotation", |it| it.findings.len() == 1).await;
    let [finding] = &cluster.findings[..] else { panic!("{:?}", cluster.findings) };
    assert_eq!(
        (finding.object.name.as_str(), finding.reason.as_str()),
        ("prometheus", "BadAnnotation")
    );
    assert!(finding.message.len() <= 512 && !finding.message.contains(char::is_control));
    assert_eq!(cluster.services.len(), 1);
    change(&client, &prometheus, &annotate("9090")).await;
    let mended = watching.until("the mended one", |it| it.services.len() == 2).await;
    assert_eq!(mended.findings, []);
}

#[tokio::test]
async fn a_waypoint_in_another_namespace_is_found_by_its_pods() {
    let (plane, client) = mesh(2).await;
    let mut watching = Watching::start(&plane).await;
    watching.until("the frontend", |it| it.services.len() == 1).await;
    apply(&client, &namespace("gates", json!({}))).await;
    apply(&client, &service_account("gates", "wide")).await;
    let waypoint = Pod {
        namespace: "gates",
        name: "wide-1".to_owned(),
        node: node_name(0),
        ip: address(0, 15),
        service_account: "wide",
        labels: json!({ "gateway.networking.k8s.io/gateway-name": "wide" }),
        captured: false,
    };
    apply(&client, &waypoint.object()).await;
    let labels =
        json!({ "istio.io/use-waypoint": "wide", "istio.io/use-waypoint-namespace": "gates" });
    let frontend = service_named("default", "mirai-frontend");
    change(&client, &frontend, &json!({ "metadata": { "labels": labels } })).await;
    let cluster = watching.until("its pod", |it| !it.services[0].waypoint_pods.is_empty()).await;
    let service = &cluster.services[0];
    assert_eq!(service.waypoint.as_deref(), Some("wide"));
    let [pod] = &service.waypoint_pods[..] else { panic!("{service:?}") };
    assert_eq!((pod.name.as_str(), pod.service_account.as_str()), ("wide-1", "wide"));
    assert_eq!(cluster.findings, []);
}

fn find<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a PeerAuthentication> {
    cluster.peer_authentications.as_ref()?.iter().find(|it| it.name == name)
}

fn service_named(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
    })
}

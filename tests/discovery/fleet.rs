use k8s_openapi::api::{apps, core::v1 as core};
use meshprobe::cluster::{DaemonSet, FindingReason, Node};
use meshprobe::discovery::watched::{REFUSED_FOR, Standing};
use meshprobe::discovery::{Settings, reduce, service};
use meshprobe::target::Vantage;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::{World, listed, object, only, pod, service_with, slice};

#[test]
fn a_node_is_its_zone_and_whether_it_is_ready() {
    let node = |labels: Value, conditions: Value| {
        reduce::node(object::<core::Node>(json!({
            "metadata": { "name": "n", "labels": labels },
            "status": { "conditions": conditions },
        })))
    };
    let ready = json!([{ "type": "DiskPressure", "status": "True" }, { "type": "Ready", "status": "True" }]);
    let zone = json!({ "topology.kubernetes.io/zone": "z1" });
    assert_eq!(node(zone, ready), Node { zone: Some("z1".to_owned()), ready: true });
    let unknown = json!([{ "type": "Ready", "status": "Unknown" }]);
    let empty = json!({ "topology.kubernetes.io/zone": "" });
    assert_eq!(node(empty, unknown), Node { zone: None, ready: false });
}

#[test]
fn only_istios_labels_of_a_namespace_are_kept() {
    let namespace = reduce::namespace(object(json!({ "metadata": { "name": "n", "labels": {
        "istio.io/dataplane-mode": "ambient", "topology.istio.io/network": "a",
        "istio-injection": "enabled", "team": "x", "notistio.io/a": "b",
    }}})));
    let kept: Vec<&String> = namespace.labels.keys().collect();
    assert_eq!(kept, ["istio-injection", "istio.io/dataplane-mode", "topology.istio.io/network"]);
}

#[test]
fn the_data_planes_daemon_sets_are_kept_and_no_others() {
    let read = |name: &str| {
        reduce::daemon_set(object::<apps::v1::DaemonSet>(json!({
            "metadata": { "name": name },
            "status": {
                "desiredNumberScheduled": 5, "numberReady": 4, "updatedNumberScheduled": 3,
                "currentNumberScheduled": 5, "numberMisscheduled": 0,
            },
        })))
    };
    let counted = Some(DaemonSet { desired: 5, ready: 4, updated: 3 });
    assert_eq!((read("ztunnel"), read("istio-cni-node")), (counted, counted));
    assert_eq!(read("fluentd"), None);
}

#[test]
fn an_agents_vantage_is_its_labels_or_else_its_namespaces() {
    let mut labelled = pod("meshprobe-plain", "b", "n", "10.0.0.2");
    labelled["metadata"]["labels"] = json!({ "meshprobe.dev/vantage": "ambient" });
    let world = World::new(Settings::default())
        .agents("meshprobe-ambient", &[pod("meshprobe-ambient", "a", "n", "10.0.0.1")])
        .agents("meshprobe-plain", &[labelled, pod("meshprobe-plain", "c", "n", "10.0.0.3")]);
    let cluster = world.cluster();
    let told: Vec<(&str, Vantage)> =
        cluster.agents.iter().map(|agent| (agent.pod.name.as_str(), agent.vantage)).collect();
    assert_eq!(told, [("a", Vantage::Ambient), ("b", Vantage::Ambient), ("c", Vantage::Plain)]);
}

#[test]
fn coredns_is_its_service_and_the_ready_replicas_behind_its_port() {
    let mut dns = service_with("kube-dns", json!({}), &[("dns-tcp", 53), ("metrics", 9153)]);
    dns["spec"]["clusterIP"] = json!("10.96.0.10");
    dns["spec"]["ports"][0] = json!({ "name": "dns", "port": 53, "protocol": "UDP" });
    let dns = service::any_service(object(dns), &[]).expect("a Service");
    let slices = slice(
        "kube-dns",
        &[("metrics", 9153), ("dns", 5353)],
        &[("coredns-1", "10.0.0.5"), ("coredns-2", "10.0.0.6")],
    );
    let slice = reduce::slice(object(slices)).expect("a slice");
    let mut world = World::new(Settings::default());
    let name = |name: &str| ("kube-system".to_owned(), name.to_owned());
    world.seen.coredns.service = listed([(name("kube-dns").0, name("kube-dns").1, dns)]);
    world.seen.coredns.slices = listed([(name("x").0, name("x").1, slice.clone())]);
    world.seen.controllers = listed([(name("x").0, name("x").1, slice)]);
    let cluster = world.cluster();
    assert_eq!(cluster.coredns.service, Some("10.96.0.10:53".parse().expect("an address")));
    let replicas: Vec<String> =
        cluster.coredns.replicas.iter().map(|(pod, at)| format!("{pod} {at}")).collect();
    assert_eq!(replicas, ["coredns-1 10.0.0.5:5353", "coredns-2 10.0.0.6:5353"]);
    assert_eq!(cluster.istiod, Default::default());
    let controllers: Vec<String> = cluster.controllers.iter().map(ToString::to_string).collect();
    assert_eq!(controllers, ["10.0.0.5:9153", "10.0.0.6:9153"]);
}

#[test]
fn of_two_ztunnels_on_a_node_the_ready_one_counts() {
    let mut world = World::new(Settings::default());
    let mut old = pod("istio-system", "z-old", "n", "10.0.0.1");
    old["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let new = pod("istio-system", "a-new", "n", "10.0.0.2");
    let pods = [old, new].map(|value| reduce::pod(object(value)).expect("a pod"));
    world.seen.ztunnels =
        listed(pods.into_iter().map(|pod| (pod.pod.namespace.clone(), pod.pod.name.clone(), pod)));
    assert_eq!(world.cluster().ztunnels["n"].to_string(), "10.0.0.2");
}

#[test]
fn what_may_not_be_read_is_told_with_the_right_that_is_missing_and_stays_as_it_was() {
    let agents = [pod("meshprobe-plain", "a", "n", "10.0.0.1")];
    let mut world = World::new(Settings::default()).agents("meshprobe-plain", &agents);
    let pods = world.seen.agents.get_mut("meshprobe-plain").expect("it is always watched");
    let now = Instant::now();
    for now in [now, now + REFUSED_FOR] {
        pods.fail(Some(Standing::Forbidden), String::new(), now);
    }
    let cluster = world.cluster();
    assert_eq!(cluster.agents.len(), 1);
    assert_eq!(only(&cluster).reason, FindingReason::Forbidden);
    assert_eq!(
        only(&cluster).message,
        "the controller may not list and watch pods in namespace meshprobe-plain: grant the verbs list and watch to its ServiceAccount"
    );
}

#[test]
fn a_slice_of_host_names_or_of_no_service_is_nothing() {
    let mut named = slice("cart", &[("http", 80)], &[]);
    named["addressType"] = json!("FQDN");
    assert_eq!(reduce::slice(object(named)), None);
    let mut stray = slice("cart", &[("http", 80)], &[]);
    stray["metadata"]["labels"] = json!({});
    assert_eq!(reduce::slice(object(stray)), None);
}

#[test]
fn findings_beyond_the_limit_are_counted_and_not_listed() {
    let mut settings = Settings::default();
    settings.limits.findings = 3;
    let services: Vec<Value> = (0..10)
        .map(|n| service_with(&format!("s{n}"), json!({ "meshprobe.dev/probe": "?" }), &[]))
        .collect();
    let cluster = World::new(settings).services(&services).cluster();
    assert_eq!(cluster.findings.len(), 4);
    assert_eq!(cluster.findings[3].message, "7 more findings are not told: mend these first");
}

use meshprobe::cluster::{Cluster, FindingReason};
use meshprobe::discovery::{Choice, Limits, Name, PortRef, Selection, Settings};
use serde_json::{Value, json};

use super::support::{World, namespace, only, pod, reasons, service_with, slice};

fn selection(origin: &str, choice: Choice) -> Selection {
    Selection { origin: origin.to_owned(), choice, ports: Vec::new(), path: None }
}

fn named(name: &str) -> Choice {
    Choice::Service(Name::new("shop", name))
}

/// Services `(name, port)` of a cluster with Service `cart` on ports http 80 and admin 8081, and
/// one ready pod behind both.
fn cart(annotations: Value, selections: Vec<Selection>) -> (Vec<(u16, String)>, Cluster) {
    let ports = [("http", 80), ("admin", 8081)];
    let mut value = service_with("cart", annotations, &ports);
    value["spec"]["ports"].as_array_mut().expect("a list").push(json!({
        "name": "gossip", "port": 7946, "protocol": "UDP",
    }));
    value["metadata"]["labels"] = json!({ "tier": "front" });
    let settings = Settings { services: selections, ..Settings::default() };
    let world = World::new(settings).services(&[value]).behind(
        "shop",
        &[pod("shop", "cart-1", "node-a", "10.0.0.1")],
        &[slice("cart", &[("http", 8080), ("admin", 8081)], &[("cart-1", "10.0.0.1")])],
    );
    let cluster = world.cluster();
    let called = cluster.services.iter().map(|service| (service.port, service.path.clone()));
    (called.collect(), cluster)
}

#[test]
fn the_annotation_chooses_all_tcp_ports_or_those_that_it_names() {
    let root = || "/".to_owned();
    for (annotation, ports) in [
        ("true", vec![80, 8081]),
        (" true ", vec![80, 8081]),
        ("http", vec![80]),
        ("8081, http", vec![80, 8081]),
        ("80,http", vec![80]),
        ("false", vec![]),
    ] {
        let (called, cluster) = cart(json!({ "meshprobe.dev/probe": annotation }), Vec::new());
        let expected: Vec<_> = ports.into_iter().map(|port| (port, root())).collect();
        assert_eq!(called, expected, "{annotation}");
        assert_eq!(cluster.findings, [], "{annotation}");
    }
    let (called, cluster) = cart(json!({}), Vec::new());
    assert_eq!((called, cluster.findings), (vec![], vec![]));
}

#[test]
fn endpoints_are_the_pods_behind_the_port_on_the_port_that_they_listen_on() {
    let (_, cluster) = cart(json!({ "meshprobe.dev/probe": "http" }), Vec::new());
    let [endpoint] = &cluster.services[0].endpoints[..] else { panic!("one pod") };
    assert_eq!((endpoint.pod.name.as_str(), endpoint.target_port), ("cart-1", 8080));
    assert_eq!(cluster.services[0].cluster_ip, Some("10.96.0.7".parse().expect("an address")));
}

#[test]
fn configuration_chooses_by_name_namespace_and_labels_unless_the_owner_says_false() {
    let labels = |value: &str| Choice::Labels {
        namespace: None,
        labels: [("tier".to_owned(), value.to_owned())].into(),
    };
    for (choice, called) in [
        (named("cart"), 2),
        (Choice::Namespace("shop".to_owned()), 2),
        (Choice::Namespace("other".to_owned()), 0),
        (labels("front"), 2),
        (labels("back"), 0),
        (Choice::Labels { namespace: None, labels: [].into() }, 0),
    ] {
        let chosen = cart(json!({}), vec![selection("services[0]", choice.clone())]);
        assert_eq!(chosen.0.len(), called, "{choice:?}");
        let refused = json!({ "meshprobe.dev/probe": "false" });
        let chosen = cart(refused, vec![selection("services[0]", choice)]);
        assert_eq!(chosen.0, []);
    }
}

#[test]
fn a_service_that_does_not_exist_is_told_and_the_others_stay() {
    let entries =
        vec![selection("services[0]", named("kart")), selection("services[1]", named("cart"))];
    let (called, cluster) = cart(json!({}), entries);
    assert_eq!(called.len(), 2);
    let finding = only(&cluster);
    assert_eq!(finding.reason, FindingReason::ServiceNotFound);
    assert_eq!(finding.object.uid, None);
    assert_eq!(
        finding.message,
        "services[0]: there is no Service \"shop/kart\": correct namespace and name, or take the entry out"
    );
}

#[test]
fn a_service_is_not_missed_before_services_were_listed() {
    let entries = vec![selection("services[0]", named("kart"))];
    let world = World::new(Settings { services: entries, ..Settings::default() });
    assert_eq!(world.cluster().findings, []);
}

#[test]
fn a_port_that_does_not_exist_or_is_udp_is_told_and_the_others_stay() {
    let (called, cluster) =
        cart(json!({ "meshprobe.dev/probe": "http,grpc,gossip,99" }), Vec::new());
    assert_eq!(called, [(80, "/".to_owned())]);
    assert_eq!(reasons(&cluster), [FindingReason::PortNotFound; 3]);
    let messages: Vec<&str> = cluster.findings.iter().map(|is| is.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Service shop/cart: its annotation names port \"gossip\", which is not TCP: only TCP is called",
            "Service shop/cart: its annotation names port \"grpc\", which does not exist: the Service has 80 (http), 8081 (admin), 7946 (gossip)",
            "Service shop/cart: its annotation names port 99, which does not exist: the Service has 80 (http), 8081 (admin), 7946 (gossip)",
        ]
    );
}

#[test]
fn a_port_with_nothing_ready_behind_it_is_told_and_still_called() {
    let value = service_with("cart", json!({ "meshprobe.dev/probe": "true" }), &[("http", 80)]);
    let mut unready = slice("cart", &[("http", 8080)], &[("cart-1", "10.0.0.1")]);
    unready["endpoints"][0]["conditions"]["ready"] = json!(false);
    let pods = [pod("shop", "cart-1", "node-a", "10.0.0.1")];
    let world = World::new(Settings::default());
    let world = world.services(&[value]).behind("shop", &pods, &[unready]);
    let cluster = world.cluster();
    assert_eq!(cluster.services.len(), 1);
    assert_eq!(cluster.services[0].endpoints, []);
    assert_eq!(only(&cluster).reason, FindingReason::NoEndpoints);
    assert_eq!(only(&cluster).object.uid.as_deref(), Some("uid-cart"));
}

#[test]
fn services_wait_until_their_namespace_was_listed() {
    let value = service_with("cart", json!({ "meshprobe.dev/probe": "true" }), &[("http", 80)]);
    let cluster = World::new(Settings::default()).services(&[value]).cluster();
    assert_eq!((cluster.services, cluster.findings), (vec![], vec![]));
}

#[test]
fn two_entries_that_claim_one_port_are_a_conflict_and_the_first_is_heard() {
    let with_path = |origin: &str, path: &str| Selection {
        path: Some(path.to_owned()),
        ports: vec![PortRef::Number(80)],
        ..selection(origin, named("cart"))
    };
    let entries = vec![with_path("services[0]", "/a"), with_path("services[1]", "/b")];
    let (called, cluster) = cart(json!({}), entries);
    assert_eq!(called, [(80, "/a".to_owned())]);
    assert_eq!(only(&cluster).reason, FindingReason::Conflict);
    let entry = vec![with_path("services[0]", "/a")];
    let annotations = json!({ "meshprobe.dev/probe": "http", "meshprobe.dev/path": "/b" });
    let (called, cluster) = cart(annotations, entry);
    assert_eq!(called, [(80, "/a".to_owned())]);
    assert_eq!(
        only(&cluster).message,
        "Service shop/cart, port 80: claimed by services[0] and by its annotation; the first is heard (path \"/a\"): take one out"
    );
}

#[test]
fn entries_that_agree_are_no_conflict() {
    let entries = vec![
        selection("services[0]", Choice::Namespace("shop".to_owned())),
        selection("services[1]", named("cart")),
    ];
    let annotations = json!({ "meshprobe.dev/probe": "http", "meshprobe.dev/path": "/live" });
    let (called, cluster) = cart(annotations, entries);
    assert_eq!(called, [(80, "/live".to_owned()), (8081, "/live".to_owned())]);
    assert_eq!(cluster.findings, []);
}

#[test]
fn who_was_named_is_called_before_who_was_found_when_there_are_too_many() {
    let services: Vec<Value> = ["a", "b", "zed"]
        .map(|name| service_with(name, json!({ "meshprobe.dev/probe": "true" }), &[("http", 80)]))
        .into();
    let limits = Limits { services: 2, ..Limits::default() };
    let services_named = vec![selection("services[0]", named("zed"))];
    let settings = Settings { services: services_named, limits, ..Settings::default() };
    let pods = [pod("shop", "p", "node-a", "10.0.0.1")];
    let slices: Vec<Value> =
        ["a", "b", "zed"].map(|name| slice(name, &[("http", 8080)], &[("p", "10.0.0.1")])).into();
    let cluster = World::new(settings).services(&services).behind("shop", &pods, &slices).cluster();
    let called: Vec<&str> = cluster.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(called, ["a", "zed"]);
    assert_eq!(only(&cluster).reason, FindingReason::TooMany);
    assert_eq!(only(&cluster).object.name, "b");
}

#[test]
fn too_many_endpoints_are_thinned_out_over_the_nodes() {
    let value = service_with("cart", json!({ "meshprobe.dev/probe": "true" }), &[("http", 80)]);
    let names: Vec<(String, String, String)> = (0..30)
        .map(|n| (format!("p{n:02}"), format!("node-{}", n / 10), format!("10.0.0.{n}")))
        .collect();
    let pods: Vec<Value> =
        names.iter().map(|(name, node, ip)| pod("shop", name, node, ip)).collect();
    let refs: Vec<(&str, &str)> =
        names.iter().map(|(name, _, ip)| (name.as_str(), ip.as_str())).collect();
    let limits = Limits { endpoints: 6, ..Limits::default() };
    let world = World::new(Settings { limits, ..Settings::default() });
    let world =
        world.services(&[value]).behind("shop", &pods, &[slice("cart", &[("http", 1)], &refs)]);
    let cluster = world.cluster();
    let kept: Vec<&str> =
        cluster.services[0].endpoints.iter().map(|is| is.pod.name.as_str()).collect();
    assert_eq!(kept, ["p00", "p01", "p10", "p11", "p20", "p21"]);
    assert_eq!(reasons(&cluster), [FindingReason::TooMany]);
}

#[test]
fn a_services_waypoint_is_its_own_before_its_namespaces() {
    for (own, expected) in
        [(json!({}), Some("wide")), (json!({"istio.io/use-waypoint": "none"}), None)]
    {
        let mut value = service_with("cart", json!({ "meshprobe.dev/probe": "true" }), &[("", 80)]);
        value["metadata"]["labels"] = own;
        let world = World::new(Settings::default())
            .namespaces(&[namespace("shop", json!({ "istio.io/use-waypoint": "wide" }))])
            .services(&[value])
            .behind("shop", &[], &[]);
        assert_eq!(world.cluster().services[0].waypoint.as_deref(), expected);
    }
}

#[test]
fn the_pods_of_a_services_waypoint_are_those_of_its_name_in_its_namespace() {
    let of_gateway = |namespace: &str, name: &str, gateway: &str| {
        let mut pod = pod(namespace, name, "node-a", "10.0.0.9");
        pod["metadata"]["labels"] = json!({ "gateway.networking.k8s.io/gateway-name": gateway });
        pod
    };
    let elsewhere = json!({
        "istio.io/use-waypoint": "wide", "istio.io/use-waypoint-namespace": "gates",
    });
    for (labels, expected) in [
        (json!({ "istio.io/use-waypoint": "wide" }), ["wide-1"].as_slice()),
        (elsewhere, &["wide-2"]),
        (json!({ "istio.io/use-waypoint": "none" }), &[]),
    ] {
        let mut value = service_with("cart", json!({ "meshprobe.dev/probe": "true" }), &[("", 80)]);
        value["metadata"]["labels"] = labels;
        let mut unready = of_gateway("shop", "wide-0", "wide");
        unready["status"]["conditions"][0]["status"] = json!("False");
        let here =
            [unready, of_gateway("shop", "wide-1", "wide"), of_gateway("shop", "n", "narrow")];
        // The namespace's label is for the namespace's own.
        let other = json!({ "istio.io/use-waypoint-namespace": "nowhere" });
        let world = World::new(Settings::default())
            .namespaces(&[namespace("shop", other)])
            .services(&[value])
            .behind("shop", &here, &[])
            .behind("gates", &[of_gateway("gates", "wide-2", "wide")], &[]);
        let cluster = world.cluster();
        let pods = &cluster.services[0].waypoint_pods;
        let names: Vec<_> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

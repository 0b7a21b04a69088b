//! What the gate needs to know of a cluster: pods by capture, and webhooks.

use meshprobe::cluster::{NamespacePods, Webhook};
use meshprobe::discovery::Settings;
use meshprobe::discovery::assemble::assemble;
use meshprobe::discovery::watched::Watched;
use meshprobe::discovery::webhook::{mutating, validating};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::{World, listed, namespace, object, pod};

fn configuration(service: Value, policy: Option<&str>) -> Value {
    let webhook = |name: &str, config: Value| {
        let mut webhook = json!({
            "name": name, "clientConfig": config, "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        });
        if let Some(policy) = policy {
            webhook["failurePolicy"] = policy.into();
        }
        webhook
    };
    json!({
        "metadata": { "name": "checks" },
        "webhooks": [
            webhook("in.example", json!({ "service": service })),
            webhook("out.example", json!({ "url": "https://elsewhere.example/" })),
        ],
    })
}

#[test]
fn webhooks_that_are_services_are_kept_with_their_port_and_policy() {
    let at = |port, required| Webhook {
        namespace: "shop".to_owned(),
        service: "checks".to_owned(),
        port,
        name: "in.example".to_owned(),
        is_required: required,
    };
    let stated = json!({ "namespace": "shop", "name": "checks", "port": 8443 });
    let found = validating(object(configuration(stated, Some("Ignore"))));
    assert_eq!(found, Some(vec![at(8443, false)]));
    let service = json!({ "namespace": "shop", "name": "checks" });
    assert_eq!(mutating(object(configuration(service, None))), Some(vec![at(443, true)]));
    let none = json!({ "metadata": { "name": "empty" } });
    assert_eq!(validating(object(none)), None);
}

#[test]
fn webhooks_are_known_when_both_kinds_are_and_each_is_told_once() {
    let mut world = World::new(Settings::default());
    assert_eq!(world.cluster().webhooks, None);
    let service = json!({ "namespace": "shop", "name": "checks" });
    let one = validating(object(configuration(service, None))).expect("a Service");
    let all = || listed([(String::new(), "checks".to_owned(), one.clone())]);
    world.seen.validating = all();
    assert_eq!(world.cluster().webhooks, None);
    world.seen.mutating = all();
    assert_eq!(world.cluster().webhooks, Some(one));
    let mut forbidden = Watched::default();
    forbidden.fail(None, "unreachable".to_owned(), Instant::now());
    world.seen.mutating = forbidden;
    assert_eq!(world.cluster().webhooks, None, "a half is not the whole");
}

#[test]
fn pods_are_counted_by_what_they_should_be_and_what_they_are() {
    let captured = |name: &str, annotation: Option<&str>, ready: &str| {
        let mut pod = pod("shop", name, "node-1", "10.0.0.1");
        pod["status"]["conditions"][0]["status"] = ready.into();
        if let Some(value) = annotation {
            pod["metadata"]["annotations"] = json!({ "ambient.istio.io/redirection": value });
        }
        pod
    };
    let mut host = captured("exporter", None, "True");
    host["spec"]["hostNetwork"] = true.into();
    let mut out = captured("legacy", None, "True");
    out["metadata"]["labels"] = json!({ "istio.io/dataplane-mode": "none" });
    let pods = [
        captured("a", Some("enabled"), "True"),
        captured("b", None, "True"),
        captured("c", Some("pending"), "False"),
        host,
        out,
    ];
    let ambient = namespace("shop", json!({ "istio.io/dataplane-mode": "ambient" }));
    let world = World::new(Settings::default()).namespaces(&[ambient]).behind("shop", &pods, &[]);
    let expected = NamespacePods {
        wanted: 3,
        captured: 1,
        uncaptured: 1,
        uncaptured_names: vec!["b".to_owned()],
        starting: 1,
        host_network: 1,
        host_network_names: vec!["exporter".to_owned()],
    };
    assert_eq!(world.cluster().pods["shop"], expected);
}

#[test]
fn pods_of_a_namespace_that_the_gate_names_are_watched_without_any_service() {
    let settings = Settings { pods_of: vec!["bank".to_owned()], ..Settings::default() };
    let world = World::new(settings);
    let assembled = assemble(&world.seen, &world.settings);
    assert!(assembled.namespaces.contains("bank"), "{:?}", assembled.namespaces);
}

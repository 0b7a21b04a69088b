use meshprobe::cluster::{Enrolment, Redirection};
use meshprobe::discovery::Settings;
use meshprobe::target::Vantage;
use serde_json::{Value, json};

use super::support::{World, namespace, pod};

/// The only agent, of a pod changed by `change`, in a namespace with `labels`.
fn agent(labels: Value, change: impl FnOnce(&mut Value)) -> Option<meshprobe::cluster::Agent> {
    let mut value = pod("meshprobe-ambient", "agent-a", "node-a", "10.0.0.1");
    change(&mut value);
    let world = World::new(Settings::default())
        .namespaces(&[namespace("meshprobe-ambient", labels)])
        .agents("meshprobe-ambient", &[value]);
    world.cluster().agents.pop()
}

#[test]
fn a_pod_is_wanted_by_its_own_label_before_its_namespaces() {
    let mode = "istio.io/dataplane-mode";
    let label = |value: &str| json!({ mode: value });
    for (of_namespace, of_pod, wanted) in [
        (json!({}), json!({}), Enrolment::None),
        (label("ambient"), json!({}), Enrolment::Ambient),
        (label("ambient"), label("none"), Enrolment::None),
        (label("ambient"), label("something"), Enrolment::Ambient),
        (label("none"), label("ambient"), Enrolment::Ambient),
        (json!({}), label("ambient"), Enrolment::Ambient),
        (label("Ambient"), json!({}), Enrolment::None),
    ] {
        let told = format!("{of_namespace} {of_pod}");
        let agent = agent(of_namespace, |pod| pod["metadata"]["labels"] = of_pod);
        assert_eq!(agent.expect("it has an address").pod.wanted, wanted, "{told}");
    }
}

#[test]
fn the_hosts_network_and_a_sidecar_keep_a_pod_out() {
    let ambient = || json!({ "istio.io/dataplane-mode": "ambient" });
    let host = agent(ambient(), |pod| pod["spec"]["hostNetwork"] = json!(true));
    assert_eq!(host.expect("it has an address").pod.wanted, Enrolment::None);
    let sidecar = agent(ambient(), |pod| {
        pod["metadata"]["annotations"] = json!({ "sidecar.istio.io/status": "{}" });
    });
    assert_eq!(sidecar.expect("it has an address").pod.wanted, Enrolment::None);
}

#[test]
fn what_istio_cni_says_is_read_from_its_annotation() {
    for (value, actual) in [
        (json!("enabled"), Redirection::Enabled),
        (json!("pending"), Redirection::Pending),
        (json!("enabled?"), Redirection::Absent),
    ] {
        let agent = agent(json!({}), |pod| {
            pod["metadata"]["annotations"] = json!({ "ambient.istio.io/redirection": value });
        });
        assert_eq!(agent.expect("it has an address").pod.actual, actual);
    }
    assert_eq!(agent(json!({}), |_| {}).expect("is").pod.actual, Redirection::Absent);
}

#[test]
fn a_waypoint_is_the_objects_before_the_namespaces_and_none_opts_out() {
    let label = |value: &str| json!({ "istio.io/use-waypoint": value });
    for (of_namespace, of_pod, waypoint) in [
        (json!({}), json!({}), None),
        (label("wide"), json!({}), Some("wide")),
        (label("wide"), label("own"), Some("own")),
        (label("wide"), label("none"), None),
        (label("none"), json!({}), None),
        (json!({}), label("own"), Some("own")),
    ] {
        let agent = agent(of_namespace, |pod| pod["metadata"]["labels"] = of_pod);
        assert_eq!(agent.expect("it has an address").pod.waypoint.as_deref(), waypoint);
    }
}

#[test]
fn a_pod_without_address_or_node_or_at_its_end_is_not_there() {
    type Change = fn(&mut Value);
    let changes: [Change; 4] = [
        |pod| pod["status"]["podIP"] = json!(null),
        |pod| pod["status"]["podIP"] = json!("not an address"),
        |pod| pod["spec"]["nodeName"] = json!(null),
        |pod| pod["status"]["phase"] = json!("Failed"),
    ];
    for change in changes {
        assert_eq!(agent(json!({}), change), None);
    }
}

#[test]
fn a_pod_that_is_being_deleted_is_not_ready() {
    let deleted = agent(json!({}), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    assert!(!deleted.expect("it has an address").pod.ready);
    assert!(agent(json!({}), |_| {}).expect("it has an address").pod.ready);
}

#[test]
fn labels_that_mean_nothing_are_told_on_their_objects() {
    let mut agent = pod("meshprobe-plain", "agent-1", "node-a", "10.0.0.1");
    agent["metadata"]["uid"] = json!("uid-agent-1");
    agent["metadata"]["labels"] =
        json!({ "meshprobe.dev/vantage": "side\nways", "istio.io/dataplane-mode": "Ambient" });
    let world = World::new(Settings::default())
        .namespaces(&[
            namespace("meshprobe-ambient", json!({ "istio.io/dataplane-mode": "on" })),
            // Nobody is called there.
            namespace("elsewhere", json!({ "istio.io/dataplane-mode": "on" })),
        ])
        .agents("meshprobe-plain", &[agent]);
    let cluster = world.cluster();
    let told: Vec<_> = cluster
        .findings
        .iter()
        .map(|it| (it.reason.as_str(), it.object.kind.as_str(), it.object.name.as_str()))
        .collect();
    let expected = [
        ("BadLabel", "Namespace", "meshprobe-ambient"),
        ("BadLabel", "Pod", "agent-1"),
        ("BadLabel", "Pod", "agent-1"),
    ];
    assert_eq!(told, expected);
    assert_eq!(cluster.findings[1].object.uid.as_deref(), Some("uid-agent-1"));
    assert!(cluster.findings.iter().all(|it| !it.message.contains('\n')));
    // The namespace says which side it is.
    assert_eq!(cluster.agents[0].vantage, Vantage::Plain);
    assert_eq!(cluster.agents[0].pod.wanted, Enrolment::None);
}

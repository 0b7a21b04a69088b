//! What was known stays known, whatever becomes of the API server and of the rights to ask it.

use std::time::Duration;

use kube::Client;
use meshprobe::cluster::FindingReason;
use meshprobe::discovery::watched::Standing;
use serde_json::{Value, json};

use super::chart::{change, mesh};
use super::objects::{api_of, apply, delete, node};
use super::support::{eventually, free_port};
use super::watching::Watching;

/// How long a broken connection may stay unnoticed on a busy machine.
const OUTAGE_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_was_known_outlives_the_api_server_and_what_was_missed_is_made_up_for() {
    let (mut plane, _) = mesh(2).await;
    let mut watching = Watching::start(&plane).await;
    let before = watching.until("the frontend", |it| it.services.len() == 1).await;
    let lists = watching.watch("nodes").health.lists;

    plane.stop_apiserver();
    // A failure is counted only after discovery has tried to come back.
    eventually("the failure", OUTAGE_LIMIT, || async { watching.watch("nodes").health.failing })
        .await;
    assert_eq!(watching.now(), before);

    // Changes that no watch of before will ever be told of: the API server that comes back has
    // not seen them happen, and etcd has forgotten how it was.
    let elsewhere = free_port();
    plane.start_apiserver(elsewhere).await;
    let other = plane.admin_at(elsewhere).await;
    apply(&other, &node("meanwhile", "zone-a", true)).await;
    delete(&other, &node("node-1", "zone-b", true)).await;
    plane.compact(elsewhere).await;
    plane.stop_apiserver();
    assert_eq!(watching.now(), before);
    plane.start_apiserver(plane.port()).await;

    let after = watching.until("the change", |it| it.nodes.contains_key("meanwhile")).await;
    let names: Vec<_> = after.nodes.keys().map(String::as_str).collect();
    assert_eq!(names, ["meanwhile", "node-0"]);
    assert!(watching.watch("nodes").health.lists > lists, "the watch did not expire");

    // And it watches again, rather than lists.
    apply(&plane.admin().await, &node("later", "zone-a", true)).await;
    watching.until("the next one", |it| it.nodes.contains_key("later")).await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_told_and_the_rest_goes_on() {
    let (mut plane, client) = mesh(2).await;
    let mut watching = Watching::start(&plane).await;
    let before = watching.until("the frontend", |it| it.services.len() == 1).await;

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "meshprobe-controller" },
    });
    let rules = rules(&client, &role).await;
    change(&client, &role, &json!({ "rules": without_nodes(&rules) })).await;
    // Rights are looked at when a watch begins, so the present one has to end.
    plane.stop_apiserver();
    plane.start_apiserver(plane.port()).await;

    let told = watching.until("the finding", |it| !it.findings.is_empty()).await;
    let [finding] = &told.findings[..] else { panic!("{:?}", told.findings) };
    assert_eq!((finding.reason, finding.object.kind.as_str()), (FindingReason::Forbidden, "nodes"));
    assert_eq!(told.nodes, before.nodes);
    assert_eq!(watching.watch("nodes").health.standing, Standing::Forbidden);

    let prometheus = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": "monitoring", "name": "prometheus" },
    });
    let annotations = json!({ "meshprobe.dev/probe": "true" });
    let client = plane.admin().await;
    change(&client, &prometheus, &json!({ "metadata": { "annotations": annotations } })).await;
    watching.until("the other Service", |it| it.services.len() == 2).await;

    change(&client, &role, &json!({ "rules": rules })).await;
    watching.until("that it is mended", |it| it.findings.is_empty()).await;
}

async fn rules(client: &Client, role: &Value) -> Value {
    let name = role["metadata"]["name"].as_str().expect("a name");
    let object = api_of(client, role).get(name).await.expect("the chart makes it");
    object.data["rules"].clone()
}

fn without_nodes(rules: &Value) -> Value {
    let mut rules = rules.clone();
    let mut found = false;
    for rule in rules.as_array_mut().expect("rules") {
        let resources = rule["resources"].as_array_mut().expect("resources");
        found |= resources.iter().any(|it| it == "nodes");
        resources.retain(|it| it != "nodes");
    }
    assert!(found, "the chart grants nodes no more");
    rules
}

//! What the fixture promises: it serves, it forgets nothing, it knows Istio's kinds when told.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use serde_json::json;

use super::control_plane::ControlPlane;
use super::objects::{api_of, apply, delete, namespace, node, peer_authentication};
use super::seed::{install_istio_kinds, plant};
use super::support::free_port;

#[tokio::test]
async fn the_seed_cluster_is_there_with_its_status() {
    let plane = ControlPlane::start().await;
    let client = plane.admin().await;
    install_istio_kinds(&client).await;
    plant(&client, 3).await;

    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    assert_eq!(nodes.items.len(), 3);
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    assert_eq!(pods.items.len(), 3 * 2 + 8);
    for pod in &pods.items {
        let status = pod.status.as_ref().expect("a status");
        assert!(status.pod_ip.is_some(), "{pod:?}");
        let conditions = status.conditions.as_deref().unwrap_or_default();
        assert!(conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"), "{pod:?}");
    }

    let strict = json!({ "mtls": { "mode": "STRICT" } });
    let applied = apply(&client, &peer_authentication("default", "default", strict)).await;
    assert_eq!(applied.data["spec"]["mtls"]["mode"], "STRICT");
    let wrong = peer_authentication("default", "wrong", json!({ "mtls": { "mode": "strict" } }));
    let refused = api_of(&client, &wrong)
        .create(&Default::default(), &serde_json::from_value(wrong).unwrap())
        .await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));
}

#[tokio::test]
async fn without_the_istio_kinds_peer_authentications_are_not_found() {
    let plane = ControlPlane::start().await;
    let client = plane.admin().await;
    let any = peer_authentication("default", "default", json!({}));
    let error = api_of(&client, &any).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 404));
}

#[tokio::test]
async fn a_restarted_api_server_knows_what_it_knew_and_forgets_watches_that_missed_too_much() {
    let mut plane = ControlPlane::start().await;
    let client = plane.admin().await;
    apply(&client, &node("before", "zone-a", true)).await;
    let nodes = Api::<Node>::all(client.clone());
    let seen = nodes.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    let seen = seen.expect("a list has a version");

    plane.stop_apiserver();
    nodes.list(&ListParams::default()).await.expect_err("nobody listens");
    // Meanwhile, as seen by no client of before.
    let elsewhere = free_port();
    plane.start_apiserver(elsewhere).await;
    let other = plane.admin_at(elsewhere).await;
    apply(&other, &node("meanwhile", "zone-b", true)).await;
    delete(&other, &node("before", "zone-a", true)).await;
    apply(&other, &namespace("last", json!({}))).await;
    plane.compact(elsewhere).await;
    plane.stop_apiserver();
    plane.start_apiserver(plane.port()).await;

    let list = nodes.list(&ListParams::default()).await.expect("the same client, the same port");
    let names: Vec<_> = list.items.into_iter().filter_map(|node| node.metadata.name).collect();
    assert_eq!(names, ["meanwhile"]);
    let mut events = Box::pin(nodes.watch(&Default::default(), &seen).await.unwrap());
    let event = futures_util::StreamExt::next(&mut events).await.expect("an event").unwrap();
    let kube::api::WatchEvent::Error(status) = event else { panic!("{event:?}") };
    assert_eq!(status.code, 410, "{status:?}");
}

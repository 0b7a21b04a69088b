//! RBAC is on: a ServiceAccount may do what a role says, and nothing else.

use k8s_openapi::api::core::v1::{Node, Secret};
use kube::api::{Api, ListParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::objects::{apply, delete, service_account};
use super::support::eventually;

/// How long the authorizer may take to see a new role.
const RIGHTS_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_nothing_else() {
    let plane = ControlPlane::start().await;
    let admin = plane.admin().await;
    apply(&admin, &service_account("default", "reader")).await;
    let token = plane.token("default", "reader").await;
    let reader = plane.client_of(&token).await;
    assert_eq!(refused(&reader).await, Some(403));

    for object in node_reader() {
        apply(&admin, &object).await;
    }
    eventually("the right to list nodes", RIGHTS_LIMIT, || async {
        refused(&reader).await.is_none().then_some(())
    })
    .await;
    let secrets = Api::<Secret>::all(reader.clone()).list(&ListParams::default()).await;
    assert!(matches!(secrets, Err(Error::Api(status)) if status.code == 403));

    let [_, binding] = node_reader();
    delete(&admin, &binding).await;
    eventually("the loss of that right", RIGHTS_LIMIT, || async {
        refused(&reader).await.filter(|&code| code == 403)
    })
    .await;
}

#[tokio::test]
async fn nobody_is_anonymous() {
    let plane = ControlPlane::start().await;
    let stranger = plane.client_of("not-a-token").await;
    assert_eq!(refused(&stranger).await, Some(401));
}

/// The status with which listing nodes fails.
async fn refused(client: &Client) -> Option<u16> {
    match Api::<Node>::all(client.clone()).list(&ListParams::default()).await {
        Ok(_) => None,
        Err(Error::Api(status)) => Some(status.code),
        Err(error) => panic!("{error}"),
    }
}

fn node_reader() -> [Value; 2] {
    let api = "rbac.authorization.k8s.io";
    [
        json!({
            "apiVersion": format!("{api}/v1"),
            "kind": "ClusterRole",
            "metadata": { "name": "node-reader" },
            "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["list"] }],
        }),
        json!({
            "apiVersion": format!("{api}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "node-reader" },
            "roleRef": { "apiGroup": api, "kind": "ClusterRole", "name": "node-reader" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "default", "name": "reader" }],
        }),
    ]
}

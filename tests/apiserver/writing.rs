//! What a controller writes: a Lease on who writes Events, and the Events.

use std::path::PathBuf;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, Patch, PatchParams};
use meshprobe::cluster::{Finding, FindingReason, ObjectRef};
use meshprobe::discovery::events::Events;
use meshprobe::discovery::lease::{Candidate, Election, campaign};
use meshprobe::discovery::{Access, Client, client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::control_plane::ControlPlane;
use super::objects::{apply, service_account};

async fn client_of(kubeconfig: PathBuf) -> Client {
    let access = Access::Kubeconfig { files: vec![kubeconfig], context: None };
    client(&access).await.expect("a good kubeconfig")
}

fn candidate(client: &Client, identity: &str, stop: &CancellationToken) -> Candidate {
    let election = Election {
        namespace: "default".to_owned(),
        name: "meshprobe-controller".to_owned(),
        identity: identity.to_owned(),
    };
    campaign(client, election, stop.clone())
}

async fn leads(candidate: &mut Candidate, leads: bool) {
    candidate.leads.wait_for(|is| *is == leads).await.expect("the candidate runs");
}

#[tokio::test]
async fn a_lease_is_held_by_one_and_goes_on_when_it_is_given_back_or_its_holder_dies() {
    let plane = ControlPlane::start().await;
    let client = client_of(plane.kubeconfig().to_owned()).await;
    let leases = Api::<Lease>::namespaced(plane.admin().await, "default");
    let holder = || async {
        let spec = leases.get("meshprobe-controller").await.expect("there is one").spec;
        spec.and_then(|spec| spec.holder_identity)
    };
    let [stop_a, stop_b, stop_c] = [(); 3].map(|()| CancellationToken::new());

    let mut a = candidate(&client, "a", &stop_a);
    leads(&mut a, true).await;
    let mut b = candidate(&client, "b", &stop_b);
    assert_eq!(holder().await.as_deref(), Some("a"));

    stop_a.cancel();
    leads(&mut b, true).await;
    a.task.await.expect("an orderly end");
    assert!(!*a.leads.borrow());
    assert_eq!(holder().await.as_deref(), Some("b"));

    let mut c = candidate(&client, "c", &stop_c);
    b.task.abort();
    leads(&mut c, true).await;
    let lease = leases.get("meshprobe-controller").await.expect("there is one");
    let spec = lease.spec.expect("it has a spec");
    assert_eq!(spec.holder_identity.as_deref(), Some("c"));
    assert_eq!(spec.lease_transitions, Some(3));

    stop_c.cancel();
    c.task.await.expect("an orderly end");
    assert_eq!(holder().await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_holder_that_cannot_reach_the_api_server_steps_down_and_comes_back() {
    let mut plane = ControlPlane::start().await;
    let client = client_of(plane.kubeconfig().to_owned()).await;
    let stop = CancellationToken::new();
    let mut a = candidate(&client, "a", &stop);
    leads(&mut a, true).await;
    plane.stop_apiserver();
    leads(&mut a, false).await;
    plane.start_apiserver(plane.port()).await;
    leads(&mut a, true).await;
    stop.cancel();
    a.task.await.expect("an orderly end");
}

#[tokio::test]
async fn nobody_leads_before_there_is_a_right_to_the_lease() {
    let plane = ControlPlane::start().await;
    let admin = plane.admin().await;
    apply(&admin, &service_account("default", "nobody")).await;
    let token = plane.token("default", "nobody").await;
    let client = client_of(plane.kubeconfig_of(&token)).await;
    let stop = CancellationToken::new();
    let mut candidate = candidate(&client, "a", &stop);
    let finding = finding(reference("Service", "cart", None), "nothing is behind it");
    let count = Events::new(&client, home()).tell(&[finding]).await;
    assert_eq!((count.written, count.failed), (0, 1));
    assert!(!*candidate.leads.borrow());
    for object in lease_rights() {
        apply(&admin, &object).await;
    }
    leads(&mut candidate, true).await;
    stop.cancel();
    candidate.task.await.expect("an orderly end");
}

/// Exactly the verbs on Leases.
fn lease_rights() -> [Value; 2] {
    let api = "rbac.authorization.k8s.io";
    let metadata = json!({ "namespace": "default", "name": "leases" });
    [
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [
                {
                    "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                    "verbs": ["create"],
                },
                {
                    "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                    "resourceNames": ["meshprobe-controller"], "verbs": ["get", "update"],
                },
            ],
        }),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": api, "kind": "Role", "name": "leases" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "default", "name": "nobody" }],
        }),
    ]
}

fn reference(kind: &str, name: &str, uid: Option<String>) -> ObjectRef {
    ObjectRef { kind: kind.to_owned(), namespace: "default".to_owned(), name: name.to_owned(), uid }
}

fn home() -> ObjectRef {
    reference("Pod", "meshprobe-controller-a", Some("a-uid".to_owned()))
}

fn finding(object: ObjectRef, message: &str) -> Finding {
    Finding { object, reason: FindingReason::NoEndpoints, message: message.to_owned() }
}

#[tokio::test]
async fn a_finding_is_one_event_on_its_object_whoever_tells_it_and_counts_by_the_hour() {
    let plane = ControlPlane::start().await;
    let admin = plane.admin().await;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": "default", "name": "cart" },
        "spec": { "ports": [{ "port": 80 }] },
    });
    apply(&admin, &service).await;
    let services = Api::<Service>::namespaced(admin.clone(), "default");
    let uid = services.get("cart").await.expect("it was made").metadata.uid;
    let findings = [
        finding(reference("Service", "cart", uid.clone()), "nothing is behind it"),
        finding(reference("Service", "kart", None), "there is no such Service"),
        finding(reference("nodes", "", None), &"m".repeat(512)),
    ];
    let client = client_of(plane.kubeconfig().to_owned()).await;
    let mut events = Events::new(&client, home());
    let count = events.tell(&findings).await;
    assert_eq!((count.written, count.failed), (3, 0));
    let count = events.tell(&findings).await;
    assert_eq!((count.written, count.failed), (3, 0), "they were told already");

    let api = Api::<Event>::namespaced(admin, "default");
    let told = api.list(&ListParams::default()).await.expect("an API server").items;
    let told: Vec<_> =
        told.iter().filter(|event| event.reason.as_deref() == Some("NoEndpoints")).collect();
    assert_eq!(told.len(), 3);
    let on_cart =
        told.iter().find(|event| event.regarding.as_ref().is_some_and(|object| object.uid == uid));
    let on_cart = on_cart.expect("one is on the Service itself");
    assert_eq!(on_cart.note.as_deref(), Some("nothing is behind it"));
    assert_eq!(on_cart.type_.as_deref(), Some("Warning"));
    let home = told.iter().filter(|event| {
        event.regarding.as_ref().is_some_and(|object| object.uid.as_deref() == Some("a-uid"))
    });
    assert_eq!(home.count(), 2, "what does not exist is told on the controller");

    let mut replica = Events::new(&client, home_of("meshprobe-controller-b"));
    let count = replica.tell(&findings[..1]).await;
    assert_eq!((count.written, count.failed), (0, 0), "another replica told it within the hour");

    let name = on_cart.metadata.name.as_deref().expect("it has one");
    let long_ago = json!({ "series": {
        "count": 6, "lastObservedTime": "2020-01-01T00:00:00.000000Z",
    }});
    let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(long_ago)).await;
    patched.expect("a series may be patched");
    let mut replica = Events::new(&client, home_of("meshprobe-controller-c"));
    let count = replica.tell(&findings[..1]).await;
    assert_eq!((count.written, count.failed), (1, 0));
    let series = api.get(name).await.expect("it is there").series.expect("it has one");
    assert_eq!(series.count, 7);
}

fn home_of(name: &str) -> ObjectRef {
    reference("Pod", name, Some(format!("{name}-uid")))
}

//! What the chart makes is accepted by a real API server, and gives the controller what it needs
//! and nothing else.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::chart::{AGENTS, deploy, good, install, kubectl, mesh, render, workload};
use super::control_plane::ControlPlane;
use super::objects::{api_of, apply, pod_of, service_account};
use super::seed::install_istio_kinds;

const PLAIN: &str = "meshprobe-plain";
const CONTROLLER: &str = "meshprobe-controller";
const LEASES: &str = "coordination.k8s.io/leases";

/// How many questions are asked at a time.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn the_chart_is_applied_and_applied_again_without_a_change() {
    let plane = ControlPlane::start().await;
    install_istio_kinds(&plane.admin().await).await;
    let everything = [
        "--set",
        "channelKey.value=0123456789abcdef0123456789abcdef,authorizationPolicy.enabled=true",
    ];
    install(&plane, &everything);
    let objects = good(&render(&everything));
    // What the kinds do not know would be pruned on the way in.
    for kind in ["PeerAuthentication", "AuthorizationPolicy"] {
        assert!(objects.contains(&format!("kind: {kind}\n")), "{objects}");
    }
    let again = kubectl(&plane, &["diff", "--server-side", "-f", "-"], objects.as_bytes());
    assert_eq!(good(&again), "");
}

#[tokio::test]
async fn the_optional_policy_lets_anybody_call_agents_on_their_ports_and_no_others() {
    let plane = ControlPlane::start().await;
    let client = plane.admin().await;
    install_istio_kinds(&client).await;
    install(&plane, &["--set", "authorizationPolicy.enabled=true"]);
    let policy = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "namespace": "meshprobe-ambient", "name": "meshprobe-agent" },
    });
    let held = api_of(&client, &policy).get("meshprobe-agent").await.expect("the chart makes it");
    let spec = &held.data["spec"];
    assert_eq!(spec["action"], "ALLOW");
    let rules = json!([{ "to": [{ "operation": { "ports": ["9850", "9851", "9852"] } }] }]);
    assert_eq!(spec["rules"], rules);
    let agents = workload(&client, "DaemonSet", "meshprobe-ambient", "meshprobe-agent").await;
    let labels = &agents["spec"]["template"]["metadata"]["labels"];
    let selected = spec["selector"]["matchLabels"].as_object().expect("labels");
    assert!(!selected.is_empty());
    for (key, value) in selected {
        assert_eq!(labels[key], *value, "{key}");
    }
    let container = &agents["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().expect("a list");
    let ports: Vec<_> = ports.iter().map(|port| port["containerPort"].to_string()).collect();
    assert_eq!(ports, ["9850", "9851", "9852"]);
}

#[tokio::test]
async fn the_kustomize_base_is_accepted_by_the_api_server() {
    let plane = ControlPlane::start().await;
    install_istio_kinds(&plane.admin().await).await;
    let overlay = deploy("kustomize/overlays/default");
    let overlay = overlay.to_str().expect("UTF-8");
    let said = good(&kubectl(&plane, &["apply", "--server-side", "-k", overlay], b""));
    for object in ["daemonset.apps/meshprobe-agent", "deployment.apps/meshprobe-controller"] {
        assert!(said.contains(object), "{said}");
    }
}

#[tokio::test]
async fn pod_security_restricted_admits_the_pods_of_the_chart_and_no_others() {
    let plane = ControlPlane::start().await;
    let client = plane.admin().await;
    install_istio_kinds(&client).await;
    install(&plane, &[]);
    let agents = AGENTS.map(|(namespace, _)| ("DaemonSet", namespace, "meshprobe-agent"));
    for (kind, namespace, name) in agents.into_iter().chain([("Deployment", PLAIN, CONTROLLER)]) {
        let workload = workload(&client, kind, namespace, name).await;
        let pod = pod_of(&workload, name, "node-0");
        create(&client, &pod).await.unwrap_or_else(|error| panic!("{namespace}/{name}: {error}"));

        let mut root = pod_of(&workload, "root", "node-0");
        root["spec"]["containers"][0]["securityContext"]["capabilities"] =
            json!({ "add": ["NET_RAW"] });
        let error = create(&client, &root).await.expect_err("the namespace enforces restricted");
        let Error::Api(status) = error else { panic!("{error}") };
        assert_eq!(status.code, 403);
        assert!(status.message.contains("violates PodSecurity \"restricted"), "{status:?}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused_with_their_place() {
    for (value, place) in [
        ("replicas=3", "replicas"),
        ("agent.interval=5", "/agent/interval"),
        ("controller.budgets.csrPerSecond=0", "/controller/budgets/csrPerSecond"),
    ] {
        let output = render(&["--set", value]);
        assert!(!output.status.success(), "{value} was taken");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(place), "{value}: {said}");
    }
}

#[tokio::test]
async fn the_controller_may_do_what_it_does_and_nothing_else() {
    let (plane, admin) = mesh(1).await;
    let resources = resources(&admin).await;
    assert!(resources.len() > 50, "{resources:?}");

    let mut expected = BTreeSet::new();
    for (resource, verbs) in [
        ("/namespaces", "list watch"),
        ("/nodes", "list watch"),
        ("/pods", "list watch"),
        ("/services", "list watch"),
        ("discovery.k8s.io/endpointslices", "list watch"),
        ("apps/daemonsets", "list watch"),
        ("security.istio.io/peerauthentications", "list watch"),
        ("admissionregistration.k8s.io/mutatingwebhookconfigurations", "list watch"),
        ("admissionregistration.k8s.io/validatingwebhookconfigurations", "list watch"),
        ("events.k8s.io/events", "create get patch"),
    ] {
        expected.extend(verbs.split(' ').map(|verb| format!("{verb} {resource}")));
    }
    // In any namespace but its own; there it makes its Lease, too.
    let own = plane.token(PLAIN, CONTROLLER).await;
    let own = plane.client_of(&own).await;
    let nobody = nobody(&plane, &admin).await;
    for (namespace, lease) in [("default", None), (PLAIN, Some("create"))] {
        let everybody = allowed(&nobody, &resources, namespace, None).await;
        let mine = allowed(&own, &resources, namespace, None).await;
        let lease = lease.map(|verb| format!("{verb} {LEASES}"));
        let expected: BTreeSet<_> = expected.iter().cloned().chain(lease).collect();
        assert_eq!(&mine - &everybody, expected, "in {namespace}");
    }
    let of_lease = allowed(&own, &[LEASES.to_owned()].into(), PLAIN, Some(CONTROLLER)).await;
    assert_eq!(of_lease, ["create", "get", "update"].map(|verb| format!("{verb} {LEASES}")).into());
}

#[tokio::test]
async fn agents_may_do_nothing() {
    let (plane, admin) = mesh(1).await;
    let resources = resources(&admin).await;
    let nobody = nobody(&plane, &admin).await;
    for (namespace, _) in AGENTS {
        let token = plane.token(namespace, "meshprobe-agent").await;
        let agent = plane.client_of(&token).await;
        let everybody = allowed(&nobody, &resources, namespace, None).await;
        assert!(everybody.contains("create authorization.k8s.io/selfsubjectaccessreviews"));
        assert_eq!(allowed(&agent, &resources, namespace, None).await, everybody);
    }
}

/// A ServiceAccount to which nothing is granted but what Kubernetes grants to all of them.
async fn nobody(plane: &ControlPlane, admin: &Client) -> Client {
    apply(admin, &service_account("default", "nobody")).await;
    plane.client_of(&plane.token("default", "nobody").await).await
}

async fn create(client: &Client, pod: &Value) -> Result<(), Error> {
    let object = serde_json::from_value(pod.clone()).expect("an object");
    api_of(client, pod).create(&PostParams::default(), &object).await.map(|_| ())
}

/// Every resource and subresource that the API server knows, as `group/plural`.
async fn resources(admin: &Client) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for resource in admin.list_core_api_resources("v1").await.expect("v1").resources {
        all.insert(format!("/{}", resource.name));
    }
    for group in admin.list_api_groups().await.expect("groups").groups {
        for version in group.versions {
            let list = admin.list_api_group_resources(&version.group_version).await;
            let resources = list.expect("a served group").resources;
            all.extend(resources.iter().map(|it| format!("{}/{}", group.name, it.name)));
        }
    }
    all
}

/// Which of all verbs on `resources` the API server grants to the one who asks.
async fn allowed(
    client: &Client,
    resources: &BTreeSet<String>,
    namespace: &str,
    name: Option<&str>,
) -> BTreeSet<String> {
    const VERBS: [&str; 11] = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "impersonate",
        "bind",
        "escalate",
    ];
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let questions: Vec<_> =
        resources.iter().flat_map(|resource| VERBS.map(|verb| (verb, resource))).collect();
    stream::iter(questions)
        .map(|(verb, resource)| {
            let (reviews, review) = (&reviews, review(verb, resource, namespace, name));
            async move {
                let answer = reviews.create(&PostParams::default(), &review).await;
                let status = answer.expect("an answer").status.expect("a status");
                status.allowed.then(|| format!("{verb} {resource}"))
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|it| async move { it })
        .collect()
        .await
}

fn review(
    verb: &str,
    resource: &str,
    namespace: &str,
    name: Option<&str>,
) -> SelfSubjectAccessReview {
    let (group, path) = resource.split_once('/').expect("group/plural");
    let (resource, subresource) = match path.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (path, None),
    };
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

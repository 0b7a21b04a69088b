//! Objects as a cluster holds them, with the status that its kubelets and controllers would write.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use serde_json::{Value, json};

/// Creates `object` or makes it equal, its status too.
pub(crate) async fn apply(client: &Client, object: &Value) -> DynamicObject {
    let api = api_of(client, object);
    let name = object["metadata"]["name"].as_str().expect("a name");
    let params = PatchParams::apply("test-cluster").force();
    let mut bare = object.clone();
    let status = bare.as_object_mut().expect("an object").remove("status");
    let applied = api.patch(name, &params, &Patch::Apply(&bare)).await;
    let applied = applied.unwrap_or_else(|error| panic!("{object}: {error}"));
    if status.is_none() {
        return applied;
    }
    let params = PatchParams::default();
    let status = json!({ "status": status });
    let applied = api.patch_status(name, &params, &Patch::Merge(&status)).await;
    applied.unwrap_or_else(|error| panic!("status of {object}: {error}"))
}

/// Deletes what `object` names, at once.
pub(crate) async fn delete(client: &Client, object: &Value) {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let params = kube::api::DeleteParams::default().grace_period(0);
    let deleted = api_of(client, object).delete(name, &params).await;
    deleted.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The API of the kind of `object`, in its namespace.
pub(crate) fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let types: TypeMeta = serde_json::from_value(object.clone()).expect("apiVersion and kind");
    let kind = GroupVersionKind::try_from(&types).expect("a good apiVersion");
    let resource = ApiResource::from_gvk(&kind);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

pub(crate) fn node(name: &str, zone: &str, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": { "topology.kubernetes.io/zone": zone } },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

/// `labels` is a JSON object.
pub(crate) fn namespace(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": labels },
    })
}

pub(crate) fn service_account(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "namespace": namespace, "name": name },
    })
}

/// A pod that runs and is ready.
#[derive(Clone)]
pub(crate) struct Pod<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) ip: String,
    pub(crate) service_account: &'a str,
    pub(crate) labels: Value,
    /// What istio-cni writes when it captured the pod.
    pub(crate) captured: bool,
}

impl Pod<'_> {
    pub(crate) fn object(&self) -> Value {
        let mut annotations = json!({});
        if self.captured {
            annotations["ambient.istio.io/redirection"] = json!("enabled");
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": self.namespace,
                "name": self.name,
                "labels": self.labels,
                "annotations": annotations,
            },
            "spec": {
                "nodeName": self.node,
                "serviceAccountName": self.service_account,
                "containers": [{ "name": "main", "image": "example.invalid/main:1" }],
                "automountServiceAccountToken": false,
            },
            "status": running(&self.ip),
        })
    }
}

/// The status of a pod that runs and is ready.
pub(crate) fn running(ip: &str) -> Value {
    json!({
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    })
}

/// `ports` are (name, protocol, port, target port).
pub(crate) fn service(
    namespace: &str,
    name: &str,
    selector: Value,
    ports: &[(&str, &str, u16, u16)],
) -> Value {
    let ports: Vec<_> = ports
        .iter()
        .map(|&(name, protocol, port, target)| {
            json!({ "name": name, "protocol": protocol, "port": port, "targetPort": target })
        })
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "selector": selector, "ports": ports },
    })
}

/// What the EndpointSlice controller would make of `service` and its `pods`, all of them ready.
pub(crate) fn endpoint_slice(service: &Value, pods: &[Pod<'_>]) -> Value {
    let name = service["metadata"]["name"].as_str().expect("a name");
    let endpoints: Vec<_> = pods
        .iter()
        .map(|pod| {
            json!({
                "addresses": [pod.ip],
                "nodeName": pod.node,
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "targetRef": { "kind": "Pod", "namespace": pod.namespace, "name": pod.name },
            })
        })
        .collect();
    let ports = service["spec"]["ports"].as_array().expect("a Service's ports");
    let ports: Vec<_> = ports
        .iter()
        .map(|port| {
            json!({
                "name": port["name"],
                "protocol": port["protocol"],
                "port": port["targetPort"],
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": service["metadata"]["namespace"],
            "name": format!("{name}-1"),
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

/// A DaemonSet that is ready on all of `nodes` nodes.
pub(crate) fn daemon_set(namespace: &str, name: &str, nodes: usize) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "namespace": namespace, "name": name, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "main", "image": "example.invalid/main:1" }] },
            },
        },
        "status": {
            "currentNumberScheduled": nodes,
            "desiredNumberScheduled": nodes,
            "updatedNumberScheduled": nodes,
            "numberReady": nodes,
            "numberAvailable": nodes,
            "numberMisscheduled": 0,
            "observedGeneration": 1,
        },
    })
}

/// A pod on `node` from the template of `workload`, as its controller would make it; it runs once
/// it has an address.
pub(crate) fn pod_of(workload: &Value, name: &str, node: &str) -> Value {
    let template = &workload["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"],
        "spec": template["spec"],
    });
    pod["metadata"]["namespace"] = workload["metadata"]["namespace"].clone();
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["nodeName"] = json!(node);
    pod
}

/// `spec` is that of security.istio.io/v1.
pub(crate) fn peer_authentication(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": { "namespace": namespace, "name": name },
        "spec": spec,
    })
}

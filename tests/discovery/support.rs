use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;

use meshprobe::cluster::{Cluster, Finding, FindingReason};
use meshprobe::discovery::assemble::assemble;
use meshprobe::discovery::seen::Seen;
use meshprobe::discovery::watched::Watched;
use meshprobe::discovery::{Access, Client, Settings, client, reduce, service};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A cluster's objects, as JSON, put where their watches put them.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) seen: Seen,
}

pub(crate) fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of its kind")
}

/// The complete list of a watch.
pub(crate) fn listed<T: PartialEq + Debug>(
    objects: impl IntoIterator<Item = (String, String, T)>,
) -> Watched<T> {
    let mut watched = Watched::default();
    let objects = objects.into_iter();
    let objects: BTreeMap<_, _> =
        objects.map(|(namespace, name, object)| ((namespace, name), object)).collect();
    watched.replace(objects, Instant::now());
    watched
}

fn named(value: &Value) -> (String, String) {
    let part = |key: &str| value["metadata"][key].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

fn reduced<K: DeserializeOwned, T: PartialEq + Debug>(
    values: &[Value],
    reduce: impl Fn(K) -> Option<T>,
) -> Watched<T> {
    listed(values.iter().filter_map(|value| {
        let (namespace, name) = named(value);
        Some((namespace, name, reduce(object(value.clone()))?))
    }))
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let seen = Seen::new(&settings);
        Self { settings, seen }
    }

    pub(crate) fn namespaces(mut self, values: &[Value]) -> Self {
        self.seen.namespaces = reduced(values, |object| Some(reduce::namespace(object)));
        self
    }

    pub(crate) fn services(mut self, values: &[Value]) -> Self {
        let services = reduced(values, |object| service::service(object, &self.settings.services));
        self.seen.services.insert(None, services);
        self
    }

    /// Pods and EndpointSlices of one namespace.
    pub(crate) fn behind(mut self, namespace: &str, pods: &[Value], slices: &[Value]) -> Self {
        self.seen.pods.insert(namespace.to_owned(), reduced(pods, reduce::pod));
        self.seen.slices.insert(namespace.to_owned(), reduced(slices, reduce::slice));
        self
    }

    pub(crate) fn agents(mut self, namespace: &str, pods: &[Value]) -> Self {
        self.seen.agents.insert(namespace.to_owned(), reduced(pods, reduce::pod));
        self
    }

    pub(crate) fn cluster(&self) -> Cluster {
        assemble(&self.seen, &self.settings).cluster
    }
}

pub(crate) fn namespace(name: &str, labels: Value) -> Value {
    json!({ "metadata": { "name": name, "labels": labels } })
}

/// A Service with ports `(name, number)` over TCP.
pub(crate) fn service_with(name: &str, annotations: Value, ports: &[(&str, u16)]) -> Value {
    let ports: Vec<Value> =
        ports.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect();
    json!({
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
            "annotations": annotations,
        },
        "spec": { "clusterIP": "10.96.0.7", "ports": ports },
    })
}

pub(crate) fn pod(namespace: &str, name: &str, node: &str, ip: &str) -> Value {
    json!({
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": "a" } },
        "spec": { "nodeName": node, "serviceAccountName": "sa", "containers": [] },
        "status": {
            "phase": "Running", "podIP": ip, "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// A slice of `service` whose ports are `(name, number)` and whose ready pods are `(name, ip)`.
pub(crate) fn slice(service: &str, ports: &[(&str, u16)], pods: &[(&str, &str)]) -> Value {
    let ports: Vec<Value> =
        ports.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect();
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(name, ip)| {
            json!({
                "addresses": [ip],
                "conditions": { "ready": true },
                "targetRef": { "kind": "Pod", "name": name, "namespace": "shop" },
            })
        })
        .collect();
    json!({
        "addressType": "IPv4",
        "metadata": {
            "namespace": "shop", "name": format!("{service}-x"),
            "labels": { "kubernetes.io/service-name": service },
        },
        "endpoints": endpoints,
        "ports": ports,
    })
}

pub(crate) fn reasons(cluster: &Cluster) -> Vec<FindingReason> {
    cluster.findings.iter().map(|finding| finding.reason).collect()
}

/// The only finding.
#[track_caller]
pub(crate) fn only(cluster: &Cluster) -> &Finding {
    let [finding] = &cluster.findings[..] else { panic!("{:#?}", cluster.findings) };
    finding
}

/// A client of the API server at `address`, which speaks HTTP, and the directory of its
/// kubeconfig.
pub(crate) async fn client_of(address: SocketAddr) -> (Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("kubeconfig");
    let text = json!({
        "clusters": [{ "name": "t", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "t", "user": {} }],
        "contexts": [{ "name": "t", "context": { "cluster": "t", "user": "t" } }],
        "current-context": "t",
    });
    std::fs::write(&file, text.to_string()).expect("our own directory");
    let access = Access::Kubeconfig { files: vec![file], context: None };
    (client(&access).await.expect("a good kubeconfig"), dir)
}

//! A cluster like many: applications and monitoring in the ambient mesh, the ingress outside of it.
//!
//! Written as the cluster's own controllers would leave it behind; without meshprobe.

use kube::Client;
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use super::objects::{
    Pod, api_of, apply, daemon_set, endpoint_slice, namespace, node, service, service_account,
};
use super::support::eventually;

/// Zones take their nodes in turns.
pub(crate) const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];

/// How long the API server may take to serve a new kind.
const NEW_KIND_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Namespaces with their `istio.io/dataplane-mode`.
const NAMESPACES: [(&str, Option<&str>); 5] = [
    ("default", Some("ambient")),
    ("monitoring", Some("ambient")),
    ("ingress", None),
    ("istio-system", None),
    ("kube-system", None),
];

/// The CustomResourceDefinitions of Istio's policies; returns when they can be listed.
pub(crate) async fn install_istio_kinds(client: &Client) {
    let kinds = [
        ("PeerAuthentication", include_str!("peerauthentications.yaml")),
        ("AuthorizationPolicy", include_str!("authorizationpolicies.yaml")),
    ];
    for (kind, definition) in kinds {
        let definition: Value = serde_saphyr::from_str(definition).expect("good YAML");
        apply(client, &definition).await;
        let any = json!({ "apiVersion": "security.istio.io/v1", "kind": kind });
        let api: Api<DynamicObject> = api_of(client, &any);
        eventually("the new kind", NEW_KIND_LIMIT, || async {
            api.list(&Default::default()).await.ok()
        })
        .await;
    }
}

/// Fills an empty cluster of `nodes` nodes, at most 250.
pub(crate) async fn plant(client: &Client, nodes: usize) {
    assert!(nodes <= 250, "pods' addresses have one octet for the node");
    for (name, mode) in NAMESPACES {
        let labels = mode.map_or(json!({}), |mode| json!({ "istio.io/dataplane-mode": mode }));
        apply(client, &namespace(name, labels)).await;
        apply(client, &service_account(name, "default")).await;
    }
    for index in 0..nodes {
        join(client, index).await;
    }
    for (namespace, name) in [("istio-system", "ztunnel"), ("istio-system", "istio-cni-node")] {
        apply(client, &daemon_set(namespace, name, nodes)).await;
    }
    for (service, pods) in applications() {
        apply(client, &service).await;
        for pod in &pods {
            apply(client, &pod.object()).await;
        }
        apply(client, &endpoint_slice(&service, &pods)).await;
    }
}

/// Node `index` with the pods that every node has.
pub(crate) async fn join(client: &Client, index: usize) {
    apply(client, &node(&node_name(index), ZONES[index % ZONES.len()], true)).await;
    for pod in node_pods(index) {
        apply(client, &pod.object()).await;
    }
}

/// `node-0`, `node-1`, …
pub(crate) fn node_name(index: usize) -> String {
    format!("node-{index}")
}

/// What DaemonSets run on node `index`: ztunnel and istio-cni.
pub(crate) fn node_pods(index: usize) -> [Pod<'static>; 2] {
    [("ztunnel", 2), ("istio-cni-node", 3)].map(|(name, host)| Pod {
        namespace: "istio-system",
        name: format!("{name}-{index}"),
        node: node_name(index),
        ip: address(index, host),
        service_account: "default",
        labels: json!({ "app": name }),
        captured: false,
    })
}

/// The address of a pod on node `node`; hosts below 20 are the cluster's own.
pub(crate) fn address(node: usize, host: u8) -> String {
    format!("10.244.{node}.{host}")
}

/// Services with the pods behind them, all on the first two nodes.
fn applications() -> Vec<(Value, Vec<Pod<'static>>)> {
    let pods =
        |namespace: &'static str, name: &str, host: u8, labels: &Value, captured, replicas| {
            (0..replicas)
                .map(|index| Pod {
                    namespace,
                    name: format!("{name}-{index}"),
                    node: node_name(index),
                    ip: address(index, host),
                    service_account: "default",
                    labels: labels.clone(),
                    captured,
                })
                .collect::<Vec<_>>()
        };
    let mut dns = service(
        "kube-system",
        "kube-dns",
        json!({ "k8s-app": "kube-dns" }),
        &[("dns", "UDP", 53, 53), ("dns-tcp", "TCP", 53, 53), ("metrics", "TCP", 9153, 9153)],
    );
    dns["spec"]["clusterIP"] = json!("10.96.0.10");
    dns["metadata"]["labels"] = json!({ "k8s-app": "kube-dns" });
    let istiod = service(
        "istio-system",
        "istiod",
        json!({ "app": "istiod" }),
        &[("grpc-xds", "TCP", 15010, 15010), ("https-dns", "TCP", 15012, 15012)],
    );
    let app = |namespace, name: &str, port, target| {
        service(namespace, name, json!({ "app": name }), &[("http", "TCP", port, target)])
    };
    let mut frontend = app("default", "mirai-frontend", 80, 3000);
    frontend["metadata"]["annotations"] = json!({ "meshprobe.dev/probe": "true" });
    [
        (dns, "coredns", 10, false, 2),
        (istiod, "istiod", 11, false, 1),
        (frontend, "mirai-frontend", 12, true, 2),
        (app("monitoring", "prometheus", 9090, 9090), "prometheus", 13, true, 1),
        (app("ingress", "cloudflared", 2000, 2000), "cloudflared", 14, false, 2),
    ]
    .into_iter()
    .map(|(service, name, host, captured, replicas)| {
        let namespace = match &service["metadata"]["namespace"] {
            Value::String(namespace) => NAMESPACES.iter().find(|(known, _)| known == namespace),
            _ => None,
        };
        let (namespace, _) = namespace.expect("one of NAMESPACES");
        let labels = service["spec"]["selector"].clone();
        let pods = pods(namespace, name, host, &labels, captured, replicas);
        (service, pods)
    })
    .collect()
}

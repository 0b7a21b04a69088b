//! The chart in the hands of the real helm and the real kubectl, and agents where it puts them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::objects::{api_of, apply, pod_of, running};
use super::seed::{address, install_istio_kinds, join, node_name, plant};
use super::support::tool;

/// Namespaces of the vantages, and the last octet of their agents' addresses.
pub(crate) const AGENTS: [(&str, u8); 2] = [("meshprobe-ambient", 20), ("meshprobe-plain", 21)];

/// What istio-cni writes when it captured a pod.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// A control plane with Istio's kinds, the chart and the seed cluster on `nodes` nodes.
pub(crate) async fn mesh(nodes: usize) -> (ControlPlane, Client) {
    let plane = ControlPlane::start().await;
    let client = plane.admin().await;
    install_istio_kinds(&client).await;
    install(&plane, &[]);
    plant(&client, nodes).await;
    for index in 0..nodes {
        run_agents(&client, index).await;
    }
    (plane, client)
}

/// Another node, with everything that runs on each.
pub(crate) async fn grow(client: &Client, index: usize) {
    join(client, index).await;
    run_agents(client, index).await;
}

/// `deploy/` of the project.
pub(crate) fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// `helm template` with the chart's defaults and `arguments`.
pub(crate) fn render(arguments: &[&str]) -> Output {
    Command::new(tool("helm"))
        .args(["template", "meshprobe"])
        .arg(deploy("helm/meshprobe"))
        .args(arguments)
        .output()
        .expect("helm runs")
}

/// Runs kubectl as the administrator, with `input` on its stdin.
pub(crate) fn kubectl(plane: &ControlPlane, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(tool("kubectl"))
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    // It ends when kubectl reads no more; then its status tells why.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    child.wait_with_output().expect("our own child")
}

/// What a program wrote to stdout; panics with what it wrote to stderr unless it went well.
#[track_caller]
pub(crate) fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Applies the chart, rendered with `arguments`, as a user would: on the server's side.
pub(crate) fn install(plane: &ControlPlane, arguments: &[&str]) {
    let objects = good(&render(arguments));
    good(&kubectl(plane, &["apply", "--server-side", "-f", "-"], objects.as_bytes()));
}

/// A workload of the chart, as the API server holds it.
pub(crate) async fn workload(client: &Client, kind: &str, namespace: &str, name: &str) -> Value {
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": { "namespace": namespace, "name": name },
    });
    let api: Api<DynamicObject> = api_of(client, &object);
    let object = api.get(name).await.expect("the chart makes it");
    serde_json::to_value(object).expect("an object")
}

/// Both agents of node `index`.
async fn run_agents(client: &Client, index: usize) {
    for (namespace, host) in AGENTS {
        run_agent(client, namespace, index, &address(index, host)).await;
    }
}

/// The agent of node `index` that is in `namespace`, from the template of the chart's DaemonSet.
pub(crate) async fn run_agent(client: &Client, namespace: &str, index: usize, ip: &str) {
    let daemon_set = workload(client, "DaemonSet", namespace, "meshprobe-agent").await;
    let name = format!("meshprobe-agent-{index}");
    let mut pod = pod_of(&daemon_set, &name, &node_name(index));
    if namespace == "meshprobe-ambient" {
        pod["metadata"]["annotations"] = json!({ REDIRECTION: "enabled" });
    }
    pod["status"] = running(ip);
    apply(client, &pod).await;
}

/// Changes fields of an object by a JSON merge patch.
pub(crate) async fn change(client: &Client, object: &Value, patch: &Value) {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let changed =
        api_of(client, object).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    changed.unwrap_or_else(|error| panic!("{name}: {error}"));
}

//! The controller itself, with the rights that the chart gives it: plans over the control channel,
//! windows pulled, and what `check` makes of them.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use meshprobe::channel::{Dialer, Fault, Key, Peer};
use meshprobe::config::{AGENT_HEADER, PLAN_HEADER};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chart::mesh;
use super::control_plane::ControlPlane;
use super::objects::{apply, peer_authentication};
use super::support::{Daemon, eventually, fetch, free_port, temp_dir, write_file};

/// How long a change may take from the API server to an agent on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const PLAIN: &str = "/v1/plan?node=node-0&vantage=plain&pod=meshprobe-agent-0";
const AMBIENT: &str = "/v1/plan?node=node-0&vantage=ambient&pod=meshprobe-agent-0";

/// A controller as the chart runs it, on loopback.
pub(crate) struct Controlled {
    api: SocketAddr,
    channel: SocketAddr,
    dir: TempDir,
    pub(crate) daemon: Daemon,
}

impl Controlled {
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        Self::start_from(plane, &[]).await
    }

    /// The same, with more `flags`.
    pub(crate) async fn start_from(plane: &ControlPlane, flags: &[&str]) -> Self {
        Self::launch(plane, "[{ namespace: default, name: nowhere }]", flags).await
    }

    /// The same, that is to call `services`.
    pub(crate) async fn start_with(plane: &ControlPlane, services: &str) -> Self {
        Self::launch(plane, services, &[]).await
    }

    async fn launch(plane: &ControlPlane, services: &str, flags: &[&str]) -> Self {
        let dir = temp_dir();
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (api, channel) = (loopback(free_port()), loopback(free_port()));
        let key = write_file(&dir, "key", SECRET);
        let config = format!(
            "listen: {api}\nchannel: {{ listen: \"{channel}\", key: {key:?} }}\n\
             services: {services}\n\
             slos: [{{ name: all, objective: 50%, window: 30d, sli: availability, group_by: [node] }}]\n"
        );
        let config = write_file(&dir, "controller.yaml", config);
        let token = plane.token("meshprobe-plain", "meshprobe-controller").await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
        command.arg("controller").arg("--config").arg(config).args(flags);
        command.arg("--kubeconfig").arg(plane.kubeconfig_of(&token));
        command.env("MESHPROBE_POD_NAME", "meshprobe-controller-0");
        command.env("MESHPROBE_POD_NAMESPACE", "meshprobe-plain");
        let ready = || async move { matches!(fetch(api, "/readyz").await, Some((200, _))) };
        let daemon = Daemon::start_when(command, ready).await;
        Self { api, channel, dir, daemon }
    }

    /// A page of the API.
    pub(crate) async fn page(&self, path: &str) -> String {
        let (status, body) = fetch(self.api, path).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn dial(&self, secret: &str) -> Result<Peer, Fault> {
        let key = Key::load(&write_file(&self.dir, "dialled-with", secret)).expect("a key");
        let deadline = Instant::now() + PATIENCE;
        Dialer::new().expect("loopback").dial(self.channel, Some(&key), deadline).await
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.api
    }

    /// The keys `addresses` and `key` of an agent's block `controller`.
    pub(crate) fn address_and_key(&self) -> String {
        let key = self.dir.path().join("key");
        format!("addresses: ['{}'], key: {key:?}", self.channel)
    }

    /// What `--server` takes.
    pub(crate) fn server(&self) -> String {
        format!("http://{}", self.api)
    }

    pub(crate) async fn nodes(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path).await).expect("JSON")
    }

    pub(crate) fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
        command.args(["check", "--server", &self.server()]).args(arguments);
        command.output().expect("the binary")
    }
}

/// Asks for a plan other than the one whose tag is `held`.
async fn ask(peer: &Peer, path: &str, held: Option<String>) -> Result<Response<Bytes>, Fault> {
    let mut request = Request::get(path).header("prefer", "wait=60");
    if let Some(held) = held {
        request = request.header(IF_NONE_MATCH, held);
    }
    let request = request.body(Bytes::new()).expect("a request");
    peer.ask(request, Instant::now() + PATIENCE, 16 << 20).await
}

fn tag(answer: &Response<Bytes>) -> String {
    answer.headers()[ETAG].to_str().expect("ASCII").to_owned()
}

/// What a plan expects of `target`; `None` when it does not have it.
fn expected(answer: &Response<Bytes>, target: &str) -> Option<String> {
    assert_eq!(answer.status(), StatusCode::OK);
    let plan: Value = serde_json::from_slice(answer.body()).expect("JSON");
    let targets = plan["config"]["targets"].as_array().expect("a list");
    let found = targets.iter().find(|found| found["name"] == target)?;
    Some(found["expect"].as_str().expect("text").to_owned())
}

#[tokio::test]
async fn a_policy_reaches_an_agent_that_waits_for_it_and_changes_just_its_expectations() {
    let (plane, client) = mesh(2).await;
    let controlled = Controlled::start(&plane).await;
    let peer = controlled.dial(SECRET).await.expect("the same key");
    let first = ask(&peer, PLAIN, None).await.expect("an answer");
    assert_eq!(expected(&first, "peer/node-1").as_deref(), Some("status 2xx"));
    assert_eq!(expected(&first, "canary/node-1").as_deref(), Some("denied"));
    let ambient = ask(&peer, AMBIENT, None).await.expect("an answer");
    assert_eq!(expected(&ambient, "canary/node-1").as_deref(), Some("status 2xx"));

    // It changes no plan: the chart's own policy keeps the permissive port open.
    let mode = || json!({ "mtls": { "mode": "STRICT" } });
    apply(&client, &peer_authentication("meshprobe-ambient", "strict", mode())).await;
    let service = "service/default/mirai-frontend:80/mirai-frontend-1";
    assert_eq!(expected(&first, service).as_deref(), Some("reply"));
    let strict = peer_authentication("default", "strict", mode());
    let waiting = ask(&peer, PLAIN, Some(tag(&first)));
    let (second, _) = tokio::join!(waiting, apply(&client, &strict));
    let second = second.expect("an answer");
    assert_eq!(expected(&second, service).as_deref(), Some("denied"));
    assert_eq!(expected(&second, "peer/node-1").as_deref(), Some("status 2xx"));
}

#[tokio::test]
async fn windows_are_pulled_and_told_per_node_and_vantage() {
    let (plane, _) = mesh(2).await;
    let controlled = Controlled::start(&plane).await;
    let peer = controlled.dial(SECRET).await.expect("the same key");
    let plan = ask(&peer, PLAIN, None).await.expect("an answer");
    let told = tag(&plan);
    let (serving, stop, runs) = (peer.clone(), CancellationToken::new(), told.clone());
    let stopping = stop.clone();
    // It polls no more, as an agent that polls the other replica.
    let served = tokio::spawn(async move {
        let windows = move |_: Peer, request: Request<Bytes>| {
            let now = OffsetDateTime::now_utc().format(&Rfc3339).expect("a time");
            let windows = json!([{
                "source_node": "node-0", "vantage": "plain", "target": "canary/node-1",
                "probe": "http", "expect": "denied", "window_start": now,
                "window_seconds": 10, "attempts": 2,
                "verdicts": { "met": 1, "violated": 1, "inconclusive": 0 },
                "reasons": { "unexpected_reply": 1 },
            }]);
            let flows = json!({ "node": "node-0", "flows": [{
                "node": "node-0", "security": "plaintext",
                "source": { "workload": "cloudflared", "namespace": "ingress" },
                "destination": { "workload": "mirai-frontend", "namespace": "default" },
                "opened": 3, "rate_per_second": 0.5, "first_seen": "2026-01-01T00:00:00Z",
            }] });
            let seen = match request.uri().path() {
                "/v1/window" => windows,
                "/v1/flows" => flows,
                other => panic!("{other}"),
            };
            let answer = Response::builder()
                .header(AGENT_HEADER, PLAIN.split_once('?').expect("a query").1)
                .header(PLAN_HEADER, &runs)
                .body(Bytes::from(seen.to_string()));
            std::future::ready(answer.expect("an answer"))
        };
        serving.serve(windows, stopping).await
    });
    let node = eventually("the window", PATIENCE, || async {
        let node = controlled.nodes("/v1/nodes/node-0").await["nodes"][0].clone();
        let plain = node["agents"][1].clone();
        (plain["rows"] != json!([]) && plain["link"] == "current").then_some(plain)
    })
    .await;
    assert_eq!(node["rows"][0]["row"], "canary");
    assert_eq!(node["rows"][0]["unmet"][0]["reason"], "unexpected_reply");
    assert_eq!(node["targets"][0]["target"], "canary/node-1");
    assert_eq!(format!("\"{}\"", node["revision"].as_str().expect("text")), told);

    let flows = eventually("the flows", PATIENCE, || async {
        let told = controlled.nodes("/v1/flows?namespace=default").await;
        (told["pairs"] != json!([])).then_some(told)
    })
    .await;
    assert_eq!(flows["pairs"][0]["source"]["workload"], "cloudflared");
    assert_eq!(flows["pairs"][0]["nodes"], json!(["node-0"]));
    assert!(flows["nodes"][0]["age_seconds"].as_f64().is_some_and(|age| age < 60.0), "{flows}");
    assert_eq!(controlled.nodes("/v1/flows?namespace=other").await["pairs"], json!([]));

    let output = controlled.check(&[]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for line in [
        "node-0 (zone-a), plain",
        "√ agent meshprobe-agent-0: plan current",
        "× canary: 1 violated",
        "    canary/node-1: expected a denial, unexpected_reply",
        "node-1 (zone-b), ambient",
        "‼ agent meshprobe-agent-1: plan never",
        "× Service default/nowhere: ServiceNotFound",
        "Status check results are ×",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let output = controlled.check(&["-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["success"], false);
    stop.cancel();
    served.await.expect("no panic");
}

#[tokio::test]
async fn strangers_get_no_plan() {
    let (plane, _) = mesh(1).await;
    let controlled = Controlled::start(&plane).await;
    let stranger = controlled.dial("another secret of thirty-two bytes").await;
    let refused = match stranger {
        Ok(peer) => ask(&peer, PLAIN, None).await.map(|answer| answer.status()),
        Err(fault) => Err(fault),
    };
    assert!(matches!(refused, Err(Fault::Key(_))), "{refused:?}");
    let peer = controlled.dial(SECRET).await.expect("the same key");
    for (path, status) in [
        ("/v1/plan", StatusCode::BAD_REQUEST),
        ("/v1/plan?node=node-0&vantage=sideways&pod=a", StatusCode::BAD_REQUEST),
        ("/v1/other", StatusCode::NOT_FOUND),
    ] {
        let answer = ask(&peer, path, None).await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
    }
    let request = Request::get("/v1/plan?node=node-0&vantage=plain&pod=nobody");
    let request = request.body(Bytes::new()).expect("a request");
    let answer = peer.ask(request, Instant::now() + PATIENCE, 1 << 20).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_key_is_taken_up_without_a_restart() {
    let (plane, _) = mesh(1).await;
    let controlled = Controlled::start(&plane).await;
    let early = controlled.dial(SECRET).await.expect("the same key");
    let other = "another secret of thirty-two bytes";
    write_file(&controlled.dir, "key", other);
    let late = eventually("the other key", PATIENCE, || async {
        let peer = controlled.dial(other).await.ok()?;
        ask(&peer, PLAIN, None).await.ok()
    });
    assert_eq!(late.await.status(), StatusCode::OK);
    let still = ask(&early, PLAIN, None).await.expect("who was in stays in");
    assert_eq!(still.status(), StatusCode::OK);
}

#[tokio::test]
async fn plans_are_served_while_the_api_server_is_away() {
    let (mut plane, client) = mesh(2).await;
    let controlled = Controlled::start(&plane).await;
    let port = plane.port();
    plane.stop_apiserver();
    let peer = controlled.dial(SECRET).await.expect("the same key");
    let first = ask(&peer, PLAIN, None).await.expect("an answer");
    assert!(expected(&first, "peer/node-1").is_some());
    plane.start_apiserver(port).await;
    let strict = peer_authentication("default", "strict", json!({ "mtls": { "mode": "STRICT" } }));
    let waiting = ask(&peer, PLAIN, Some(tag(&first)));
    let (second, _) = tokio::join!(waiting, apply(&client, &strict));
    let second = second.expect("an answer");
    let service = "service/default/mirai-frontend:80/mirai-frontend-1";
    assert_eq!(expected(&second, service).as_deref(), Some("denied"));
}

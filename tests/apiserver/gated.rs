//! The gate of a real controller: what it makes of the cluster and of what agents tell, over HTTP
//! and from the command line.

use std::net::SocketAddr;
use std::process::{Command, Output};

use bytes::Bytes;
use http::{Request, Response};
use meshprobe::channel::Peer;
use meshprobe::config::AGENT_HEADER;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::chart::mesh;
use super::controlled::{Controlled, PATIENCE, PLAIN, SECRET};
use super::objects::{apply, peer_authentication};
use super::support::eventually;

/// Status and body of a POST.
async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let mut stream = meshprobe::net::connect(address).await.expect("it listens");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).expect("a status").parse().expect("a number"), body.to_owned())
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("a time")
}

/// What the plain agent of node-0 tells: a canary that answered, and a caller in plaintext.
fn told(path: &str) -> Value {
    match path {
        "/v1/window" => json!([{
            "source_node": "node-0", "vantage": "plain", "target": "peer-strict",
            "name": "canary/node-1", "destination_node": "node-1",
            "probe": "http", "expect": "denied", "window_start": now(), "window_seconds": 10,
            "attempts": 4, "verdicts": { "met": 0, "violated": 4, "inconclusive": 0 },
            "reasons": { "unexpected_reply": 4 },
        }]),
        "/v1/flows" => json!({ "node": "node-0", "flows": [{
            "node": "node-0", "security": "plaintext",
            "source": { "workload": "cloudflared", "namespace": "ingress" },
            "destination": { "workload": "mirai-frontend", "namespace": "default" },
            "opened": 3, "rate_per_second": 0.5, "first_seen": "2026-01-01T00:00:00Z",
            "last_seen": now(),
        }] }),
        other => panic!("{other}"),
    }
}

async fn serve(peer: Peer, stop: CancellationToken) {
    let answer = |_: Peer, request: Request<Bytes>| {
        let path = request.uri().path().to_owned();
        let answer = Response::builder()
            .header(AGENT_HEADER, PLAIN.split_once('?').expect("a query").1)
            .body(Bytes::from(told(&path).to_string()));
        std::future::ready(answer.expect("an answer"))
    };
    let _ = peer.serve(answer, stop).await;
}

fn gate(controlled: &Controlled, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    let server = format!("http://{}", controlled.api());
    command.args(["gate", "strict", "--server", &server]).args(arguments);
    command.output().expect("the binary")
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["check"] == name).expect("every check is there")
}

#[tokio::test]
async fn the_gate_names_who_would_break_to_machines_and_to_people() {
    let (plane, client) = mesh(2).await;
    let controlled = Controlled::start(&plane).await;
    let peer = controlled.dial(SECRET).await.expect("the same key");
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(peer, stop.clone()));
    let path = "/v1/gate/strict?namespace=default";
    let report = eventually("flows and windows", PATIENCE, || async {
        let report = controlled.nodes(path).await;
        let gap = check(&report, "policies")["result"] == "fail";
        (gap && report["callers"] != json!([])).then_some(report)
    })
    .await;
    assert_eq!((&report["ok"], &report["result"]), (&json!(false), &json!("not_ready")));
    assert_eq!(report["callers"][0]["source"], "ingress/cloudflared");
    assert_eq!(report["callers"][0]["destination"], "default/mirai-frontend");
    let plaintext = check(&report, "plaintext")["summary"].as_str().expect("text");
    assert!(plaintext.starts_with("plaintext from ingress/cloudflared"), "{plaintext}");
    assert!(plaintext.ends_with("ingress is not enrolled"), "{plaintext}");
    assert_eq!(check(&report, "capture")["result"], "not_enough_evidence");
    assert_eq!(check(&report, "istiod")["result"], "not_enough_evidence");
    let apply_it = report["commands"]["apply"].as_str().expect("a command");
    assert!(apply_it.contains("namespace: default\n"), "{apply_it}");

    let output = gate(&controlled, &["-n", "default"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    let first = shown.lines().next().expect("a line");
    assert!(first.starts_with("NOT READY for STRICT in default: "), "{first}");
    assert!(first.contains("plaintext from ingress/cloudflared to default/mirai-frontend"));
    assert_eq!(gate(&controlled, &["-n", "kube-system"]).status.code(), Some(2), "the canary");
    let json = gate(&controlled, &["-n", "default", "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["result"], "not_ready");
    let markdown = gate(&controlled, &["-n", "default", "-o", "markdown"]);
    assert!(String::from_utf8_lossy(&markdown.stdout).starts_with("**NOT READY"));
    let bad = gate(&controlled, &["-n", "No_Name"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("write 1 to 253 of a-z 0-9 - and ."));

    let canary = json!({ "name": "podinfo", "namespace": "default", "phase": "Progressing",
                         "metadata": {} });
    for (hook, status) in [("confirm-rollout", 403), ("pre-rollout", 403), ("rollback", 200)] {
        let path = format!("/v1/flagger/{hook}");
        let (given, line) = post(controlled.api(), &path, &canary.to_string()).await;
        assert_eq!(given, status, "{hook}: {line}");
        assert!(line.starts_with("NOT READY for STRICT in default"), "{line}");
        let (given, line) = post(controlled.api(), &path, "nonsense").await;
        assert_eq!(given, 403, "{hook}: {line}");
    }
    let bad = controlled.nodes("/v1/gate/strict").await;
    assert_eq!((&bad["ok"], &bad["result"]), (&json!(false), &json!("not_enough_evidence")));
    assert!(bad["error"].as_str().is_some_and(|text| text.contains("namespace=NAME")), "{bad}");

    the_change_is_seen(&controlled, &client, path).await;
    stop.cancel();
    served.await.expect("no panic");
}

/// A webhook appears in the gate, and STRICT that is applied becomes a change.
async fn the_change_is_seen(controlled: &Controlled, client: &kube::Client, path: &str) {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "gate-test" },
        "webhooks": [{
            "name": "check.mirai.example", "sideEffects": "None", "failurePolicy": "Fail",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "namespace": "default", "name": "mirai-frontend",
                                           "port": 80 } },
            // Nothing is ever created that it would be called for.
            "rules": [{ "apiGroups": ["nothing.example"], "apiVersions": ["v1"],
                        "operations": ["CREATE"], "resources": ["nothings"] }],
        }],
    });
    apply(client, &webhook).await;
    let strict = peer_authentication("default", "strict", json!({ "mtls": { "mode": "STRICT" } }));
    eventually("the webhook", PATIENCE, || async {
        let report = controlled.nodes(path).await;
        let details = check(&report, "plaintext")["details"].to_string();
        details.contains("webhook check.mirai.example").then_some(())
    })
    .await;
    apply(client, &strict).await;
    let report = eventually("the change", PATIENCE, || async {
        let report = controlled.nodes(path).await;
        (report["change"]["to"] == "strict").then_some(report)
    })
    .await;
    assert_eq!(
        (&report["mode"], &report["change"]["from"]),
        (&json!("strict"), &json!("permissive"))
    );
    let revert = "kubectl -n default delete peerauthentications.security.istio.io strict";
    assert_eq!(report["change"]["revert"], revert);
    let (_, metrics) = super::support::fetch(controlled.api(), "/metrics").await.expect("metrics");
    let line = "meshprobe_gate_webhooks_total{hook=\"rollback\",code=\"200\"} 1";
    assert!(metrics.lines().any(|shown| shown == line), "{metrics}");
    assert!(
        metrics.contains("meshprobe_gate_result{namespace=\"\",result=\"not_ready\"} 1"),
        "{metrics}"
    );
}

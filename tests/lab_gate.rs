//! Is STRICT safe in the lab? Not while the tunnel daemon calls in plaintext, and for no other
//! reason. And once it was applied, is it to be kept? Asked with the command that an operator uses.
#![cfg(feature = "lab")]

#[path = "lab_gate/process.rs"]
mod process;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use process::Lab;

/// An idle machine needs half a minute until the ladders to istiod are evidence enough.
const LIMIT: Duration = Duration::from_secs(150);

/// A lab of three nodes.
fn lab(flags: &[&str]) -> Lab {
    Lab::start(&[&["--nodes", "3", "--duration", "200s"], flags].concat())
}

/// What the gate says once it has enough evidence for every check.
fn gate(lab: &Lab) -> (Option<i32>, Value) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
            .args(["gate", "strict", "-n", "default", "-o", "json", "--server", &lab.url])
            .output()
            .expect("the binary");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = report["checks"].as_array().expect("checks");
        let missing = checks.iter().any(|check| check["result"] == "not_enough_evidence");
        if !missing || Instant::now() > deadline {
            return (output.status.code(), report);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_dead_ztunnel_is_in_the_way() {
    let lab = lab(&["--enrol-ingress", "--fault", "ztunnel-dead/node-2@1s"]);
    let (code, report) = gate(&lab);
    assert_eq!((code, &report["result"]), (Some(2), &Value::from("not_ready")), "{report:#}");
    for check in ["ztunnel", "istiod", "connectivity", "certificates"] {
        let checks = report["checks"].as_array().expect("checks");
        let found = checks.iter().find(|it| it["check"] == check).expect("it is there");
        assert_eq!(found["result"], "fail", "{found:#}");
    }
    the_budget_of_its_node_is_spent(&lab);
}

/// What `report slo` says of the lab.
fn the_budget_of_its_node_is_spent(lab: &Lab) {
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["report", "slo", "-o", "json", "--server", &lab.url, "--slo", "mesh-peers"])
        .output()
        .expect("the binary");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let slo = &report["slos"][0];
    assert_eq!(
        (output.status.code(), &slo["standing"]),
        (Some(2), &Value::from("missed")),
        "{slo:#}"
    );
    assert_eq!(slo["groups"][0]["labels"], serde_json::json!(["node-2"]), "{slo:#}");
    assert!(slo["groups"][0]["budget_left"].as_f64().is_some_and(|left| left < 0.0), "{slo:#}");
    assert_eq!(slo["incidents"][0]["component"], "ztunnel/node-2", "{slo:#}");
    assert!(
        slo["whole"]["either"]["p99"]["seconds"].as_f64().is_some_and(|p99| p99 > 0.0),
        "{slo:#}"
    );
}

fn unmet(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().expect("checks");
    let unmet = checks.iter().filter(|check| check["result"] != "pass");
    unmet.map(|check| check["check"].as_str().expect("a name")).collect()
}

#[test]
fn one_thing_is_in_the_way_of_strict_the_tunnel_daemons_plaintext() {
    let (code, report) = gate(&lab(&[]));
    assert_eq!(unmet(&report), ["plaintext"], "{report:#}");
    assert_eq!((code, &report["result"]), (Some(2), &Value::from("not_ready")), "{report:#}");
    let summary = report["summary"].as_str().expect("a summary");
    assert!(summary.contains("ingress/cloudflared to default/mirai-frontend"), "{summary}");
}

#[test]
fn once_that_caller_is_enrolled_the_lab_is_ready() {
    let (code, report) = gate(&lab(&["--enrol-ingress"]));
    assert_eq!(unmet(&report), [""; 0], "{report:#}");
    assert_eq!((code, &report["result"]), (Some(0), &Value::from("ready")), "{report:#}");
}

/// What `gate strict --watch` said, line by line, of a lab to which STRICT is applied.
fn watched(flags: &[&str], lasting: &str) -> (Option<i32>, Vec<Value>) {
    let lab = lab(&[&["--time-scale", "10", "--fault", "strict/default@30s"], flags].concat());
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["gate", "strict", "-n", "default", "-o", "json", "--watch", "--for", lasting])
        .args(["--server", &lab.url])
        .output()
        .expect("the binary");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = told.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    (output.status.code(), lines.collect())
}

#[test]
fn strict_that_cuts_a_caller_off_is_to_be_taken_back() {
    let (code, told) = watched(&[], "150s");
    let last = told.last().expect("it said something");
    let change = &last["change"];
    assert_eq!((code, &change["recommendation"]), (Some(2), &Value::from("revert")), "{last:#}");
    let evidence = change["evidence"].to_string();
    assert!(
        evidence.contains("ingress/cloudflared to default/mirai-frontend denied"),
        "{evidence}"
    );
    let command = "kubectl -n default delete peerauthentications.security.istio.io default";
    assert_eq!(change["revert"], command, "{change:#}");
}

#[test]
fn strict_that_harms_nobody_is_kept() {
    let (code, told) = watched(&["--enrol-ingress"], "65s");
    let last = told.last().expect("it said something");
    let advice = |line: &Value| line["change"]["recommendation"].clone();
    assert_eq!((code, advice(last)), (Some(0), Value::from("keep")), "{last:#}");
    assert!(told.iter().all(|line| advice(line) != "revert"), "{told:#?}");
}

//! Is STRICT safe in the lab? Not while the tunnel daemon calls in plaintext, and for no other
//! reason; asked with the command that an operator uses.
#![cfg(feature = "lab")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// An idle machine needs half a minute until the ladders to istiod are evidence enough.
const LIMIT: Duration = Duration::from_secs(150);

struct Lab {
    process: Child,
    server: String,
}

impl Lab {
    fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
            .args(["lab", "--nodes", "3", "--interval", "500ms", "--listen", "127.0.0.1:0"])
            .args(["--duration", "200s"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary");
        let shown = BufReader::new(process.stdout.take().expect("piped"));
        let mut lines = shown.lines().map_while(Result::ok);
        let found = lines.by_ref().take(20).find_map(|line| {
            let (_, url) = line.split_once("A controller's API is on ")?;
            Some(url.trim_end_matches('.').to_owned())
        });
        // It goes on telling, and would end if nobody read it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, server: found.expect("it says where") }
    }

    /// What the gate says once it has enough evidence for every check.
    fn gate(&self) -> (Option<i32>, Value) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
                .args(["gate", "strict", "-n", "default", "-o", "json", "--server", &self.server])
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
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_dead_ztunnel_is_in_the_way() {
    let (code, report) =
        Lab::start(&["--enrol-ingress", "--fault", "ztunnel-dead/node-2@1s"]).gate();
    assert_eq!((code, &report["result"]), (Some(2), &Value::from("not_ready")), "{report:#}");
    for check in ["ztunnel", "istiod", "connectivity", "certificates"] {
        let checks = report["checks"].as_array().expect("checks");
        let found = checks.iter().find(|it| it["check"] == check).expect("it is there");
        assert_eq!(found["result"], "fail", "{found:#}");
    }
}

fn unmet(report: &Value) -> Vec<&str> {
    let checks = report["checks"].as_array().expect("checks");
    let unmet = checks.iter().filter(|check| check["result"] != "pass");
    unmet.map(|check| check["check"].as_str().expect("a name")).collect()
}

#[test]
fn one_thing_is_in_the_way_of_strict_the_tunnel_daemons_plaintext() {
    let (code, report) = Lab::start(&[]).gate();
    assert_eq!(unmet(&report), ["plaintext"], "{report:#}");
    assert_eq!((code, &report["result"]), (Some(2), &Value::from("not_ready")), "{report:#}");
    let summary = report["summary"].as_str().expect("a summary");
    assert!(summary.contains("ingress/cloudflared to default/mirai-frontend"), "{summary}");
}

#[test]
fn once_that_caller_is_enrolled_the_lab_is_ready() {
    let (code, report) = Lab::start(&["--enrol-ingress"]).gate();
    assert_eq!(unmet(&report), [""; 0], "{report:#}");
    assert_eq!((code, &report["result"]), (Some(0), &Value::from("ready")), "{report:#}");
}

//! `meshprobe diagnose` on files, as an operator runs it: what it prints and how it ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const NODES: [&str; 4] = ["node-1", "node-2", "node-3", "node-4"];

struct Files {
    directory: tempfile::TempDir,
    topology: PathBuf,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let topology = directory.path().join("topology.json");
        let nodes: Vec<Value> =
            NODES.iter().map(|name| json!({"name": name, "zone": "a"})).collect();
        let json = json!({"nodes": nodes, "coredns": [], "istiod": [], "services": [], "later": 1});
        std::fs::write(&topology, json.to_string()).expect("writable");
        Self { directory, topology }
    }

    fn write(&self, lines: &[String]) -> PathBuf {
        let path = self.directory.path().join("observations.jsonl");
        std::fs::write(&path, lines.join("\n")).expect("writable");
        path
    }

    fn diagnose(&self, observations: &Path, flags: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
        command.arg("diagnose").arg("--topology").arg(&self.topology);
        command.arg("--observations").arg(observations).args(flags);
        command.stdin(Stdio::null()).output().expect("the binary")
    }
}

/// A minute of every path of a small mesh; `failure` says why the attempts of one fail.
fn lines(failure: impl Fn(&str, &str, &str, &str) -> Option<&'static str>) -> Vec<String> {
    let mut lines = Vec::new();
    for source in NODES {
        for to in NODES.into_iter().filter(|to| *to != source) {
            for vantage in ["ambient", "plain"] {
                for target in ["peer", "underlay"] {
                    let reason = failure(source, vantage, target, to);
                    let (met, violated) = if reason.is_some() { (0, 12) } else { (12, 0) };
                    let reasons = reason.map_or(json!({}), |reason| json!({reason: 12}));
                    let line = json!({
                        "source_node": source, "vantage": vantage, "probe": "http",
                        "target": target, "destination_node": to, "via": "pod_ip",
                        "expect": "reply", "window_start": "2026-01-01T00:00:00Z",
                        "window_seconds": 60, "attempts": 12,
                        "verdicts": {"met": met, "violated": violated, "inconclusive": 0},
                        "reasons": reasons, "latency_seconds": null,
                    });
                    lines.push(line.to_string());
                }
            }
        }
    }
    lines
}

/// With the ztunnel of node-2 gone.
fn broken(source: &str, vantage: &str, target: &str, to: &str) -> Option<&'static str> {
    match (vantage, target) {
        ("ambient", _) if source == "node-2" => Some("refused"),
        ("ambient", "peer") if to == "node-2" => Some("reset"),
        ("plain", "peer") if to == "node-2" => Some("refused"),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn a_healthy_mesh_ends_with_0_and_says_so() {
    let files = Files::new();
    let output = files.diagnose(&files.write(&lines(|_, _, _, _| None)), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("√ nothing is broken, by 576 "), "{output:?}");
}

#[test]
fn what_is_broken_ends_with_2_and_is_named_first() {
    let files = Files::new();
    let observations = files.write(&lines(broken));
    let output = files.diagnose(&observations, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let diagnoses = report["diagnoses"].as_array().expect("a list");
    let [first] = diagnoses.as_slice() else { panic!("{report:#}") };
    assert_eq!((&first["component"], &first["fault"]), (&json!("ztunnel/node-2"), &json!("dead")));
    assert_eq!(first["since"], "2026-01-01T00:00:00Z");
    assert_eq!(report["explained_fraction"], 1.0);
    let output = files.diagnose(&observations, &[]);
    assert!(text(&output.stdout).starts_with("× ztunnel/node-2 dead since 2026-01-01T00:00:00Z, "));
}

#[test]
fn a_path_that_fails_for_no_known_cause_is_no_healthy_mesh() {
    let files = Files::new();
    let odd = |source: &str, vantage: &str, target: &str, to: &str| {
        let odd = (source, vantage, target, to) == ("node-1", "plain", "underlay", "node-2");
        odd.then_some("timeout")
    };
    let output = files.diagnose(&files.write(&lines(odd)), &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stdout).starts_with("× 1 path is broken, and no component"));
}

#[test]
fn malformed_lines_are_told_by_number_and_the_rest_is_used() {
    let files = Files::new();
    let mut lines = lines(broken);
    lines.insert(1, "{\"source_node\": 7}".to_owned());
    lines.push("\u{1b}[2Jnot json".to_owned());
    let output = files.diagnose(&files.write(&lines), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.contains("observations.jsonl:2: ") && told.contains("observations.jsonl:50: "));
    assert!(!told.contains('\u{1b}'), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["malformed_lines"], 2);
}

#[test]
fn attempts_that_cannot_tell_are_no_evidence_and_end_with_3() {
    let files = Files::new();
    let unsure = lines(|_, _, _, _| None)
        .into_iter()
        .map(|line| line.replace("\"inconclusive\":0,\"met\":12", "\"inconclusive\":12,\"met\":0"));
    let output = files.diagnose(&files.write(&unsure.collect::<Vec<_>>()), &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let output = files.diagnose(&files.write(&[]), &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn observations_come_from_standard_input_too() {
    let files = Files::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    command.args(["diagnose", "--observations", "-", "--topology"]).arg(&files.topology);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(lines(broken).join("\n").as_bytes()).expect("it reads");
    drop(input);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(2));
}

#[test]
fn wrong_flags_end_with_64_and_what_cannot_be_read_with_1() {
    let files = Files::new();
    let output = files.diagnose(Path::new("/nowhere/at/all"), &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("/nowhere/at/all"), "{output:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    let output = command.args(["diagnose", "--observations", "x"]).output().expect("the binary");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let observations = files.write(&lines(|_, _, _, _| None));
    std::fs::write(&files.topology, "[]").expect("writable");
    let output = files.diagnose(&observations, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("topology.json"), "{output:?}");
}

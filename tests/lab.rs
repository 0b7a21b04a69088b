//! The main job, as a newcomer sees it: the lab runs, the whole truth table is met, and a summary
//! ends it.
#![cfg(feature = "lab")]

use std::collections::BTreeMap;
use std::process::Command;

use meshprobe::config;
use meshprobe::target::Vantage;

#[test]
fn a_healthy_lab_violates_nothing_and_hears_from_every_cell() {
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["lab", "--nodes", "2", "--interval", "500ms", "--duration", "12s"])
        .output()
        .expect("the binary");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    let summary = shown.lines().last().expect("a summary");
    assert!(summary.contains(" 0 violated, "), "{shown}");
    // A busy machine may make attempts inconclusive; nothing else may.
    let expected = if summary.ends_with(" 0 inconclusive") { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(expected), "{shown}");
    let callers: Vec<_> = shown.lines().filter(|line| line.starts_with("in plaintext")).collect();
    let [caller] = callers[..] else { panic!("{shown}") };
    assert!(caller.contains("ingress/cloudflared to default/mirai-frontend, "), "{caller}");
    assert!(caller.ends_with("counted on node-1"), "{caller}");
    let headline = shown.lines().rfind(|line| line.contains("cells met")).expect("a headline");
    assert!(!headline.contains("waiting"), "{shown}");
    for row in ["STRICT canary", "HBONE certificate", "istiod ladder", "own capture"] {
        assert!(shown.lines().any(|line| line.contains(row) && line.contains('√')), "{shown}");
    }
}

#[test]
fn faults_are_listed_and_a_wrong_one_is_told() {
    let lab = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
        command.arg("lab").args(flags).output().expect("the binary")
    };
    let list = lab(&["--faults"]);
    assert_eq!(list.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&list.stdout).contains("ztunnel-dead/node-N"));
    for (fault, part) in [("ztunnel-ded/node-1", "--faults"), ("ztunnel-dead/node-9", "node-3")] {
        let told = lab(&["--nodes", "3", "--fault", fault]);
        assert_eq!(told.status.code(), Some(64), "{fault}");
        assert!(String::from_utf8_lossy(&told.stderr).contains(part), "{fault}");
    }
}

#[test]
fn agents_left_to_others_are_written_as_configurations_and_not_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["lab", "--nodes", "2", "--interval", "500ms", "--duration", "3s", "--export"])
        .arg(directory.path())
        .output()
        .expect("the binary");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    // Those of node-2, and the tunnel daemon's.
    assert!(shown.contains(" 3 agents, "), "{shown}");
    for (side, vantage) in [("ambient", Vantage::Ambient), ("plain", Vantage::Plain)] {
        let path = directory.path().join(format!("node-1-{side}.yaml"));
        let yaml = std::fs::read_to_string(path).expect("exported");
        let config = config::parse(&yaml, &BTreeMap::new()).expect("no mistakes");
        assert_eq!(config.identity.vantage, Some(vantage));
        let names = config.targets.iter().map(|target| target.name.as_str());
        assert!(names.into_iter().any(|name| name == "canary/node-2"), "{yaml}");
    }
}

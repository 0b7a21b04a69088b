//! The rules that we write, tried by Prometheus's own tool: they fire when they must, and are silent
//! when they must be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use meshprobe::config::promised;
use meshprobe::rules::{Parts, RUNBOOKS, rules};
use serde_json::Value;

use crate::real::support::{temp_dir, tool, write_file};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rule file of the configuration at `path`.
fn made(path: impl AsRef<Path>, parts: Parts) -> String {
    let slos = promised(&read(path), &Default::default()).expect("a good configuration");
    rules(&slos, RUNBOOKS, parts).to_file()
}

fn promtool(arguments: &[&str]) {
    let output = Command::new(tool("promtool")).args(arguments).output().expect("promtool runs");
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told));
}

/// Runs the cases at `path` on `rules`.
fn hold(path: &Path, rules: &str) {
    let dir = temp_dir();
    write_file(&dir, "rules.yaml", rules);
    let cases = write_file(&dir, "cases.yaml", read(path));
    promtool(&["test", "rules", cases.to_str().expect("UTF-8")]);
}

/// What is written behind `key` at the begin of lines.
fn values<'a>(text: &'a str, key: &'a str) -> BTreeSet<&'a str> {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| Some(line.strip_prefix(key)?.trim())).collect()
}

#[test]
fn alerts_fire_when_they_must_and_are_silent_when_they_must_be() {
    let alerts = Parts { alerts: true, records: false, slos: false };
    hold(Path::new("deploy/tests/alerts.yaml"), &made("config/example.yaml", alerts));
}

#[test]
fn budgets_that_are_spent_too_fast_are_told_and_others_are_not() {
    let slos = Parts { alerts: false, records: false, slos: true };
    let mut tried = 0;
    for entry in std::fs::read_dir(root().join("deploy/tests/slo")).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = path.to_str().expect("UTF-8");
        let Some(name) = name.strip_suffix(".cases.yaml") else { continue };
        hold(&path, &made(format!("{name}.yaml"), slos));
        tried += 1;
    }
    assert_eq!(tried, 4);
}

#[test]
fn every_alert_has_a_case_that_fires_and_a_runbook_that_says_what_to_do() {
    let all = made("config/example.yaml", Parts::ALL);
    let folder = root().join("deploy/tests");
    let mut cases = read("deploy/tests/alerts.yaml");
    for entry in std::fs::read_dir(folder.join("slo")).expect("a folder") {
        cases += &read(entry.expect("readable").path());
    }
    // A case that names no alert to come is one of silence, on a line of its own.
    let firing = values(&cases, "alertname:");
    let alerts = values(&all, "alert:");
    assert!(alerts.len() >= 18, "{alerts:?}");
    for alert in &alerts {
        assert!(firing.contains(alert), "{alert} fires in no case");
        let page = read(format!("docs/runbooks/{alert}.md"));
        assert!(page.starts_with(&format!("# {alert}\n")), "{alert}");
        for part in ["## What it means", "## How to look", "## What to do"] {
            assert!(page.contains(part), "{alert}: {part}");
        }
    }
    let pages = std::fs::read_dir(root().join("docs/runbooks")).expect("a folder");
    assert_eq!(pages.count(), alerts.len(), "a runbook for nothing");
    assert_eq!(
        all.matches("    runbook_url: docs/runbooks/").count(),
        all.matches("- alert: ").count()
    );
}

#[test]
fn the_chart_ships_what_the_command_writes() {
    let dir = temp_dir();
    let made = write_file(&dir, "made.yaml", made("config/controller.yaml", Parts::ALL));
    let shipped = root().join("deploy/kustomize/overlays/monitoring/prometheusrule.yaml");
    let groups = |path: &Path, within: &[&str]| -> Value {
        let text = std::fs::read_to_string(path).expect("readable");
        let mut tree: Value = serde_saphyr::from_str(&text).expect("YAML");
        for key in within {
            tree = tree[*key].take();
        }
        tree
    };
    let (shipped, made) = (groups(&shipped, &["spec", "groups"]), groups(&made, &["groups"]));
    let names = |groups: &Value| -> Vec<String> {
        let groups = groups.as_array().expect("a list").iter();
        groups.map(|group| group["name"].to_string()).collect()
    };
    assert_eq!(names(&shipped), names(&made));
    for (shipped, made) in
        shipped.as_array().into_iter().flatten().zip(made.as_array().into_iter().flatten())
    {
        assert_eq!(shipped, made);
    }
}

#[test]
fn rules_of_any_slo_are_good_ones() {
    let text = "slos:
- { name: a, objective: 50%, window: 1d, sli: availability, group_by: [node, zone, vantage, probe, target, namespace] }
- { name: b, objective: 99.9999%, window: 366d, sli: { latency: { threshold: 1ms, phase: tls, connection: warm } },
    select: { probe: [dns, tcp], target: ['a.*+b', '\"', '\\'], vantage: [ambient, plain], node: a?, zone: '*', namespace: 'x*y' } }
- { name: c, objective: 90%, window: calendar_month, sli: { latency: { threshold: 10s } } }
";
    let slos = promised(text, &Default::default()).expect("good");
    let dir = temp_dir();
    let file =
        write_file(&dir, "rules.yaml", rules(&slos, "https://a.example/b/", Parts::ALL).to_file());
    promtool(&["check", "rules", file.to_str().expect("UTF-8")]);
}

#[test]
fn metrics_that_rules_read_are_documented() {
    let page = read("docs/metrics.md");
    let all = made("config/example.yaml", Parts::ALL);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = all.split(|c| !word(c) && c != ':').collect();
    let metrics = words.iter().filter(|it| it.starts_with("meshprobe_"));
    // Series of a histogram are documented as the histogram.
    let of_histogram =
        |it: &&str| ["_bucket", "_sum", "_count"].iter().find(|end| it.ends_with(**end)).copied();
    let metrics: Vec<_> = metrics
        .map(|it| of_histogram(it).and_then(|end| it.strip_suffix(end)).unwrap_or(it))
        .collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        assert!(page.contains(&format!("| `{metric}` |")), "{metric}");
    }
    for recorded in words.iter().filter(|it| it.starts_with("meshprobe:")) {
        let stem = recorded.trim_end_matches(|c: char| c != ':').trim_end_matches(':');
        assert!(page.contains(stem), "{recorded} is recorded and not documented");
    }
}

//! SLOs of OpenSLO v1: what fits becomes one of ours, what does not is told where it stands.

use meshprobe::config::{import_openslo, print_slos};
use meshprobe::slo::{Connection, Sli, Window};
use meshprobe::target::Vantage;

use super::good;

const PEERS: &str = r#"# An availability and a latency.
apiVersion: openslo/v1
kind: SLO
metadata:
  name: peers
  displayName: Peers
  labels: { team: mesh }
spec:
  description: peers answer
  service: mesh
  budgetingMethod: Occurrences
  timeWindow: [{ duration: 4w, isRolling: true }]
  objectives: [{ displayName: good, target: 0.999 }]
  indicator:
    metadata: { name: ratio }
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(meshprobe_attempts_total{verdict="met", vantage="ambient", target=~"peer/.*|canary/n\\.1"}[5m]))
        total:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(meshprobe_attempts_total{verdict=~"met|violated", vantage="ambient", target=~"peer/.*|canary/n\\.1"}[5m]))
---
apiVersion: openslo/v1
kind: Service
metadata: { name: mesh }
spec: {}
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: calls }
spec:
  timeWindow: [{ duration: 1M, calendar: { startTime: "2024-01-01 00:00:00", timeZone: UTC } }]
  objectives: [{ targetPercent: 99.5 }]
  indicator:
    spec:
      ratioMetric:
        good: { metricSource: { spec: { query: 'meshprobe_phase_duration_seconds_bucket{le="0.25",phase="tls",connection="cold",probe="tls"}' } } }
        total: { metricSource: { spec: { query: 'meshprobe_phase_duration_seconds_count{phase="tls",connection="cold",probe="tls"}' } } }
"#;

#[test]
fn ratios_of_our_counters_become_slos_and_a_configuration_reads_them() {
    let slos = import_openslo(PEERS).expect("all of it fits");
    let [peers, calls] = slos.as_slice() else { panic!("{slos:?}") };
    assert_eq!((peers.sli, peers.window), (Sli::Availability, Window::rolling(28).expect("days")));
    assert_eq!(peers.objective.to_string(), "99.9%");
    assert_eq!(peers.select.vantage, [Vantage::Ambient]);
    let targets: Vec<&str> = peers.select.target.iter().map(|it| it.as_str()).collect();
    assert_eq!(targets, ["peer/*", "canary/n.1"]);
    let Sli::Latency(latency) = calls.sli else { panic!("{calls:?}") };
    assert_eq!((latency.seconds(), latency.connection), (0.25, Some(Connection::Cold)));
    assert_eq!(
        (calls.window, calls.objective.to_string()),
        (Window::CalendarMonth, "99.5%".into())
    );
    assert_eq!(good(&print_slos(&slos)).slos, slos);
}

#[track_caller]
fn refused(from: &str, to: &str, expected: &str) {
    let (one, _) = PEERS.split_once("---").expect("two documents");
    assert!(one.contains(from), "{from}");
    let mistakes = import_openslo(&one.replace(from, to)).expect_err("it does not fit");
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains(expected), "{expected}\n{told:#?}");
}

#[test]
fn what_does_not_fit_is_told_at_its_place() {
    refused("openslo/v1", "openslo/v1alpha", "2:13: apiVersion: \"openslo/v1alpha\" is not known");
    refused("kind: SLO", "kind: SLI", "kind: \"SLI\" cannot be imported");
    refused(
        "Occurrences",
        "Timeslices",
        "11:20: spec.budgetingMethod: \"Timeslices\" is no budget",
    );
    refused("target: 0.999", "target: 1", "must leave a budget");
    refused("isRolling: true", "isRolling: false", "does not roll and has no calendar");
    refused("counter: true", "counter: false", "write true: attempts are counters");
    refused("name: peers", "name: Peers", "is not an SLO's name");
    refused("ratioMetric", "thresholdMetric", "cannot be imported");
    refused("verdict=\"met\"", "verdict=\"violated\"", "does not count what was met");
    refused(
        "verdict=~\"met|violated\"",
        "verdict=~\".*\"",
        "inconclusive attempts are no evidence",
    );
    refused("spec:\n  description", "spec:\n  descriptoin: a\n  description", "is not a known key");
    let other = PEERS.replacen("peer/.*", "other/.*", 1);
    let told = import_openslo(&other).expect_err("two selections")[0].to_string();
    assert!(told.contains("selects other attempts than good"), "{told}");
    let unknown = PEERS.replace("meshprobe_attempts_total", "http_requests_total");
    let told = import_openslo(&unknown).expect_err("nobody's counters")[0].to_string();
    assert!(told.contains("http_requests_total, of which no SLO can be made"), "{told}");
    let job = PEERS.replace("vantage=\"ambient\"", "job=\"meshprobe\"");
    let told = import_openslo(&job).expect_err("no selector")[0].to_string();
    assert!(told.contains("the matcher job=\"meshprobe\", which no selector can say"), "{told}");
    for (from, to, said) in [
        (
            "phase=\"tls\"",
            "phase=\"bogus\"",
            "has no known phase: \"bogus\"; write one of resolve, ",
        ),
        (
            "connection=\"cold\"",
            "connection=\"kept\"",
            "has no known connection: \"kept\"; write one of cold, warm",
        ),
    ] {
        let told =
            import_openslo(&PEERS.replace(from, to)).expect_err("no such word")[0].to_string();
        assert!(told.contains(said), "{told}");
    }
    // A word that is not the same in both, and is one of ours.
    let (good, total) = PEERS.rsplit_once("connection=\"cold\"").expect("it is there");
    let told = import_openslo(&format!("{good}connection=\"warm\"{total}"));
    let told = told.expect_err("two selections")[0].to_string();
    assert!(told.contains("selects other attempts than good"), "{told}");
    let code =
        PEERS.replace("sum(rate(meshprobe_attempts_total", "max(rate(meshprobe_attempts_total");
    let told = import_openslo(&code).expect_err("no sum")[0].to_string();
    assert!(told.contains("is not one selector of agents' counters"), "{told}");
    assert!(import_openslo("").is_err() && import_openslo("a: [").is_err());
}

#[test]
fn mistakes_of_a_later_document_are_on_its_lines() {
    let text = PEERS.replace("targetPercent: 99.5", "targetPercent: 100");
    let told = import_openslo(&text).expect_err("no budget")[0].to_string();
    assert!(told.starts_with("40:33: spec.objectives[0].targetPercent: 100"), "{told}");
}

//! The agents' own counters: with a restart and a gap in them, by themselves and by the rules.

use meshprobe::cli::Exit;
use meshprobe::config::promised;
use meshprobe::rules::{Parts, RUNBOOKS, rules};
use serde_json::Value;

use super::past::{Past, Samples, last_hour, stamp};
use super::{is_noted, report};

const HOUR: i64 = 3600;
const SLOS: &str = "slos:
- { name: calls, objective: 99%, window: 1d, sli: availability, group_by: [node] }
- { name: quick, objective: 90%, window: 1d, sli: { latency: { threshold: 100ms } } }
";

/// 40 hours of two nodes, scraped every 30 s: two attempts a second, of which n1 fails one of a
/// thousand; 95 % of the successful ones take up to 0.1 s. The agent of n1 restarted 10 hours ago,
/// and of n2 nothing was scraped for two hours, 16 hours ago.
fn counters(end: i64) -> Samples {
    let mut samples = Samples::default();
    let (begin, restart) = (end - 40 * HOUR, end - 10 * HOUR);
    let gap = end - 16 * HOUR..end - 14 * HOUR;
    for (node, share) in [("n1", 0.001), ("n2", 0.0)] {
        for at in (begin..=end).step_by(30) {
            if node == "n2" && gap.contains(&at) {
                continue;
            }
            let since = if node == "n1" && at >= restart { restart } else { begin };
            let all = 2.0 * (at - since) as f64;
            let of = |labels: &str| {
                format!(
                    "{{node=\"{node}\",zone=\"z\",vantage=\"plain\",probe=\"tcp\",target=\"t\",connection=\"cold\"{labels}}}"
                )
            };
            let verdicts = [("met", 1.0 - share), ("violated", share), ("inconclusive", 0.0)];
            for (verdict, share) in verdicts {
                let labels = of(&format!(",verdict=\"{verdict}\""));
                samples.add(&format!("meshprobe_attempts_total{labels}"), all * share, at);
            }
            for (le, part) in [("0.1", 0.95), ("+Inf", 1.0)] {
                let labels = of(&format!(",le=\"{le}\""));
                let name = "meshprobe_attempt_duration_seconds_bucket";
                samples.add(&format!("{name}{labels}"), all * (1.0 - share) * part, at);
            }
            for (part, value) in [("sum", 0.02), ("count", 1.0)] {
                let name = format!("meshprobe_phase_duration_seconds_{part}");
                samples.add(&format!("{name}{}", of(",phase=\"connect\"")), all * value, at);
            }
        }
    }
    samples
}

#[track_caller]
fn about(told: &Value, expected: f64, share: f64) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{told} is no number"));
    assert!((told - expected).abs() <= share * expected.abs(), "{told} is not about {expected}");
}

/// What must be told of a day, wherever it is counted from; counts to that share.
fn holds(slos: &Value, exact: f64) {
    let calls = &slos[0];
    let day = 2.0 * 86_400.0;
    let group = |name: &str| {
        let groups = calls["groups"].as_array().expect("groups");
        groups.iter().find(|it| it["labels"][0] == name).expect("its group").clone()
    };
    // A restart neither takes away nor adds: what was between two scrapes is all that is lost.
    about(&group("n1")["total"], day, exact);
    about(&group("n1")["bad"], day * 0.001, exact);
    // What was attempted in the gap is not made up; two hours of 24 are not there.
    about(&group("n2")["total"], day * 22.0 / 24.0, exact);
    assert_eq!(group("n2")["bad"], 0.0);
    about(&calls["whole"]["burn_rate_1h"], 0.0005 / 0.01, 0.03);
    about(&calls["nodes"][0]["total"], day, 0.05);
    assert_eq!(calls["zones"][0]["name"], "z");
    assert_eq!(group("n1")["slowest_phase"]["phase"], "connect");
    about(&group("n1")["slowest_phase"]["mean_seconds"], 0.02, 0.01);
    let quick = &slos[1];
    about(&quick["whole"]["attained"], 0.95, 1e-3);
    about(&quick["whole"]["budget_left"], 0.5, 0.01);
    about(&quick["whole"]["cold"]["p50"]["seconds"], 0.1 * 0.5 / 0.95, 0.01);
    // Beyond the last bound nothing is known but that.
    assert_eq!(quick["whole"]["cold"]["p99"]["above"], true);
}

#[tokio::test]
async fn without_rules_the_counters_of_agents_are_counted_through_restart_and_gap() {
    let end = last_hour();
    let past = Past::of(counters(end));
    let serving = past.serve(&[]).await;
    let flags = ["--to", &stamp(end), "-o", "json"];
    let told = report(serving.address, SLOS, &flags).await;
    assert_eq!(told.exit, Exit::Met, "{}{}", told.err, told.out);
    let report = told.json();
    holds(&report["slos"], 0.01);
    assert!(is_noted(&report["slos"][0], "Counted from the agents' own series"));
}

#[tokio::test]
async fn what_the_rules_record_of_them_comes_to_the_same() {
    let end = last_hour();
    let past = Past::of(counters(end));
    let slos = promised(SLOS, &Default::default()).expect("a good configuration");
    let parts = Parts { slos: true, records: false, alerts: false };
    let file = rules(&slos, RUNBOOKS, parts).to_file();
    past.evaluate(&file, (end - 40 * HOUR, end), 2).await;
    let serving = past.serve(&[]).await;
    let flags = ["--to", &stamp(end), "-o", "json"];
    let told = report(serving.address, SLOS, &flags).await;
    assert_eq!(told.exit, Exit::Met, "{}{}", told.err, told.out);
    let report = told.json();
    // Rules count an hour's ends twice: up to 2 %, as the documentation says; shares are the same.
    holds(&report["slos"], 0.025);
    assert!(!is_noted(&report["slos"][0], "Counted from the agents' own series"));
    // The hours of the time before that were recorded are compared with.
    assert_eq!(report["slos"][0]["whole"]["change"]["clear"], false);
}

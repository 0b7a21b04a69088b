//! Series as the rules of an SLO record them.

use meshprobe::cli::Exit;
use serde_json::Value;

use super::past::{Past, Samples, last_hour, stamp};
use super::{is_noted, report};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
pub(crate) const SLOS: &str = "slos:
- { name: peers, objective: 99.9%, window: 7d, sli: availability, group_by: [node] }
";

/// 14 days of three nodes with an attempt a second each. `n2` fails for two hours, two days ago;
/// nothing was recorded for five hours, four days ago.
pub(crate) fn two_weeks(end: i64) -> Samples {
    let mut samples = Samples::default();
    let gap = end - 4 * DAY..end - 4 * DAY + 5 * HOUR;
    let fault = end - 2 * DAY..end - 2 * DAY + 2 * HOUR;
    for (node, bad) in [("n1", 0.0001), ("n2", 0.0002), ("n3", 0.0)] {
        for at in
            (end - 14 * DAY..=end).step_by(300).filter(|at| !(gap.start + 1..gap.end).contains(at))
        {
            // What is counted at an instant is of the time before.
            let fails = node == "n2" && fault.contains(&(at - 1));
            let bad = if fails { 0.5 } else { bad };
            for (name, rate) in [("bad", bad), ("total", 1.0), ("inconclusive", 0.01)] {
                let series = |of: &str| {
                    format!("meshprobe:slo_{name}:{of}{{slo=\"peers\",node=\"{node}\"}}")
                };
                samples.add(&series("rate5m"), rate, at);
                samples.add(&series("increase1h"), rate * 3600.0, at);
            }
        }
        // Details are counted once an hour, at any time of it.
        for at in (end - 14 * DAY + 700..end).step_by(HOUR as usize).filter(|at| !gap.contains(at))
        {
            let zone = if node == "n3" { "b" } else { "a" };
            for (name, count) in [("bad", bad * 3600.0), ("total", 3600.0), ("inconclusive", 36.0)]
            {
                let series = format!(
                    "meshprobe:slo_node_{name}:increase1h{{slo=\"peers\",node=\"{node}\",zone=\"{zone}\"}}"
                );
                samples.add(&series, count, at);
            }
            for (le, count) in
                [("0.01", 1800.0), ("0.1", 3240.0), ("1.0", 3600.0), ("+Inf", 3600.0)]
            {
                let series = format!(
                    "meshprobe:slo_duration_seconds_bucket:increase1h{{slo=\"peers\",node=\"{node}\",connection=\"cold\",le=\"{le}\"}}"
                );
                samples.add(&series, count, at);
            }
            for (phase, seconds) in [("connect", 3.6), ("tls", 36.0)] {
                let series = |of: &str| {
                    format!(
                        "meshprobe:slo_phase_duration_seconds_{of}:increase1h{{slo=\"peers\",node=\"{node}\",phase=\"{phase}\"}}"
                    )
                };
                samples.add(&series("sum"), seconds, at);
                samples.add(&series("count"), 3600.0, at);
            }
        }
    }
    for at in (end - 14 * DAY..=end).step_by(300).filter(|at| !gap.contains(at)) {
        samples.add("meshprobe:slo_objective:ratio{slo=\"peers\"}", 0.999, at);
    }
    samples
}

#[track_caller]
fn near(told: &Value, expected: f64) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{told} is no number"));
    assert!((told - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{told} is not {expected}");
}

#[tokio::test]
async fn what_was_recorded_is_told_to_the_last_attempt() {
    let end = last_hour();
    let past = Past::of(two_weeks(end));
    let serving = past.serve(&[]).await;
    let (from, to) = (stamp(end - 7 * DAY), stamp(end));
    let flags = ["--from", &from, "--to", &to];
    let told = report(serving.address, SLOS, &[&flags[..], &["-o", "json"]].concat()).await;
    assert_eq!(told.exit, Exit::Violated, "{}", told.err);
    let slo = told.slo();

    // 168 hours less the gap, whose edges are hours that were counted.
    let hours = 168.0 - 4.0;
    near(&slo["whole"]["total"], 3.0 * hours * 3600.0);
    let bad = (0.0001 + 0.0002) * hours * 3600.0 + 2.0 * 3600.0 * (0.5 - 0.0002);
    near(&slo["whole"]["bad"], bad);
    near(&slo["whole"]["attained"], 1.0 - bad / (3.0 * hours * 3600.0));
    near(&slo["whole"]["inconclusive_share"], 0.01 / 1.01);
    near(&slo["whole"]["burn_rate_1h"], 0.0001 / 0.001);

    let groups = slo["groups"].as_array().expect("groups");
    let names: Vec<&str> = groups.iter().filter_map(|it| it["labels"][0].as_str()).collect();
    assert_eq!(names, ["n2", "n1", "n3"]);
    assert_eq!((&groups[0]["standing"], &groups[1]["standing"]), (&"missed".into(), &"met".into()));
    near(&groups[2]["budget_left"], 1.0);
    near(&groups[0]["cold"]["p50"]["seconds"], 0.01);
    near(&groups[0]["cold"]["p90"]["seconds"], 0.1);
    assert!(groups[0]["warm"].is_null(), "no attempt was warm");
    assert_eq!(groups[0]["slowest_phase"]["phase"], "tls");
    near(&groups[0]["slowest_phase"]["mean_seconds"], 0.01);
    assert_eq!(groups[0]["change"]["clear"], true);
    assert_eq!(groups[1]["change"]["clear"], false);

    assert_eq!((&slo["nodes"][0]["name"], &slo["nodes"][0]["zone"]), (&"n2".into(), &"a".into()));
    assert_eq!(slo["zones"][0]["name"], "a");
    let heat: f64 = sum(&slo["heat_map"]["columns"]);
    near(&heat.into(), 3.0 * 163.0 * 3600.0);

    let holes = slo["holes"].as_array().expect("holes");
    assert_eq!(holes.len(), 1, "{holes:?}");
    assert_eq!(holes[0]["from"], stamp(end - 4 * DAY));
    assert_eq!(holes[0]["to"], stamp(end - 4 * DAY + 5 * HOUR));
    assert_eq!(slo["spells"].as_array().map(Vec::len), Some(1), "{}", slo["spells"]);
    assert!(
        slo["sentence"]
            .as_str()
            .is_some_and(|it| it.contains("2 of 3 nodes keep it. Missed by n2."))
    );
    assert!(is_noted(&slo, "No controller was asked"));
}

fn sum(columns: &Value) -> f64 {
    let columns = columns.as_array().into_iter().flatten();
    let counts = columns.filter_map(|column| column["counts"].as_array());
    counts.flatten().filter_map(Value::as_f64).sum()
}

#[tokio::test]
async fn every_format_tells_the_same_and_html_needs_nothing_else() {
    let end = last_hour();
    let past = Past::of(two_weeks(end));
    let serving = past.serve(&[]).await;
    let (from, to) = (stamp(end - 7 * DAY), stamp(end));
    for format in ["table", "markdown", "html"] {
        let flags = ["--from", &from, "--to", &to, "-o", format];
        let told = report(serving.address, SLOS, &flags).await;
        assert_eq!(told.exit, Exit::Violated, "{}", told.err);
        for text in ["2 of 3 nodes keep it", "99.9 %", "n2", "tls (10.0 ms on average)"] {
            assert!(told.out.contains(text), "{format}: {text}\n{}", told.out);
        }
        if format == "html" {
            for loaded in ["<script", "<link", "<img", "src=", "url(", "@import", "href=\"http"] {
                assert!(!told.out.contains(loaded), "{loaded}");
            }
            assert_eq!(told.out.matches("<svg").count(), 3);
        }
    }
}

#[tokio::test]
async fn a_window_of_which_less_than_half_is_known_is_no_result() {
    let end = last_hour();
    let past = Past::of(two_weeks(end));
    let serving = past.serve(&[]).await;
    let slos = SLOS.replace("7d", "30d").replace("99.9%", "90%");
    let to = stamp(end);
    let told = report(serving.address, &slos, &["--to", &to, "-o", "json"]).await;
    assert_eq!(told.exit, Exit::Inconclusive, "{}", told.err);
    let slo = told.slo();
    assert_eq!(slo["standing"], "too_little_data");
    assert!(slo["whole"]["change"].is_null(), "nothing is known of the time before");
    assert!(
        slo["sentence"].as_str().is_some_and(|it| it.contains("only 45 % of the time")),
        "{slo}"
    );
}

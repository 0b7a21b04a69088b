//! What makes a report less than whole, or none.

use meshprobe::cli::Exit;

use super::past::{Past, Samples, last_hour, stamp};
use super::{is_noted, report, report_in};
use crate::real::support::{temp_dir, write_file};

const HOUR: i64 = 3600;
const SLOS: &str = "slos:
- { name: calls, objective: 90%, window: 1d, sli: availability, select: { target: t, node: 'n*' } }
";

fn attempts(samples: &mut Samples, times: std::ops::RangeInclusive<i64>) {
    let begin = *times.start();
    for at in times.step_by(60) {
        for (verdict, share) in [("met", 1.0), ("violated", 0.0), ("inconclusive", 0.5)] {
            let series = format!(
                "meshprobe_attempts_total{{node=\"n1\",vantage=\"plain\",probe=\"tcp\",target=\"t\",connection=\"cold\",verdict=\"{verdict}\"}}"
            );
            samples.add(&series, (at - begin) as f64 * share, at);
        }
    }
}

#[tokio::test]
async fn an_empty_prometheus_knows_nothing_and_says_what_is_missing() {
    let mut samples = Samples::default();
    samples.add("up", 1.0, last_hour());
    let past = Past::of(samples);
    let serving = past.serve(&[]).await;
    let told = report(serving.address, SLOS, &["-o", "json"]).await;
    assert_eq!(told.exit, Exit::Inconclusive, "{}", told.err);
    let slo = told.slo();
    assert_eq!(slo["standing"], "no_data");
    assert!(slo["whole"]["attained"].is_null() && slo["whole"]["budget_left"].is_null());
    assert!(is_noted(&slo, "neither meshprobe:slo_total:increase1h{slo=\"calls\"} nor"), "{slo}");
}

#[tokio::test]
async fn a_selector_that_matches_nothing_is_named() {
    let end = last_hour();
    let mut samples = Samples::default();
    attempts(&mut samples, end - 26 * HOUR..=end);
    let past = Past::of(samples);
    let serving = past.serve(&[]).await;
    let flags = ["--to", &stamp(end), "-o", "json"];
    let slos = SLOS.replace("target: t", "target: elsewhere");
    let told = report(serving.address, &slos, &flags).await;
    assert_eq!(told.exit, Exit::Inconclusive, "{}", told.err);
    let slo = told.slo();
    let named =
        "No agent tells of target as selected: meshprobe_attempts_total{target=\"elsewhere\"}";
    assert!(is_noted(&slo, named), "{slo}");
    assert!(!is_noted(&slo, "No agent tells of node"), "{slo}");

    let told = report(serving.address, SLOS, &flags).await;
    assert_eq!(told.exit, Exit::Met, "{}{}", told.err, told.out);
    assert!(is_noted(&told.slo(), "33.3 % of the attempts could not tell"), "{}", told.out);
}

#[tokio::test]
async fn samples_of_a_time_to_come_are_told_and_not_counted() {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let mut samples = Samples::default();
    attempts(&mut samples, now - 26 * HOUR..=now + 2 * HOUR);
    let past = Past::of(samples);
    let serving = past.serve(&[]).await;
    let told = report(serving.address, SLOS, &["-o", "json"]).await;
    let slo = told.slo();
    assert!(is_noted(&slo, "samples of a time that is to come"), "{slo}");
    let total = slo["whole"]["total"].as_f64().expect("a count");
    assert!((total - 86_400.0).abs() < 200.0, "{total}");
}

/// The password `test`, as Prometheus's own guide has it.
const WEB: &str = "basic_auth_users:
  admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay
";

#[tokio::test]
async fn a_prometheus_that_wants_a_password_gets_it() {
    let end = last_hour();
    let mut samples = Samples::default();
    attempts(&mut samples, end - 26 * HOUR..=end);
    let past = Past::of(samples);
    let dir = temp_dir();
    let web = write_file(&dir, "web.yml", WEB);
    let serving = past.serve(&[format!("--web.config.file={}", web.display())]).await;

    let told = report(serving.address, SLOS, &[]).await;
    assert_eq!(told.exit, Exit::CouldNotRun);
    assert!(told.err.contains("refused with status 401"), "{}", told.err);
    assert!(told.err.contains("--basic-auth-file"), "{}", told.err);

    let file = write_file(&dir, "password", "admin:test\n");
    let flags = ["--basic-auth-file", file.to_str().expect("UTF-8"), "--to", &stamp(end)];
    let told = report_in(&dir, serving.address, SLOS, &flags).await;
    assert_eq!(told.exit, Exit::Met, "{}{}", told.err, told.out);

    let file = write_file(&dir, "wrong", "admin");
    let flags = ["--basic-auth-file", file.to_str().expect("UTF-8")];
    let told = report_in(&dir, serving.address, SLOS, &flags).await;
    assert_eq!(told.exit, Exit::CouldNotRun);
    assert!(told.err.contains("must hold one line, USER:PASSWORD"), "{}", told.err);
}

#[tokio::test]
async fn a_prometheus_that_hangs_is_not_waited_for() {
    let mut samples = Samples::default();
    samples.add("up", 1.0, last_hour());
    let past = Past::of(samples);
    let serving = past.serve(&[]).await;
    serving.daemon.freeze();
    let told = report(serving.address, SLOS, &["--timeout", "1s", "--retries", "1"]).await;
    assert_eq!(told.exit, Exit::CouldNotRun);
    assert!(told.err.contains("no answer within 1s: is it overloaded?"), "{}", told.err);
}

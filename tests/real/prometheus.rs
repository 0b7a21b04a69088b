//! Prometheus: what it makes of what we expose.

pub(super) mod agent;
#[cfg(feature = "lab")]
mod alerts;
#[cfg(feature = "lab")]
mod dashboards;
pub(super) mod fixture;
mod observations;
#[cfg(feature = "lab")]
mod panels;
mod rules;
mod ztunnel;

use std::process::Command;
use std::time::Duration;

use super::support::{fetch, tool};
use fixture::{Prometheus, check_metrics};

/// How long a series may take from its target into an answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_series_that_was_scraped_can_be_asked_for() {
    let jobs = "- {job_name: self, static_configs: [{targets: ['{self}']}]}";
    let prometheus = Prometheus::start(jobs).await;
    let up = prometheus.one("up", |value| value == 1.0).await;
    assert_eq!(up.labels["job"], "self");
    let (status, body) = fetch(prometheus.address, "/metrics").await.expect("its own metrics");
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE"));
}

#[test]
fn promtool_accepts_a_good_exposition() {
    check_metrics("# HELP a_total Counts a.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n");
}

#[test]
#[should_panic(expected = "counter metrics should have")]
fn promtool_complaints_are_failures() {
    check_metrics("# HELP a Counts a.\n# TYPE a counter\na 1\n");
}

#[test]
fn the_scrape_configuration_that_we_ship_is_a_good_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus.yml");
    let check = Command::new(tool("promtool")).args(["check", "config", file]).output();
    let check = check.expect("promtool runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

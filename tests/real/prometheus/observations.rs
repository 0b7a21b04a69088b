//! What an agent saw, read back from a Prometheus that scrapes it and runs the rules that we ship.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::failure::Reason;
use meshprobe::net::Resolver;
use meshprobe::observation::{Expected, Observation};
use meshprobe::promql::{self, Unanswered};
use meshprobe::target::{ProbeKind, Vantage, Via};
use time::OffsetDateTime;

use super::agent::Agent;
use super::fixture::Prometheus;
use crate::real::support::{eventually, temp_dir, tool, write_file};

const RULES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/meshprobe/files/records.yaml");

fn reader(prometheus: &Prometheus) -> promql::Prometheus {
    let resolver = Arc::new(Resolver::with_nameservers(Vec::new(), Default::default()));
    let url = format!("http://{}/", prometheus.address);
    promql::Prometheus::new(&url, None, resolver).expect("a URL")
}

#[test]
fn the_recording_rules_that_we_ship_are_good_ones() {
    let check = Command::new(tool("promtool")).args(["check", "rules", RULES]).output();
    let check = check.expect("promtool runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[tokio::test]
async fn what_an_agent_saw_is_read_back_path_by_path() {
    let agent = Agent::start().await;
    let rules = std::fs::read_to_string(RULES).expect("it is there");
    let rules = rules.replace("interval: 15s", "interval: 1s");
    let prometheus = Prometheus::with_rules(&agent.job(), &rules).await;
    let reader = reader(&prometheus);
    let complete = |it: &Observation| {
        it.attempts >= 10 && (it.latency_seconds.is_some() || !it.reasons.is_empty())
    };
    let seen = eventually("both targets", super::PATIENCE, || async {
        let seen = reader.observations(OffsetDateTime::now_utc()).await.expect("an answer");
        (seen.observations.iter().filter(|it| complete(it)).count() == 2).then_some(seen)
    })
    .await;
    assert_eq!((seen.unread, seen.warnings.len()), (0, 0), "{seen:?}");
    let of = |name: &str| seen.observations.iter().find(|it| it.name() == name).expect("a path");
    let peer = of("peer");
    assert_eq!((peer.source_node.as_str(), peer.vantage), ("node-a", Some(Vantage::Plain)));
    assert_eq!((peer.target.as_str(), peer.probe), ("service/shop/web", ProbeKind::Http));
    assert_eq!((peer.destination_node.as_deref(), peer.via), (Some("node-b"), Some(Via::PodIp)));
    assert_eq!((peer.expect, peer.window_seconds), (Expected::Reply, 60));
    assert_eq!((peer.verdicts.met, peer.verdicts.violated), (peer.attempts, 0));
    let latency = peer.latency_seconds.expect("it succeeded");
    assert!(0.0 < latency.p50 && latency.p50 <= latency.p99 && latency.p99 < 2.0, "{latency:?}");
    let gone = of("gone");
    assert_eq!((gone.target.as_str(), gone.destination_node.as_deref()), ("gone", None));
    assert_eq!((gone.verdicts.met, gone.verdicts.violated), (0, gone.attempts));
    assert_eq!(gone.reasons.keys().collect::<Vec<_>>(), [&Reason::Refused]);
    assert_eq!(gone.latency_seconds, None);
}

#[tokio::test]
async fn what_keeps_an_answer_away_is_told() {
    let jobs = "- {job_name: self, static_configs: [{targets: ['{self}']}]}";
    let prometheus = Prometheus::start(jobs).await;
    let now = OffsetDateTime::now_utc();
    let scalar = reader(&prometheus).instant("1 + 1", now).await.expect("an answer");
    assert_eq!((scalar.samples.len(), scalar.samples[0].value), (1, 2.0));
    let wrong = reader(&prometheus).instant("sum(", now).await;
    assert!(matches!(&wrong, Err(Unanswered::Refused { status: 400, .. })), "{wrong:?}");
    let small = reader(&prometheus).within(Duration::from_secs(10), 16);
    let large = small.instant("1 + 1", now).await;
    assert!(matches!(&large, Err(Unanswered::Http(_))), "{large:?}");
    let unknown = reader(&prometheus).observations(now).await.expect("an answer");
    assert!(unknown.observations.is_empty(), "without the rules there is nothing: {unknown:?}");
    let dir = temp_dir();
    let token = dir.path().join("token");
    let resolver = Arc::new(Resolver::with_nameservers(Vec::new(), Default::default()));
    let url = format!("http://{}", prometheus.address);
    let with = promql::Prometheus::new(&url, Some(token.clone()), resolver).expect("a URL");
    let missing = with.instant("1", now).await;
    assert!(matches!(&missing, Err(Unanswered::Credentials { .. })), "{missing:?}");
    write_file(&dir, "token", "secret\n");
    with.instant("1", now).await.expect("a token is no hindrance");
    for url in ["https://prometheus", "http://user@prometheus", "prometheus:9090", "http://a/?b"] {
        let resolver = Arc::new(Resolver::with_nameservers(Vec::new(), Default::default()));
        assert!(promql::Prometheus::new(url, None, resolver).is_err(), "{url}");
    }
}

//! The agent as users run it, scraped as users scrape it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tempfile::TempDir;

use super::fixture::{Prometheus, check_metrics};
use crate::real::support::{Daemon, eventually, fetch, free_port, temp_dir, write_file};

/// The `meshprobe` binary with two targets: its own responder, and a port where nothing listens.
pub(crate) struct Agent {
    admin: SocketAddr,
    responder: SocketAddr,
    gone: SocketAddr,
    _daemon: Daemon,
    _dir: TempDir,
}

impl Agent {
    pub(crate) async fn start() -> Self {
        let [admin, responder, gone] =
            std::array::from_fn(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let config = format!(
            "node: node-a\nzone: zone-1\nvantage: plain\n\
             admin: {{listen: '{admin}'}}\n\
             responder: {{listen: ['{responder}']}}\n\
             defaults: {{interval: 200ms, timeout: 2s}}\n\
             modules:\n  web: {{http: {{}}, expect: status 2xx}}\n  port: {{tcp: {{}}}}\n\
             targets:\n\
             - {{name: peer, address: 'http://{responder}/', module: web, via: pod_ip,\n   \
               subject: service/shop/web, destination_node: node-b}}\n\
             - {{name: gone, address: '{gone}', module: port}}\n"
        );
        let dir = temp_dir();
        let config = write_file(&dir, "agent.yaml", config);
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
        command.arg("agent").arg("--config").arg(config);
        let daemon = Daemon::start_when(command, || async move {
            fetch(admin, "/readyz").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        Self { admin, responder, gone, _daemon: daemon, _dir: dir }
    }

    /// The job that scrapes `/metrics`.
    pub(crate) fn job(&self) -> String {
        format!("- {{job_name: agent, static_configs: [{{targets: ['{}']}}]}}\n", self.admin)
    }
}

#[tokio::test]
async fn attempts_verdicts_and_latencies_can_be_asked_for() {
    let agent = Agent::start().await;
    let prometheus = Prometheus::start(&agent.job()).await;
    prometheus.one("up{job='agent'}", |up| up == 1.0).await;
    let attempts = |target, verdict| {
        format!("sum(meshprobe_attempts_total{{target='{target}',verdict='{verdict}'}})")
    };
    prometheus.one(&attempts("peer", "met"), |count| count >= 5.0).await;
    prometheus.one(&attempts("peer", "violated"), |count| count == 0.0).await;
    prometheus.one(&attempts("gone", "violated"), |count| count >= 5.0).await;
    let refused = "meshprobe_failures_total{target='gone',phase='connect',reason='refused'}";
    let sample = prometheus.one(refused, |count| count >= 5.0).await;
    assert_eq!(sample.labels["node"], "node-a");
    assert_eq!(sample.labels["zone"], "zone-1");
    assert_eq!(sample.labels["vantage"], "plain");
    let median = |phase| {
        let buckets =
            format!("meshprobe_phase_duration_seconds_bucket{{target='peer',phase='{phase}'}}");
        format!("histogram_quantile(0.5, sum by (le) (rate({buckets}[1m])))")
    };
    for phase in ["connect", "processing", "transfer"] {
        prometheus.one(&median(phase), |seconds| seconds > 0.0 && seconds < 2.0).await;
    }
    let absent = "meshprobe_phase_duration_seconds_count";
    for none in ["target='gone'", "target='peer',phase='tls'", "target='peer',phase='resolve'"] {
        let samples = prometheus.query(&format!("{absent}{{{none}}}")).await;
        assert!(samples.is_empty(), "no latency of what did not run: {samples:?}");
    }
    prometheus.one("meshprobe_build_info", |one| one == 1.0).await;
    prometheus.one("meshprobe_config_last_reload_successful", |one| one == 1.0).await;
    let served = "meshprobe_responder_requests_total";
    prometheus.one(served, |count| count >= 5.0).await;
}

#[tokio::test]
async fn probe_can_be_scraped_as_a_blackbox_exporter_is() {
    let agent = Agent::start().await;
    let jobs = format!(
        "- job_name: blackbox\n  metrics_path: /probe\n  params: {{module: [web]}}\n  \
           static_configs: [{{targets: ['http://{}/', 'http://{}/']}}]\n  \
           relabel_configs:\n  \
           - {{source_labels: [__address__], target_label: __param_target}}\n  \
           - {{source_labels: [__param_target], target_label: instance}}\n  \
           - {{target_label: __address__, replacement: '{}'}}\n",
        agent.responder, agent.gone, agent.admin
    );
    let prometheus = Prometheus::start(&jobs).await;
    let of = |metric: &str, address| format!("{metric}{{instance='http://{address}/'}}");
    prometheus.one(&of("probe_success", agent.responder), |value| value == 1.0).await;
    prometheus.one(&of("probe_http_status_code", agent.responder), |code| code == 200.0).await;
    let took = of("probe_duration_seconds", agent.responder);
    prometheus.one(&took, |seconds| seconds > 0.0 && seconds < 2.0).await;
    prometheus.one(&of("probe_success", agent.gone), |value| value == 0.0).await;
    let failure = prometheus.one(&of("probe_failure_info", agent.gone), |one| one == 1.0).await;
    assert_eq!(failure.labels["phase"], "connect");
    assert_eq!(failure.labels["reason"], "refused");
    // A failed probe is a good scrape.
    prometheus.one(&of("up", agent.gone), |up| up == 1.0).await;
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let agent = Agent::start().await;
    let metrics = eventually("attempts of both targets", super::PATIENCE, || async {
        let (status, metrics) = fetch(agent.admin, "/metrics").await?;
        let both = metrics.contains("reason=\"refused\"") && metrics.contains("_bucket{");
        (status == 200 && both).then_some(metrics)
    })
    .await;
    check_metrics(&metrics);
    let (port, web) = (agent.gone, agent.responder);
    for query in [
        format!("module=web&target=http://{web}/"),
        format!("module=web&target=http://{web}/nothing"),
        format!("module=web&target=http://{port}/"),
        format!("module=port&target={port}"),
        format!("module=port&target={web}"),
    ] {
        let path = format!("/probe?{query}");
        let (status, metrics) = fetch(agent.admin, &path).await.expect("an answer");
        assert_eq!(status, 200, "{query}: {metrics}");
        assert!(metrics.contains("\nprobe_success "), "{query}: {metrics}");
        check_metrics(&metrics);
    }
}

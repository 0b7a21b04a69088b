//! From a fault in the mesh to whoever is woken by it: the lab's agents, a Prometheus with the rules
//! that we ship, as they are, an Alertmanager, and the receiver of its webhook. And the report of
//! the same Prometheus.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use meshprobe::config::promised;
use meshprobe::rules::{Parts, RUNBOOKS, rules};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::dashboards::jobs;
use super::fixture::Prometheus;
use crate::real::process::Lab;
use crate::real::report::report;
use crate::real::support::{Daemon, eventually, fetch, free_port, temp_dir, tool, write_file};

/// The fault comes when everything was seen whole; the alert needs it to last for a minute.
const FAULT: &str = "ztunnel-dead/node-2@45s";
const PATIENCE: Duration = Duration::from_secs(240);
/// A report is of whole 5 minutes.
const REPORTED: Duration = Duration::from_secs(480);
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/controller.yaml");

/// Keeps the alerts that an Alertmanager posts to it.
struct Pager {
    address: SocketAddr,
    alerts: Arc<Mutex<Vec<Value>>>,
    _stop: DropGuard,
}

impl Pager {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let alerts = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let kept = Arc::clone(&alerts);
        let answer = move |request: Request<Incoming>| {
            let kept = Arc::clone(&kept);
            async move {
                let body = request.into_body().collect().await.expect("a whole body").to_bytes();
                let told: Value = serde_json::from_slice(&body).expect("JSON");
                let told = told["alerts"].as_array().expect("a list").clone();
                kept.lock().expect("no panic while held").extend(told);
                Response::new(Full::new(Bytes::new()).map_err(|never: Infallible| match never {}))
            }
        };
        tokio::spawn(meshprobe::net::http::serve(
            listener,
            64,
            answer,
            stop.clone(),
            TaskTracker::new(),
        ));
        Self { address, alerts, _stop: stop.drop_guard() }
    }

    /// What it was told of alerts of that name.
    fn told(&self, name: &str) -> Vec<Value> {
        let alerts = self.alerts.lock().expect("no panic while held");
        alerts.iter().filter(|alert| alert["labels"]["alertname"] == name).cloned().collect()
    }
}

/// A running Alertmanager that passes on what it is told within a second.
struct Alertmanager {
    address: SocketAddr,
    _daemon: Daemon,
    _dir: TempDir,
}

impl Alertmanager {
    async fn start(pager: SocketAddr) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let dir = temp_dir();
        let config = format!(
            "route: {{receiver: pager, group_by: ['...'], group_wait: 0s, group_interval: 1s}}\n\
             receivers: [{{name: pager, webhook_configs: [{{url: 'http://{pager}/'}}]}}]\n"
        );
        let config = write_file(&dir, "alertmanager.yaml", config);
        let mut command = Command::new(tool("prometheus-alertmanager"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        // Alone: no other is looked for.
        command.args(["--cluster.listen-address=", "--log.level=warn"]);
        let daemon = Daemon::start_when(command, || async move {
            fetch(address, "/-/ready").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        Self { address, _daemon: daemon, _dir: dir }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_wakes_somebody_with_its_name_and_is_in_the_report() {
    let slos = std::fs::read_to_string(CONFIG).expect("it is there");
    let promised = promised(&slos, &Default::default()).expect("a good configuration");
    let rules = rules(&promised, RUNBOOKS, Parts::ALL).to_file();
    let pager = Pager::start().await;
    let alertmanager = Alertmanager::start(pager.address).await;
    let lab =
        Lab::start(&["--nodes", "3", "--duration", "900s", "--time-scale", "10", "--fault", FAULT]);
    let prometheus = Prometheus::alerting(&jobs(&lab), &rules, alertmanager.address).await;

    // Seen whole, and nobody is told of anything critical.
    prometheus
        .one("count(count by (node, vantage) (meshprobe_attempts_total))", |agents| agents == 6.0)
        .await;
    let refused = "meshprobe_failures_total{vantage=\"ambient\",node=\"node-2\",phase=\"connect\",reason=\"refused\"}";
    assert_eq!(prometheus.query(refused).await.len(), 0, "the fault has not come yet");
    assert_eq!(pager.told("MeshprobeOwnZtunnelRefused"), [Value::Null; 0]);

    let alert = eventually("an alert", PATIENCE, || async {
        pager.told("MeshprobeOwnZtunnelRefused").into_iter().next()
    })
    .await;
    assert_eq!(alert["status"], "firing");
    assert_eq!(alert["labels"]["node"], "node-2");
    assert_eq!(alert["labels"]["severity"], "critical");
    let annotations = &alert["annotations"];
    assert_eq!(annotations["summary"], "On node-2 ambient pods are refused wherever they go");
    let runbook = annotations["runbook_url"].as_str().expect("a link");
    let runbook = runbook.strip_prefix(RUNBOOKS).expect("in our runbooks").trim_start_matches('/');
    let file = format!("{}/docs/runbooks/{runbook}", env!("CARGO_MANIFEST_DIR"));
    assert!(std::fs::read_to_string(&file).expect(&file).contains("MeshprobeOwnZtunnelRefused"));
    let others = pager.told("MeshprobeOwnZtunnelRefused");
    assert!(others.iter().all(|other| other["labels"]["node"] == "node-2"), "{others:?}");

    let flags = ["--slo", "mesh-peers", "--from", "5m", "--server", &lab.url, "-o", "json"];
    let slo = eventually("a report with the fault", REPORTED, || async {
        let slo = report(prometheus.address, &slos, &flags).await.slo();
        let worst = slo["groups"][0]["labels"][0] == "node-2";
        let known = slo["incidents"][0]["bad"].as_f64().is_some_and(|bad| bad > 0.0);
        (worst && known).then_some(slo)
    })
    .await;
    let incident = &slo["incidents"][0];
    assert_eq!(incident["component"], "ztunnel/node-2", "{incident}");
    assert_eq!(incident["fault"], "dead", "{incident}");
}

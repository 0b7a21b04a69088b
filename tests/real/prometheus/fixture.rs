//! A Prometheus with the scrape jobs of one test, and its HTTP API.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use url::form_urlencoded;

use super::PATIENCE;
use crate::real::support::{Daemon, eventually, fetch, free_port, temp_dir, tool, write_file};

/// A running Prometheus.
pub(crate) struct Prometheus {
    /// Of its own web server.
    pub(crate) address: SocketAddr,
    _daemon: Daemon,
    _dir: TempDir,
}

/// One series of an answer: its labels and its value now.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Value,
    pub(crate) value: f64,
}

impl Prometheus {
    /// Starts Prometheus; `jobs` is the YAML list below `scrape_configs`. It scrapes twice a
    /// second. `{self}` in the jobs is its own address.
    pub(crate) async fn start(jobs: &str) -> Self {
        Self::with_rules(jobs, "groups: []").await
    }

    /// The same, with a rule file.
    pub(crate) async fn with_rules(jobs: &str, rules: &str) -> Self {
        Self::configured(jobs, rules, "").await
    }

    /// The same, which tells the Alertmanager at `alertmanager` of what fires.
    pub(crate) async fn alerting(jobs: &str, rules: &str, alertmanager: SocketAddr) -> Self {
        let told = format!("[{{static_configs: [{{targets: ['{alertmanager}']}}]}}]");
        Self::configured(jobs, rules, &format!("alerting: {{alertmanagers: {told}}}")).await
    }

    async fn configured(jobs: &str, rules: &str, more: &str) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let dir = temp_dir();
        let jobs = jobs.replace("{self}", &address.to_string());
        let rules = write_file(&dir, "rules.yaml", rules);
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n{more}\nscrape_configs:\n{jobs}",
            rules.display()
        );
        let config = write_file(&dir, "prometheus.yml", config);
        let mut command = Command::new(tool("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--log.level=warn");
        let daemon = Daemon::start_when(command, || async move {
            fetch(address, "/-/ready").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        Self { address, _daemon: daemon, _dir: dir }
    }

    /// What `expression` is now; empty while nothing was scraped that it speaks of.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Sample> {
        let query: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let path = format!("/api/v1/query?query={query}");
        let (status, body) = fetch(self.address, &path).await.expect("a live Prometheus");
        assert_eq!(status, 200, "{expression}: {body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let result = body["data"]["result"].as_array().expect("a vector");
        let sample = |series: &Value| Sample {
            labels: series["metric"].clone(),
            value: series["value"][1].as_str().expect("a value").parse().expect("a number"),
        };
        result.iter().map(sample).collect()
    }

    /// Waits until `expression` gives one series whose value `good` accepts.
    pub(crate) async fn one(&self, expression: &str, good: impl Fn(f64) -> bool) -> Sample {
        eventually(expression, PATIENCE, || async {
            let mut samples = self.query(expression).await;
            let sample = samples.pop().filter(|sample| good(sample.value))?;
            assert!(samples.is_empty(), "{expression} is more than one series: {samples:?}");
            Some(sample)
        })
        .await
    }
}

/// Lets `promtool check metrics` judge an exposition; panics with its complaints.
pub(crate) fn check_metrics(exposition: &str) {
    let mut child = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(exposition.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("our own child");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}\n---\n{exposition}");
}

//! A controller that reads from a real Prometheus what agents saw, asking none of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::chart::mesh;
use super::controlled::Controlled;
use super::support::{Daemon, eventually, fetch, free_port, temp_dir, tool, write_file};

/// Two minutes until a minute is whole and settled, three more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const RULES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/meshprobe/files/records.yaml");

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

#[tokio::test]
async fn what_a_prometheus_tells_is_concluded_from_as_what_agents_tell() {
    let dir = temp_dir();
    let [admin, gone, address] = std::array::from_fn(|_| loopback());
    let agent = format!(
        "node: node-0\nvantage: plain\nadmin: {{ listen: '{admin}' }}\n\
         defaults: {{ interval: 500ms, timeout: 1s }}\ntargets:\n\
         - {{ name: gone, subject: service/shop/web, destination_node: node-1, address: '{gone}', tcp: {{}} }}\n"
    );
    let agent = write_file(&dir, "agent.yaml", agent);
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    command.arg("agent").arg("--config").arg(agent);
    let _agent = Daemon::start(command, admin).await;

    let jobs = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nrule_files: ['{RULES}']\n\
         scrape_configs:\n- {{ job_name: agent, static_configs: [{{ targets: ['{admin}'] }}] }}\n"
    );
    let jobs = write_file(&dir, "prometheus.yml", jobs);
    let mut command = Command::new(tool("prometheus"));
    command.arg(format!("--config.file={}", jobs.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
    let _prometheus = Daemon::start(command, address).await;

    let (plane, _) = mesh(2).await;
    let source = format!("prometheus=http://{address}");
    let controlled = Controlled::start_from(&plane, &["--source", &source]).await;
    let report = eventually("a broken path", PATIENCE, || async {
        let (_, body) = fetch(controlled.api(), "/v1/diagnoses").await?;
        let report: Value = serde_json::from_str(&body).expect("JSON");
        (report["broken_paths"] == 1).then_some(report)
    })
    .await;
    assert_eq!(report["agents"], 1, "{report:#}");
    // Of the part of a minute for which it was there, at the least.
    assert!(report["conclusive_attempts"].as_u64() >= Some(3), "{report:#}");
}

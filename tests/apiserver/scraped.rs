//! A controller and a real Prometheus: reading there what agents saw, asking none of them; and being
//! scraped, for the dashboards.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use url::form_urlencoded;

use super::chart::mesh;
use super::controlled::Controlled;
use super::net::{isolated, run};
use super::panels::asked;
use super::support::{Daemon, eventually, fetch, free_port, temp_dir, tool, write_file};

/// Two minutes until a minute is whole and settled, three more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const RULES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/meshprobe/files/records.yaml");

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// A Prometheus at `address` that scrapes `targets` every second.
async fn prometheus(
    dir: &TempDir,
    address: SocketAddr,
    rules: &str,
    targets: &[SocketAddr],
) -> Daemon {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let jobs = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nrule_files: ['{rules}']\n\
         scrape_configs:\n- {{ job_name: meshprobe, static_configs: [{{ targets: {targets:?} }}] }}\n"
    );
    let jobs = write_file(dir, "prometheus.yml", jobs);
    let mut command = Command::new(tool("prometheus"));
    command.arg(format!("--config.file={}", jobs.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
    Daemon::start(command, address).await
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

    let _prometheus = prometheus(&dir, address, RULES, &[admin]).await;

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
    let (_, seen) = fetch(controlled.api(), "/v1/nodes/node-0").await.expect("an answer");
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    let agents = seen["nodes"][0]["agents"].as_array().expect("agents");
    let plain = agents.iter().find(|it| it["vantage"] == "plain").expect("it is there");
    assert_eq!((&plain["link"], &plain["revision"]), (&"lost".into(), &Value::Null), "{plain:#}");
    assert!(plain["silent_seconds"].is_u64(), "{plain:#}");
    assert_eq!(plain["rows"][0]["row"], "gone", "{plain:#}");
    let (_, page) = fetch(controlled.api(), "/node?name=node-0").await.expect("an answer");
    assert!(page.contains("The plain agent was heard"), "{page}");
    assert!(page.contains("The ambient agent was never heard"), "{page}");
    // Of the part of a minute for which it was there, at the least.
    assert!(report["conclusive_attempts"].as_u64() >= Some(3), "{report:#}");

    let asked = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["report", "slo", "--server", &controlled.server(), "-o", "json"])
        .output()
        .expect("the binary");
    assert_eq!(asked.status.code(), Some(2), "{}", String::from_utf8_lossy(&asked.stderr));
    let told: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    let slo = &told["slos"][0];
    assert!(slo["whole"]["total"].as_f64() >= Some(3.0), "{slo:#}");
    assert_eq!(
        (&slo["whole"]["attained"], &slo["nodes"][0]["name"]),
        (&0.0.into(), &"node-0".into())
    );
    assert_eq!(
        (&slo["groups"][0]["labels"][0], &slo["standing"]),
        (&"node-0".into(), &"missed".into())
    );
    assert!(slo["sentence"].as_str().is_some_and(|it| it.starts_with("In the last ")), "{slo:#}");
}

/// Nothing leaves it: the plan names pods that are nowhere.
#[test]
fn every_panel_of_plans_and_controllers_shows_something() {
    let name = "apiserver::scraped::every_panel_of_plans_and_controllers_shows_something";
    isolated(name, async || {
        run("ip link set lo up");
        plans_and_controllers_are_shown().await;
    });
}

/// What only a controller, and an agent that is connected to it, can fill; the lab fills the rest.
async fn plans_and_controllers_are_shown() {
    let dir = temp_dir();
    let [admin, address] = std::array::from_fn(|_| loopback());
    let (plane, _) = mesh(2).await;
    let controlled = Controlled::start(&plane).await;
    let agent = format!(
        "node: node-0\nvantage: plain\nadmin: {{ listen: '{admin}' }}\n\
         controller: {{ {} }}\n\
         mesh: {{ istiod: '127.0.0.1:1' }}\ntargets: []\n",
        controlled.address_and_key()
    );
    let agent = write_file(&dir, "agent.yaml", agent);
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    command.arg("agent").arg("--config").arg(agent);
    for (key, value) in [
        ("NAME", "meshprobe-agent-0"),
        ("NAMESPACE", "meshprobe-plain"),
        ("SERVICE_ACCOUNT", "meshprobe-agent"),
        ("IP", "127.0.0.1"),
    ] {
        command.env(format!("MESHPROBE_POD_{key}"), value);
    }
    let _agent = Daemon::start(command, admin).await;
    let _prometheus = prometheus(&dir, address, RULES, &[admin, controlled.api()]).await;

    let all = asked();
    let of_controllers = |row: &str| ["Plans", "Controllers"].contains(&row);
    let wanted: Vec<_> = all.iter().filter(|it| of_controllers(&it.row)).collect();
    assert!(wanted.len() > 20, "{}", wanted.len());
    // `or vector(0)` would hide that there is nothing: what is read must be there as well.
    let read = wanted.iter().flat_map(|it| it.selectors());
    let expressions = wanted.iter().map(|it| it.expression.clone());
    for expression in read.chain(expressions) {
        let query: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let path = format!("/api/v1/query?query={query}");
        eventually(&expression, PATIENCE, || async {
            let (status, body) = fetch(address, &path).await?;
            assert_eq!(status, 200, "{body}");
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let series = body["data"]["result"].as_array().expect("a vector");
            let number = |it: &&Value| it["value"][1].as_str().is_some_and(|it| it != "NaN");
            (series.iter().filter(number).count() > 0).then_some(())
        })
        .await;
    }
}

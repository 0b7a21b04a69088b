//! Agents that their own machine starves, beside a mesh that is well: whatever they tell, nobody
//! but they themselves may be accused.
#![cfg(feature = "lab")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long the agents have a core before it is taken from them, and for how long that is.
const RUNS: Duration = Duration::from_millis(60);
const WAITS: Duration = Duration::from_millis(440);
/// How often: as long as some windows are.
const TIMES: usize = 50;
/// For what has to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the binary"))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: agent\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

/// Waits until `found` finds something.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} after {PATIENCE:?}");
        sleep(Duration::from_millis(100));
    }
}

/// Where the agent of the configuration at `path` tells what it saw.
fn admin(path: &Path) -> SocketAddr {
    until("configuration", || {
        let text = std::fs::read_to_string(path).ok()?;
        let rest = text.split_once("admin: { listen: \"")?.1;
        rest.split_once('"')?.0.parse().ok()
    })
}

fn window(address: SocketAddr) -> Option<Vec<Value>> {
    serde_json::from_str(&get(address, "/v1/window").ok()?).ok()
}

/// Attempts of `windows` with that verdict.
fn attempts(windows: &[Value], verdict: &str) -> u64 {
    windows.iter().filter_map(|window| window["verdicts"][verdict].as_u64()).sum()
}

#[test]
fn starved_agents_accuse_nobody_but_themselves() {
    let directory = tempfile::tempdir().expect("a directory");
    let home = directory.path().to_str().expect("UTF-8");
    let _lab = Process::start(&["lab", "--nodes", "3", "--interval", "200ms", "--export", home]);
    let sides = ["ambient", "plain"];
    let configs = sides.map(|side| directory.path().join(format!("node-1-{side}.yaml")));
    let addresses = [admin(&configs[0]), admin(&configs[1])];
    let agents = configs
        .each_ref()
        .map(|config| Process::start(&["agent", "--config", config.to_str().expect("UTF-8")]));
    for address in addresses {
        until("attempt", || window(address).filter(|windows| attempts(windows, "met") > 50));
    }
    for _ in 0..TIMES {
        agents.iter().for_each(|agent| agent.signal(Signal::SIGSTOP));
        sleep(WAITS);
        agents.iter().for_each(|agent| agent.signal(Signal::SIGCONT));
        sleep(RUNS);
    }
    let told: Vec<Value> =
        addresses.iter().flat_map(|address| until("window", || window(*address))).collect();
    assert!(attempts(&told, "inconclusive") > 50, "they were not starved: {told:#?}");

    let lines: String = told.iter().map(|window| format!("{window}\n")).collect();
    let (observations, topology) =
        (directory.path().join("observations.jsonl"), directory.path().join("topology.json"));
    std::fs::write(&observations, lines).expect("writable");
    let nodes = (1..=3).map(|n| serde_json::json!({"name": format!("node-{n}")}));
    let nodes = serde_json::json!({"nodes": nodes.collect::<Vec<_>>()});
    std::fs::write(&topology, nodes.to_string()).expect("writable");
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["diagnose", "-o", "json", "--observations"])
        .arg(&observations)
        .arg("--topology")
        .arg(&topology)
        .output()
        .expect("the binary");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let accused = report["diagnoses"].as_array().expect("a list");
    let accused: Vec<&str> =
        accused.iter().filter_map(|diagnosis| diagnosis["component"].as_str()).collect();
    let others: Vec<_> = accused.iter().filter(|name| !name.starts_with("agent/")).collect();
    assert!(others.is_empty(), "{others:?} of {report:#}");
}

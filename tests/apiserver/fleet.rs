//! A large cluster: 5,000 nodes with two agents each, in the real API server, followed by discovery
//! alone and by a controller.
//!
//! Says what it took; `make test-cluster` shows it.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::chart::{AGENTS, mesh, workload};
use super::controlled::Controlled;
use super::objects::{api_of, delete, node, pod_of, running};
use super::seed::{ZONES, node_name};
use super::watching::Watching;

const NODES: usize = 5_000;
/// The seed cluster, applications and control plane included, is on the first ones.
const FIRST: usize = 2;
/// Requests at a time.
const AT_ONCE: usize = 32;
/// Ticks of proc(5) in a second, on every architecture of today.
const USER_HZ: f64 = 100.0;
/// What the chart lets a controller have.
const MEMORY_LIMIT_KIB: u64 = 512 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_nodes_and_their_agents_are_followed() {
    let (plane, client) = mesh(FIRST).await;
    let started = Instant::now();
    populate(&client).await;
    say(&format!("{NODES} nodes and {} agents written in {:.1?}", 2 * NODES, started.elapsed()));

    let (before, began) = (Usage::of("self"), Instant::now());
    let mut watching = Watching::start(&plane).await;
    let cluster = watching.until("all of it", |it| it.agents.len() == 2 * NODES).await;
    assert_eq!(cluster.nodes.len(), NODES);
    let all = Usage::of("self");
    let grown = all.peak_kib - before.resident_kib;
    let cpu = all.cpu_seconds - before.cpu_seconds;
    let took = began.elapsed();
    say(&format!("discovery: whole after {took:.1?}, {cpu:.1} s of CPU, {grown} KiB at most"));
    assert!(grown < MEMORY_LIMIT_KIB, "beyond the chart's limit");

    let began = Instant::now();
    delete(&client, &node(&node_name(NODES - 1), ZONES[0], true)).await;
    watching.until("that one left", |it| it.nodes.len() == NODES - 1).await;
    say(&format!("discovery: a node's leaving is seen after {:.1?}", began.elapsed()));
    drop(watching);

    let began = Instant::now();
    let controlled = Controlled::start(&plane).await;
    let last = node_name(NODES - 2);
    let told = controlled.nodes(&format!("/v1/nodes/{last}")).await;
    assert_eq!(told["nodes"][0]["name"], json!(last), "{told}");
    assert_eq!(told["nodes"][0]["agents"].as_array().map(Vec::len), Some(2), "{told}");
    let usage = Usage::of(&controlled.daemon.id().to_string());
    let (took, cpu, peak) = (began.elapsed(), usage.cpu_seconds, usage.peak_kib);
    say(&format!("controller: ready after {took:.1?}, {cpu:.1} s of CPU, {peak} KiB at most"));
    assert!(peak < MEMORY_LIMIT_KIB, "beyond the chart's limit");
}

/// All nodes but the first, with both agents on each.
async fn populate(client: &Client) {
    let mut daemon_sets = Vec::new();
    for (namespace, host) in AGENTS {
        let daemon_set = workload(client, "DaemonSet", namespace, "meshprobe-agent").await;
        daemon_sets.push((daemon_set, host));
    }
    let daemon_sets = &daemon_sets;
    stream::iter(FIRST..NODES)
        .for_each_concurrent(AT_ONCE, |index| async move {
            create(client, &node(&node_name(index), ZONES[index % ZONES.len()], true)).await;
            for (daemon_set, host) in daemon_sets {
                let name = format!("meshprobe-agent-{index}");
                let pod = pod_of(daemon_set, &name, &node_name(index));
                create(client, &pod).await;
                let ip = format!("10.{}.{}.{host}", 100 + index / 250, index % 250);
                let status = Patch::Merge(json!({ "status": running(&ip) }));
                let api = api_of(client, &pod);
                let patched = api.patch_status(&name, &PatchParams::default(), &status).await;
                patched.unwrap_or_else(|error| panic!("status of {name}: {error}"));
            }
        })
        .await;
}

/// Costs the API server less than an apply does.
async fn create(client: &Client, object: &Value) {
    let bare = serde_json::from_value(object.clone()).expect("an object");
    let created = api_of(client, object).create(&PostParams::default(), &bare).await;
    created.unwrap_or_else(|error| panic!("{object}: {error}"));
}

/// What a process has used.
struct Usage {
    resident_kib: u64,
    /// Since the process began.
    peak_kib: u64,
    /// Of all threads, in user and kernel mode.
    cpu_seconds: f64,
}

impl Usage {
    /// Of a process by its number, or of `self`.
    fn of(process: &str) -> Self {
        let read =
            |file| std::fs::read_to_string(format!("/proc/{process}/{file}")).expect("procfs");
        let status = read("status");
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("proc(5)");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        // utime and stime, the 14th and 15th field; the second is a name in brackets.
        let stat = read("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let ticks = fields.split(' ').skip(11).take(2).map(|it| it.parse::<f64>().expect("ticks"));
        let cpu_seconds = ticks.sum::<f64>() / USER_HZ;
        Self { resident_kib: kib("VmRSS:"), peak_kib: kib("VmHWM:"), cpu_seconds }
    }
}

#[allow(clippy::print_stdout, reason = "these are figures to read, shown by --nocapture")]
fn say(what: &str) {
    println!("fleet: {what}");
}

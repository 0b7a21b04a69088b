//! Discovery in a large cluster: 5,000 nodes with two agents each, in the real API server.
//!
//! Says what it took; `make test-cluster` shows it.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::chart::{AGENTS, mesh, workload};
use super::objects::{api_of, delete, node, pod_of, running};
use super::seed::{ZONES, node_name};
use super::watching::Watching;

const NODES: usize = 5_000;
/// The seed cluster, applications and control plane included, is on the first ones.
const FIRST: usize = 2;
/// Requests at a time.
const AT_ONCE: usize = 32;
/// What the chart lets a controller have.
const MEMORY_LIMIT_KIB: u64 = 512 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_nodes_and_their_agents_are_followed() {
    let (plane, client) = mesh(FIRST).await;
    let started = Instant::now();
    populate(&client).await;
    say(&format!("{NODES} nodes and {} agents written in {:.1?}", 2 * NODES, started.elapsed()));

    let (before, started) = (Usage::now(), Instant::now());
    let mut watching = Watching::start(&plane).await;
    let cluster = watching.until("all of it", |it| it.agents.len() == 2 * NODES).await;
    assert_eq!(cluster.nodes.len(), NODES);
    let all = Usage::now();
    say(&format!(
        "first snapshot after {:.1?}: {:.1} s of CPU, {} KiB more resident at most",
        started.elapsed(),
        all.cpu_seconds - before.cpu_seconds,
        all.peak_kib - before.resident_kib,
    ));
    assert!(all.peak_kib - before.resident_kib < MEMORY_LIMIT_KIB, "beyond the chart's limit");

    let left = Instant::now();
    delete(&client, &node(&node_name(NODES - 1), ZONES[0], true)).await;
    watching.until("that one left", |it| it.nodes.len() == NODES - 1).await;
    say(&format!("a node's leaving is in a snapshot after {:.1?}", left.elapsed()));
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

/// What this process has used: discovery runs in it, beside the few objects of the test.
struct Usage {
    resident_kib: u64,
    /// Since the process began.
    peak_kib: u64,
    cpu_seconds: f64,
}

impl Usage {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("proc(5)");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Self { resident_kib: kib("VmRSS:"), peak_kib: kib("VmHWM:"), cpu_seconds: cpu_seconds() }
    }
}

/// Of all threads, in user and kernel mode.
fn cpu_seconds() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.expect("it is our own");
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

#[allow(clippy::print_stdout, reason = "these are figures to read, shown by --nocapture")]
fn say(what: &str) {
    println!("fleet: {what}");
}

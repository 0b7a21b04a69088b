//! What a page of a large fleet takes: the time of the server, and bytes.
//!
//! `cargo bench --bench page [-- NODES]`, 1,000 by default: two agents a node, ten peers, 30 windows
//! of each path. Bars: 300 ms and 500 kB a page.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/page/fleet.rs"]
mod fleet;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use http_body_util::BodyExt;
use meshprobe::gate::Scope;
use meshprobe::page::Pages;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use fleet::Fleet;

const NODES: usize = 1_000;
const WINDOWS: u32 = 30;
/// What a page may take.
const BARS: (Duration, usize) = (Duration::from_millis(300), 500_000);
/// So long nothing that is known is kept.
const OVER: Duration = Duration::from_secs(6);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let nodes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(NODES);
    let began = Instant::now();
    let fleet = Fleet::new(nodes, "ip-10-9-9-9.compute.internal", WINDOWS);
    println!("{nodes} nodes heard, counted and diagnosed in {:?}", began.elapsed());
    let began = Instant::now();
    let known = fleet.seen();
    let all: usize = known.paths.rows.values().map(|row| row.paths.len()).sum();
    println!("what is known, {all} paths: {:?}", began.elapsed());
    let began = Instant::now();
    let report = fleet.judged(Scope::Mesh);
    let took = began.elapsed();
    println!("the gate, which is kept for 5 s, judged in {took:?}: {}", report.ok);
    let broken = fleet.broken().to_owned();
    let pages = Arc::new(Pages::new(fleet, TaskTracker::new(), CancellationToken::new()));
    let target = format!("/target?name=peer/{broken}&vantage=ambient");
    let mut within = true;
    for uri in [
        "/",
        "/?row=plain.peer&from=eu-central-1a",
        "/?row=ambient.peer&from=eu-central-1a&from=eu-central-1b&to=eu-central-1a&to=eu-central-1c",
        &format!("/node?name={broken}"),
        &target,
        "/target?name=istiod&vantage=plain",
    ] {
        tokio::time::sleep(OVER).await;
        let uri: Uri = uri.parse().expect("a URI");
        for how in ["cold", "warm"] {
            let began = Instant::now();
            let reply = pages.answer(&uri).await.expect("a page");
            let body = reply.into_body().collect().await.expect("whole").to_bytes();
            let took = began.elapsed();
            within &= took <= BARS.0 && body.len() <= BARS.1;
            println!("{how} {uri}: {took:?}, {} bytes", body.len());
        }
    }
    assert!(within, "above a bar: {BARS:?}");
}

//! The page in a real browser: what an operator sees of a fault, and that everybody can read it.
//!
//! Screenshots are written to `target/screenshots/`.

mod browser;
#[path = "../page/fleet.rs"]
mod fleet;
mod past;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use meshprobe::page::Pages;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::real::process::Lab;
use browser::{Browser, Tab};
use fleet::Fleet;

/// How long a busy machine may take to show what is there.
const PATIENCE: Duration = Duration::from_secs(90);
/// When the fault comes: after the page was seen whole.
const FAULT: &str = "ztunnel-dead/node-2@40s";
/// Wide enough for two columns.
const WIDE: (u32, u32) = (1440, 1200);
const NARROW: (u32, u32) = (420, 1200);
const NODES: usize = 1_000;
/// As no Kubernetes would let a node be called.
const EVIL: &str = "\"><img src=x onerror=window.evil=1><script>window.evil=1</script>'";

/// The sign in the cell of two nodes, by the headers of its row and column.
const CELL: &str = "(from, to) => {
    const heads = [...document.querySelectorAll('.matrix thead th')];
    const rows = [...document.querySelectorAll('.matrix tbody tr')];
    const row = rows.find((row) => row.querySelector('th').textContent.trim() === from);
    const at = heads.findIndex((head) => head.textContent.trim() === to);
    return row && at > 0 ? row.children[at].className : 'no such cell';
}";

/// Nothing is broken. On a busy machine the agents of the lab may be starved, and say so.
const WHOLE: &str = "/^(mesh healthy|unknown in part: meshprobe's .* starved)/
    .test(document.querySelector('h1').textContent)";

/// A lab that breaks while it is looked at.
fn lab() -> Lab {
    Lab::start(&["--nodes", "3", "--duration", "400s", "--time-scale", "10", "--fault", FAULT])
}

/// Hides the tab, as when another one is looked at, or shows it again.
async fn turn(tab: &mut Tab, hidden: bool) {
    tab.run(&format!(
        "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
         document.dispatchEvent(new Event('visibilitychange'))"
    ))
    .await;
}

async fn cell(tab: &mut Tab, from: &str, to: &str) -> String {
    tab.text(&format!("({CELL})('{from}', '{to}')")).await
}

#[tokio::test]
async fn a_fault_is_seen_while_one_looks_and_by_everybody() {
    let mut browser = Browser::start().await;
    let tab = &mut browser.tab;
    let lab = lab();
    tab.open(&format!("{}/?row=ambient.peer", lab.url), WIDE).await;
    tab.until(WHOLE, PATIENCE).await;
    tab.until("document.getElementById('live').textContent === 'Live'", PATIENCE).await;
    tab.until("document.querySelectorAll('.matrix td.m').length === 6", PATIENCE).await;
    assert_eq!(cell(tab, "node-1", "node-2").await, "m");
    tab.shoot("healthy").await;
    tab.run("window.held = document.getElementById('from-2'); window.held.focus()").await;
    tab.run("document.querySelector('#check-plaintext').open = true").await;

    tab.until("document.querySelector('h1').textContent.includes('node-2 is dead')", PATIENCE)
        .await;
    let heading = tab.text("document.querySelector('h1').textContent").await;
    assert!(heading.starts_with("ztunnel on node-2 is dead since "), "{heading}");
    tab.until(&format!("({CELL})('node-1', 'node-2') === 'v'"), PATIENCE).await;
    assert_eq!(cell(tab, "node-1", "node-3").await, "m", "what is whole stays so");
    tab.until("document.querySelector('#incidents tr.open th') !== null", PATIENCE).await;
    let incident = tab.text("document.querySelector('#incidents tr.open th').textContent").await;
    assert!(incident.starts_with("ztunnel on node-2 is dead"), "{incident}");
    let gate = tab.text("document.querySelector('#strict-title').textContent").await;
    assert_eq!(gate, "STRICT is not safe in the mesh");
    let title = tab.text("document.title").await;
    assert_eq!(title, "ztunnel on node-2 is dead · meshprobe");

    turn(tab, true).await;
    tab.until("document.getElementById('live').textContent.startsWith('Not live')", PATIENCE).await;
    turn(tab, false).await;
    tab.until("document.getElementById('live').textContent === 'Live'", PATIENCE).await;

    let kept = "document.activeElement === window.held && window.held.isConnected";
    assert!(tab.holds(kept).await, "focus stays where it was");
    assert!(tab.holds("document.querySelector('#check-plaintext').open").await);

    read_by_everybody(tab, "fault").await;
    for (name, path) in
        [("node", "node?name=node-2"), ("target", "target?name=peer/node-2&vantage=ambient")]
    {
        tab.open(&format!("{}/{path}", lab.url), WIDE).await;
        tab.until("document.querySelector('.strip .v') !== null", PATIENCE).await;
        read_by_everybody(tab, name).await;
    }
    tab.open(&lab.url, NARROW).await;
    tab.until("document.querySelector('h1') !== null", PATIENCE).await;
    tab.shoot("fault-narrow").await;
    tab.assert_quiet();
    drop(lab);
    tab.until("document.getElementById('live').textContent.startsWith('Not live')", PATIENCE).await;
    tab.shoot("lost").await;
}

/// No violation of what axe knows, in either colour scheme; a screenshot of each.
async fn read_by_everybody(tab: &mut Tab, name: &str) {
    for scheme in ["light", "dark"] {
        tab.prefer(scheme).await;
        let violations = tab.axe().await;
        assert_eq!(violations, [""; 0], "{name}, {scheme}");
        tab.shoot(&format!("{name}-{scheme}")).await;
    }
    tab.prefer("light").await;
}

/// Serves the page of a fleet until the test ends.
async fn served(fleet: Fleet, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tasks = TaskTracker::new();
    let pages = Arc::new(Pages::new(fleet, tasks.clone(), stop.clone()));
    let answer = move |request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { pages.answer(request.uri()).await.expect("a page") }
    };
    tokio::spawn(meshprobe::net::http::serve(listener, 64, answer, stop.clone(), tasks));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_nodes_are_shown_by_zone_and_no_name_becomes_a_part_of_the_page() {
    let stop = CancellationToken::new();
    let fleet = Fleet::new(NODES, EVIL, 2);
    let broken = fleet.broken().to_owned();
    let url = format!("http://{}", served(fleet, &stop).await);
    let mut browser = Browser::start().await;
    let tab = &mut browser.tab;
    let zones = "document.querySelectorAll('.matrix tbody tr.zone').length";
    tab.open(&url, WIDE).await;
    tab.until("document.querySelector('h1') !== null", PATIENCE).await;
    let heading = tab.text("document.querySelector('h1').textContent").await;
    assert!(heading.starts_with(&format!("ztunnel on {broken} ")), "{heading}");
    assert_eq!(tab.text(zones).await, "3");
    read_by_everybody(tab, "fleet").await;
    // The keyboard opens a zone: its worst node is among those that are shown.
    let links = "[...document.querySelectorAll('.matrix tbody tr.zone a')]";
    tab.run(&format!("{links}.find((link) => link.textContent.includes('1a')).focus()")).await;
    tab.press_enter().await;
    tab.until("document.querySelectorAll('.matrix tbody tr.node').length === 40", PATIENCE).await;
    assert!(tab.holds("[...document.querySelectorAll('.matrix tbody tr.node td')].some((cell) => cell.className === 'v' || cell.className === 'p')").await);
    read_by_everybody(tab, "fleet-open").await;
    let both = "?from=eu-central-1a&from=eu-central-1b&to=eu-central-1a&to=eu-central-1c";
    tab.open(&format!("{url}/{both}"), WIDE).await;
    tab.until("document.querySelector('.matrix') !== null", PATIENCE).await;
    tab.shoot("fleet-both").await;
    let evil: String = url::form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    tab.open(&format!("{url}/node?name={evil}"), WIDE).await;
    tab.until("document.querySelector('#targets table') !== null", PATIENCE).await;
    let told = tab.text("document.querySelector('#node-title').textContent").await;
    assert_eq!(told, format!("Node {EVIL}"));
    assert!(tab.holds("window.evil === undefined").await);
    tab.assert_quiet();
    stop.cancel();
}

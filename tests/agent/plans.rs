//! An agent and its controllers: plans come, change, are refused, and outlive those who made them.

use std::path::Path;

use meshprobe::agent::Agent;
use meshprobe::attempt::Attempt;
use meshprobe::channel::{Bounds, Fault, Key, Listener};
use meshprobe::expectation::Verdict;
use meshprobe::failure::Reason;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::controller::{Controller, Plan};
use super::support::{self, GRACE, http, metrics, value};

const OWN: &str = "targets: [{ name: own, tcp: {}, address: '127.0.0.1:1', interval: 20ms }]\n";

fn agent_text(controller: &str, more: &str) -> String {
    format!("controller: {{ addresses: ['{controller}'] {more} }}\n{OWN}")
}

async fn agent(controller: &Controller) -> Agent {
    support::agent(&agent_text(&controller.address.to_string(), "")).await
}

fn secret(directory: &TempDir, letter: char) -> std::path::PathBuf {
    let path = directory.path().join(format!("key-{letter}"));
    std::fs::write(&path, letter.to_string().repeat(44)).expect("writable");
    path
}

fn names(agent: &Agent) -> Vec<String> {
    agent.targets().iter().map(|target| target.spec.name.to_string()).collect()
}

/// Takes the next plan, and gives whether it is followed.
async fn take(agent: &mut Agent) -> bool {
    let offer = agent.next_plan().await;
    agent.follow_plan(offer).await
}

/// The first attempt from now on that `wanted` wants.
async fn first(
    attempts: &mut mpsc::Receiver<Attempt>,
    wanted: impl Fn(&Attempt) -> bool,
) -> Attempt {
    loop {
        let attempt = attempts.recv().await.expect("the agent runs");
        if wanted(&attempt) {
            return attempt;
        }
    }
}

fn one(name: &str, address: &str) -> serde_json::Value {
    json!([{ "name": name, "address": address, "http": {} }])
}

#[tokio::test]
async fn a_plan_is_probed_beside_the_own_targets_and_so_is_its_change() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&controller).await;
    assert_eq!(names(&agent), ["own"]);
    let mut attempts = agent.follow();
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "a"]);
    let met = first(&mut attempts, |attempt| attempt.target.as_str() == "a").await;
    assert_eq!(met.verdict, Verdict::Met);
    let asked = controller.asked.borrow().clone().expect("it was asked");
    assert_eq!(asked, "/v1/plan?node=node-1&vantage=plain");

    controller.give(&Plan::new("r2", one("b", &server)));
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "b"]);
    first(&mut attempts, |attempt| attempt.target.as_str() == "b").await;
    let page = metrics(&agent).await;
    assert_eq!(value(&page, "meshprobe_plan_targets", &[]), Some(1.0));
    assert_eq!(value(&page, "meshprobe_plan_rejected_total", &[]), Some(0.0));
    assert_eq!(value(&page, "meshprobe_controllers_connected", &[]), Some(1.0));
    assert!(value(&page, "meshprobe_plan_applied_timestamp_seconds", &[]) > Some(1e9));
    assert!(value(&page, "meshprobe_plan_confirmed_timestamp_seconds", &[]) > Some(1e9));
    assert!(!page.contains("target=\"a\""), "{page}");
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn the_window_is_read_over_the_same_connection() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&controller).await;
    let mut attempts = agent.follow();
    assert!(take(&mut agent).await);
    first(&mut attempts, |attempt| attempt.target.as_str() == "a").await;
    let window = controller.asks("/v1/window").await;
    assert_eq!(window.status(), 200);
    let window: serde_json::Value = serde_json::from_slice(window.body()).expect("JSON");
    let seen = window.as_array().expect("a list");
    assert!(seen.iter().any(|it| it["target"] == "a" && it["source_node"] == "node-1"), "{window}");
    assert_eq!(controller.asks("/v1/window?since=lately").await.status(), 400);
    assert_eq!(controller.asks("/metrics").await.status(), 404);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_bad_plan_is_refused_as_a_whole_and_the_next_good_one_is_followed() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&controller).await;
    assert!(take(&mut agent).await);
    let bad = json!([
        { "name": "b", "address": server, "http": {} },
        { "name": "c", "address": "nowhere", "tcp": {} },
    ]);
    controller.give(&Plan::new("r2", bad));
    assert!(!take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "a"]);
    let page = metrics(&agent).await;
    assert_eq!(value(&page, "meshprobe_plan_rejected_total", &[]), Some(1.0));
    // Whoever reads the window is not told that the bad one is in force.
    let window = controller.asks("/v1/window").await;
    assert_eq!(window.headers()["meshprobe-plan"], "\"r1\"");
    let who = window.headers()["meshprobe-agent"].to_str().expect("ASCII");
    assert!(who.starts_with("node=node-1&vantage="), "{who}");
    controller.give(&Plan::new("r3", one("d", &server)));
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "d"]);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn of_two_targets_of_one_name_the_configurations_is_probed() {
    let server = http("200 OK", "").await.to_string();
    let both = json!([
        { "name": "own", "address": server, "http": {} },
        { "name": "denied", "address": server, "http": {}, "expect": "denied", "control": "own" },
    ]);
    let controller = Controller::start(None, None, &Plan::new("r1", both));
    let mut agent = agent(&controller).await;
    let own = std::sync::Arc::clone(&agent.targets()[0]);
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "denied"]);
    assert!(std::sync::Arc::ptr_eq(&own, &agent.targets()[0]), "it goes on undisturbed");
    let control = agent.targets()[1].control.as_ref().expect("the plan's own");
    assert_eq!(control.spec.probe.kind().as_str(), "http");
    let page = metrics(&agent).await;
    assert_eq!(value(&page, "meshprobe_plan_targets", &[]), Some(1.0));
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn probing_goes_on_without_controllers_and_a_later_one_is_heard() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let address = controller.address;
    let mut agent = agent(&controller).await;
    let mut attempts = agent.follow();
    assert!(take(&mut agent).await);
    controller.end().await;
    let gone = |page: &str| value(page, "meshprobe_controllers_connected", &[]) == Some(0.0);
    while !gone(&metrics(&agent).await) {
        tokio::task::yield_now().await;
    }
    while attempts.try_recv().is_ok() {}
    let met = first(&mut attempts, |attempt| attempt.target.as_str() == "a").await;
    assert_eq!(met.verdict, Verdict::Met);

    let _again = Controller::start(Some(address), None, &Plan::new("r2", one("b", &server)));
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "b"]);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn controllers_that_the_plan_names_are_found_without_any_name() {
    let server = http("200 OK", "").await.to_string();
    let second = Controller::start(None, None, &Plan::new("r2", one("b", &server)));
    let mut plan = Plan::new("r1", one("a", &server));
    plan.controllers = vec![second.address];
    let first = Controller::start(None, None, &plan);
    let mut agent = agent(&first).await;
    assert!(take(&mut agent).await);
    let connected = |page: &str| value(page, "meshprobe_controllers_connected", &[]);
    while connected(&metrics(&agent).await) != Some(2.0) {
        tokio::task::yield_now().await;
    }
    first.end().await;
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["own", "b"]);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn controllers_that_move_are_found_without_another_plan() {
    let server = http("200 OK", "").await.to_string();
    let second = Controller::start(None, None, &Plan::new("r2", one("b", &server)));
    let first = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&first).await;
    assert!(take(&mut agent).await);
    first.name(second.address);
    let connected = |page: &str| value(page, "meshprobe_controllers_connected", &[]);
    while connected(&metrics(&agent).await) != Some(2.0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&agent), ["own", "a"]);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_restart_begins_with_the_last_good_plan() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("plan.json");
    let more = format!(", cache: '{}'", cache.display());
    let server = http("200 OK", "").await.to_string();
    let mut plan = Plan::new("r1", one("a", &server));
    plan.grace = 3600;
    let controller = Controller::start(None, None, &plan);
    let text = agent_text(&controller.address.to_string(), &more);
    let mut agent = support::agent(&text).await;
    assert!(take(&mut agent).await);
    agent.stop(GRACE).await;
    controller.end().await;

    let mut agent = support::agent(&text).await;
    assert_eq!(names(&agent), ["own", "a"]);
    let mut attempts = agent.follow();
    // The first plan since the start changes nothing that the mesh would have to learn.
    let met = first(&mut attempts, |attempt| attempt.target.as_str() == "a").await;
    assert_eq!(met.verdict, Verdict::Met);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_cache_of_garbage_is_told_and_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("plan.json");
    let more = format!(", cache: '{}'", cache.display());
    let server = http("200 OK", "").await.to_string();
    let plan = Plan::new("r1", one("a", &server));
    let controller = Controller::start(None, None, &plan);
    for garbage in [b"{\"version\": 1, \"config\"".as_slice(), b"\xff\xfe", b""] {
        std::fs::write(&cache, garbage).expect("writable");
        let text = agent_text(&controller.address.to_string(), &more);
        let mut agent = support::agent(&text).await;
        let page = metrics(&agent).await;
        assert_eq!(value(&page, "meshprobe_plan_rejected_total", &[]), Some(1.0));
        assert!(take(&mut agent).await);
        assert_eq!(names(&agent), ["own", "a"]);
        assert_eq!(std::fs::read_to_string(&cache).expect("readable"), plan.text());
        agent.stop(GRACE).await;
    }
}

#[tokio::test]
async fn what_changes_cannot_tell_until_the_grace_is_over() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&controller).await;
    let mut attempts = agent.follow();
    assert!(take(&mut agent).await);
    let changed = json!([
        { "name": "a", "address": server, "http": {}, "expect": "denied" },
        { "name": "new", "address": "127.0.0.1:1", "module": "up" },
        { "name": "good", "address": server, "http": {} },
    ]);
    let mut plan = Plan::new("r2", changed.clone());
    plan.grace = 3600;
    controller.give(&plan);
    assert!(take(&mut agent).await);
    for name in ["a", "new"] {
        // What was under way when the plan changed was met, or ends as cancelled.
        let after = |attempt: &Attempt| {
            let reason = attempt.failure.as_ref().map(|failure| failure.reason);
            attempt.target.as_str() == name
                && reason.is_some_and(|reason| reason != Reason::Cancelled)
        };
        let attempt = first(&mut attempts, after).await;
        assert_eq!(attempt.verdict, Verdict::Inconclusive, "{attempt:?}");
        let reason = attempt.failure.as_ref().map(|failure| failure.reason);
        assert_eq!(reason, Some(Reason::Settling), "{attempt:?}");
    }
    let good = first(&mut attempts, |attempt| attempt.target.as_str() == "good").await;
    assert_eq!(good.verdict, Verdict::Met);
    let page = metrics(&agent).await;
    let gaps = value(&page, "meshprobe_enforcement_gaps_total", &["target=\"a\""]);
    assert_eq!(gaps, Some(0.0));

    // The same plan with another grace changes nothing of what is expected.
    controller.give(&Plan::new("r3", changed));
    assert!(take(&mut agent).await);
    while attempts.try_recv().is_ok() {}
    let still = first(&mut attempts, |attempt| attempt.target.as_str() == "new").await;
    assert_ne!(still.verdict, Verdict::Violated);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_grace_of_nothing_is_over_at_once() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&controller).await;
    let mut attempts = agent.follow();
    assert!(take(&mut agent).await);
    controller.give(&Plan::new("r2", one("new", "127.0.0.1:1")));
    assert!(take(&mut agent).await);
    let new = first(&mut attempts, |attempt| attempt.target.as_str() == "new").await;
    assert_eq!(new.verdict, Verdict::Violated);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_reload_keeps_the_plan_and_leaving_the_block_out_drops_it() {
    let server = http("200 OK", "").await.to_string();
    let controller = Controller::start(None, None, &Plan::new("r1", one("a", &server)));
    let mut agent = agent(&controller).await;
    assert!(take(&mut agent).await);
    let planned = std::sync::Arc::clone(&agent.targets()[1]);
    let block = format!("controller: {{ addresses: ['{}'] }}\n", controller.address);
    let other = "targets: [{ name: other, tcp: {}, address: '127.0.0.1:1', interval: 20ms }]";
    let mut config = support::config(&format!("{block}{other}"));
    config.admin.listen = ([127, 0, 0, 1], 0).into();
    agent.apply(config).await.expect("good");
    assert_eq!(names(&agent), ["other", "a"]);
    assert!(std::sync::Arc::ptr_eq(&planned, &agent.targets()[1]), "it goes on undisturbed");
    agent.apply(support::config(other)).await.expect("good");
    assert_eq!(names(&agent), ["other"]);
    agent.apply(support::config(&format!("{block}{other}"))).await.expect("good");
    assert!(take(&mut agent).await);
    assert_eq!(names(&agent), ["other", "a"]);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_plan_for_another_agent_is_refused() {
    let server = http("200 OK", "").await.to_string();
    let plan = Plan::new("r1", one("a", &server));
    let text = plan.text().replace("node-1", "node-2").replace("plain", "ambient");
    let identity = support::config(OWN).identity;
    let mistakes = meshprobe::config::parse_plan(&text, &identity, None).expect_err("another's");
    let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|it| it.contains("\"node-2\" is another node")), "{told:?}");
    assert!(told.iter().any(|it| it.contains("is the other side of the mesh")), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test]
async fn agents_and_controllers_that_hold_one_key_find_each_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let (right, wrong) = (secret(&directory, 'r'), secret(&directory, 'w'));
    let key = Key::load(&right).expect("a key");
    let free = ([127, 0, 0, 1], 0).into();
    let bound = Listener::bind(free, Some(&key), Bounds::default());
    let mut listener = bound.expect("loopback has ports");
    let address = listener.local_addr().expect("bound").to_string();
    let used = directory.path().join("key");
    std::fs::copy(&wrong, &used).expect("writable");
    let agent =
        support::agent(&agent_text(&address, &format!(", key: '{}'", used.display()))).await;
    let rejected = listener.accept().await.expect("open").expect_err("another key");
    assert!(matches!(rejected.fault, Fault::Key(_)), "{rejected:?}");
    assert!(listener.peers().is_empty());
    // A new Secret is taken up by itself.
    replace(&used, &right);
    let peer = loop {
        if let Ok(peer) = listener.accept().await.expect("open") {
            break peer;
        }
    };
    assert_eq!(listener.peers().all()[0].id(), peer.id());
    agent.stop(GRACE).await;
    let told = peer.closed().await;
    assert_eq!(told, Fault::Closed("the agent leaves".to_owned()));
}

fn replace(file: &Path, by: &Path) {
    let new = file.with_extension("new");
    std::fs::copy(by, &new).expect("writable");
    std::fs::rename(&new, file).expect("writable");
}

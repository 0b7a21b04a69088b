use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::failure::Reason;
use meshprobe::plan;

use super::support::{Bench, Event, Server, config, environment, reason};

fn names(names: &[&str]) -> HashSet<meshprobe::target::TargetName> {
    names.iter().map(|name| name.parse().expect("a good name")).collect()
}

fn tcp(name: &str, server: &Server, more: &str) -> String {
    format!("  - {{ name: {name}, tcp: {{}}, address: '{}', {more} }}\n", server.address)
}

#[tokio::test]
async fn an_attempt_under_way_is_cancelled_before_its_target_leaves() {
    let server = Server::silent().await;
    let yaml = format!(
        "targets:\n{}",
        tcp("t", &server, "interval: 20ms, timeout: 10m, max_in_flight: 1")
    );
    let mut bench = Bench::start(&yaml).await;
    server.until_open(1).await;
    bench.reload("targets: []").await;
    let told: Vec<Event> =
        bench.told().into_iter().filter(|event| !matches!(event, Event::Missed(..))).collect();
    let [Event::Joined(_), Event::Attempt(cancelled), Event::Left(left)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(reason(cancelled), Some(Reason::Cancelled));
    assert_eq!(*left, names(&["t"]));
    server.until_open(0).await;
    assert_eq!(bench.runner.in_flight(), 0);
}

#[tokio::test]
async fn a_target_that_is_between_its_slots_leaves_without_an_attempt() {
    let server = Server::silent().await;
    let yaml = format!("targets:\n{}", tcp("t", &server, "interval: 24h"));
    let mut bench = Bench::start(&yaml).await;
    bench.reload("targets: []").await;
    let told = bench.told();
    assert!(matches!(told.as_slice(), [Event::Joined(_), Event::Left(_)]), "{told:?}");
}

#[tokio::test]
async fn an_unchanged_target_survives_a_reload_with_its_attempts() {
    let server = Server::silent().await;
    let stays = tcp("stays", &server, "interval: 20ms, timeout: 10m, max_in_flight: 1");
    let other = |name: &str| tcp(name, &server, "interval: 24h");
    let mut bench = Bench::start(&format!("targets:\n{stays}{}", other("old"))).await;
    server.until_open(1).await;
    let before = Arc::clone(&bench.runner.targets()[0]);
    bench.told();
    // Another order, one more and one less around it.
    bench.reload(&format!("targets:\n{}{stays}", other("new"))).await;
    assert!(Arc::ptr_eq(&before, &bench.runner.targets()[1]));
    for event in bench.told() {
        match event {
            Event::Joined(name) => assert_eq!(name, "new"),
            Event::Left(left) => assert_eq!(left, names(&["old"])),
            Event::Missed(name, ..) => assert_eq!(name, "stays"),
            Event::Attempt(attempt) => panic!("{attempt:?}"),
        }
    }
    assert_eq!((server.open(), server.all()), (1, 1), "the same attempt on the same connection");
}

#[tokio::test]
async fn a_warm_connection_survives_a_reload() {
    let server = Server::http("200 OK").await;
    let warm = format!(
        "  - {{ name: warm, http: {{ keepalive: true }}, address: 'http://{}/', interval: 20ms }}\n",
        server.address
    );
    let mut bench = Bench::start(&format!("targets:\n{warm}")).await;
    assert_eq!(bench.attempt("warm").await.facts.warm, Some(false));
    assert_eq!(bench.attempt("warm").await.facts.warm, Some(true));
    bench.reload(&format!("targets:\n{}{warm}", tcp("new", &server, "interval: 24h"))).await;
    bench.told();
    assert_eq!(bench.attempt("warm").await.facts.warm, Some(true));
    assert_eq!(server.all(), 1);
}

#[tokio::test]
async fn a_changed_target_restarts_without_leaving() {
    let server = Server::silent().await;
    let with = |timeout| {
        let more = format!("interval: 20ms, timeout: {timeout}, max_in_flight: 1");
        format!("targets:\n{}", tcp("t", &server, &more))
    };
    let mut bench = Bench::start(&with("10m")).await;
    server.until_open(1).await;
    bench.told();
    bench.reload(&with("11m")).await;
    let told: Vec<Event> =
        bench.told().into_iter().filter(|event| !matches!(event, Event::Missed(..))).collect();
    let [Event::Attempt(cancelled), Event::Joined(_)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(reason(cancelled), Some(Reason::Cancelled));
}

#[tokio::test]
async fn a_target_whose_control_changed_is_another() {
    let server = Server::answering().await;
    let yaml = |timeout| {
        let control = tcp("control", &server, &format!("interval: 24h, timeout: {timeout}"));
        let denied = tcp("denied", &server, "interval: 24h, expect: denied, control: control");
        format!("targets:\n{denied}{control}")
    };
    let mut bench = Bench::start(&yaml("1s")).await;
    let before: Vec<_> = bench.runner.targets().to_vec();
    bench.reload(&yaml("1s")).await;
    let same = |bench: &Bench| {
        let pairs = before.iter().zip(bench.runner.targets());
        pairs.map(|(old, new)| Arc::ptr_eq(old, new)).collect::<Vec<_>>()
    };
    assert_eq!(same(&bench), [true, true]);
    bench.reload(&yaml("2s")).await;
    assert_eq!(same(&bench), [false, false]);
}

#[tokio::test]
async fn the_content_of_files_decides_not_that_they_were_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    let certificate = || {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        key.expect("a certificate").cert.pem()
    };
    let first = certificate();
    std::fs::write(&ca, &first).expect("writable");
    let yaml = format!(
        "targets: [{{ name: t, tls: {{ ca: '{}' }}, address: '127.0.0.1:1', interval: 24h }}]",
        ca.display()
    );
    let prepare = |previous: &[_]| {
        plan::prepare(&config(&yaml), &environment(), previous).expect("good files")
    };
    let made = prepare(&[]);
    std::fs::write(&ca, &first).expect("writable");
    let same = prepare(&made);
    assert!(Arc::ptr_eq(&made[0], &same[0]));
    std::fs::write(&ca, certificate()).expect("writable");
    assert!(!Arc::ptr_eq(&made[0], &prepare(&made)[0]));
}

#[tokio::test]
async fn a_stop_cancels_what_is_under_way_and_starts_nothing_more() {
    let server = Server::silent().await;
    let yaml = format!(
        "targets:\n{}",
        tcp("t", &server, "interval: 20ms, timeout: 10m, max_in_flight: 2")
    );
    let mut bench = Bench::start(&yaml).await;
    server.until_open(2).await;
    bench.runner.stop(Duration::from_secs(60)).await;
    let told = bench.told();
    let cancelled = told.iter().filter(|event| match event {
        Event::Attempt(attempt) => reason(attempt) == Some(Reason::Cancelled),
        Event::Joined(_) | Event::Left(_) | Event::Missed(..) => false,
    });
    assert_eq!(cancelled.count(), 2, "{told:?}");
    server.until_open(0).await;
    assert_eq!(server.all(), 2);
}

use std::time::Duration;

use meshprobe::expectation::Verdict;
use meshprobe::failure::Reason;
use meshprobe::runner::{Missed, once};
use tokio::time::Instant;

use super::support::{Bench, Event, Server, reason, targets};

#[tokio::test]
async fn a_slow_target_does_not_delay_another() {
    let (slow, fast) = (Server::silent().await, Server::answering().await);
    let mut bench = Bench::start(&format!(
        "targets:
          - {{ name: slow, tcp: {{}}, address: '{}', interval: 10ms, timeout: 10m, max_in_flight: 1 }}
          - {{ name: fast, tcp: {{}}, address: '{}', interval: 10ms }}",
        slow.address, fast.address
    ))
    .await;
    for _ in 0..20 {
        assert_eq!(bench.attempt("fast").await.verdict, Verdict::Met);
    }
    assert_eq!(slow.all(), 1, "its one attempt is still under way");
}

#[tokio::test]
async fn a_timeout_longer_than_the_interval_overlaps_up_to_the_bound() {
    let server = Server::silent().await;
    let mut bench = Bench::start(&format!(
        "targets:
          - {{ name: t, tcp: {{}}, address: '{}', interval: 10ms, timeout: 10m, max_in_flight: 3 }}",
        server.address
    ))
    .await;
    let mut missed = 0;
    while missed < 5 {
        match bench.next().await {
            Event::Missed(_, Missed::InFlight, slots) => missed += slots,
            Event::Missed(_, Missed::Late, _) | Event::Joined(_) => {}
            other => panic!("{other:?}"),
        }
    }
    server.until_open(3).await;
    assert_eq!((server.all(), bench.runner.in_flight()), (3, 3));
}

#[tokio::test]
async fn the_agents_bound_holds_over_all_targets() {
    let server = Server::silent().await;
    let target = |name| {
        format!(
            "  - {{ name: {name}, tcp: {{}}, address: '{}', interval: 10ms, timeout: 10m }}\n",
            server.address
        )
    };
    let yaml = format!(
        "limits: {{ max_in_flight: 2 }}\ntargets:\n{}{}{}",
        target("a"),
        target("b"),
        target("c")
    );
    let mut bench = Bench::start(&yaml).await;
    let mut missed = 0;
    while missed < 5 {
        if let Event::Missed(_, Missed::AgentInFlight, slots) = bench.next().await {
            missed += slots;
        }
    }
    server.until_open(2).await;
    assert_eq!((server.all(), bench.runner.in_flight()), (2, 2));
}

#[tokio::test]
async fn slots_that_went_by_are_missed_and_never_made_up_for() {
    let server = Server::answering().await;
    let began = Instant::now();
    let mut bench = Bench::start(&format!(
        "targets: [{{ name: t, tcp: {{}}, address: '{}', interval: 10ms, jitter: 0 }}]",
        server.address
    ))
    .await;
    bench.attempt("t").await;
    // This machine is busy with something else for many slots.
    std::thread::sleep(Duration::from_millis(200));
    let (mut attempts, mut late) = (1, 0);
    while late == 0 || attempts < 5 {
        match bench.next().await {
            Event::Missed(_, Missed::Late, slots) => late += slots,
            Event::Missed(_, Missed::InFlight | Missed::AgentInFlight, slots) => late += slots,
            Event::Attempt(_) => attempts += 1,
            Event::Joined(_) | Event::Left(_) => {}
        }
    }
    assert!(late >= 10, "{late}");
    let slots = began.elapsed().as_millis() as u64 / 10 + 1;
    assert!(attempts + late <= slots, "{attempts} attempts and {late} missed in {slots} slots");
}

#[tokio::test]
async fn an_attempt_that_starts_too_late_tells_nothing_but_keeps_its_facts() {
    let server = Server::answering().await;
    let mut bench = Bench::start(&format!(
        "limits: {{ max_schedule_lag: 1ms }}
targets: [{{ name: t, tcp: {{}}, address: '{}', interval: 40ms, jitter: 0 }}]",
        server.address
    ))
    .await;
    let late = loop {
        // A busy machine: somewhere within an interval the next slot is noticed.
        std::thread::sleep(Duration::from_millis(97));
        let attempt = bench.attempt("t").await;
        if reason(&attempt) == Some(Reason::ScheduleLag) {
            break attempt;
        }
    };
    assert_eq!(late.verdict, Verdict::Inconclusive);
    assert!(late.schedule_lag > Duration::from_millis(1), "{late:?}");
    assert_eq!(late.facts.remote_address, Some(server.address));
}

#[tokio::test]
async fn the_wait_for_other_tasks_is_part_of_the_lag() {
    let server = Server::answering().await;
    let mut bench = Bench::start(&format!(
        "targets: [{{ name: t, tcp: {{}}, address: '{}', interval: 20ms, jitter: 0 }}]",
        server.address
    ))
    .await;
    // A task that takes the CPU away for 5 ms whenever it comes to its turn.
    tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_millis(5));
            tokio::task::yield_now().await;
        }
    });
    let mut lags = Vec::new();
    while lags.len() < 20 {
        lags.push(bench.attempt("t").await.schedule_lag);
    }
    assert!(lags.iter().any(|lag| *lag >= Duration::from_millis(5)), "{lags:?}");
}

#[tokio::test]
async fn once_asks_each_target_once_in_order_and_within_bounds() {
    let server = Server::start(|mut stream| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        // Long enough at once for the bound to be met, without a clock.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let _ = stream.write_all(b"hello\n").await;
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let list: String = names
        .iter()
        .map(|name| format!("  - {{ name: {name}, tcp: {{}}, address: '{}' }}\n", server.address))
        .collect();
    let attempts = once(&targets(&format!("targets:\n{list}")), 3).await;
    let order: Vec<&str> = attempts.iter().map(|attempt| attempt.target.as_str()).collect();
    assert_eq!(order, names);
    assert!(attempts.iter().all(|attempt| attempt.verdict == Verdict::Met), "{attempts:?}");
    assert_eq!(server.all(), 12);
    assert!(server.most() <= 3 + 1, "the server may see an end after the next beginning");
}

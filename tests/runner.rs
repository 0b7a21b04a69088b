//! The open loop: slots from the clock, nobody delayed by a slow target, nothing made up.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::config;
use meshprobe::expectation::Verdict;
use meshprobe::failure::Reason;
use meshprobe::net::Resolver;
use meshprobe::outcome::Attempt;
use meshprobe::plan::{self, Target};
use meshprobe::probe::Environment;
use meshprobe::runner::{self, Missed, Runner, Sink};
use meshprobe::target::TargetName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[derive(Debug)]
enum Event {
    Joined(String),
    Left(String),
    Attempt(Box<Attempt>),
    Missed(String, Missed, u64),
}

struct Recorder(UnboundedSender<Event>);

impl Sink for Recorder {
    fn joined(&self, target: &Target) {
        let _ = self.0.send(Event::Joined(target.spec.name.to_string()));
    }

    fn left(&self, targets: &HashSet<TargetName>) {
        for target in targets {
            let _ = self.0.send(Event::Left(target.to_string()));
        }
    }

    fn attempt(&self, attempt: &Attempt) {
        let _ = self.0.send(Event::Attempt(Box::new(attempt.clone())));
    }

    fn missed(&self, target: &TargetName, cause: Missed, slots: u64) {
        let _ = self.0.send(Event::Missed(target.to_string(), cause, slots));
    }
}

struct Bench {
    runner: Runner<Recorder>,
    events: UnboundedReceiver<Event>,
    seen: Vec<Event>,
}

impl Bench {
    async fn new(yaml: &str) -> Self {
        let config = parse(yaml);
        let (sender, events) = unbounded_channel();
        let runner = Runner::new(&config.identity, config.limits, Recorder(sender));
        let mut bench = Self { runner, events, seen: Vec::new() };
        bench.apply(yaml).await;
        bench
    }

    async fn apply(&mut self, yaml: &str) {
        let previous = self.runner.targets().to_vec();
        let targets = prepare(yaml, &previous);
        self.runner.apply(targets).await;
    }

    /// Waits until an event is `wanted`; what came before is kept in `seen`.
    async fn until(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> &Event {
        let bound = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let event = tokio::time::timeout_at(bound, self.events.recv());
            let event = event.await.expect("in time").expect("the runner lives");
            let found = wanted(&event);
            self.seen.push(event);
            if found {
                return self.seen.last().expect("just pushed");
            }
        }
    }

    async fn attempt_of(&mut self, name: &str) -> Attempt {
        let of = |event: &Event| matches!(event, Event::Attempt(a) if a.target.as_str() == name);
        match self.until(of).await {
            Event::Attempt(attempt) => (**attempt).clone(),
            other => unreachable!("{other:?}"),
        }
    }
}

fn parse(yaml: &str) -> config::Config {
    config::parse(yaml, &BTreeMap::new()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn prepare(yaml: &str, previous: &[Arc<Target>]) -> Vec<Arc<Target>> {
    let environment = Environment { resolver: Arc::new(Resolver::default()) };
    plan::prepare(&parse(yaml), &environment, previous).expect("no files are named")
}

/// A server that gives each connection to `serve`.
async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn answers() -> SocketAddr {
    server(|mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
        let _ = stream.write_all(b"pong").await;
    })
    .await
}

async fn silent() -> SocketAddr {
    server(|mut stream| async move {
        // Until the prober gives up.
        while stream.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
    })
    .await
}

fn target(name: &str, address: SocketAddr, more: &str) -> String {
    format!("  - {{ name: {name}, address: \"{address}\", tcp: {{ send: ping }}, {more} }}\n")
}

#[tokio::test]
async fn a_slow_target_delays_no_other() {
    let yaml = format!(
        "targets:\n{}{}",
        target("slow", silent().await, "interval: 50ms, timeout: 10s, max_in_flight: 100"),
        target("fast", answers().await, "interval: 20ms, timeout: 1s"),
    );
    let mut bench = Bench::new(&yaml).await;
    for _ in 0..20 {
        assert_eq!(bench.attempt_of("fast").await.verdict, Verdict::Met);
    }
}

#[tokio::test]
async fn a_timeout_may_exceed_the_interval_up_to_the_bound_in_flight() {
    let yaml = format!(
        "targets:\n{}",
        target("slow", silent().await, "interval: 20ms, timeout: 500ms, max_in_flight: 3")
    );
    let mut bench = Bench::new(&yaml).await;
    let missed = |event: &Event| matches!(event, Event::Missed(_, Missed::InFlight, 1));
    bench.until(missed).await;
    assert_eq!(bench.runner.in_flight(), 3, "no more than the bound, and all of it");
    let attempt = bench.attempt_of("slow").await;
    assert_eq!(attempt.failure.map(|failure| failure.reason), Some(Reason::Timeout));
}

#[tokio::test]
async fn the_agents_bound_holds_over_all_targets() {
    let address = silent().await;
    let mut yaml = "limits: { max_in_flight: 2 }\ntargets:\n".to_owned();
    for n in 0..4 {
        yaml += &target(&format!("t{n}"), address, "interval: 20ms, timeout: 2s");
    }
    let mut bench = Bench::new(&yaml).await;
    let missed = |event: &Event| matches!(event, Event::Missed(_, Missed::AgentInFlight, 1));
    bench.until(missed).await;
    assert_eq!(bench.runner.in_flight(), 2);
}

#[tokio::test]
async fn slots_of_a_blocked_machine_are_missed_and_never_burst() {
    let yaml = format!(
        "limits: {{ max_schedule_lag: 20ms }}\ntargets:\n{}",
        target("fast", answers().await, "interval: 100ms, jitter: 0, timeout: 1s")
    );
    let mut bench = Bench::new(&yaml).await;
    bench.attempt_of("fast").await;
    // The only thread stands still for ten slots, as under CPU starvation.
    std::thread::sleep(Duration::from_millis(1050));
    let late = |event: &Event| matches!(event, Event::Missed(_, Missed::Late, _));
    let Event::Missed(_, _, slots) = bench.until(late).await else { unreachable!() };
    assert!((8..=11).contains(slots), "{slots}");
    let attempts = bench.seen.iter().filter(|event| matches!(event, Event::Attempt(_))).count();
    assert!(attempts <= 2, "missed slots are not made up for: {:?}", bench.seen);
}

#[tokio::test]
async fn an_attempt_that_starts_too_late_is_inconclusive_and_keeps_its_facts() {
    let yaml = format!(
        "limits: {{ max_schedule_lag: 1ms }}\ntargets:\n{}",
        target("fast", answers().await, "interval: 400ms, jitter: 0, timeout: 1s")
    );
    let mut bench = Bench::new(&yaml).await;
    for _ in 0..10 {
        bench.attempt_of("fast").await;
        // Wakes up well after the next slot, and before the one after it.
        std::thread::sleep(Duration::from_millis(500));
        let attempt = bench.attempt_of("fast").await;
        if attempt.schedule_lag > Duration::from_millis(1) {
            assert_eq!(attempt.verdict, Verdict::Inconclusive);
            let reason = attempt.failure.map(|failure| failure.reason);
            assert_eq!(reason, Some(Reason::ScheduleLag));
            assert!(attempt.facts.remote_address.is_some());
            return;
        }
    }
    panic!("no attempt was late");
}

#[tokio::test]
async fn a_target_that_is_removed_ends_its_attempt_as_cancelled() {
    let slow = target("slow", silent().await, "interval: 50ms, timeout: 60s");
    let mut bench = Bench::new(&format!("targets:\n{slow}")).await;
    while bench.runner.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    bench.apply("targets: []\n").await;
    let attempt = bench.attempt_of("slow").await;
    bench.until(|event| matches!(event, Event::Left(name) if name == "slow")).await;
    assert_eq!(attempt.failure.map(|failure| failure.reason), Some(Reason::Cancelled));
    assert_eq!(attempt.verdict, Verdict::Inconclusive);
    assert_eq!(bench.runner.in_flight(), 0);
}

#[tokio::test]
async fn a_reload_disturbs_only_what_it_changes() {
    let address = silent().await;
    let kept = target("kept", address, "interval: 50ms, timeout: 60s, max_in_flight: 1");
    let old = target("changed", address, "interval: 50ms, timeout: 60s");
    let new = target("changed", address, "interval: 50ms, timeout: 30s");
    let mut bench = Bench::new(&format!("targets:\n{kept}{old}")).await;
    let missed = |event: &Event| matches!(event, Event::Missed(name, ..) if name == "kept");
    bench.until(missed).await;
    bench.seen.clear();
    bench.apply(&format!("targets:\n{new}{kept}")).await;
    bench.until(|event| matches!(event, Event::Joined(name) if name == "changed")).await;
    bench.until(missed).await;
    let cancelled: Vec<&str> = bench
        .seen
        .iter()
        .filter_map(|event| match event {
            Event::Attempt(attempt) => Some(attempt.target.as_str()),
            Event::Joined(_) | Event::Left(_) | Event::Missed(..) => None,
        })
        .collect();
    assert!(!cancelled.contains(&"kept"), "its attempt goes on: {cancelled:?}");
}

#[tokio::test]
async fn the_same_names_give_the_same_slots_after_churn() {
    let address = answers().await;
    let kept = target("kept", address, "interval: 200ms, jitter: 0, timeout: 1s");
    let mut bench = Bench::new(&format!("targets:\n{kept}")).await;
    let before = bench.attempt_of("kept").await.started_at;
    let other = target("other", address, "interval: 30ms, timeout: 1s");
    bench.apply(&format!("targets:\n{other}{kept}")).await;
    bench.attempt_of("other").await;
    let mut after = bench.attempt_of("kept").await;
    while after.started_at <= before {
        after = bench.attempt_of("kept").await;
    }
    let apart = after.started_at.duration_since(before).expect("later").as_secs_f64();
    let slots = apart / 0.2;
    let stray = (slots - slots.round()).abs() * 0.2 - after.schedule_lag.as_secs_f64();
    assert!(stray < 0.1, "{apart} s apart is no multiple of the interval");
}

#[tokio::test]
async fn a_denial_with_a_passing_control_is_met_and_with_a_failing_one_inconclusive() {
    let closes = server(|stream| async move { drop(stream) }).await;
    let good = target("good", answers().await, "interval: 1h, timeout: 1s");
    let bad = target("bad", closes, "interval: 1h, timeout: 1s");
    let denied = |name: &str, control: &str| {
        let more = format!("expect: denied, control: {control}, interval: 1h, timeout: 1s");
        target(name, closes, &more)
    };
    let yaml =
        format!("targets:\n{good}{bad}{}{}", denied("enforced", "good"), denied("unknown", "bad"));
    let attempts = runner::once(&prepare(&yaml, &[]), 4).await;
    let of = |name: &str| attempts.iter().find(|a| a.target.as_str() == name).expect(name);
    assert_eq!(of("enforced").verdict, Verdict::Met, "{:?}", of("enforced"));
    assert_eq!(of("unknown").verdict, Verdict::Inconclusive, "{:?}", of("unknown"));
    let order: Vec<&str> = attempts.iter().map(|a| a.target.as_str()).collect();
    assert_eq!(order, ["good", "bad", "enforced", "unknown"], "in the order of the configuration");
}

#[tokio::test]
async fn stopping_ends_attempts_under_way_within_the_grace() {
    let slow = target("slow", silent().await, "interval: 20ms, timeout: 60s");
    let mut bench = Bench::new(&format!("targets:\n{slow}")).await;
    while bench.runner.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    bench.runner.stop(Duration::from_secs(10)).await;
    assert_eq!(bench.runner.in_flight(), 0);
    let attempt = bench.attempt_of("slow").await;
    assert_eq!(attempt.failure.map(|failure| failure.reason), Some(Reason::Cancelled));
}

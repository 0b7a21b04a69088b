//! The books against looks that follow each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::attempt::Subject;
use crate::config;
use crate::expectation::Expectation;
use crate::failure::{Fault, Phase};
use crate::flow::{FlowDestination, FlowSource};
use crate::outcome::{Facts, FlowCounter, Outcome, UnkeptFlows};
use crate::plan;
use crate::probe::Environment;
use crate::target::ProbeKind;

const BETWEEN: Duration = Duration::from_secs(10);

/// An agent's books, and the clock.
struct Bench {
    flows: Flows,
    began: Moment,
    looks: u32,
}

fn targets(names: &[&str], module: &str) -> Vec<Arc<Target>> {
    let lines = names.iter().map(|it| {
        format!("  - {{ name: {it}, address: \"127.0.0.1\", interval: 10s, {module} }}\n")
    });
    let yaml = format!("node: n\ntargets:\n{}", lines.collect::<String>());
    let config = config::parse(&yaml, &BTreeMap::new()).expect("a good configuration");
    plan::prepare(&config, &Environment::default(), &[]).expect("targets")
}

fn flow(source: &str, security: FlowSecurity, opened: u64, denied: u64) -> FlowCounter {
    let (namespace, name) = source.split_once('/').unwrap_or(("", ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    FlowCounter {
        source: FlowSource { workload: some(name), namespace: some(namespace), principal: None },
        destination: FlowDestination {
            workload: Some("mirai-frontend".to_owned()),
            namespace: Some("default".to_owned()),
            ..FlowDestination::default()
        },
        security,
        opened,
        denied,
    }
}

fn plaintext(source: &str, opened: u64) -> FlowCounter {
    flow(source, FlowSecurity::Plaintext, opened, 0)
}

fn page(flows: Vec<FlowCounter>) -> ZtunnelFacts {
    ZtunnelFacts {
        ready: Some(true),
        metrics_address: Some(([10, 0, 0, 1], 15020).into()),
        version: Some("1.29.0".to_owned()),
        flows,
        scraped: true,
        ..ZtunnelFacts::default()
    }
}

impl Bench {
    fn new() -> Self {
        let flows = Flows::new("n", Some("meshprobe-plain"));
        targets(&["ztunnel"], "ztunnel: {}").iter().for_each(|it| flows.joined(it));
        Self { flows, began: Moment::now(), looks: 0 }
    }

    fn at(&self, looks: u32) -> Moment {
        let since = BETWEEN * looks;
        Moment { clock: self.began.clock + since, monotonic: self.began.monotonic + since }
    }

    /// The next look, and what it gave.
    fn look(&mut self, facts: ZtunnelFacts) -> Option<Seen> {
        self.looks += 1;
        self.flows.attempt(&attempt("ztunnel", Some(facts), None), self.at(self.looks))
    }

    fn fail(&mut self, reason: Reason) -> Option<Seen> {
        self.looks += 1;
        let attempt = attempt("ztunnel", None, Some(reason));
        self.flows.attempt(&attempt, self.at(self.looks))
    }

    fn health(&self) -> ZtunnelHealth {
        self.flows.told().ztunnel.expect("looked at")
    }

    fn flow(&self, source: &str) -> Flow {
        let told = self.flows.told();
        let wanted = plaintext(source, 0).source;
        let found = told
            .flows
            .iter()
            .find(|it| it.source == wanted && it.security == FlowSecurity::Plaintext);
        found.expect("a flow").clone()
    }
}

fn attempt(target: &str, ztunnel: Option<ZtunnelFacts>, reason: Option<Reason>) -> Attempt {
    let name = target.parse().expect("a name");
    let subject = Subject {
        probe: ProbeKind::Ztunnel,
        target: &name,
        vantage: None,
        via: None,
        expect: &Expectation::Reply,
    };
    let fault = Fault::new(reason.unwrap_or(Reason::Refused), "");
    let mut outcome =
        Outcome::spoiled(std::time::SystemTime::now(), Duration::from_millis(5), fault.clone());
    outcome.failure = reason.map(|_| fault.during(Phase::Connect));
    outcome.facts = Facts { ztunnel, ..Facts::default() };
    Attempt::judged(subject, outcome, None, Duration::ZERO)
}

#[test]
fn the_first_look_is_a_baseline_and_the_second_a_rate() {
    let mut bench = Bench::new();
    let seen = bench.look(page(vec![plaintext("ingress/cloudflared", 100)]));
    assert_eq!(seen.map(|it| (it.plaintext_pairs, it.plaintext_connections)), Some((1, 0)));
    let first = bench.flow("ingress/cloudflared");
    assert_eq!((first.opened_before, first.opened, first.rate_per_second), (100, 0, 0.0));
    assert_eq!((first.last_seen, first.node.as_str()), (None, "n"));
    assert_eq!(bench.health().window_seconds, None);

    let seen = bench.look(page(vec![
        plaintext("ingress/cloudflared", 130),
        flow("batch/job", FlowSecurity::Plaintext, 5, 5),
    ]));
    assert_eq!(seen.map(|it| (it.plaintext_pairs, it.plaintext_connections)), Some((2, 35)));
    let grown = bench.flow("ingress/cloudflared");
    assert_eq!((grown.opened_before, grown.opened, grown.rate_per_second), (100, 30, 3.0));
    assert_eq!(grown.last_seen, Some(bench.at(2).clock));
    let new = bench.flow("batch/job");
    assert_eq!((new.opened_before, new.opened, new.denied), (0, 5, 5));
    assert_eq!(new.first_seen, bench.at(2).clock);

    bench.look(page(vec![
        plaintext("ingress/cloudflared", 130),
        flow("batch/job", FlowSecurity::Plaintext, 5, 5),
    ]));
    let still = bench.flow("ingress/cloudflared");
    assert_eq!((still.opened, still.rate_per_second), (30, 0.0));
    assert_eq!(still.last_seen, Some(bench.at(2).clock));
}

#[test]
fn probers_are_told_and_not_counted_among_users() {
    let mut bench = Bench::new();
    bench.look(page(vec![plaintext("meshprobe-plain/meshprobe-plain", 1)]));
    let seen = bench.look(page(vec![plaintext("meshprobe-plain/meshprobe-plain", 9)]));
    assert_eq!(seen.map(|it| (it.plaintext_pairs, it.plaintext_connections)), Some((0, 0)));
    assert_eq!(bench.flow("meshprobe-plain/meshprobe-plain").opened, 8);
}

#[test]
fn a_counter_that_is_smaller_began_anew() {
    let mut bench = Bench::new();
    bench.look(page(vec![plaintext("a/a", 100), plaintext("b/b", 7)]));
    bench.look(page(vec![plaintext("a/a", 110), plaintext("b/b", 7)]));
    let seen = bench.look(page(vec![plaintext("a/a", 4)]));
    assert_eq!(seen.map(|it| (it.restarted, it.plaintext_connections)), Some((true, 4)));
    assert_eq!(bench.flow("a/a").opened, 14);
    assert_eq!(bench.flow("b/b").total(), 7, "what is gone stays known");
    let health = bench.health();
    assert_eq!((health.restarts, health.last_restart), (1, Some(bench.at(3).clock)));
    let seen = bench.look(page(vec![plaintext("a/a", 5), plaintext("b/b", 2)]));
    assert_eq!(seen.map(|it| it.restarted), Some(false));
    assert_eq!((bench.flow("a/a").opened, bench.flow("b/b").opened), (15, 2));
}

#[test]
fn a_restart_shows_by_a_flow_that_is_gone_by_other_sums_and_by_the_start_time() {
    let busy = |count| page(vec![plaintext("a/a", count)]);
    let with_dns = |count, dns| ZtunnelFacts { dns_requests: Some(dns), ..busy(count) };
    let started = |count, at| ZtunnelFacts { process_start_seconds: Some(at), ..busy(count) };
    for (before, after, restarted) in [
        (busy(3), page(vec![plaintext("b/b", 3)]), true),
        (with_dns(3, 10), with_dns(9, 2), true),
        (with_dns(3, 10), with_dns(9, 10), false),
        (started(3, 1000.0), started(9, 2000.0), true),
        (started(3, 1000.0), started(9, 1000.0), false),
    ] {
        let mut bench = Bench::new();
        bench.look(before);
        let seen = bench.look(after).expect("a look");
        assert_eq!(seen.restarted, restarted);
        assert_eq!(bench.health().restarts, u64::from(restarted));
    }
}

#[test]
fn another_ztunnel_is_a_new_baseline() {
    let mut bench = Bench::new();
    bench.look(page(vec![plaintext("a/a", 10)]));
    let other = ZtunnelFacts {
        metrics_address: Some(([10, 0, 0, 2], 15020).into()),
        ..page(vec![plaintext("a/a", 500)])
    };
    let seen = bench.look(other).expect("a look");
    assert_eq!((seen.restarted, seen.plaintext_connections), (true, 0));
    let told = bench.flow("a/a");
    assert_eq!((told.opened_before, told.opened), (510, 0));
}

#[test]
fn looks_that_overlap_are_taken_once() {
    let mut bench = Bench::new();
    bench.look(page(vec![plaintext("a/a", 10)]));
    bench.look(page(vec![plaintext("a/a", 20)]));
    // It began before the one above, and ended after it.
    let late = Attempt {
        duration: BETWEEN * 2,
        ..attempt("ztunnel", Some(page(vec![plaintext("a/a", 15)])), None)
    };
    assert_eq!(bench.flows.attempt(&late, bench.at(3)), None);
    assert_eq!((bench.health().restarts, bench.flow("a/a").opened), (0, 10));
}

#[test]
fn failures_are_counted_and_cancelled_looks_are_not() {
    let mut bench = Bench::new();
    assert_eq!(bench.fail(Reason::Refused), None);
    assert_eq!(bench.fail(Reason::Cancelled), None);
    let unready = ZtunnelFacts {
        ready: Some(false),
        pending: Some("state manager".to_owned()),
        ..ZtunnelFacts::default()
    };
    assert_eq!(bench.look(unready), None);
    let health = bench.health();
    assert_eq!((health.scrapes, health.scrape_failures), (0, 2));
    assert_eq!((health.ready, health.pending.as_deref()), (Some(false), Some("state manager")));
    bench.look(page(Vec::new()));
    let health = bench.health();
    assert_eq!((health.ready, health.pending, health.scrapes), (Some(true), None, 1));
    assert_eq!(health.version.as_deref(), Some("1.29.0"));
}

#[test]
fn terminations_have_counts_and_rates() {
    let mut bench = Bench::new();
    let ended = |reconnects, errors: Option<u64>| {
        let errors = errors.map(|count| ("Error".to_owned(), count));
        let reconnects = [("Reconnect".to_owned(), reconnects)];
        let xds_terminations = reconnects.into_iter().chain(errors).collect();
        ZtunnelFacts { xds_terminations, ..page(Vec::new()) }
    };
    bench.look(ended(50, None));
    bench.look(ended(51, Some(20)));
    let told = bench.health().xds_terminations;
    assert_eq!(told["Reconnect"], Terminations { count: 1, rate_per_second: 0.1 });
    assert_eq!(told["Error"], Terminations { count: 20, rate_per_second: 2.0 });
    bench.look(ended(51, Some(20)));
    let told = bench.health().xds_terminations;
    assert_eq!(told["Error"], Terminations { count: 20, rate_per_second: 0.0 });
}

#[test]
fn more_flows_than_are_kept_are_counted_and_what_is_gone_makes_room() {
    let mut bench = Bench::new();
    let many = |from: usize, count: usize| {
        let flows = (from..from + count).map(|n| plaintext(&format!("x/{n:06}"), 3));
        page(flows.collect())
    };
    bench.look(many(0, 1000));
    let seen = bench.look(many(0, 1200)).expect("a look");
    assert_eq!((seen.dropped_plaintext, seen.plaintext_pairs), (200, 1000));
    let seen = bench.look(many(500, 1000)).expect("a look");
    assert!(seen.restarted);
    assert_eq!((seen.dropped_plaintext, seen.plaintext_pairs), (0, 1000));
    let told = bench.flows.told();
    assert_eq!(told.flows.len(), 1000);
    assert!(told.flows.iter().all(|it| it.source.workload.as_deref() >= Some("000500")));
}

#[test]
fn a_flow_that_may_have_been_dropped_so_far_is_no_growth() {
    let mut bench = Bench::new();
    let lossy = |flows| ZtunnelFacts {
        unkept_flows: UnkeptFlows { plaintext: 5, mutual_tls: 0 },
        ..page(flows)
    };
    bench.look(lossy(vec![plaintext("a/a", 1)]));
    bench.look(lossy(vec![plaintext("a/a", 2), plaintext("b/b", 900)]));
    assert_eq!((bench.flow("a/a").opened, bench.flow("b/b").opened), (1, 0));
    assert_eq!(bench.flow("b/b").opened_before, 900);
    assert_eq!((bench.health().restarts, bench.flows.told().dropped_plaintext), (0, 5));
}

#[test]
fn only_the_ztunnel_of_the_plan_is_read() {
    let flows = Flows::new("n", None);
    let facts = || Some(page(vec![plaintext("a/a", 1)]));
    let now = Moment::now();
    assert_eq!(flows.attempt(&attempt("ztunnel", facts(), None), now), None);
    assert_eq!(flows.told().ztunnel, None);
    targets(&["another", "ztunnel"], "ztunnel: {}").iter().for_each(|it| flows.joined(it));
    assert_eq!(flows.attempt(&attempt("another", facts(), None), now), None);
    assert!(flows.attempt(&attempt("ztunnel", facts(), None), now).is_some());
    let gone = HashSet::from(["ztunnel".parse().expect("a name")]);
    flows.left(&gone);
    assert_eq!(flows.told().flows.len(), 1, "it stays known");
    let unread = "ztunnel: { metrics_port: off }";
    targets(&["another"], unread).iter().for_each(|it| flows.joined(it));
    assert_eq!(flows.attempt(&attempt("another", facts(), None), now), None);
}

//! What this node's ztunnel counted, look by look: who calls its pods, and how it fares itself.
//!
//! A look is an attempt of the `ztunnel` target that reads counters. Counters become connections by
//! their growth; what was counted before the first look is told apart. Pure bookkeeping: time is an
//! argument. Knows nothing of who is in the mesh, nor of who asks.

mod ledger;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::attempt::Attempt;
use crate::failure::Reason;
use crate::flow::{Flow, FlowSecurity, NodeFlows, Terminations, ZtunnelHealth};
use crate::outcome::ZtunnelFacts;
use crate::plan::Target;
use crate::spec::Ask;
use crate::target::TargetName;
use ledger::{Growth, Ledger};

/// The target that plans name so; of others that read a ztunnel, the first in order stands in.
const PLANNED: &str = "ztunnel";

/// The books of one agent.
#[derive(Debug)]
pub(super) struct Flows {
    node: String,
    /// The agent's own namespace, when known: what comes from there is probes.
    namespace: Option<String>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// Targets that read a ztunnel's counters.
    targets: BTreeSet<TargetName>,
    /// Nothing before the first attempt.
    watched: Option<Watched>,
}

/// One ztunnel, as it was at each look.
#[derive(Debug)]
struct Watched {
    health: ZtunnelHealth,
    ledger: Ledger,
    terminations: BTreeMap<String, u64>,
    last: Option<Look>,
}

/// What the next look is compared with.
#[derive(Debug)]
struct Look {
    at: Instant,
    address: Option<SocketAddr>,
    process_start: Option<f64>,
    /// Sums that only ever grow while a ztunnel lives.
    sums: BTreeMap<String, u64>,
}

/// When something is seen, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) clock: OffsetDateTime,
    pub(super) monotonic: Instant,
}

/// What one attempt added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Plaintext pairs that are known of now, without those of probers of the own namespace.
    pub(super) plaintext_pairs: u64,
    /// Their connections since the look before.
    pub(super) plaintext_connections: u64,
    /// Whether the ztunnel restarted since then.
    pub(super) restarted: bool,
    /// Plaintext series that were not kept.
    pub(super) dropped_plaintext: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { clock: OffsetDateTime::now_utc(), monotonic: Instant::now() }
    }
}

impl Flows {
    /// Books without an entry.
    pub(super) fn new(node: &str, namespace: Option<&str>) -> Self {
        let namespace = namespace.map(str::to_owned);
        Self { node: node.to_owned(), namespace, book: Mutex::default() }
    }

    /// A target begins to be probed.
    pub(super) fn joined(&self, target: &Target) {
        let reads = matches!(
            &target.spec.probe.ask,
            Ask::Ztunnel { module, .. } if module.metrics_port.is_some()
        );
        let mut book = self.book.lock().expect("no panic while held");
        if reads {
            book.targets.insert(target.spec.name.clone());
        } else {
            book.targets.remove(&target.spec.name);
        }
    }

    /// Targets are probed no more. What was seen stays known.
    pub(super) fn left(&self, left: &HashSet<TargetName>) {
        let mut book = self.book.lock().expect("no panic while held");
        book.targets.retain(|name| !left.contains(name));
    }

    /// Takes in an attempt that ended at `now`; `None` when it is not of the target that is read
    /// here, or its ztunnel's counters were not read.
    pub(super) fn attempt(&self, attempt: &Attempt, now: Moment) -> Option<Seen> {
        let mut book = self.book.lock().expect("no panic while held");
        if book.target()? != &attempt.target {
            return None;
        }
        let cancelled = |reason| reason == Reason::Cancelled;
        if attempt.failure.as_ref().is_some_and(|failure| cancelled(failure.reason)) {
            return None;
        }
        let watched =
            book.watched.get_or_insert_with(|| Watched::new(now, self.namespace.as_deref()));
        // Counters of attempts that overlap may come in the wrong order.
        let began = now.monotonic.checked_sub(attempt.duration).unwrap_or(now.monotonic);
        if watched.last.as_ref().is_some_and(|last| began < last.at) {
            return None;
        }
        let facts = attempt.facts.ztunnel.as_ref();
        if let Some(ready) = facts.and_then(|facts| facts.ready) {
            watched.health.ready = Some(ready);
            watched.health.pending = facts.and_then(|facts| facts.pending.clone());
        }
        match facts.filter(|facts| facts.scraped) {
            Some(facts) => Some(watched.look(facts, now)),
            None => {
                watched.health.scrape_failures += 1;
                None
            }
        }
    }

    /// All that is known.
    pub(super) fn told(&self) -> NodeFlows {
        let book = self.book.lock().expect("no panic while held");
        let watched = book.watched.as_ref();
        let flow = |flow: Flow| Flow { node: self.node.clone(), ..flow };
        NodeFlows {
            node: self.node.clone(),
            ztunnel: watched.map(|watched| watched.health.clone()),
            flows: watched.map_or(Vec::new(), |it| it.ledger.flows().map(flow).collect()),
            dropped_plaintext: watched.map_or(0, |it| it.ledger.dropped(FlowSecurity::Plaintext)),
            dropped_mutual_tls: watched.map_or(0, |it| it.ledger.dropped(FlowSecurity::MutualTls)),
        }
    }
}

impl Book {
    fn target(&self) -> Option<&TargetName> {
        let planned = self.targets.iter().find(|name| name.as_str() == PLANNED);
        planned.or_else(|| self.targets.first())
    }
}

impl Watched {
    fn new(now: Moment, namespace: Option<&str>) -> Self {
        Self {
            health: ZtunnelHealth {
                watched_since: now.clock,
                ready: None,
                pending: None,
                version: None,
                restarts: 0,
                last_restart: None,
                xds_terminations: BTreeMap::new(),
                last_scrape: None,
                window_seconds: None,
                scrapes: 0,
                scrape_failures: 0,
            },
            ledger: Ledger::new(namespace),
            terminations: BTreeMap::new(),
            last: None,
        }
    }

    fn look(&mut self, facts: &ZtunnelFacts, now: Moment) -> Seen {
        let look = Look::of(facts, now);
        let before = self.last.replace(look);
        let look = self.last.as_ref().expect("put there just now");
        let growth = match &before {
            None => Growth::Unknown,
            Some(before) if before.address != look.address => Growth::Unknown,
            Some(before) if before.went_back(look) || self.ledger.went_back(facts) => {
                Growth::SinceStart
            }
            Some(_) => Growth::SinceLast,
        };
        let restarted = before.is_some() && growth != Growth::SinceLast;
        let waited = before.map(|before| now.monotonic.saturating_duration_since(before.at));
        let window = waited.filter(|waited| !waited.is_zero());
        let health = &mut self.health;
        health.version.clone_from(&facts.version);
        health.restarts += u64::from(restarted);
        health.last_restart = if restarted { Some(now.clock) } else { health.last_restart };
        health.last_scrape = Some(now.clock);
        health.window_seconds = window.map(|window| window.as_secs_f64());
        health.scrapes += 1;
        let grown = self.ledger.take(facts, growth, window, now.clock);
        self.terminate(&facts.xds_terminations, growth, window);
        Seen {
            plaintext_pairs: self.ledger.plaintext_pairs(),
            plaintext_connections: grown,
            restarted,
            dropped_plaintext: self.ledger.dropped(FlowSecurity::Plaintext),
        }
    }

    /// Takes the counts of connections to istiod that ended.
    fn terminate(
        &mut self,
        counts: &BTreeMap<String, u64>,
        growth: Growth,
        window: Option<Duration>,
    ) {
        for told in self.health.xds_terminations.values_mut() {
            told.rate_per_second = 0.0;
        }
        for (reason, count) in counts {
            let grown = growth.of(*count, self.terminations.get(reason).copied());
            let room = self.health.xds_terminations.len() < MOST_REASONS;
            if !room && !self.health.xds_terminations.contains_key(reason) {
                continue;
            }
            let told = self.health.xds_terminations.entry(reason.clone()).or_default();
            *told = Terminations {
                count: told.count.saturating_add(grown),
                rate_per_second: rate(grown, window),
            };
        }
        self.terminations.clone_from(counts);
    }
}

/// Reasons of terminations that are told: ztunnel has four.
const MOST_REASONS: usize = 32;

impl Look {
    fn of(facts: &ZtunnelFacts, now: Moment) -> Self {
        let connections = facts.connections.iter().map(|it| {
            let (policy, flags) = (&it.connection_security_policy, &it.response_flags);
            (format!("{}/{}/{policy}/{flags}", it.event, it.reporter), it.count)
        });
        let terminations = facts.xds_terminations.iter();
        let terminations = terminations.map(|(reason, count)| (format!("xds/{reason}"), *count));
        let requests = facts.dns_requests.map(|count| ("dns".to_owned(), count));
        Self {
            at: now.monotonic,
            address: facts.metrics_address,
            process_start: facts.process_start_seconds,
            sums: connections.chain(terminations).chain(requests).collect(),
        }
    }

    /// Whether `next` cannot be the same process: a sum is smaller or gone, or the process began
    /// at another time.
    fn went_back(&self, next: &Self) -> bool {
        let began_anew = match (self.process_start, next.process_start) {
            (Some(before), Some(after)) => (after - before).abs() > 1.0,
            _ => false,
        };
        let smaller = |(name, before): (&String, &u64)| next.sums.get(name).unwrap_or(&0) < before;
        began_anew || self.sums.iter().any(smaller)
    }
}

/// `grown` per second of `window`.
fn rate(grown: u64, window: Option<Duration>) -> f64 {
    window.map_or(0.0, |window| grown as f64 / window.as_secs_f64())
}

#[cfg(test)]
mod tests;

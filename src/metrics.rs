//! Every metric of meshprobe: the only user of the metrics crates.
//!
//! Each instance has a registry of its own, so tests and labs run side by side. A target's series
//! exist from the moment it joins, counters at zero, until it leaves, however long they are idle;
//! their handles are looked up once.

mod cells;
mod controller;
mod exposition;
mod gate;
mod mesh;
mod names;
mod plan;
mod series;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, Key, Label};
use metrics_util::registry::Registry;

use crate::attempt::Attempt;
use crate::failure::Reason;
use crate::observation::Expected;
use crate::spec::TargetSpec;
use crate::target::{ProbeKind, TargetName, Vantage, Via};
use cells::Cells;
pub use controller::{ControllerMetrics, FleetState};
pub use exposition::Exposition;
pub use gate::{CheckState, GateState};
use series::Series;

/// Bounds of the lag histogram, seconds.
const LAG_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0];
/// Bounds of the histogram of held connections, seconds.
const HOLD_BUCKETS: [f64; 8] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// What the metrics of one agent are made with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Constant label `node`.
    pub node: String,
    /// Constant label `zone`.
    pub zone: Option<String>,
    /// Constant label `vantage`.
    pub vantage: Option<Vantage>,
    /// Upper bounds of the latency histograms, seconds, ascending.
    pub buckets: Vec<f64>,
}

/// The metrics of one agent.
pub struct Metrics {
    registry: Registry<Key, Cells>,
    targets: Mutex<HashMap<TargetName, Series>>,
    lag: Histogram,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics of an agent without targets.
    pub fn new(settings: &Settings) -> Self {
        let mut constant = vec![("node", settings.node.clone())];
        constant.extend(settings.zone.clone().map(|zone| ("zone", zone)));
        constant.extend(settings.vantage.map(|vantage| ("vantage", vantage.to_string())));
        let registry = Registry::new(Cells {
            constant,
            bounds: vec![
                (names::SCHEDULE_LAG, Arc::from(LAG_BUCKETS)),
                (names::HOLD_DURATION, Arc::from(HOLD_BUCKETS)),
            ],
            default_bounds: Arc::from(settings.buckets.as_slice()),
        });
        let lag = histogram(&registry, &Key::from_static_name(names::SCHEDULE_LAG));
        let metrics = Self { registry, targets: Mutex::default(), lag };
        let version = vec![Label::new("version", env!("CARGO_PKG_VERSION"))];
        metrics.set(&Key::from_parts(names::BUILD_INFO, version), 1.0);
        metrics
    }

    /// A target begins to be probed: its counters exist from now on, at zero. One that differs
    /// from what it was in nothing that is a label goes on counting.
    pub fn joined(&self, target: &TargetName, probe: ProbeKind, via: Option<Via>) {
        let mut targets = self.targets.lock().expect("no panic while held");
        if targets.get(target).is_some_and(|series| series.is_of(probe, via)) {
            return;
        }
        if targets.remove(target).is_some() {
            self.forget(&HashSet::from([target.clone()]));
        }
        targets.insert(target.clone(), Series::new(&self.registry, target, probe, via));
    }

    /// What observations of a target that joined are of, as the recording rules join it to what is
    /// counted.
    pub fn described(&self, target: &TargetSpec) {
        let mut targets = self.targets.lock().expect("no panic while held");
        let Some(series) = targets.get_mut(&target.name) else { return };
        let subject = target.subject.as_ref().map_or(target.name.as_str(), |it| it.as_str());
        let labels = vec![
            ("subject", subject.to_owned()),
            ("destination_node", target.destination_node.clone().unwrap_or_default()),
            ("via", target.via.map(|via| via.as_str().to_owned()).unwrap_or_default()),
            ("expect", Expected::of(&target.probe.expect).as_str().to_owned()),
        ];
        series.describe(&self.registry, labels);
    }

    /// Targets are probed no more: their series are gone.
    pub fn left(&self, left: &HashSet<TargetName>) {
        let mut targets = self.targets.lock().expect("no panic while held");
        targets.retain(|name, _| !left.contains(name));
        self.forget(left);
    }

    fn forget(&self, left: &HashSet<TargetName>) {
        let left: HashSet<&str> = left.iter().map(TargetName::as_str).collect();
        let stays = |key: &Key| {
            let mut labels = key.labels();
            !labels.any(|label| label.key() == series::TARGET && left.contains(label.value()))
        };
        self.registry.retain_counters(|key, _| stays(key));
        self.registry.retain_gauges(|key, _| stays(key));
        self.registry.retain_histograms(|key, _| stays(key));
    }

    /// Records an attempt of a target that joined; one that left meanwhile is not recorded.
    pub fn attempt(&self, attempt: &Attempt) {
        let registry = &self.registry;
        let mut targets = self.targets.lock().expect("no panic while held");
        let Some(series) = targets.get_mut(&attempt.target) else { return };
        let warm = attempt.facts.warm;
        if warm == Some(false) {
            series.expect_warm(registry);
        }
        series.verdict(registry, warm, attempt.verdict).increment(1);
        self.lag.record(attempt.schedule_lag.as_secs_f64());
        if let Some(failure) = &attempt.failure {
            series.failure(registry, failure.phase, failure.reason).increment(1);
            if failure.reason == Reason::UnexpectedReply {
                series.gaps.increment(1);
            }
        } else {
            series.duration(registry, warm).record(attempt.duration.as_secs_f64());
            for (phase, duration) in attempt.phases.iter() {
                series.phase(registry, warm, phase).record(duration.as_secs_f64());
            }
        }
        if let Some(tcp) = &attempt.facts.tcp {
            series.retransmits.increment(tcp.retransmits.into());
        }
        if let Some(hold) = &attempt.facts.hold {
            let end = attempt.failure.as_ref().map_or("held", |failure| failure.reason.as_str());
            series.hold(registry, end).record(hold.held.as_secs_f64());
        }
        mesh::attempt(registry, series, attempt);
        if let Some(tls) = &attempt.facts.tls {
            if let Some(leaf) = tls.chain.first() {
                series.not_after(registry, "leaf").set(unix_seconds(leaf.not_after));
                series.not_before(registry).set(unix_seconds(leaf.not_before));
            }
            if let Some(earliest) = tls.not_after {
                series.not_after(registry, "earliest").set(unix_seconds(earliest));
            }
        }
    }

    /// Slots of a target went by without an attempt.
    pub fn missed(&self, target: &TargetName, cause: &'static str, slots: u64) {
        let mut targets = self.targets.lock().expect("no panic while held");
        if let Some(series) = targets.get_mut(target) {
            series.missed(&self.registry, cause).increment(slots);
        }
    }

    /// Attempts under way, as of now.
    pub fn in_flight(&self, count: u32) {
        self.set(&Key::from_static_name(names::IN_FLIGHT), count.into());
    }

    /// A configuration was read, and taken or refused.
    pub fn reloaded(&self, good: bool) {
        let result = if good { "success" } else { "failure" };
        for (name, add) in [("success", 0), ("failure", 0), (result, 1)] {
            let labels = vec![Label::new("result", name)];
            self.add(&Key::from_parts(names::RELOADS, labels), add);
        }
        self.set(&Key::from_static_name(names::LAST_RELOAD), f64::from(u8::from(good)));
        if good {
            let now = unix_seconds(SystemTime::now());
            self.set(&Key::from_static_name(names::LAST_RELOAD_TIME), now);
        }
    }

    /// A request to `/probe` was answered with this HTTP status.
    pub fn probe_request(&self, status: u16) {
        let labels = vec![Label::new("code", status.to_string())];
        self.add(&Key::from_parts(names::PROBE_REQUESTS, labels), 1);
    }

    /// Counters of the responder, as it keeps them itself.
    pub fn responder(&self, open: u64, requests: u64, rejected: &[(&'static str, u64)]) {
        self.set(&Key::from_static_name(names::RESPONDER_CONNECTIONS), open as f64);
        self.absolute(&Key::from_static_name(names::RESPONDER_REQUESTS), requests);
        for (cause, count) in rejected {
            let labels = vec![Label::new("cause", *cause)];
            self.absolute(&Key::from_parts(names::RESPONDER_REJECTED, labels), *count);
        }
    }

    /// The text format of Prometheus, in pieces.
    pub fn exposition(&self) -> Exposition {
        Exposition::new(&self.registry)
    }

    fn add(&self, key: &Key, count: u64) {
        counter(&self.registry, key).increment(count);
    }

    fn absolute(&self, key: &Key, count: u64) {
        counter(&self.registry, key).absolute(count);
    }

    fn set(&self, key: &Key, value: f64) {
        gauge(&self.registry, key).set(value);
    }
}

fn counter(registry: &Registry<Key, Cells>, key: &Key) -> Counter {
    registry.get_or_create_counter(key, |cell| Counter::from_arc(Arc::clone(cell)))
}

fn gauge(registry: &Registry<Key, Cells>, key: &Key) -> Gauge {
    registry.get_or_create_gauge(key, |cell| Gauge::from_arc(Arc::clone(cell)))
}

fn histogram(registry: &Registry<Key, Cells>, key: &Key) -> Histogram {
    registry.get_or_create_histogram(key, |cell| Histogram::from_arc(Arc::clone(cell)))
}

fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

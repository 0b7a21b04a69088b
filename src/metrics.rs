//! Every metric of meshprobe: the only user of the metrics crates.
//!
//! Each instance has a recorder of its own, so tests and labs run side by side. Series are
//! recorded by key, never through kept handles: the exporter drops what was idle for long, and a
//! kept handle would go on counting into the void. Zero counters of live targets are touched
//! before each render, so that only those of targets that left go.

mod names;
mod series;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use metrics_util::MetricKindMask;

use crate::failure::Reason;
use crate::outcome::Attempt;
use crate::target::{ProbeKind, TargetName, Vantage, Via};
use series::Series;

/// Series of a target that left disappear after this, or three of the longest intervals.
const IDLE: Duration = Duration::from_secs(300);
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
    /// The longest interval of any target.
    pub longest_interval: Duration,
}

/// The metrics of one agent.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    targets: Mutex<BTreeMap<TargetName, Series>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

const METADATA: Metadata<'static> = Metadata::new("meshprobe", Level::INFO, None);

impl Metrics {
    /// An empty set, with every metric described.
    pub fn new(settings: &Settings) -> Result<Self, InvalidBuckets> {
        let idle = IDLE.max(settings.longest_interval * 3);
        let mut builder = PrometheusBuilder::new()
            .set_buckets(&settings.buckets)?
            .set_buckets_for_metric(exactly(names::SCHEDULE_LAG), &LAG_BUCKETS)?
            .set_buckets_for_metric(exactly(names::HOLD_DURATION), &HOLD_BUCKETS)?
            .idle_timeout(MetricKindMask::ALL, Some(idle))
            .add_global_label("node", settings.node.clone());
        if let Some(zone) = &settings.zone {
            builder = builder.add_global_label("zone", zone.clone());
        }
        if let Some(vantage) = settings.vantage {
            builder = builder.add_global_label("vantage", vantage.as_str());
        }
        let recorder = builder.build_recorder();
        names::describe(&recorder);
        let handle = recorder.handle();
        let metrics = Self { recorder, handle, targets: Mutex::default() };
        metrics.handle.run_upkeep();
        Ok(metrics)
    }

    /// A target begins to be probed: its counters exist from now on, at zero.
    pub fn joined(&self, target: &TargetName, probe: ProbeKind, via: Option<Via>) {
        let series = Series::new(target, probe, via);
        series.counters().for_each(|key| self.add(key, 0));
        self.targets.lock().expect("no panic while held").insert(target.clone(), series);
    }

    /// A target is probed no more: its series go when they have been idle for long enough.
    pub fn left(&self, target: &TargetName) {
        self.targets.lock().expect("no panic while held").remove(target);
    }

    /// Records an attempt of a target that joined; one that left meanwhile is not recorded.
    pub fn attempt(&self, attempt: &Attempt) {
        let mut targets = self.targets.lock().expect("no panic while held");
        let Some(series) = targets.get_mut(&attempt.target) else { return };
        self.add(series.verdict(attempt.facts.warm, attempt.verdict), 1);
        self.observe(&series.lag, attempt.schedule_lag);
        if let Some(failure) = &attempt.failure {
            self.add(series.failure(failure.phase, failure.reason), 1);
            if failure.reason == Reason::UnexpectedReply {
                self.add(&series.gaps, 1);
            }
        } else {
            self.observe(series.duration(attempt.facts.warm), attempt.duration);
            for (phase, duration) in attempt.phases.iter() {
                self.observe(series.phase(attempt.facts.warm, phase), duration);
            }
        }
        if let Some(tcp) = &attempt.facts.tcp {
            self.add(&series.retransmits, tcp.retransmits.into());
        }
        if let Some(hold) = &attempt.facts.hold {
            let end = attempt.failure.as_ref().map_or("held", |failure| failure.reason.as_str());
            self.observe(series.hold(end), hold.held);
        }
        if let Some(tls) = &attempt.facts.tls {
            if let Some(leaf) = tls.chain.first() {
                self.set(series.not_after("leaf"), unix_seconds(leaf.not_after));
            }
            if let Some(earliest) = tls.not_after {
                self.set(series.not_after("earliest"), unix_seconds(earliest));
            }
        }
    }

    /// Slots of a target went by without an attempt.
    pub fn missed(&self, target: &TargetName, cause: &'static str, slots: u64) {
        let mut targets = self.targets.lock().expect("no panic while held");
        if let Some(series) = targets.get_mut(target) {
            self.add(series.missed(cause), slots);
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

    /// The text format of Prometheus.
    pub fn render(&self) -> String {
        let version = vec![Label::new("version", env!("CARGO_PKG_VERSION"))];
        self.set(&Key::from_parts(names::BUILD_INFO, version), 1.0);
        for series in self.targets.lock().expect("no panic while held").values() {
            series.counters().for_each(|key| self.add(key, 0));
            series.gauges().for_each(|key| self.touch_gauge(key));
        }
        self.handle.render()
    }

    /// Moves samples of histograms to their buckets; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn add(&self, key: &Key, count: u64) {
        self.recorder.register_counter(key, &METADATA).increment(count);
    }

    fn absolute(&self, key: &Key, count: u64) {
        let counter = self.recorder.register_counter(key, &METADATA);
        counter.absolute(count);
        counter.increment(0);
    }

    fn set(&self, key: &Key, value: f64) {
        self.recorder.register_gauge(key, &METADATA).set(value);
    }

    fn touch_gauge(&self, key: &Key) {
        self.recorder.register_gauge(key, &METADATA).increment(0.0);
    }

    fn observe(&self, key: &Key, duration: Duration) {
        self.recorder.register_histogram(key, &METADATA).record(duration.as_secs_f64());
    }
}

/// Histogram bounds that the exporter does not take.
#[derive(Debug, thiserror::Error)]
#[error("no latency histogram can be made of the configured buckets")]
pub struct InvalidBuckets(#[from] BuildError);

fn exactly(name: &str) -> Matcher {
    Matcher::Full(name.to_owned())
}

fn unix_seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

//! The handles of one target's series, looked up once: an attempt only uses them.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, SharedString};
use metrics_util::registry::Registry;

use crate::expectation::Verdict;
use crate::failure::{Phase, Reason};
use crate::metrics::cells::Cells;
use crate::metrics::{counter, gauge, histogram, names};
use crate::outcome::Rung;
use crate::target::{ProbeKind, TargetName, Via};

/// The label that every series of a target has.
pub(super) const TARGET: &str = "target";

/// The series of one target.
#[derive(Debug)]
pub(super) struct Series {
    probe: ProbeKind,
    via: Option<Via>,
    common: Vec<Label>,
    info: Option<Key>,
    verdicts: Few<(&'static str, Verdict), Counter>,
    failures: Few<(Phase, Reason), Counter>,
    missed: Few<&'static str, Counter>,
    phases: Few<(&'static str, Phase), Histogram>,
    durations: Few<&'static str, Histogram>,
    holds: Few<&'static str, Histogram>,
    not_after: Few<&'static str, Gauge>,
    not_before: Few<&'static str, Gauge>,
    rungs: Few<(Rung, Verdict), Counter>,
    rung_durations: Few<Rung, Histogram>,
    flags: Few<(&'static str, &'static str), Gauge>,
    pub(super) gaps: Counter,
    pub(super) retransmits: Counter,
}

impl Series {
    /// The series of a target that has just joined: what is counted from the start is at zero.
    pub(super) fn new(
        registry: &Registry<Key, Cells>,
        target: &TargetName,
        probe: ProbeKind,
        via: Option<Via>,
    ) -> Self {
        let name = SharedString::from_shared(Arc::from(target.as_str()));
        let common = vec![Label::new("probe", probe.as_str()), Label::new(TARGET, name)];
        let own = |name| counter(registry, &labelled(name, &common, &[]));
        let mut series = Self {
            gaps: own(names::GAPS),
            retransmits: own(names::RETRANSMITS),
            verdicts: Few::default(),
            failures: Few::default(),
            missed: Few::default(),
            phases: Few::default(),
            durations: Few::default(),
            holds: Few::default(),
            not_after: Few::default(),
            not_before: Few::default(),
            rungs: Few::default(),
            rung_durations: Few::default(),
            flags: Few::default(),
            probe,
            via,
            common,
            info: None,
        };
        for verdict in Verdict::ALL {
            series.verdict(registry, None, verdict);
        }
        series
    }

    /// The connection is kept: counters of warm attempts exist from now on.
    pub(super) fn expect_warm(&mut self, registry: &Registry<Key, Cells>) {
        for verdict in Verdict::ALL {
            self.verdict(registry, Some(true), verdict);
        }
    }

    /// Whether a target that is asked so has the labels of these series.
    pub(super) fn is_of(&self, probe: ProbeKind, via: Option<Via>) -> bool {
        self.probe == probe && self.via == via
    }

    /// What the target is besides its name; what it was before is gone.
    pub(super) fn describe(
        &mut self,
        registry: &Registry<Key, Cells>,
        more: Vec<(&'static str, String)>,
    ) {
        let more = more.into_iter().filter(|(_, value)| !value.is_empty());
        let more = more.map(|(name, value)| Label::new(name, value));
        let labels = self.common.iter().cloned().chain(more).collect::<Vec<_>>();
        let key = Key::from_parts(names::TARGET_INFO, labels);
        if let Some(other) = self.info.take().filter(|other| *other != key) {
            registry.delete_gauge(&other);
        }
        gauge(registry, &key).set(1.0);
        self.info = Some(key);
    }

    pub(super) fn verdict(
        &mut self,
        registry: &Registry<Key, Cells>,
        warm: Option<bool>,
        verdict: Verdict,
    ) -> &Counter {
        let Self { verdicts, common, via, .. } = self;
        let connection = connection(warm);
        verdicts.entry((connection, verdict), || {
            let via = via.map(Via::as_str).unwrap_or_default();
            let more = [("connection", connection), ("via", via), ("verdict", verdict.as_str())];
            counter(registry, &labelled(names::ATTEMPTS, common, &more))
        })
    }

    pub(super) fn failure(
        &mut self,
        registry: &Registry<Key, Cells>,
        phase: Phase,
        reason: Reason,
    ) -> &Counter {
        let Self { failures, common, .. } = self;
        failures.entry((phase, reason), || {
            let more = [("phase", phase.as_str()), ("reason", reason.as_str())];
            counter(registry, &labelled(names::FAILURES, common, &more))
        })
    }

    pub(super) fn missed(
        &mut self,
        registry: &Registry<Key, Cells>,
        cause: &'static str,
    ) -> &Counter {
        let Self { missed, common, .. } = self;
        missed.entry(cause, || {
            counter(registry, &labelled(names::MISSED_SLOTS, common, &[("cause", cause)]))
        })
    }

    pub(super) fn phase(
        &mut self,
        registry: &Registry<Key, Cells>,
        warm: Option<bool>,
        phase: Phase,
    ) -> &Histogram {
        let Self { phases, common, .. } = self;
        let connection = connection(warm);
        phases.entry((connection, phase), || {
            let more = [("connection", connection), ("phase", phase.as_str())];
            histogram(registry, &labelled(names::PHASE_DURATION, common, &more))
        })
    }

    pub(super) fn duration(
        &mut self,
        registry: &Registry<Key, Cells>,
        warm: Option<bool>,
    ) -> &Histogram {
        let Self { durations, common, .. } = self;
        let connection = connection(warm);
        durations.entry(connection, || {
            let more = [("connection", connection)];
            histogram(registry, &labelled(names::ATTEMPT_DURATION, common, &more))
        })
    }

    pub(super) fn hold(
        &mut self,
        registry: &Registry<Key, Cells>,
        end: &'static str,
    ) -> &Histogram {
        let Self { holds, common, .. } = self;
        holds.entry(end, || {
            histogram(registry, &labelled(names::HOLD_DURATION, common, &[("end", end)]))
        })
    }

    pub(super) fn not_after(
        &mut self,
        registry: &Registry<Key, Cells>,
        position: &'static str,
    ) -> &Gauge {
        let Self { not_after, common, .. } = self;
        not_after.entry(position, || {
            gauge(registry, &labelled(names::NOT_AFTER, common, &[("position", position)]))
        })
    }

    /// Start of validity of the leaf.
    pub(super) fn not_before(&mut self, registry: &Registry<Key, Cells>) -> &Gauge {
        let Self { not_before, common, .. } = self;
        not_before.entry("leaf", || {
            gauge(registry, &labelled(names::NOT_BEFORE, common, &[("position", "leaf")]))
        })
    }

    pub(super) fn rung(
        &mut self,
        registry: &Registry<Key, Cells>,
        rung: Rung,
        verdict: Verdict,
    ) -> &Counter {
        let Self { rungs, common, .. } = self;
        rungs.entry((rung, verdict), || {
            let more = [("rung", rung.as_str()), ("verdict", verdict.as_str())];
            counter(registry, &labelled(names::RUNG_ATTEMPTS, common, &more))
        })
    }

    pub(super) fn rung_duration(
        &mut self,
        registry: &Registry<Key, Cells>,
        rung: Rung,
    ) -> &Histogram {
        let Self { rung_durations, common, .. } = self;
        rung_durations.entry(rung, || {
            let more = [("rung", rung.as_str())];
            histogram(registry, &labelled(names::RUNG_DURATION, common, &more))
        })
    }

    /// A gauge of `name` that is 0 or 1, of each `what` where that is not empty.
    pub(super) fn flag(
        &mut self,
        registry: &Registry<Key, Cells>,
        name: &'static str,
        what: &'static str,
    ) -> &Gauge {
        let Self { flags, common, .. } = self;
        flags.entry((name, what), || gauge(registry, &labelled(name, common, &[("what", what)])))
    }
}

/// A map of a few entries, found by walking.
#[derive(Debug)]
struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V> Few<K, V> {
    fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &V {
        let at = self.0.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.0.push((key, make()));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}

fn connection(warm: Option<bool>) -> &'static str {
    if warm == Some(true) { "warm" } else { "cold" }
}

fn labelled(name: &'static str, common: &[Label], more: &[(&'static str, &'static str)]) -> Key {
    let more = more.iter().map(|(key, value)| Label::from_static_parts(key, value));
    // An empty value is an absent label to Prometheus.
    let more = more.filter(|label| !label.value().is_empty());
    Key::from_parts(name, common.iter().cloned().chain(more).collect::<Vec<_>>())
}

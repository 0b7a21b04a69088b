//! The keys of one target's series, made once: an attempt only looks them up.

use std::collections::BTreeMap;

use metrics::{Key, Label};

use crate::expectation::Verdict;
use crate::failure::{Phase, Reason};
use crate::metrics::names;
use crate::target::{ProbeKind, TargetName, Via};

/// The keys of one target.
#[derive(Debug)]
pub(super) struct Series {
    labels: Vec<Label>,
    verdicts: BTreeMap<(&'static str, Verdict), Key>,
    failures: BTreeMap<(Phase, Reason), Key>,
    missed: BTreeMap<&'static str, Key>,
    phases: BTreeMap<(&'static str, Phase), Key>,
    durations: BTreeMap<&'static str, Key>,
    holds: BTreeMap<&'static str, Key>,
    not_after: BTreeMap<&'static str, Key>,
    pub(super) lag: Key,
    pub(super) gaps: Key,
    pub(super) retransmits: Key,
    via: &'static str,
}

impl Series {
    pub(super) fn new(target: &TargetName, probe: ProbeKind, via: Option<Via>) -> Self {
        let labels =
            vec![Label::new("probe", probe.as_str()), Label::new("target", target.to_string())];
        let key = |name| Key::from_parts(name, labels.clone());
        let mut series = Self {
            lag: Key::from_static_name(names::SCHEDULE_LAG),
            gaps: key(names::GAPS),
            retransmits: key(names::RETRANSMITS),
            verdicts: BTreeMap::new(),
            failures: BTreeMap::new(),
            missed: BTreeMap::new(),
            phases: BTreeMap::new(),
            durations: BTreeMap::new(),
            holds: BTreeMap::new(),
            not_after: BTreeMap::new(),
            via: via.map(Via::as_str).unwrap_or_default(),
            labels,
        };
        for verdict in Verdict::ALL {
            series.verdict(None, verdict);
        }
        series
    }

    pub(super) fn verdict(&mut self, warm: Option<bool>, verdict: Verdict) -> &Key {
        let Self { verdicts, labels, via, .. } = self;
        let connection = connection(warm);
        verdicts.entry((connection, verdict)).or_insert_with(|| {
            let more = [("connection", connection), ("via", via), ("verdict", verdict.as_str())];
            labelled(names::ATTEMPTS, labels, &more)
        })
    }

    pub(super) fn failure(&mut self, phase: Phase, reason: Reason) -> &Key {
        let Self { failures, labels, .. } = self;
        failures.entry((phase, reason)).or_insert_with(|| {
            let more = [("phase", phase.as_str()), ("reason", reason.as_str())];
            labelled(names::FAILURES, labels, &more)
        })
    }

    pub(super) fn missed(&mut self, cause: &'static str) -> &Key {
        let Self { missed, labels, .. } = self;
        missed
            .entry(cause)
            .or_insert_with(|| labelled(names::MISSED_SLOTS, labels, &[("cause", cause)]))
    }

    pub(super) fn phase(&mut self, warm: Option<bool>, phase: Phase) -> &Key {
        let Self { phases, labels, .. } = self;
        let connection = connection(warm);
        phases.entry((connection, phase)).or_insert_with(|| {
            let more = [("connection", connection), ("phase", phase.as_str())];
            labelled(names::PHASE_DURATION, labels, &more)
        })
    }

    pub(super) fn duration(&mut self, warm: Option<bool>) -> &Key {
        let Self { durations, labels, .. } = self;
        let connection = connection(warm);
        durations.entry(connection).or_insert_with(|| {
            labelled(names::ATTEMPT_DURATION, labels, &[("connection", connection)])
        })
    }

    pub(super) fn hold(&mut self, end: &'static str) -> &Key {
        let Self { holds, labels, .. } = self;
        holds.entry(end).or_insert_with(|| labelled(names::HOLD_DURATION, labels, &[("end", end)]))
    }

    pub(super) fn not_after(&mut self, position: &'static str) -> &Key {
        let Self { not_after, labels, .. } = self;
        not_after
            .entry(position)
            .or_insert_with(|| labelled(names::NOT_AFTER, labels, &[("position", position)]))
    }

    /// Every counter that exists so far.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Key> {
        let labelled = self.verdicts.values().chain(self.failures.values());
        labelled.chain(self.missed.values()).chain([&self.gaps, &self.retransmits])
    }

    /// Every gauge that exists so far.
    pub(super) fn gauges(&self) -> impl Iterator<Item = &Key> {
        self.not_after.values()
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

//! What a report tells of an SLO beyond its budgets: which nodes and zones were worst, how long
//! attempts took, and which phase took longest. Rules record it by the hour, reports read it.

use crate::slo::query::{connection, summed};
use crate::slo::{Function, GroupKey, Selectors, Sli, Slo};

/// One thing that is recorded, as counts of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Attempts that count against the objective, by node and zone.
    NodeBad,
    /// Attempts that count, by node and zone.
    NodeTotal,
    /// Attempts that could not tell, by node and zone.
    NodeInconclusive,
    /// Buckets of how long successful attempts took, by group and connection.
    Buckets,
    /// Seconds that phases took in all, by group.
    PhaseSeconds,
    /// How often phases ran, by group.
    PhaseCount,
}

impl Detail {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::NodeBad,
        Self::NodeTotal,
        Self::NodeInconclusive,
        Self::Buckets,
        Self::PhaseSeconds,
        Self::PhaseCount,
    ];

    /// The name of the recorded series, behind `meshprobe:slo_`.
    pub fn recorded(self) -> &'static str {
        match self {
            Self::NodeBad => "node_bad:increase1h",
            Self::NodeTotal => "node_total:increase1h",
            Self::NodeInconclusive => "node_inconclusive:increase1h",
            Self::Buckets => "duration_seconds_bucket:increase1h",
            Self::PhaseSeconds => "phase_duration_seconds_sum:increase1h",
            Self::PhaseCount => "phase_duration_seconds_count:increase1h",
        }
    }

    /// The labels of its series for an SLO that is divided `by` these keys.
    pub fn labels(self, by: &[GroupKey]) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::NodeBad | Self::NodeTotal | Self::NodeInconclusive => {
                return vec!["node", "zone"];
            }
            Self::Buckets => &["connection", "le"],
            Self::PhaseSeconds | Self::PhaseCount => &["phase"],
        };
        by.iter().map(|key| key.as_str()).chain(own.iter().copied()).collect()
    }
}

impl Slo {
    /// `detail` over `range` (a PromQL duration), from the counters of agents.
    ///
    /// Latencies are those of whole attempts, cold and warm, whatever the SLI is of.
    pub fn detail(&self, detail: Detail, range: &str) -> String {
        let nodes =
            || self.expressions(Function::Increase, range, &[GroupKey::Node, GroupKey::Zone]);
        match detail {
            Detail::NodeBad => nodes().bad,
            Detail::NodeTotal => nodes().total,
            Detail::NodeInconclusive => nodes().inconclusive,
            Detail::Buckets => {
                self.counted("meshprobe_attempt_duration_seconds_bucket", range, detail)
            }
            Detail::PhaseSeconds => {
                self.counted("meshprobe_phase_duration_seconds_sum", range, detail)
            }
            Detail::PhaseCount => {
                self.counted("meshprobe_phase_duration_seconds_count", range, detail)
            }
        }
    }

    /// The same SLO that selects by nothing but `key`; `None` when it does not select by it.
    pub fn only(&self, key: GroupKey) -> Option<Self> {
        let (mut select, all) = (Selectors::default(), self.select.clone());
        match key {
            GroupKey::Node => select.node = all.node,
            GroupKey::Zone => select.zone = all.zone,
            GroupKey::Vantage => select.vantage = all.vantage,
            GroupKey::Probe => select.probe = all.probe,
            GroupKey::Target => select.target = all.target,
            GroupKey::Namespace => select.namespace = all.namespace,
        }
        (select != Selectors::default()).then(|| Self { select, ..self.clone() })
    }

    fn counted(&self, metric: &str, range: &str, detail: Detail) -> String {
        let only = match &self.sli {
            Sli::Latency(latency) => connection(latency).into_iter().collect(),
            Sli::Availability => Vec::new(),
        };
        let series = self.series(metric, &only, &self.group_by);
        let labels = detail.labels(&self.group_by);
        summed(&self.group_by, &labels, &format!("increase({series}[{range}])"))
    }
}

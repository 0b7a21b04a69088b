//! A report as Prometheus is told of it.

use crate::gate::change::Recommendation;
use crate::gate::report::CheckReport;
use crate::gate::{CheckResult, GateResult, Report};
use crate::metrics::{CheckState, GateState};

/// How `report` came out, for the metrics.
pub fn gauges(report: &Report) -> GateState {
    let check = |check: &CheckReport| CheckState {
        check: check.check.as_str(),
        results: CheckResult::ALL.map(|one| (one.as_str(), one == check.result)).into(),
        missing: check.counts.iter().map(|counts| counts.attempts_missing).max(),
    };
    let change = report.change.as_ref();
    GateState {
        namespace: report.scope.namespace().to_owned(),
        evaluated: report.evaluated_at.unix_timestamp() as f64,
        results: GateResult::ALL.map(|one| (one.as_str(), one == report.result)).into(),
        checks: report.checks.iter().map(check).collect(),
        callers: report.callers.len() as u64,
        revert: change.is_some_and(|it| it.recommendation == Recommendation::Revert),
    }
}

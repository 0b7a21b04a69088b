//! One execution of a probe with its verdict: the unit that everything after the judge works on.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::expectation::{Expectation, Judgement, Verdict, judge, unsettled};
use crate::failure::Failure;
use crate::outcome::{Facts, Outcome, Phases, rfc3339, seconds};
use crate::target::{ProbeKind, TargetName, Vantage, Via};

/// Whose attempt it is: what an [`Attempt`] says besides its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The kind of probe.
    pub probe: ProbeKind,
    /// Name of the target.
    pub target: &'a TargetName,
    /// From which side of the mesh.
    pub vantage: Option<Vantage>,
    /// Through what the target is addressed.
    pub via: Option<Via>,
    /// What was stated.
    pub expect: &'a Expectation,
}

/// What the positive control of a denial gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Control {
    /// Name of the target that was asked.
    pub target: TargetName,
    /// Whether it gave what is expected of it; exactly `failure == null`.
    pub success: bool,
    /// What kept it from that.
    pub failure: Option<Failure>,
}

/// One execution of a probe, judged: what `probe -o json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// The kind of probe.
    pub probe: ProbeKind,
    /// Name of the target.
    pub target: TargetName,
    /// From which side of the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vantage: Option<Vantage>,
    /// Through what the target was addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Wall clock at the start.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: SystemTime,
    /// Start to end, monotonic.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// How much later than its slot the attempt began.
    #[serde(rename = "schedule_lag_seconds", serialize_with = "seconds")]
    pub schedule_lag: Duration,
    /// Where the time went.
    pub phases: Phases,
    /// Whether the exchange completed as stated; exactly `failure == null`.
    pub success: bool,
    /// What kept it from that.
    pub failure: Option<Failure>,
    /// What was stated.
    pub expect: Expectation,
    /// Statement against outcome.
    pub verdict: Verdict,
    /// Why a verdict is inconclusive or met although the exchange failed, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<&'static str>,
    /// The positive control, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// What was seen.
    pub facts: Facts,
}

impl Attempt {
    /// Judges `outcome`, with its positive control and what that gave where one was asked.
    pub fn judged(
        subject: Subject<'_>,
        outcome: Outcome,
        control: Option<(&TargetName, &Outcome)>,
        schedule_lag: Duration,
    ) -> Self {
        let judgement = judge(subject.expect, &outcome, control.map(|(_, outcome)| outcome));
        Self {
            probe: subject.probe,
            target: subject.target.clone(),
            vantage: subject.vantage,
            via: subject.via,
            started_at: outcome.started_at,
            duration: outcome.duration,
            schedule_lag,
            phases: outcome.phases,
            success: judgement.failure.is_none(),
            failure: judgement.failure,
            expect: subject.expect.clone(),
            verdict: judgement.verdict,
            because: judgement.because,
            control: control.map(|(target, outcome)| Control {
                target: target.clone(),
                success: outcome.failure.is_none(),
                failure: outcome.failure.clone(),
            }),
            facts: outcome.facts,
        }
    }

    /// The same attempt, made within the grace after a change of its target's expectation.
    #[must_use]
    pub fn unsettled(self) -> Self {
        let Self { verdict, failure, because, .. } = self;
        let Judgement { verdict, failure, because } =
            unsettled(Judgement { verdict, failure, because });
        Self { success: failure.is_none(), verdict, failure, because, ..self }
    }
}

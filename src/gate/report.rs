//! What the gate says: the JSON that machines read, stable, in snake_case (`docs/gate.md`).

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cluster::mtls::Effective;
use crate::gate::change::Change;
use crate::gate::check::Check;
use crate::gate::command::Commands;
use crate::gate::text::{and_more, phrase};
use crate::gate::{Evidence, Scope};
use crate::observation::rfc3339;

/// How one check came out, best first: the worst of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// It holds, and there is enough evidence of it.
    Pass,
    /// Nothing stands in the way, and something should be looked at.
    Warn,
    /// It may hold; what was seen is too little to say so.
    NotEnoughEvidence,
    /// It does not hold.
    Fail,
}

/// How the gate as a whole came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateResult {
    /// No check fails, and each has enough evidence.
    Ready,
    /// No check fails, and some lack evidence.
    NotEnoughEvidence,
    /// Some check fails.
    NotReady,
}

/// The answer to the question whether STRICT may be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether `result` is `ready`.
    pub ok: bool,
    /// The answer.
    pub result: GateResult,
    /// The answer in one line, with what stands in the way.
    pub summary: String,
    /// What was asked about.
    pub scope: Scope,
    /// The mode in force there, of the namespace or of the mesh as a whole; absent when
    /// PeerAuthentications cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// When this was judged.
    #[serde(with = "rfc3339")]
    pub evaluated_at: OffsetDateTime,
    /// How far back "now" reaches, seconds.
    pub window_seconds: u64,
    /// Since when attempts are counted at most; a controller that restarts begins anew.
    #[serde(with = "rfc3339")]
    pub counting_since: OffsetDateTime,
    /// The share of attempts that must succeed.
    pub objective: f64,
    /// How sure it must be.
    pub confidence: f64,
    /// The nine checks.
    pub checks: Vec<CheckReport>,
    /// Who calls in plaintext and is no prober: those with a name first, and of them those that
    /// called last.
    pub callers: Vec<Caller>,
    /// What applies STRICT, and what takes it back; absent when PeerAuthentications cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Commands>,
    /// The last change of the mode that this controller saw, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// The mode in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Plaintext is answered.
    Permissive,
    /// Plaintext is denied.
    Strict,
}

impl From<Effective> for Mode {
    fn from(mode: Effective) -> Self {
        match mode {
            Effective::Permissive => Self::Permissive,
            Effective::Strict => Self::Strict,
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Which.
    pub check: Check,
    /// What must hold.
    pub title: String,
    /// How it came out.
    pub result: CheckResult,
    /// Why, in one line.
    pub summary: String,
    /// All that was found, worst first.
    pub details: Vec<Detail>,
    /// The numbers, for checks that rest on attempts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Counts>,
    /// Where to look; absent when it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What it makes of the check.
    pub result: CheckResult,
    /// What.
    pub text: String,
}

/// Attempts, and what they prove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// What they expected: `reply` or `denied`.
    pub expect: crate::observation::Expected,
    /// Attempts that can tell something.
    pub attempts: u64,
    /// Of those, the ones not as stated.
    pub violated: u64,
    /// Attempts beside those that cannot tell.
    pub inconclusive: u64,
    /// The failure rate that they leave possible.
    pub failure_rate_upper: f64,
    /// Nodes that must prove it.
    pub nodes: u64,
    /// Nodes that do.
    pub nodes_proven: u64,
    /// Further attempts without failure that the node needs that needs most.
    pub attempts_missing: u64,
    /// How long those take at its present rate; absent when none of its attempts were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_missing: Option<u64>,
}

/// One who calls in plaintext.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caller {
    /// `namespace/workload`, or `unknown`.
    pub source: String,
    /// `namespace/workload`.
    pub destination: String,
    /// Connections per second.
    pub rate_per_second: f64,
    /// When it was last seen to call; absent when that was before anybody looked.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<OffsetDateTime>,
    /// Connections since the agents look.
    pub opened: u64,
    /// Of those, denied by a policy already.
    pub denied: u64,
}

/// A check that is being made.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) check: Check,
    pub(super) details: Vec<Detail>,
    pub(super) counts: Vec<Counts>,
}

impl Row {
    pub(super) fn new(check: Check) -> Self {
        Self { check, details: Vec::new(), counts: Vec::new() }
    }

    pub(super) fn pass(&mut self, text: impl Into<String>) {
        self.say(CheckResult::Pass, text);
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.say(CheckResult::Warn, text);
    }

    pub(super) fn lack(&mut self, text: impl Into<String>) {
        self.say(CheckResult::NotEnoughEvidence, text);
    }

    pub(super) fn fail(&mut self, text: impl Into<String>) {
        self.say(CheckResult::Fail, text);
    }

    pub(super) fn say(&mut self, result: CheckResult, text: impl Into<String>) {
        self.details.push(Detail { result, text: text.into() });
    }

    /// A row of which nothing was said lacks evidence: silence is no good sign.
    pub(super) fn done(mut self) -> CheckReport {
        if self.details.is_empty() {
            self.lack("nothing is known of it");
        }
        // Stable: what was said first stays first among equals.
        self.details.sort_by_key(|detail| std::cmp::Reverse(detail.result));
        let result = self.details[0].result;
        let others = self.details[1..].iter().filter(|detail| detail.result == result).count();
        let mut summary = self.details[0].text.clone();
        if others > 0 && result != CheckResult::Pass {
            summary.push_str(&format!(" (and {others} more)"));
        }
        and_more(&mut self.details);
        CheckReport {
            check: self.check,
            title: self.check.title().to_owned(),
            result,
            summary,
            details: self.details,
            counts: self.counts,
            hint: (result != CheckResult::Pass).then(|| self.check.hint().to_owned()),
        }
    }
}

/// The worst check decides.
pub(super) fn overall(checks: &[CheckReport]) -> GateResult {
    match checks.iter().map(|check| check.result).max() {
        Some(CheckResult::Fail) => GateResult::NotReady,
        Some(CheckResult::NotEnoughEvidence) | None => GateResult::NotEnoughEvidence,
        Some(CheckResult::Warn | CheckResult::Pass) => GateResult::Ready,
    }
}

impl Report {
    pub(super) fn of(
        evidence: &Evidence<'_>,
        checks: Vec<CheckReport>,
        callers: Vec<Caller>,
    ) -> Self {
        let result = overall(&checks);
        Self {
            ok: result == GateResult::Ready,
            result,
            summary: phrase(result, &evidence.scope, &checks),
            mode: evidence.mode().map(Mode::from),
            scope: evidence.scope.clone(),
            evaluated_at: evidence.now,
            window_seconds: evidence.window.as_secs(),
            counting_since: evidence.tally.began(),
            objective: evidence.settings.objective,
            confidence: evidence.settings.confidence,
            checks,
            callers,
            commands: evidence.commands(),
            change: None,
        }
    }

    /// The check.
    pub fn check(&self, check: Check) -> Option<&CheckReport> {
        self.checks.iter().find(|report| report.check == check)
    }
}

impl GateResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Ready, Self::NotEnoughEvidence, Self::NotReady];

    /// The word of JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotEnoughEvidence => "not_enough_evidence",
            Self::NotReady => "not_ready",
        }
    }
}

impl CheckResult {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Warn, Self::NotEnoughEvidence, Self::Fail];

    /// The word of JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::NotEnoughEvidence => "not_enough_evidence",
            Self::Fail => "fail",
        }
    }
}

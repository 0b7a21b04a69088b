//! What a report says, as data; its JSON.
//!
//! What is not known is absent, never 0.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::incident;
use crate::observation::rfc3339;
use crate::slo::{self, Change, Counts, Objective};

/// What became of every SLO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Whose numbers these are.
    pub source: String,
    /// One after the other, as configured.
    pub slos: Vec<SloReport>,
    /// What a reader must know of all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// The begin.
    #[serde(with = "rfc3339")]
    pub from: OffsetDateTime,
    /// The end.
    #[serde(with = "rfc3339")]
    pub to: OffsetDateTime,
}

/// Whether a promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As promised, or better.
    Met,
    /// Not as promised.
    Missed,
    /// Too few attempts, or too little of the time is known.
    TooLittleData,
    /// Nothing is known.
    NoData,
}

impl From<slo::Standing> for Standing {
    fn from(standing: slo::Standing) -> Self {
        match standing {
            slo::Standing::Kept => Self::Met,
            slo::Standing::Broken => Self::Missed,
            slo::Standing::TooLittleData => Self::TooLittleData,
            slo::Standing::NoData => Self::NoData,
        }
    }
}

impl Standing {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::TooLittleData => "too little data",
            Self::NoData => "no data",
        }
    }
}

/// What became of one SLO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloReport {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The share that must be good.
    pub objective: f64,
    /// Over what time it is promised, as configured.
    pub window: String,
    /// What is good, in words.
    pub sli: String,
    /// The time that this is about.
    pub period: Period,
    /// The time that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Period>,
    /// The worst of all its budgets.
    pub standing: Standing,
    /// The same in words.
    pub sentence: String,
    /// All attempts together.
    pub whole: Figures,
    /// By what budgets are divided; empty: there is one.
    pub group_by: Vec<String>,
    /// Each with a budget of its own, the worst first.
    pub groups: Vec<Group>,
    /// Nodes, those with the largest share of bad attempts first.
    pub nodes: Vec<Place>,
    /// Zones, the same way.
    pub zones: Vec<Place>,
    /// Phases, the longest first.
    pub phases: Vec<PhaseTime>,
    /// How it came to be, step by step.
    pub steps: Vec<Step>,
    /// How long attempts took, over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat_map: Option<HeatMap>,
    /// Times of which nothing, or not all, is known.
    pub holes: Vec<Period>,
    /// When the budget was spent faster than it lasts, the costliest first.
    pub spells: Vec<Spell>,
    /// What was diagnosed meanwhile, the costliest first; absent when no controller was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incidents: Option<Vec<Incident>>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Counts, and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Attempts that count against the objective.
    pub bad: f64,
    /// Attempts that count.
    pub total: f64,
    /// Attempts that could not tell.
    pub inconclusive: f64,
    /// What that means.
    pub standing: Standing,
    /// The share of good attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attained: Option<f64>,
    /// The share of the budget that is left; below 0 when it is overspent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_left: Option<f64>,
    /// The share of attempts that could not tell, of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive_share: Option<f64>,
    /// How fast the budget was spent in the last hour: at 1 it lasts for just one window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rate_1h: Option<f64>,
    /// The share of the time of which something is known.
    pub covered: f64,
    /// How long attempts took on fresh connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold: Option<Latency>,
    /// How long attempts took on kept connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<Latency>,
    /// How long attempts took on either, when it is not known apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub either: Option<Latency>,
    /// The phase that took longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_phase: Option<PhaseTime>,
    /// Against the time before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Compared>,
}

impl Figures {
    /// What `counts` mean for `objective` when so much of the time is known.
    pub(super) fn of(objective: Objective, counts: &Counts, covered: f64) -> Self {
        let told = slo::attainment(objective, counts);
        let standing = match Standing::from(told.standing) {
            Standing::Met if covered < super::LEAST_COVERED => Standing::TooLittleData,
            standing => standing,
        };
        Self {
            bad: counts.bad(),
            total: counts.total(),
            inconclusive: counts.inconclusive(),
            standing,
            attained: told.attained,
            budget_left: told.budget_left,
            inconclusive_share: told.inconclusive,
            burn_rate_1h: None,
            covered,
            cold: None,
            warm: None,
            either: None,
            slowest_phase: None,
            change: None,
        }
    }
}

/// One budget of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The values of what budgets are divided by; an unknown one is empty.
    pub labels: Vec<String>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// A node or a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// The zone of a node, when series tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Attempts from there that count against the objective.
    pub bad: f64,
    /// Attempts from there that count.
    pub total: f64,
    /// The share of good ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attained: Option<f64>,
}

/// How long a phase took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Its name.
    pub phase: String,
    /// On average, seconds.
    pub mean_seconds: f64,
    /// How often it ran.
    pub count: f64,
}

/// Quantiles of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of all attempts took no longer.
    pub p50: Quantile,
    /// 90 % took no longer.
    pub p90: Quantile,
    /// 99 % took no longer.
    pub p99: Quantile,
}

/// One quantile, within its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Seconds.
    pub seconds: f64,
    /// It is above that, which is the last bound of the histogram.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub above: bool,
}

/// The share of good attempts against the time before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The share then.
    pub attained_before: f64,
    /// The share now less that.
    pub difference: f64,
    /// The lower end of the interval of confidence of 95 % (Newcombe 1998, hybrid score).
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Whether the interval is on one side of no change.
    pub clear: bool,
}

impl Compared {
    pub(super) fn of(now: &Counts, before: &Counts) -> Option<Self> {
        let change = slo::change(now, before)?;
        let Change { difference, low, high } = change;
        let attained_before = 1.0 - before.error_share()?;
        Some(Self { attained_before, difference, low, high, clear: change.is_clear() })
    }
}

/// What was counted in one step of the period; absent where it is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    #[serde(flatten)]
    pub period: Period,
    /// Attempts that count against the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<f64>,
    /// Attempts that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

/// How long attempts took: columns of time, rows of latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeatMap {
    /// Upper bounds of rows, seconds; one more row is above the last.
    pub bounds: Vec<f64>,
    /// In order of time.
    pub columns: Vec<Column>,
}

/// One column: how many attempts were in each row; empty where nothing is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// When.
    #[serde(flatten)]
    pub period: Period,
    /// By row.
    pub counts: Vec<f64>,
}

/// A time in which the budget was spent faster than it lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spell {
    /// When, to a step.
    #[serde(flatten)]
    pub period: Period,
    /// Attempts that were bad.
    pub bad: f64,
    /// How much of the period's budget that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_spent: Option<f64>,
}

/// What was broken, as a controller diagnosed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The component.
    pub component: String,
    /// Its fault.
    pub fault: String,
    /// One line for people.
    pub summary: String,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// Until when; absent while it is open.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub until: Option<OffsetDateTime>,
    /// Attempts that were bad while it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<f64>,
    /// How much of the period's budget that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_spent: Option<f64>,
}

impl From<&incident::Incident> for Incident {
    /// Without what it cost, which is not known yet.
    fn from(incident: &incident::Incident) -> Self {
        Self {
            component: incident.component.clone(),
            fault: incident.fault.clone(),
            summary: incident.summary.clone(),
            since: incident.since,
            until: incident.closed_at,
            bad: None,
            budget_spent: None,
        }
    }
}

//! Service level objectives: what is promised, of which attempts, over which window.
//!
//! Pure, and complete in itself: the promise, the arithmetic of its error budget, and the PromQL
//! that counts for it, which rules and reports share. Knows neither configuration nor Prometheus.

mod budget;
mod burn;
mod compare;
mod detail;
mod objective;
mod query;
mod select;
mod sli;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use budget::{Attainment, Counts, Standing, attainment, burn_rate};
pub use burn::{Burn, Severity, burns};
pub use compare::{Change, change, interval};
pub use detail::Detail;
pub use objective::{InvalidObjective, Objective};
pub use query::{Expressions, Function, promql_duration, quoted};
pub use select::{GroupKey, InvalidPattern, Pattern, Selectors, literal, namespace_of};
pub use sli::{Connection, Latency, Sli};
pub use window::{InvalidWindow, Window};

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    /// Unique within a configuration; the label `slo` of its series.
    pub name: SloName,
    /// What it is for, in words.
    pub description: Option<String>,
    /// The share that must be good.
    pub objective: Objective,
    /// Over what time.
    pub window: Window,
    /// What is good.
    pub sli: Sli,
    /// Which attempts count.
    pub select: Selectors,
    /// Each combination of these has a budget of its own; none: one budget for all.
    pub group_by: Vec<GroupKey>,
}

/// A larger share of attempts that could not tell makes the rest no fair sample.
pub const MOST_INCONCLUSIVE: f64 = 0.2;

impl Slo {
    /// The series that rules record of it under `name`: `meshprobe:slo_NAME{slo="…"}`.
    pub fn recorded(&self, name: &str) -> String {
        format!("meshprobe:slo_{name}{{slo={}}}", quoted(self.name.as_str()))
    }
}

/// An SLO's name: 1 to 63 lower-case letters, digits and `-`, a letter first and no `-` last, so
/// that it can name a Kubernetes object and stand in a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SloName(String);

impl SloName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SloName {
    type Err = InvalidSloName;

    fn from_str(text: &str) -> Result<Self, InvalidSloName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let framed = text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-');
        let fits = (1..=63).contains(&text.len()) && framed && text.chars().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSloName) }
    }
}

/// A name that cannot be one of an SLO.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 of a-z 0-9 -, beginning with a letter and not ending with -")]
pub struct InvalidSloName;

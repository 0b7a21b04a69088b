//! The arithmetic of an error budget.
//!
//! Counts are what Prometheus makes of counters, so they are real numbers. Nothing is made up where
//! nothing was counted: every share of nothing is `None`.

use crate::slo::Objective;

/// How attempts came out, as far as one SLO looks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    bad: f64,
    total: f64,
    inconclusive: f64,
}

impl Counts {
    /// `bad` of `total` attempts, and those that could not tell, which are in neither.
    ///
    /// `None` when one is negative or no number, or more are bad than there are beyond what
    /// rounding explains: then the numbers are of no use.
    pub fn new(bad: f64, total: f64, inconclusive: f64) -> Option<Self> {
        let counts = |number: f64| number.is_finite() && number >= 0.0;
        let sound = counts(bad) && counts(total) && counts(inconclusive);
        let rounding = 1e-6 * (1.0 + total);
        (sound && bad <= total + rounding).then(|| Self {
            bad: bad.min(total),
            total,
            inconclusive,
        })
    }

    /// Attempts that count against the objective.
    pub fn bad(&self) -> f64 {
        self.bad
    }

    /// Attempts that count, for or against.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Attempts that could not tell.
    pub fn inconclusive(&self) -> f64 {
        self.inconclusive
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            bad: self.bad + other.bad,
            total: self.total + other.total,
            inconclusive: self.inconclusive + other.inconclusive,
        }
    }

    /// The share of bad ones among those that count; `None` when none does.
    pub fn error_share(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.bad / self.total)
    }

    /// The share of those that could not tell among all; `None` when there are none at all.
    pub fn inconclusive_share(&self) -> Option<f64> {
        let all = self.total + self.inconclusive;
        (all > 0.0).then(|| self.inconclusive / all)
    }
}

/// Whether a promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No attempt counts: nothing can be said.
    NoData,
    /// Fewer attempts count than [`Objective::fewest_attempts`]: too few to say.
    TooLittleData,
    /// As promised, or better.
    Kept,
    /// Not as promised: the budget is overspent.
    Broken,
}

/// What became of a promise over some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attainment {
    /// The share of good attempts among those that count; `None` when none does.
    pub attained: Option<f64>,
    /// The share of the error budget that is left: 1 when nothing was bad, below 0 when it is
    /// overspent; `None` when nothing counts.
    pub budget_left: Option<f64>,
    /// The share of attempts that could not tell, of all; `None` when there are none.
    pub inconclusive: Option<f64>,
    /// What that means.
    pub standing: Standing,
}

/// What became of `objective` with these `counts`.
///
/// The budget is the share that may be bad of the attempts that there were.
pub fn attainment(objective: Objective, counts: &Counts) -> Attainment {
    let errors = counts.error_share();
    let budget_left = burn_rate(objective, counts).map(|burnt| 1.0 - burnt);
    let standing = match budget_left {
        None => Standing::NoData,
        // Rounded as counts of Prometheus are, so that 999.99 of 1000 are not too few.
        Some(_) if counts.total.round() < objective.fewest_attempts() as f64 => {
            Standing::TooLittleData
        }
        Some(left) if left >= -1e-9 => Standing::Kept,
        Some(_) => Standing::Broken,
    };
    Attainment {
        attained: errors.map(|errors| 1.0 - errors),
        budget_left,
        inconclusive: counts.inconclusive_share(),
        standing,
    }
}

/// How fast the budget is spent: 1 spends just all of it in a window, 2 in half of one; `None` when
/// nothing counts.
pub fn burn_rate(objective: Objective, counts: &Counts) -> Option<f64> {
    Some(counts.error_share()? / objective.budget())
}

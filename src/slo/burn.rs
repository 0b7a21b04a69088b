//! When to alert: pairs of windows and the burn rate that must hold in both.
//!
//! The long window says that it matters, the short one that it is still so (Google's SRE Workbook,
//! chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").

use std::time::Duration;

use crate::slo::{Objective, Window};

/// Windows are whole multiples of this, and none is shorter.
const STEP: u64 = 5 * 60;
/// No long window is shorter: a single bad minute would be half of it.
const SHORTEST_LONG: u64 = 15 * 60;
const DAY: u64 = 24 * 3600;

/// Who has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody, now.
    Critical,
    /// Somebody, in working hours.
    Warning,
}

impl Severity {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// One condition of alerting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    /// The burn rate above which it holds.
    pub factor: f64,
    /// Over this long it must have been that.
    pub long: Duration,
    /// And over this long, that it ends soon after the cause does.
    pub short: Duration,
    /// Who has to know.
    pub severity: Severity,
}

impl Burn {
    /// The share of bad attempts above which it holds.
    pub fn threshold(&self, objective: Objective) -> f64 {
        // Rounded: thresholds are read by people.
        (self.factor * objective.budget() * 1e9).round() / 1e9
    }

    /// Whether any share of bad attempts can be above the threshold.
    pub fn is_reachable(&self, objective: Objective) -> bool {
        self.threshold(objective) < 1.0
    }

    /// The share of the window's budget that is gone when the alert fires.
    pub fn budget_spent(&self, window: Window) -> f64 {
        self.factor * self.long.as_secs_f64() / (f64::from(window.days()) * DAY as f64)
    }
}

/// The conditions for an SLO over `window`.
///
/// Over 30 days: 14.4 × 1 h/5 m, 6 × 6 h/30 m, 1 × 3 d/6 h, at which 2, 5 and 10 % of the budget are
/// gone. Over other windows the times are scaled, so that it is about the same shares: rounded up to
/// whole 5 minutes, long ones to 15 minutes at least.
pub fn burns(window: Window) -> [Burn; 3] {
    let scaled = |seconds: u64, least: u64| {
        let exact = (seconds * u64::from(window.days())).div_ceil(30);
        Duration::from_secs(exact.next_multiple_of(STEP).max(least))
    };
    let burn = |factor, long, severity| Burn {
        factor,
        long: scaled(long, SHORTEST_LONG),
        short: scaled(long / 12, STEP),
        severity,
    };
    [
        burn(14.4, 3600, Severity::Critical),
        burn(6.0, 6 * 3600, Severity::Critical),
        burn(1.0, 3 * DAY, Severity::Warning),
    ]
}

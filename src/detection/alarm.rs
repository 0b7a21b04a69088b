//! An alarm as it is told: which path, since when, how much.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::detection::Asked;
use crate::target::Vantage;

/// An alarm that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// Node of the agent that asks.
    pub source_node: Arc<str>,
    /// Its side of the mesh.
    pub vantage: Option<Vantage>,
    /// What it asks.
    pub asked: Arc<Asked>,
    /// What is wrong.
    pub symptom: Symptom,
    /// When the first failure or slow reply was told or its window began, whichever is later, after
    /// which the path never looked whole: by the last zero of the test's score.
    pub since: OffsetDateTime,
    /// Conclusive attempts since then; of an alarm on slow replies, replies.
    pub attempts: u32,
    /// Failures, or slow replies, among them.
    pub events: u32,
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Symptom {
    /// What had to come back does not.
    Failing {
        /// Share of failures that it is taken to have when nothing is wrong.
        usual: f32,
    },
    /// Replies take much longer than they did.
    Slow {
        /// The 99th percentile that they had, seconds.
        usual_seconds: f32,
    },
}

impl Alarm {
    /// Share of attempts that failed or were slow. While the alarm is young it is too high by
    /// chance: that opened it.
    pub fn rate(&self) -> f64 {
        f64::from(self.events) / f64::from(self.attempts.max(1))
    }

    /// Bounds of the share at 95 % (Wilson 1927), as if the number of attempts had been fixed.
    pub fn interval(&self) -> (f64, f64) {
        const Z: f64 = 1.96;
        let (n, rate) = (f64::from(self.attempts.max(1)), self.rate());
        let middle = rate + Z * Z / (2.0 * n);
        let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
    }
}

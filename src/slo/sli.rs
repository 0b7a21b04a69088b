//! What makes an attempt good.

use std::time::Duration;

use crate::failure::Phase;

/// What is counted as good, out of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sli {
    /// Met, of those that were met or violated.
    Availability,
    /// Fast enough, of those that succeeded.
    Latency(Latency),
}

/// How fast is fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// At most this, whole milliseconds.
    pub threshold: Duration,
    /// Of one phase; `None`: of the whole attempt.
    pub phase: Option<Phase>,
    /// On fresh or kept connections only; `None`: on either.
    pub connection: Option<Connection>,
}

impl Latency {
    /// The threshold in seconds: the very number that the bound of a histogram is.
    pub fn seconds(&self) -> f64 {
        // Not as_secs_f64, whose sum of two roundings can be another number than the one written.
        self.threshold.as_millis() as f64 / 1000.0
    }
}

/// Whether the connection of an attempt was made for it: the label `connection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Connection {
    /// A fresh one.
    Cold,
    /// One that was kept from an earlier attempt.
    Warm,
}

impl Connection {
    /// The name in configuration and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

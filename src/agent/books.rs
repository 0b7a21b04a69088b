//! Where an agent writes down its attempts: metrics, window, and whoever follows.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::outcome::Attempt;
use crate::plan::Target;
use crate::runner::{Missed, Sink};
use crate::target::TargetName;
use crate::window::Window;

/// The sink of an agent's runner.
#[derive(Debug)]
pub(super) struct Books {
    metrics: Arc<Metrics>,
    window: Arc<Window>,
    follower: mpsc::Sender<Attempt>,
}

impl Books {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        window: Arc<Window>,
        follower: mpsc::Sender<Attempt>,
    ) -> Self {
        Self { metrics, window, follower }
    }
}

impl Sink for Books {
    fn joined(&self, target: &Target) {
        self.metrics.joined(&target.spec.name, target.spec.probe.kind(), target.spec.via);
        for cause in Missed::ALL {
            self.metrics.missed(&target.spec.name, cause.as_str(), 0);
        }
    }

    fn left(&self, target: &TargetName) {
        self.metrics.left(target);
        self.window.left(target);
    }

    fn attempt(&self, attempt: &Attempt) {
        self.metrics.attempt(attempt);
        self.window.attempt(attempt);
        if self.follower.capacity() > 0 {
            let _ = self.follower.try_send(attempt.clone());
        }
    }

    fn missed(&self, target: &TargetName, cause: Missed, slots: u64) {
        self.metrics.missed(target, cause.as_str(), slots);
    }
}

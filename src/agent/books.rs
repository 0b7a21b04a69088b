//! Where an agent writes down its attempts: metrics, window, flows, and whoever follows.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio::sync::mpsc;

use crate::agent::flows::{Flows, Moment};
use crate::attempt::Attempt;
use crate::metrics::Metrics;
use crate::plan::Target;
use crate::runner::{Missed, Sink};
use crate::target::TargetName;
use crate::window::Window;

/// The sink of an agent's runner.
#[derive(Debug)]
pub(super) struct Books {
    metrics: Arc<Metrics>,
    window: Arc<Window>,
    flows: Arc<Flows>,
    follower: Follower,
}

/// Whoever wants to see every attempt, once there is somebody.
pub(super) type Follower = Arc<OnceLock<mpsc::Sender<Attempt>>>;

impl Books {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        window: Arc<Window>,
        flows: Arc<Flows>,
        follower: Follower,
    ) -> Self {
        Self { metrics, window, flows, follower }
    }
}

impl Sink for Books {
    fn joined(&self, target: &Target) {
        let (name, probe, via) = (&target.spec.name, target.spec.probe.kind(), target.spec.via);
        self.window.joined(&target.spec);
        self.metrics.joined(name, probe, via);
        self.metrics.described(&target.spec);
        self.flows.joined(target);
        for cause in Missed::ALL {
            self.metrics.missed(name, cause.as_str(), 0);
        }
    }

    fn left(&self, targets: &HashSet<TargetName>) {
        self.metrics.left(targets);
        self.window.left(targets);
        self.flows.left(targets);
    }

    fn attempt(&self, attempt: &Attempt) {
        self.metrics.attempt(attempt);
        self.window.attempt(attempt, SystemTime::now());
        if let Some(seen) = self.flows.attempt(attempt, Moment::now()) {
            let dropped = seen.dropped_plaintext;
            self.metrics.flows(seen.plaintext_pairs, seen.plaintext_connections, dropped);
            self.metrics.ztunnel_restarted(seen.restarted);
        }
        let follower = self.follower.get().filter(|follower| follower.capacity() > 0);
        if let Some(follower) = follower {
            let _ = follower.try_send(attempt.clone());
        }
    }

    fn missed(&self, target: &TargetName, cause: Missed, slots: u64) {
        self.metrics.missed(target, cause.as_str(), slots);
    }
}

//! What an agent says of the plan that it follows.

use std::time::SystemTime;

use metrics::Key;

use crate::metrics::{Metrics, names, unix_seconds};

impl Metrics {
    /// Plans are followed from now on: what counts them exists, at zero.
    pub fn plans_expected(&self) {
        self.add(&Key::from_static_name(names::PLAN_REJECTED), 0);
        self.set(&Key::from_static_name(names::PLAN_TARGETS), 0.0);
        self.controllers_connected(0);
    }

    /// A plan was taken, of which `targets` are probed.
    pub fn plan_applied(&self, at: SystemTime, targets: usize) {
        self.set(&Key::from_static_name(names::PLAN_APPLIED), unix_seconds(at));
        self.plan_targets(targets);
    }

    /// Of the plan `targets` are probed.
    pub fn plan_targets(&self, targets: usize) {
        self.set(&Key::from_static_name(names::PLAN_TARGETS), targets as f64);
    }

    /// A controller said what the plan is.
    pub fn plan_confirmed(&self, at: SystemTime) {
        self.set(&Key::from_static_name(names::PLAN_CONFIRMED), unix_seconds(at));
    }

    /// A plan was refused as a whole.
    pub fn plan_rejected(&self) {
        self.add(&Key::from_static_name(names::PLAN_REJECTED), 1);
    }

    /// So many controllers are connected now.
    pub fn controllers_connected(&self, count: usize) {
        self.set(&Key::from_static_name(names::CONTROLLERS), count as f64);
    }
}

//! The revision of each agent's plan, made out once for each cluster: a poll that changes nothing
//! must not cost a plan.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::controller::planner::Planned;
use crate::controller::roster::Seat;

/// Revisions of the plans for the latest cluster.
#[derive(Debug, Default)]
pub(super) struct Revisions(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    /// Kept weakly: it only tells which plans the revisions are of.
    planned: Weak<Planned>,
    known: HashMap<Seat, String>,
}

impl Revisions {
    /// The revision of the plan in `planned` for the agent in `seat`, which `make` makes out if
    /// nobody asked for it before.
    pub(super) fn of(
        &self,
        planned: &Arc<Planned>,
        seat: &Seat,
        make: impl FnOnce() -> String,
    ) -> String {
        if let Some(known) = self.latest(planned).known.get(seat) {
            return known.clone();
        }
        let made = make();
        self.latest(planned).known.insert(seat.clone(), made.clone());
        made
    }

    fn latest(&self, planned: &Arc<Planned>) -> std::sync::MutexGuard<'_, Latest> {
        let mut latest = self.0.lock().expect("no panic while held");
        if latest.planned.as_ptr() != Arc::as_ptr(planned) {
            *latest = Latest { planned: Arc::downgrade(planned), known: HashMap::new() };
        }
        latest
    }
}

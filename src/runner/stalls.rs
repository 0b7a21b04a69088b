//! When this machine was too busy to run us, as late starts tell: what waits for the network then
//! waits for us.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Blame, Fault, Phase, Reason};
use crate::outcome::Outcome;

/// A start this much too late says that whatever waited meanwhile waited for us.
const STALL: Duration = Duration::from_millis(100);

/// The last stall that any target of one agent noticed.
///
/// An agent with few targets notices few: a stall between two starts is seen only where it makes a
/// deadline late.
#[derive(Debug)]
pub(super) struct Stalls {
    max_lag: Duration,
    last: Mutex<Option<Stall>>,
}

#[derive(Debug, Clone, Copy)]
struct Stall {
    /// When it was over.
    noticed: Instant,
    lag: Duration,
}

impl Stalls {
    /// An attempt that starts later than `max_lag` after its slot cannot tell anything.
    pub(super) fn new(max_lag: Duration) -> Self {
        Self { max_lag, last: Mutex::default() }
    }

    /// Takes note that a slot is seen now, `lag` after it came.
    pub(super) fn note(&self, lag: Duration) {
        if lag > STALL.min(self.max_lag) {
            let stall = Stall { noticed: Instant::now(), lag };
            *self.last.lock().expect("never poisoned") = Some(stall);
        }
    }

    /// Marks an attempt that started `lag` after its slot and cannot tell anything for that,
    /// unless it has a failure of our own already.
    pub(super) fn spoil_late(&self, outcome: &mut Outcome, lag: Duration) {
        let ours = outcome.failure.as_ref().is_some_and(|it| it.reason.blame() == Blame::Prober);
        if ours || lag <= self.max_lag {
            return;
        }
        let first = outcome.phases.iter().next().map_or(Phase::Connect, |(phase, _)| phase);
        let allowed = self.max_lag;
        let detail = format!("started {lag:.1?} after its slot, at most {allowed:.1?} is allowed");
        outcome.failure = Some(Fault::new(Reason::ScheduleLag, detail).during(first));
    }

    /// Marks an attempt from `began` until now that timed out while this machine was busy: its
    /// reply may have come and found nobody.
    pub(super) fn spoil_timeout(&self, outcome: &mut Outcome, began: Instant) {
        let Some(failure) = outcome.failure.take_if(|it| it.reason == Reason::Timeout) else {
            return;
        };
        let last = *self.last.lock().expect("never poisoned");
        // One that was noticed with this start is the late start's own matter.
        outcome.failure = Some(match last.filter(|stall| stall.noticed > began) {
            None => failure,
            Some(Stall { lag, .. }) => {
                let told = failure.detail;
                let detail = format!("{told}, in which this machine was busy for {lag:.1?}");
                Fault::new(Reason::ScheduleLag, detail).during(failure.phase)
            }
        });
    }
}

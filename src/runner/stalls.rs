//! How long this machine was too busy to run us, as late starts tell: what waits for the network
//! then waits for us.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Blame, Fault, Phase, Reason};
use crate::outcome::Outcome;

/// A start less late than this is no stall.
const STALL: Duration = Duration::from_millis(100);
/// A timeout of which at least one part in so many was ours says nothing of the network.
const PART: u32 = 4;

/// The stalls that the targets of one agent noticed.
///
/// An agent with few targets notices few: a stall between two starts is seen only where it makes a
/// deadline late.
#[derive(Debug)]
pub(super) struct Stalls {
    max_lag: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// All of them, what several targets noticed counted once.
    lost: Duration,
    /// The last: its beginning and its end.
    last: Option<(Instant, Instant)>,
}

impl Seen {
    /// A stall from `begin` to `end`, which is now.
    fn add(&mut self, begin: Instant, end: Instant) {
        let (new, begin) = match self.last {
            // Others noticed a part of it, or all.
            Some((first, last)) if begin <= last => {
                let earlier = first.saturating_duration_since(begin);
                (earlier + end.saturating_duration_since(last), first.min(begin))
            }
            Some(_) | None => (end.saturating_duration_since(begin), begin),
        };
        self.lost += new;
        self.last = Some((begin, end));
    }
}

impl Stalls {
    /// An attempt that starts later than `max_lag` after its slot cannot tell anything.
    pub(super) fn new(max_lag: Duration) -> Self {
        Self { max_lag, seen: Mutex::default() }
    }

    /// Takes note that a slot is seen now, `lag` after it came.
    pub(super) fn note(&self, lag: Duration) {
        let end = Instant::now();
        if let Some(begin) = end.checked_sub(lag).filter(|_| lag > STALL) {
            self.seen.lock().expect("never poisoned").add(begin, end);
        }
    }

    /// How long all stalls were that were noticed so far.
    pub(super) fn lost(&self) -> Duration {
        self.seen.lock().expect("never poisoned").lost
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
}

/// Marks an attempt that timed out after `took`, of which stalls took `lost`, if that is much of
/// it: its reply may have come and found nobody.
pub(super) fn spoil_timeout(outcome: &mut Outcome, took: Duration, lost: Duration) {
    let much = lost > Duration::ZERO && lost * PART >= took;
    let Some(failure) = outcome.failure.take_if(|it| much && it.reason == Reason::Timeout) else {
        return;
    };
    let detail = format!("{}, of which this machine was busy for {lost:.1?}", failure.detail);
    outcome.failure = Some(Fault::new(Reason::ScheduleLag, detail).during(failure.phase));
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_several_targets_notice_is_one_stall() {
        let start = Instant::now();
        let mut seen = Seen::default();
        seen.add(start + ms(100), start + ms(500));
        seen.add(start + ms(50), start + ms(501));
        seen.add(start + ms(300), start + ms(502));
        assert_eq!(seen.lost, ms(452));
        seen.add(start + ms(1000), start + ms(1200));
        assert_eq!(seen.lost, ms(652));
    }

    #[test]
    fn a_timeout_is_ours_when_much_of_it_was_and_the_networks_when_little_was() {
        let reason = |reason, lost| {
            let fault = Fault::new(reason, "nothing within 2.0s".to_owned());
            let mut outcome = Outcome::spoiled(SystemTime::UNIX_EPOCH, ms(2000), fault);
            spoil_timeout(&mut outcome, ms(2000), lost);
            outcome.failure.expect("it failed").reason
        };
        for (lost, expected) in [
            (Duration::ZERO, Reason::Timeout),
            (ms(499), Reason::Timeout),
            (ms(500), Reason::ScheduleLag),
            (ms(2000), Reason::ScheduleLag),
        ] {
            assert_eq!(reason(Reason::Timeout, lost), expected, "{lost:?}");
        }
        assert_eq!(reason(Reason::Reset, ms(2000)), Reason::Reset);
    }
}

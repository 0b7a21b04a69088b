//! Which findings are due: each once in a while, all of them no faster than a rate. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Finding;

/// How many may be written at once.
const BURST: u32 = 20;
/// One more is allowed after this.
const PER_EVENT: Duration = Duration::from_secs(2);
/// The longest that is remembered of findings that are gone: a finding that comes and goes is not
/// told each time.
const MOST_REMEMBERED: usize = 5000;

/// When each finding was last told.
#[derive(Debug)]
pub(super) struct Ledger {
    every: Duration,
    told: BTreeMap<Finding, Instant>,
    /// How many may be written now, as of `refilled`.
    left: u32,
    refilled: Instant,
}

impl Ledger {
    /// A finding is due again after `every`.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { every, told: BTreeMap::new(), left: BURST, refilled: now }
    }

    /// Whether `finding` is due at `now`; if so it counts against the rate.
    pub(super) fn take(&mut self, finding: &Finding, now: Instant) -> bool {
        let due = |at: &Instant| now.duration_since(*at) >= self.every;
        if !self.told.get(finding).is_none_or(due) {
            return false;
        }
        let more = now.duration_since(self.refilled).as_millis() / PER_EVENT.as_millis();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(BURST);
            self.refilled = now;
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }

    /// `finding` was told `age` before `now`.
    pub(super) fn told(&mut self, finding: &Finding, now: Instant, age: Duration) {
        let at = now.checked_sub(age).unwrap_or(now);
        self.told.insert(finding.clone(), at);
    }

    /// Forgets what is neither among `findings` nor recent.
    pub(super) fn forget(&mut self, findings: &[Finding], now: Instant) {
        let present: BTreeSet<&Finding> = findings.iter().collect();
        let room = self.told.len() <= MOST_REMEMBERED;
        self.told.retain(|finding, at| {
            present.contains(finding) || (room && now.duration_since(*at) < self.every)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{FindingReason, ObjectRef};

    const HOUR: Duration = Duration::from_secs(3600);

    fn finding(name: &str) -> Finding {
        let object = ObjectRef {
            kind: "Service".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: None,
        };
        Finding { object, reason: FindingReason::NoEndpoints, message: "nothing".to_owned() }
    }

    #[test]
    fn the_same_finding_is_due_once_an_hour_even_if_it_comes_and_goes() {
        let start = Instant::now();
        let mut ledger = Ledger::new(HOUR, start);
        let one = finding("one");
        let mut times = 0;
        for minute in 0..180 {
            let now = start + Duration::from_secs(minute * 60);
            let present = [one.clone()];
            ledger.forget(if minute % 2 == 0 { &present } else { &[] }, now);
            if minute % 2 == 0 && ledger.take(&one, now) {
                ledger.told(&one, now, Duration::ZERO);
                times += 1;
            }
        }
        assert_eq!(times, 3);
    }

    #[test]
    fn a_finding_that_another_replica_told_is_due_an_hour_after_that() {
        let now = Instant::now() + HOUR;
        let mut ledger = Ledger::new(HOUR, now);
        ledger.told(&finding("one"), now, HOUR / 2);
        assert!(!ledger.take(&finding("one"), now + HOUR / 4));
        assert!(ledger.take(&finding("one"), now + HOUR / 2));
    }

    #[test]
    fn a_thousand_findings_are_told_at_the_rate_and_not_at_once() {
        let start = Instant::now();
        let mut ledger = Ledger::new(HOUR, start);
        let all: Vec<Finding> = (0..1000).map(|n| finding(&n.to_string())).collect();
        let round = |ledger: &mut Ledger, now| {
            let due: Vec<_> = all.iter().filter(|finding| ledger.take(finding, now)).collect();
            due.iter().for_each(|finding| ledger.told(finding, now, Duration::ZERO));
            due.len()
        };
        assert_eq!(round(&mut ledger, start), 20);
        assert_eq!(round(&mut ledger, start + Duration::from_millis(500)), 0);
        assert_eq!(round(&mut ledger, start + Duration::from_secs(11)), 5);
        assert_eq!(round(&mut ledger, start + Duration::from_secs(1000)), 20);
    }

    #[test]
    fn findings_that_are_gone_do_not_pile_up() {
        let start = Instant::now();
        let mut ledger = Ledger::new(HOUR, start);
        for number in 0..20_000 {
            ledger.told(&finding(&number.to_string()), start, Duration::ZERO);
            ledger.forget(&[], start);
        }
        assert!(ledger.told.len() <= MOST_REMEMBERED + 1);
    }
}

//! What a candidate does next, by what it sees of the Lease. Pure: time is an argument.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

/// The Lease as it was last seen to change, and when that was by our own clock.
#[derive(Debug, Default)]
pub(super) struct Observed(Option<(LeaseSpec, Instant)>);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody holds it, or its holder let it run out.
    Take,
    /// It is ours.
    Renew,
    /// It is another's.
    Wait,
}

impl Observed {
    /// Looks at the Lease at `now` as the candidate `me`; `None`: there is none. It runs out when
    /// it did not change for `duration`.
    pub(super) fn step(
        &mut self,
        lease: Option<&Lease>,
        me: &str,
        duration: Duration,
        now: Instant,
    ) -> Step {
        let spec = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        match spec.holder_identity.as_deref() {
            None | Some("") => return Step::Take,
            Some(holder) if holder == me => return Step::Renew,
            Some(_) => {}
        }
        match &self.0 {
            Some((before, since)) if *before == spec => {
                if now.duration_since(*since) >= duration {
                    return Step::Take;
                }
            }
            _ => self.0 = Some((spec, now)),
        }
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn lease(holder: &str, renewed: i64) -> Lease {
        let renew_time = Timestamp::from_second(renewed).expect("within range");
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(renew_time)),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_at_once() {
        let now = Instant::now();
        let mut observed = Observed::default();
        assert_eq!(observed.step(None, "a", DURATION, now), Step::Take);
        assert_eq!(observed.step(Some(&Lease::default()), "a", DURATION, now), Step::Take);
        assert_eq!(observed.step(Some(&lease("", 7)), "a", DURATION, now), Step::Take);
    }

    #[test]
    fn a_lease_that_ran_out_by_its_own_clock_is_not_taken_before_we_watched_it_that_long() {
        let now = Instant::now();
        let mut observed = Observed::default();
        // Renewed in 1970, as far as the holder's clock says.
        let old = lease("b", 1);
        for seconds in [0, 5, 14] {
            let now = now + Duration::from_secs(seconds);
            assert_eq!(observed.step(Some(&old), "a", DURATION, now), Step::Wait);
        }
        let later = now + DURATION;
        assert_eq!(observed.step(Some(&old), "a", DURATION, later), Step::Take);
    }

    #[test]
    fn every_renewal_gives_the_holder_the_whole_time_again() {
        let now = Instant::now();
        let mut observed = Observed::default();
        for round in 0..100 {
            let now = now + Duration::from_secs(round * 14);
            // Its clock runs backwards; that it changes is what counts.
            let renewed = lease("b", 1_000_000 - round as i64);
            assert_eq!(observed.step(Some(&renewed), "a", DURATION, now), Step::Wait);
        }
    }

    #[test]
    fn a_lease_under_our_own_name_is_ours_to_renew() {
        let step = Observed::default().step(Some(&lease("a", 1)), "a", DURATION, Instant::now());
        assert_eq!(step, Step::Renew);
    }
}

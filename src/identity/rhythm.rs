//! When the next certificate is asked for. Pure: time and randomness are arguments.

use std::time::{Duration, SystemTime};

/// The first wait after a failure, before jitter.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after a failure, before jitter.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// The share by which a wait may be longer or shorter, so that a fleet does not ask in step.
const JITTER: f64 = 0.1;
/// A certificate is never asked for more often than this.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// How long a certificate is kept whose end is not known.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(3600);

/// From `now`, when a certificate was obtained that ends at `not_after`, to its renewal: half of
/// what is left, give or take a tenth. `random` is from 0 to 1.
pub(super) fn until_renewal(
    not_after: Option<SystemTime>,
    now: SystemTime,
    random: f64,
) -> Duration {
    let left =
        not_after.map_or(UNKNOWN_LIFETIME, |end| end.duration_since(now).unwrap_or_default());
    scatter(left / 2, random).max(MIN_WAIT)
}

/// The wait after the `failures`th failure in a row: doubled each time, up to a minute, give or
/// take a tenth. `random` is from 0 to 1.
pub(super) fn until_retry(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    scatter((FIRST_RETRY * 2u32.pow(doublings)).min(LAST_RETRY), random)
}

fn scatter(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn renewal_is_around_half_of_what_is_left(
            now in 0u64..4_000_000_000, left in 4u64..100 * 365 * 86_400, random in 0.0f64..=1.0,
        ) {
            let now = UNIX_EPOCH + Duration::from_secs(now);
            let left = Duration::from_secs(left);
            let wait = until_renewal(Some(now + left), now, random);
            prop_assert!(wait >= left.mul_f64(0.449) && wait <= left.mul_f64(0.551), "{wait:?}");
        }

        #[test]
        fn no_dates_make_renewal_a_busy_loop(
            now in 0u64..4_000_000_000, end in 0u64..4_000_000_000, random in any::<f64>(),
        ) {
            let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert!(until_renewal(Some(at(end)), at(now), random) >= MIN_WAIT);
        }

        #[test]
        fn retries_double_up_to_a_minute(failures in 1u32.., random in 0.0f64..=1.0) {
            let wait = until_retry(failures, random);
            prop_assert!(wait >= FIRST_RETRY.mul_f64(0.899) && wait <= LAST_RETRY.mul_f64(1.101));
            let next = until_retry(failures.saturating_add(1), random);
            prop_assert!(next >= wait);
            if failures < 6 {
                prop_assert_eq!(next.as_millis() / 100, (wait * 2).as_millis() / 100);
            }
        }
    }
}

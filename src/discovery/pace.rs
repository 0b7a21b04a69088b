//! How long to wait after a failure. Pure: randomness is an argument.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(500);

/// Waits that double from half a second up to a bound, until something succeeds.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    failures: u32,
    longest: Duration,
}

impl Pace {
    /// The longest wait is `longest`, before jitter.
    pub(super) fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Something went well.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure: up to a half longer, as `random` (0 to 1) says, so that
    /// watches do not ask in step. `asked`: what the server asks for, a minute at most.
    pub(super) fn failed(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let doubled = FIRST * 2u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let asked = asked.unwrap_or_default().min(Duration::from_secs(60));
        doubled.min(self.longest).max(asked).mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0)
    }
}

/// From 0 to 1; the standard library seeds its hashers at random.
pub(super) fn random() -> f64 {
    let word = RandomState::new().hash_one(0);
    (word >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_up_to_the_bound_and_start_anew_after_a_success(
            failures in 0u32..100, random in 0.0f64..=1.0,
        ) {
            let longest = Duration::from_secs(30);
            let mut pace = Pace::new(longest);
            let mut last = Duration::ZERO;
            for _ in 0..failures {
                let wait = pace.failed(None, random);
                prop_assert!(wait >= last && wait <= longest.mul_f64(1.5));
                last = wait;
            }
            pace.succeeded();
            prop_assert!(pace.failed(None, random) <= FIRST.mul_f64(1.5));
        }

        #[test]
        fn what_the_server_asks_for_is_granted_within_reason(asked in 0u64.., random in any::<f64>()) {
            let asked = Duration::from_secs(asked);
            let wait = Pace::new(Duration::from_secs(30)).failed(Some(asked), random);
            prop_assert!(wait >= asked.min(Duration::from_secs(60)));
            prop_assert!(wait <= Duration::from_secs(90));
        }
    }
}

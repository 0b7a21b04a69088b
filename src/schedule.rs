//! When a target's slots are. Pure: time and node are arguments.
//!
//! Open loop: slots come from the clock alone, so a slow target never delays itself or another.
//! The offset is a hash of who probes whom, so a fleet does not fire in step and churn among
//! targets moves nobody else's slots.

use std::time::Duration;

/// How often, and how far a slot may stray.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cadence {
    interval: Duration,
    jitter: f64,
}

impl Cadence {
    /// The shortest interval that a target may have.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
    /// The longest interval that a target may have.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

    /// A cadence; `jitter` is the share of the interval by which a slot may be late.
    pub fn new(interval: Duration, jitter: f64) -> Result<Self, InvalidCadence> {
        if !(Self::MIN_INTERVAL..=Self::MAX_INTERVAL).contains(&interval) {
            return Err(InvalidCadence::Interval);
        }
        if !(0.0..=0.5).contains(&jitter) {
            return Err(InvalidCadence::Jitter);
        }
        Ok(Self { interval, jitter })
    }

    /// Time from one slot to the next, before jitter.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Share of the interval by which a slot may be late, 0 to 0.5.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }
}

/// A cadence that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCadence {
    /// Out of range.
    #[error("the interval must be from 10ms to 24h")]
    Interval,
    /// Out of range.
    #[error("the jitter must be a share of the interval from 0 to 0.5")]
    Jitter,
}

/// The endless row of slots of one target on one agent.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    cadence: Cadence,
    seed: u64,
}

impl Schedule {
    /// The schedule of `target` on `agent` (node and vantage); the same names give the same slots.
    pub fn new(cadence: Cadence, agent: &str, target: &str) -> Self {
        let mut seed = fnv1a(agent.as_bytes(), 0xcbf2_9ce4_8422_2325);
        seed = fnv1a(&[0], seed);
        Self { cadence, seed: mix(fnv1a(target.as_bytes(), seed)) }
    }

    /// When slot `n` is, counted from the schedule's epoch.
    ///
    /// Slots keep their order: jitter is at most half an interval.
    pub fn slot(&self, n: u64) -> Duration {
        let interval = self.cadence.interval.as_nanos() as u64;
        let offset = scale(self.seed, interval);
        let jitter = (interval as f64 * self.cadence.jitter) as u64;
        let stray = scale(mix(self.seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), jitter);
        Duration::from_nanos(n.saturating_mul(interval).saturating_add(offset + stray))
    }

    /// The first slot at or after `elapsed` since the epoch.
    pub fn first_from(&self, elapsed: Duration) -> u64 {
        let guess = (elapsed.as_nanos() / self.cadence.interval.as_nanos()) as u64;
        (guess.saturating_sub(2)..).find(|n| self.slot(*n) >= elapsed).expect("slots are endless")
    }
}

/// `value` as a share of 2^64, times `range`.
fn scale(value: u64, range: u64) -> u64 {
    ((u128::from(value) * u128::from(range)) >> 64) as u64
}

fn fnv1a(bytes: &[u8], seed: u64) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Spreads every input bit over the whole word (the finaliser of splitmix64).
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slots_keep_order_and_rate(
            millis in 10u64..100_000, jitter in 0.0f64..=0.5, n in 0u64..1_000_000, name in "[a-z]{1,9}",
        ) {
            let cadence = Cadence::new(Duration::from_millis(millis), jitter).expect("in range");
            let schedule = Schedule::new(cadence, "node-1/plain", &name);
            let (here, next) = (schedule.slot(n), schedule.slot(n + 1));
            prop_assert!(here < next);
            prop_assert!(here >= cadence.interval() * n as u32);
            prop_assert!(here < (cadence.interval() * (n as u32 + 1)).mul_f64(1.0) + cadence.interval().mul_f64(jitter));
            prop_assert_eq!(schedule.first_from(here), n);
        }
    }

    #[test]
    fn offsets_spread_a_fleet_over_the_interval() {
        let cadence = Cadence::new(Duration::from_secs(1), 0.0).expect("in range");
        let mut tenths = [0u32; 10];
        for node in 0..10_000 {
            let offset = Schedule::new(cadence, &format!("node-{node}/plain"), "istiod").slot(0);
            tenths[(offset.as_millis() / 100) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1100).contains(count)), "{tenths:?}");
    }
}

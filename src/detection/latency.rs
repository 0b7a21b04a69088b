//! What a path's replies usually take, and how many are slower than that.
//!
//! The baseline is the 99th percentile of a path: of each block of 69 replies the longest is as
//! likely above as below it, so the median of several blocks' longest estimates it. No fault that
//! is in less than half of the blocks moves it, and no distribution is assumed. It is learnt from
//! the first nine blocks (621 replies, 52 min at one each 5 s), and then from one block in four, so
//! that it follows in half a day what is no fault. Cold and warm connections are different paths.
//!
//! A window tells its replies in a digest, within 1 %. One without (of Prometheus, of an older agent,
//! in a file) tells no more than count, median and 99th percentile: the replies at and above each
//! are at least that long, and the others count as not slow.

use crate::digest::Digest;
use crate::observation::Observation;

/// Replies of a block: half of all blocks hold one above the 99th percentile (0.99⁶⁹ = 0.5).
const BLOCK: u8 = 69;
/// Blocks that the baseline is the median of.
const BLOCKS: usize = 9;
/// One block in so many is kept once there are enough.
const SELDOM: u8 = 4;
/// Replies above this many times the baseline are slow, and above this many very slow.
const SLOW: [f32; 2] = [1.25, 3.0];
/// Replies that are not longer than this above the baseline are not slow, seconds: what a busy
/// machine adds to a reply from nearby.
const LEAST: f32 = 0.0005;

/// Rate of slow replies that a whole path is taken to have at most: 1 % by definition of the
/// baseline, and as much again for how roughly it is known.
pub(super) const SLOW_BACKGROUND: f32 = 0.02;
/// Rate of very slow replies that a whole path is expected to have.
pub(super) const VERY_SLOW_BACKGROUND: f32 = 0.001;
/// An alarm is over after so many replies, a day at one each 5 s: it is what the path is like now.
pub(super) const ACCEPTED: u32 = 17_280;

/// The longest replies of blocks, as [`scaled`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Baseline {
    longest: [u16; BLOCKS],
    /// Blocks that were kept so far, and of the later ones those that were not.
    kept: u8,
    passed: u8,
    /// The block under way.
    replies: u8,
    block: u16,
}

impl Baseline {
    /// The 99th percentile, seconds; `None` before enough was told.
    pub(super) fn seconds(&self) -> Option<f32> {
        if usize::from(self.kept) < BLOCKS {
            return None;
        }
        let mut sorted = self.longest;
        sorted.sort_unstable();
        Some(seconds(sorted[BLOCKS / 2]))
    }

    /// How many of `observation` are slow, and how many very slow, at least; none before there is
    /// a baseline.
    pub(super) fn slow(&self, observation: &Observation) -> [u64; 2] {
        let Some(usual) = self.seconds() else { return [0, 0] };
        SLOW.map(|times| above(observation, (times * usual).max(usual + LEAST)))
    }

    /// Takes in so many replies, the longest of which was `longest` seconds.
    pub(super) fn take(&mut self, replies: u32, longest: f32) {
        self.block = self.block.max(scaled(longest));
        self.replies = self.replies.saturating_add(replies.min(u8::MAX.into()) as u8);
        if self.replies < BLOCK {
            return;
        }
        let begun = usize::from(self.kept) < BLOCKS;
        if begun || self.passed + 1 >= SELDOM {
            self.longest.rotate_left(1);
            self.longest[BLOCKS - 1] = self.block;
            self.kept = self.kept.saturating_add(1);
            self.passed = 0;
        } else {
            self.passed += 1;
        }
        self.discard();
    }

    /// Forgets the block under way: a fault began or ended in it.
    pub(super) fn discard(&mut self) {
        (self.replies, self.block) = (0, 0);
    }
}

/// How many replies of `observation` took longer than `bound` seconds, at least.
fn above(observation: &Observation, bound: f32) -> u64 {
    let is_above = |seconds: f64| seconds > f64::from(bound);
    if let Some(digest) = &observation.digest {
        let slow = digest.bins().iter().filter(|(bin, _)| is_above(Digest::seconds(*bin)));
        return slow.map(|(_, count)| u64::from(*count)).sum();
    }
    let Some(latency) = observation.latency_seconds else { return 0 };
    let replies = observation.verdicts.met;
    let from = |share: f64| replies - (share * replies.saturating_sub(1) as f64) as u64;
    match (is_above(latency.p50), is_above(latency.p99)) {
        _ if replies == 0 => 0,
        (true, _) => from(0.5),
        (false, true) => from(0.99),
        (false, false) => 0,
    }
}

/// The longest that `observation` tells of, seconds.
pub(super) fn longest(observation: &Observation) -> Option<f32> {
    if let Some((bin, _)) = observation.digest.as_ref().and_then(|digest| digest.bins().last()) {
        return Some(Digest::seconds(*bin) as f32);
    }
    let latency = observation.latency_seconds?;
    Some(latency.p99.max(latency.p50) as f32).filter(|seconds| seconds.is_finite())
}

/// Logarithm of a latency in two bytes: from 0.3 µs to 40 h within 0.03 %.
fn scaled(seconds: f32) -> u16 {
    ((seconds.ln() + 15.0) * 2400.0).clamp(0.0, 65_535.0) as u16
}

fn seconds(scaled: u16) -> f32 {
    (f32::from(scaled) / 2400.0 - 15.0).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Latency, Verdicts};

    #[test]
    fn latencies_survive_their_scale() {
        for latency in [1e-6f32, 0.0003, 0.02, 1.0, 3600.0] {
            assert!((seconds(scaled(latency)) / latency - 1.0).abs() < 1e-3, "{latency}");
        }
        assert_eq!(scaled(0.0), 0);
    }

    #[test]
    fn slow_replies_are_counted_by_the_digest_and_at_least_without() {
        let mut baseline = Baseline::default();
        (0..9 * 69).for_each(|_| baseline.take(1, 0.01));
        let mut digest = Digest::default();
        for milliseconds in [9, 10, 11, 20, 31, 200] {
            digest.add(std::time::Duration::from_millis(milliseconds));
        }
        let verdicts = Verdicts { met: 6, ..Verdicts::default() };
        let [p50, p99] = [0.5, 0.99].map(|share| digest.quantile(share).expect("not empty"));
        let latency_seconds = Some(Latency { p50, p99 });
        let bare = crate::detection::tests::told("a", 0, 6, 0);
        let without = Observation { verdicts, latency_seconds, ..bare };
        assert_eq!(baseline.slow(&without), [2, 2]);
        let with = Observation { digest: Some(digest), ..without };
        assert_eq!(baseline.slow(&with), [3, 2]);
        assert!(longest(&with).is_some_and(|longest| (0.198..0.202).contains(&longest)));
    }

    #[test]
    fn the_baseline_is_the_99th_percentile_and_outliers_do_not_move_it() {
        let mut baseline = Baseline::default();
        for n in 0..69 * 9 {
            assert_eq!(baseline.seconds(), None);
            let outlier = n % 200 == 0;
            baseline.take(1, if outlier { 5.0 } else { 0.001 * (1 + n % 100) as f32 });
        }
        let seconds = baseline.seconds().expect("enough was told");
        assert!((0.095..0.101).contains(&seconds), "{seconds}");
    }

    #[test]
    fn the_baseline_follows_slowly() {
        let mut baseline = Baseline::default();
        let tell = |baseline: &mut Baseline, blocks: u32, latency| {
            (0..blocks * 69).for_each(|_| baseline.take(1, latency));
        };
        tell(&mut baseline, 9, 0.001);
        tell(&mut baseline, 16, 0.002);
        assert!(baseline.seconds().is_some_and(|seconds| seconds < 0.0011));
        tell(&mut baseline, 4, 0.002);
        assert!(baseline.seconds().is_some_and(|seconds| seconds > 0.0019));
    }
}

//! By what the tests err, computed: false alarms and delays of a [`Design`] as a Markov chain.
//!
//! A score moves on a lattice of a 64th of its smallest step or finer; the rounding goes the way
//! that is told, so that two computations enclose the truth. Attempts fail independently of each
//! other: what comes in bursts is a fault. For `docs/detection.md`, benchmark and tests; nothing
//! that watches paths needs it.

use crate::detection::Design;

/// Which way the lattice errs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Alarms come a little too early.
    Early,
    /// They come a little too late.
    Late,
}

/// A test on a path: places on the lattice, of which the first is a score of zero.
struct Chain {
    down: usize,
    up: usize,
    threshold: usize,
}

impl Chain {
    fn new(design: Design, background: f64, rounding: Rounding) -> Self {
        let (down, up) = design.steps(background as f32);
        let (down, up) = (f64::from(down), f64::from(up));
        let threshold = f64::from(design.threshold);
        let parts = (4096.0 * down / threshold).clamp(1.0, 64.0).floor();
        let lattice = down / parts;
        let (up, threshold) = match rounding {
            Rounding::Early => ((up / lattice).ceil(), (threshold / lattice).floor()),
            Rounding::Late => ((up / lattice).floor(), (threshold / lattice).ceil()),
        };
        Self { down: parts as usize, up: up as usize, threshold: threshold as usize }
    }

    fn below(&self, place: usize) -> usize {
        place.saturating_sub(self.down)
    }
}

/// Alarms per attempt of `design`, made for the background `background`, on a path whose events
/// come at `rate`: one over the mean number of attempts to an alarm, by renewal at score zero.
pub fn alarms_per_attempt(design: Design, background: f64, rate: f64, rounding: Rounding) -> f64 {
    const ENOUGH: f64 = 1e-7;
    let chain = Chain::new(design, background, rounding);
    // From each place: the chance to come to the threshold before zero, and attempts until either.
    let mut reach = vec![0.0f64; chain.threshold];
    let mut length = vec![0.0f64; chain.threshold];
    let of = |all: &[f64], place: usize, alarm: f64| all.get(place).copied().unwrap_or(alarm);
    loop {
        let mut change = 0.0f64;
        for place in 1..chain.threshold {
            let (below, above) = (chain.below(place), place + chain.up);
            let new = (1.0 - rate) * reach[below] + rate * of(&reach, above, 1.0);
            change = change.max((new - reach[place]).abs() / new.max(f64::MIN_POSITIVE));
            reach[place] = new;
            let new = 1.0 + (1.0 - rate) * length[below] + rate * of(&length, above, 0.0);
            change = change.max((new - length[place]).abs() / new);
            length[place] = new;
        }
        if change < ENOUGH {
            break;
        }
    }
    of(&reach, chain.up, 1.0) / (1.0 / rate + of(&length, chain.up, 0.0))
}

/// The share of alarms that are open after 1, 2, 3 … `attempts` attempts with events at `rate`,
/// from a score of zero, the lowest that there is.
pub fn opened_after(
    design: Design,
    background: f64,
    rate: f64,
    attempts: usize,
    rounding: Rounding,
) -> Vec<f64> {
    let chain = Chain::new(design, background, rounding);
    let mut at = vec![0.0f64; chain.threshold];
    at[0] = 1.0;
    let mut opened = 0.0;
    let step = |_| {
        let mut next = vec![0.0f64; chain.threshold];
        for (place, share) in at.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            next[chain.below(place)] += (1.0 - rate) * share;
            match next.get_mut(place + chain.up) {
                Some(above) => *above += rate * share,
                None => opened += rate * share,
            }
        }
        at = next;
        opened
    };
    (0..attempts).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100,000 paths, an attempt of each every 5 s.
    const A_WEEK: f64 = 100_000.0 * 7.0 * 24.0 * 3600.0 / 5.0;

    #[test]
    fn three_in_a_row_come_as_often_as_theory_says() {
        let computed = alarms_per_attempt(Design::HARD, 1e-4, 1e-4, Rounding::Early);
        assert!((computed / 1e-12 - 1.0).abs() < 0.01, "{computed}");
    }

    #[test]
    fn false_alarms_of_100_000_paths_are_fewer_than_one_a_week() {
        let week = |design, rounding| A_WEEK * alarms_per_attempt(design, 1e-4, 1e-4, rounding);
        let [early, late] = [Rounding::Early, Rounding::Late]
            .map(|rounding| week(Design::HARD, rounding) + week(Design::LOSS, rounding));
        assert!(late <= early && early < late * 1.05, "{late} {early}");
        assert!(early < 0.15, "{early}");
    }

    #[test]
    fn five_percent_of_loss_are_seen_within_200_attempts_in_97_of_100_cases() {
        let opened = opened_after(Design::LOSS, 1e-4, 0.05, 200, Rounding::Late);
        assert!(opened[199] > 0.97, "{}", opened[199]);
        let hard = opened_after(Design::HARD, 1e-4, 1.0, 3, Rounding::Late);
        assert_eq!(hard, [0.0, 0.0, 1.0]);
    }
}

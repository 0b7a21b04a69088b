//! What can be computed: false alarms and delays of the tests on failures, as Markov chains.

use meshprobe::detection::Design;
use meshprobe::detection::rates::{Rounding, alarms_per_attempt, opened_after};

/// Attempts of 100,000 paths in a week, one each 5 s.
pub(crate) const A_WEEK: f64 = 100_000.0 * 7.0 * 24.0 * 3600.0 / 5.0;
/// What a path is expected to fail by, and what it may be taken to fail by.
const BACKGROUND: (f64, f64) = (1e-4, 0.01);

pub(crate) fn tables() {
    println!("computed: false alarms a week of 100,000 paths, bounds by rounding up and down");
    for (rate, known) in
        [(1e-4, 0.0), (2e-4, 6e4), (5e-4, 0.0), (5e-4, 6e4), (1e-3, 6e4), (3e-3, 6e4), (0.01, 6e4)]
    {
        // As `Background` estimates it, which has seen so many attempts.
        let learnt = (rate * known + BACKGROUND.0 * 1e4) / (known + 1e4);
        let learnt = learnt.clamp(BACKGROUND.0, BACKGROUND.1);
        let bounds = |design: Design| {
            let background = f64::from(design.background(learnt as f32));
            [Rounding::Late, Rounding::Early]
                .map(|rounding| A_WEEK * alarms_per_attempt(design, background, rate, rounding))
        };
        let (hard, loss) = (bounds(Design::HARD), bounds(Design::LOSS));
        println!(
            "  failing {rate:.0e}, taken for {learnt:.1e}: hard {:.4} to {:.4}, loss {:.4} to {:.4}, \
             both at most {:.3}",
            hard[0],
            hard[1],
            loss[0],
            loss[1],
            hard[1] + loss[1]
        );
    }
    println!("\ncomputed: attempts until a fault is seen, by the test for loss from zero");
    for rate in [0.5, 0.2, 0.1, 0.05, 0.03, 0.02] {
        let opened = opened_after(Design::LOSS, BACKGROUND.0, rate, 5000, Rounding::Late);
        let until = |share| opened.iter().position(|opened| *opened >= share).map(|at| at + 1);
        let [median, p95, p99] = [0.5, 0.95, 0.99].map(|share| match until(share) {
            Some(attempts) => attempts.to_string(),
            None => "over 5000".to_owned(),
        });
        println!(
            "  loss {:>3.0} %: median {median}, p95 {p95}, p99 {p99}; {:.2} % within 200",
            rate * 100.0,
            100.0 * opened[199]
        );
    }
}

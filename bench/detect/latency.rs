//! Slow replies: how soon they are seen, and how often usual ones are taken for slow.
//!
//! Latencies are log-normal, of several widths: a 99th percentile of 2, 3.2 and 10 times the median.

use std::time::Instant;

use meshprobe::detection::rates::{Rounding, alarms_per_attempt};
use meshprobe::detection::{Change, Design, Detector};

use super::exact::A_WEEK;
use super::{Path, quantile, within};
use crate::random::Random;

const WIDTHS: [f64; 3] = [0.3, 0.5, 1.0];
const MEDIAN: f64 = 0.002;
/// Attempts that whole paths are watched for.
const WATCHED: u64 = 12_000_000;

/// What is done to a latency.
type Fault = fn(f64, &mut Random) -> f64;

const FAULTS: [(&str, Fault); 4] = [
    ("all take 3 times as long", |seconds, _| 3.0 * seconds),
    ("all take twice as long", |seconds, _| 2.0 * seconds),
    (
        "1 in 20 takes 200 ms more",
        |seconds, random| {
            if random.fails(0.05) { seconds + 0.2 } else { seconds }
        },
    ),
    (
        "1 in 5 takes 200 ms more",
        |seconds, random| {
            if random.fails(0.2) { seconds + 0.2 } else { seconds }
        },
    ),
];

pub(crate) fn figures() {
    println!("\nsimulated: replies until slowness is seen, after 3000 usual ones");
    for (name, fault) in FAULTS {
        for width in WIDTHS {
            delays(name, fault, width);
        }
    }
    println!("\ncomputed: false alarms of slowness a week of 100,000 paths, over all baselines");
    for width in WIDTHS {
        let (shift, tail) = computed(width);
        println!("  width {width}: shift {shift:.4}, tail {tail:.4}");
    }
    println!("\nsimulated: false alarms of slowness");
    WIDTHS.iter().for_each(|width| false_alarms(*width));
}

fn usual(width: f64, random: &mut Random) -> f64 {
    MEDIAN * (width * random.normal()).exp()
}

fn delays(name: &str, fault: Fault, width: f64) {
    const RUNS: usize = 1000;
    const LIMIT: u64 = 5000;
    let mut random = Random::new(19);
    let mut seen = Vec::new();
    while seen.len() < RUNS {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        for _ in 0..3000 {
            path.reply(&mut detector, usual(width, &mut random));
        }
        let opened = (1..=LIMIT).find(|_| {
            let seconds = usual(width, &mut random);
            let seconds = fault(seconds, &mut random);
            path.reply(&mut detector, seconds) == Some(Change::Opened)
        });
        seen.push(opened.unwrap_or(u64::MAX));
    }
    seen.sort_unstable();
    let [median, p95] = [0.5, 0.95].map(|share| match quantile(&seen, share) {
        u64::MAX => format!("over {LIMIT}"),
        seen => seen.to_string(),
    });
    println!("  {name}, width {width}: median {median}, p95 {p95}; {}", within(&seen, 200));
}

fn false_alarms(width: f64) {
    const EACH: u64 = 120_960;
    let began = Instant::now();
    let mut random = Random::new(23);
    let (mut alarms, mut done) = (0u64, 0u64);
    while done < WATCHED {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        for _ in 0..EACH {
            let change = path.reply(&mut detector, usual(width, &mut random));
            alarms += u64::from(change == Some(Change::Opened));
        }
        done += EACH;
    }
    println!(
        "  width {width}: {alarms} in {done} replies, {:.3} of a week of 100,000 paths; {:.0} s",
        done as f64 / A_WEEK,
        began.elapsed().as_secs_f64()
    );
}

/// False alarms a week by the two tests on slow replies. The share of replies above the baseline,
/// the median of the longest of nine blocks of 69, is `-ln(u) / 69` where `u` is the median of nine
/// numbers from 0 to 1: so the mean over all baselines that come about.
fn computed(width: f64) -> (f64, f64) {
    const PARTS: usize = 60;
    let mut sums = (0.0, 0.0);
    for part in 0..PARTS {
        let u = (part as f64 + 0.5) / PARTS as f64;
        // Density of the fifth of nine: 9! / (4! 4!) u⁴ (1 - u)⁴.
        let weight = 630.0 * (u * (1.0 - u)).powi(4) / PARTS as f64;
        let baseline = quantile_above(-u.ln() / 69.0);
        let above = |times: f64| share_above(baseline + times.ln() / width);
        let alarms = |design, background, rate| {
            weight * A_WEEK * alarms_per_attempt(design, background, rate, Rounding::Early)
        };
        sums.0 += alarms(Design::SHIFT, 0.02, above(1.25));
        sums.1 += alarms(Design::TAIL, 0.001, above(3.0));
    }
    sums
}

/// The share of a normal distribution above `z`, within 10⁻⁷ of itself: by Simpson's rule.
fn share_above(z: f64) -> f64 {
    const STEPS: usize = 2000;
    let width = 12.0 / STEPS as f64;
    let density = |at: f64| (-at * at / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let weight = |step: usize| match step {
        0 | STEPS => 1.0,
        step if step % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=STEPS).map(|step| weight(step) * density(z + step as f64 * width)).sum();
    sum * width / 3.0
}

/// The `z` above which `share` of a normal distribution is.
fn quantile_above(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if share_above(middle) > share { low = middle } else { high = middle }
    }
    low
}

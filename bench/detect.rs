//! How soon broken paths are seen, and how often whole ones are taken for broken.
//!
//! `cargo bench --bench detect [-- WEEKS]`: computed as Markov chains, and simulated through the
//! detector with a fixed seed. False alarms are those of 100,000 paths that fail one attempt in
//! 10,000, asked every 5 s, over so many weeks (20 unless stated): every one of the 1.2e10 attempts
//! of a week is fed, successes between two failures at once. Bars: hard fault in 3 attempts, 5 %
//! loss in 200, less than one false alarm a week.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "detect/exact.rs"]
mod exact;
#[path = "detect/latency.rs"]
mod latency;
#[path = "detect/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::time::Instant;

use meshprobe::detection::{Change, Detector};
use meshprobe::observation::{Expected, Latency, Observation, Verdicts};
use meshprobe::target::{ProbeKind, Vantage};
use random::Random;
use time::{Duration, OffsetDateTime};

const WEEKS: u64 = 20;
const PATHS: u64 = 100_000;
const INTERVAL: i64 = 5;
const WEEK: u64 = 7 * 24 * 3600;
const BACKGROUND: f64 = 1e-4;
/// Successes that are told at once.
const AT_ONCE: u64 = 60_000;

fn main() {
    let weeks = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(WEEKS);
    exact::tables();
    println!("\nsimulated: attempts until a fault is seen");
    for loss in [1.0, 0.5, 0.2, 0.1, 0.05, 0.02] {
        delays(loss, 1);
    }
    delays(0.05, 2);
    println!("\nsimulated: attempts from the end of a fault until its alarm closes");
    for loss in [1.0, 0.5, 0.05] {
        healing(loss);
    }
    println!("\nsimulated: 1,000 paths that always fail a little, week by week");
    for rate in [0.0003, 0.001, 0.003, 0.01] {
        chronic(rate);
    }
    latency::figures();
    println!("\na round of a large fleet");
    fleet();
    println!("\nsimulated: false alarms");
    false_alarms(weeks);
}

/// A path that is asked every 5 s.
struct Path {
    told: Observation,
    now: OffsetDateTime,
}

impl Path {
    fn new(source: &str, target: &str) -> Self {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let told = Observation {
            source_node: source.to_owned(),
            vantage: Some(Vantage::Ambient),
            probe: ProbeKind::Http,
            target: target.to_owned(),
            name: None,
            destination_node: None,
            via: None,
            expect: Expected::Reply,
            window_start: now,
            window_seconds: 0,
            attempts: 0,
            verdicts: Verdicts::default(),
            reasons: BTreeMap::new(),
            latency_seconds: None,
            digest: None,
        };
        Self { told, now }
    }

    fn tell(&mut self, detector: &mut Detector, met: u64, violated: u64) -> Option<Change> {
        self.now += Duration::seconds(INTERVAL * (met + violated) as i64);
        self.told.window_start = self.now;
        self.told.verdicts = Verdicts { met, violated, inconclusive: 0 };
        detector.take(&self.told, self.now).failing
    }

    /// One reply that took so many seconds; what happened to the alarm on slow ones.
    fn reply(&mut self, detector: &mut Detector, seconds: f64) -> Option<Change> {
        self.now += Duration::seconds(INTERVAL);
        self.told.window_start = self.now;
        self.told.verdicts = Verdicts { met: 1, ..Verdicts::default() };
        self.told.latency_seconds = Some(Latency { p50: seconds, p99: seconds });
        detector.take(&self.told, self.now).slow
    }
}

fn quantile<T: Copy>(sorted: &[T], share: f64) -> T {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Bounds of a share at 95 % (Wilson 1927).
fn wilson(events: usize, all: usize) -> (f64, f64) {
    let (n, rate, z) = (all as f64, events as f64 / all as f64, 1.96);
    let middle = rate + z * z / (2.0 * n);
    let half = z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half) / (1.0 + z * z / n), (middle + half) / (1.0 + z * z / n))
}

/// `within LIMIT of RUNS: SHARE (BOUNDS)`.
fn within(sorted: &[u64], limit: u64) -> String {
    let count = sorted.iter().filter(|delay| **delay <= limit).count();
    let (low, high) = wilson(count, sorted.len());
    let share = 100.0 * count as f64 / sorted.len() as f64;
    format!("{share:.2} % within {limit} ({:.2} to {:.2} %)", 100.0 * low, 100.0 * high)
}

/// From the start of a fault, after two weeks of background, until it is seen; attempts are told
/// `at_once`. And how far from its start it is taken to have begun.
fn delays(loss: f64, at_once: u64) {
    const RUNS: usize = 20_000;
    let mut random = Random::new(7);
    let (mut seen, mut onsets) = (Vec::new(), Vec::new());
    while seen.len() < RUNS {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        let mut left = 2 * WEEK / INTERVAL as u64;
        let mut open = false;
        while left > 0 {
            let gap = random.gap(BACKGROUND).min(left);
            path.tell(&mut detector, gap.min(AT_ONCE), 0);
            left -= gap;
            if left > 0 {
                left -= 1;
                open |= path.tell(&mut detector, 0, 1).is_some();
            }
        }
        if open {
            continue;
        }
        let began = path.now + Duration::seconds(INTERVAL);
        let opened = (1..100_000 / at_once).find(|_| {
            let failed = (0..at_once).filter(|_| random.fails(loss)).count() as u64;
            path.tell(&mut detector, at_once - failed, failed) == Some(Change::Opened)
        });
        seen.push(opened.map_or(u64::MAX, |times| times * at_once));
        let alarm = detector.alarms().next().expect("it is open");
        onsets.push((alarm.since - began).whole_seconds() / INTERVAL);
    }
    seen.sort_unstable();
    onsets.sort_unstable();
    let bar = match loss {
        1.0 => (3, " (bar: 3)"),
        0.05 => (200, " (bar: 200)"),
        _ => (200, ""),
    };
    println!(
        "  loss {:>3.0} %, {at_once} told at once: median {}, p95 {}, p99 {}; {}{}; \
         onset off by {} to {} attempts in 9 of 10, median {}",
        loss * 100.0,
        quantile(&seen, 0.5),
        quantile(&seen, 0.95),
        quantile(&seen, 0.99),
        within(&seen, bar.0),
        bar.1,
        quantile(&onsets, 0.05),
        quantile(&onsets, 0.95),
        quantile(&onsets, 0.5),
    );
}

fn healing(loss: f64) {
    let mut random = Random::new(11);
    let (mut seen, mut flaps, mut told) = (Vec::new(), 0, 0);
    for _ in 0..2000 {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        let mut open = false;
        for _ in 0..2000 {
            let failed = random.fails(loss);
            match path.tell(&mut detector, u64::from(!failed), u64::from(failed)) {
                Some(Change::Opened) => open = true,
                Some(Change::Closed) => (open, flaps) = (false, flaps + 1),
                None => told += u64::from(open),
            }
        }
        if open {
            let closed =
                (1..100_000).find(|_| path.tell(&mut detector, 1, 0) == Some(Change::Closed));
            seen.push(closed.unwrap_or(u64::MAX));
        }
    }
    seen.sort_unstable();
    println!(
        "  loss {:>3.0} %: median {}, p95 {}; closed {flaps} times in {told} attempts of the fault",
        loss * 100.0,
        quantile(&seen, 0.5),
        quantile(&seen, 0.95),
    );
}

fn chronic(rate: f64) {
    const OF: usize = 1000;
    let mut random = Random::new(17);
    let mut opened = [0u64; 6];
    let mut open_for = [0u64; 6];
    for _ in 0..OF {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        let mut open = false;
        for week in 0..opened.len() {
            let mut left = WEEK / INTERVAL as u64;
            while left > 0 {
                // Not more at once than a block of what is learnt, or closing is told late.
                let gap = random.gap(rate).min(left).min(200);
                let failed = u64::from(gap < 200 && gap < left);
                left -= gap + failed;
                let mut tell = |met, violated| match path.tell(&mut detector, met, violated) {
                    Some(change) => {
                        open = change == Change::Opened;
                        opened[week] += u64::from(open);
                    }
                    None => open_for[week] += u64::from(open) * (met + violated),
                };
                tell(gap, 0);
                if failed > 0 {
                    tell(0, 1);
                }
            }
        }
    }
    let all = OF as f64 * (WEEK / INTERVAL as u64) as f64;
    let weeks = opened.iter().zip(open_for);
    let told: Vec<String> = weeks
        .map(|(alarms, attempts)| format!("{alarms} ({:.2} %)", 100.0 * attempts as f64 / all))
        .collect();
    println!("  {:.2} %: alarms (time open) {}", rate * 100.0, told.join(", "));
}

/// One round of windows of a large fleet: 5,000 nodes, two agents each, 40 paths.
fn fleet() {
    let before = resident_kib();
    let mut detector = Detector::default();
    let mut paths: Vec<Path> = Vec::new();
    for node in 0..10_000 {
        let source = format!("node-{node}");
        paths.extend((0..40).map(|target| Path::new(&source, &format!("peer/node-{target}"))));
    }
    let held = resident_kib();
    for path in &mut paths {
        path.told.window_seconds = 10;
        path.told.latency_seconds = Some(Latency { p50: 0.001, p99: 0.002 });
        path.tell(&mut detector, 2, 0);
    }
    let grown = resident_kib() - held;
    let began = Instant::now();
    for path in &mut paths {
        path.tell(&mut detector, 2, 0);
    }
    let took = began.elapsed();
    let (count, simulated) = (detector.paths(), (held - before) / 1024);
    println!(
        "  {count} paths: {:.0} ms; {} MiB, {} bytes a path (the simulation's own: {simulated} MiB)",
        took.as_secs_f64() * 1e3,
        grown / 1024,
        grown * 1024 / count as u64
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is there");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Alarms of paths that are whole.
fn false_alarms(weeks: u64) {
    let attempts = weeks * PATHS * WEEK / INTERVAL as u64;
    let mut random = Random::new(13);
    let (mut alarms, mut failures, mut done) = (0u64, 0u64, 0u64);
    let each = attempts / PATHS;
    let began = Instant::now();
    for _ in 0..PATHS {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        let mut left = each;
        while left > 0 {
            let mut gap = random.gap(BACKGROUND).min(left);
            left -= gap;
            while gap > 0 {
                let told = gap.min(AT_ONCE);
                path.tell(&mut detector, told, 0);
                gap -= told;
            }
            if left > 0 {
                left -= 1;
                failures += 1;
                alarms += u64::from(path.tell(&mut detector, 0, 1) == Some(Change::Opened));
            }
        }
        done += each;
    }
    // The exact upper limit of a Poisson count at 95 %, close enough by Byar's approximation.
    let next = alarms as f64 + 1.0;
    let upper = next * (1.0 - 1.0 / (9.0 * next) + 1.645 / (3.0 * next.sqrt())).powi(3);
    println!(
        "  {alarms} in {weeks} weeks of {PATHS} paths ({done} attempts, {failures} failures): \
         {:.2} a week, below {:.2} at 95 % (bar: 1); simulated in {:.0} s",
        alarms as f64 / weeks as f64,
        upper / weeks as f64,
        began.elapsed().as_secs_f64()
    );
}

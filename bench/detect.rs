//! How soon broken paths are seen, and how often whole ones are taken for broken.
//!
//! `cargo bench --bench detect [-- WEEKS]`: simulated attempts, a fixed seed. False alarms are those
//! of 100,000 paths that fail one attempt in 10,000, asked every 5 s, over so many weeks (20 unless
//! stated): every one of the 1.2e10 attempts of a week is fed, successes between two failures at
//! once. Bars: hard fault in 3 attempts, 5 % loss in 200, less than one false alarm a week.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::time::Instant;

use meshprobe::detection::{Change, Detector};
use meshprobe::observation::{Expected, Observation, Verdicts};
use meshprobe::target::{ProbeKind, Vantage};
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
    for loss in [1.0, 0.5, 0.2, 0.1, 0.05, 0.02] {
        delays(loss, 4000);
    }
    healing();
    fleet();
    false_alarms(weeks);
}

/// SplitMix64 (Steele, Lea, Flood 2014): all that a simulation needs.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn fails(&mut self, rate: f64) -> bool {
        self.unit() < rate
    }

    /// Successes before the next failure.
    fn gap(&mut self, rate: f64) -> u64 {
        ((1.0 - self.unit()).ln() / (1.0 - rate).ln()) as u64
    }
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
}

fn quantile(sorted: &[u64], share: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Attempts from the start of a fault until it is seen, after some thousand that were whole.
fn delays(loss: f64, runs: u64) {
    let mut random = Random(7);
    let mut seen = Vec::new();
    for _ in 0..runs {
        let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
        for _ in 0..2000 {
            let failed = random.fails(BACKGROUND);
            path.tell(&mut detector, u64::from(!failed), u64::from(failed));
        }
        let opened = (1..100_000).find(|_| {
            let failed = random.fails(loss);
            let change = path.tell(&mut detector, u64::from(!failed), u64::from(failed));
            change == Some(Change::Opened)
        });
        seen.push(opened.unwrap_or(u64::MAX));
    }
    seen.sort_unstable();
    let bar = match loss {
        1.0 => " (bar: 3)",
        0.05 => " (bar: 200)",
        _ => "",
    };
    let within = seen.iter().filter(|delay| **delay <= 200).count() as f64 / seen.len() as f64;
    println!(
        "loss {:.0} %: seen after {} attempts in the median, {} at p95, {} at p99{bar}; {:.1} % within 200",
        loss * 100.0,
        quantile(&seen, 0.5),
        quantile(&seen, 0.95),
        quantile(&seen, 0.99),
        within * 100.0
    );
}

/// Attempts from the end of a fault until the alarm closes.
fn healing() {
    for loss in [1.0, 0.5, 0.05] {
        let mut random = Random(11);
        let mut seen = Vec::new();
        for _ in 0..2000 {
            let (mut detector, mut path) = (Detector::default(), Path::new("node", "peer"));
            let mut open = false;
            for _ in 0..1000 {
                let failed = random.fails(loss);
                match path.tell(&mut detector, u64::from(!failed), u64::from(failed)) {
                    Some(Change::Opened) => open = true,
                    Some(Change::Closed) => open = false,
                    None => {}
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
            "a loss of {:.0} % ends: seen after {} attempts in the median, {} at p95; {} of 2000 were open",
            loss * 100.0,
            quantile(&seen, 0.5),
            quantile(&seen, 0.95),
            seen.len()
        );
    }
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
        "{count} paths: a round of windows takes {:.0} ms; {} MiB, {} bytes a path (the simulation's own: {simulated} MiB)",
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
    let mut random = Random(13);
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
        "{alarms} false alarms in {weeks} weeks of {PATHS} paths ({done} attempts, {failures} failures): \
         {:.2} a week, below {:.2} at 95 % (bar: 1); simulated in {:.0} s",
        alarms as f64 / weeks as f64,
        upper / weeks as f64,
        began.elapsed().as_secs_f64()
    );
}

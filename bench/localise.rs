//! How well and how fast a diagnosis finds what is broken: simulated clusters, faults of every
//! kind, against voting and set cover.
//!
//! `cargo bench --bench localise -- [quick] [talk] [100|1000|5000] [hard|gray|faint]
//! [single|double|triple]`: `talk` tells each mistake; named sizes, strengths and counts leave out
//! others. What faults do to paths is described here once more
//! (`faults`), from what the wire does and not from the diagnosis's own table.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "localise/baselines.rs"]
mod baselines;
#[path = "localise/cluster.rs"]
mod cluster;
#[path = "localise/faults.rs"]
mod faults;
#[path = "localise/random.rs"]
mod random;

use std::collections::BTreeSet;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::time::Duration;

use baselines::Evidence as Crossed;
use cluster::Cluster;
use faults::{Fault, Strength};
use meshprobe::diagnosis::{Evidence, Line, Report, lines};
use nix::time::{ClockId, clock_gettime};
use random::Random;
use time::macros::datetime;

/// Attempts of each path: five minutes at ten seconds.
const ATTEMPTS: u32 = 30;

/// Nodes of the clusters, as arguments name them.
const SIZES: [&str; 3] = ["100", "1000", "5000"];

/// How many faults, as arguments name it.
const COUNTS: [&str; 4] = ["none", "single", "double", "triple"];

/// What was found, summed over trials.
#[derive(Default, Clone, Copy)]
struct Score {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Score {
    fn add(&mut self, truth: &BTreeSet<String>, found: &BTreeSet<String>) {
        self.right += found.intersection(truth).count();
        self.wrong += found.difference(truth).count();
        self.missed += truth.difference(found).count();
    }

    fn precision(&self) -> f64 {
        self.right as f64 / (self.right + self.wrong).max(1) as f64
    }

    fn recall(&self) -> f64 {
        self.right as f64 / (self.right + self.missed).max(1) as f64
    }

    fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (2 * self.right + self.wrong + self.missed).max(1) as f64
    }
}

#[derive(Default)]
struct Row {
    ours: Score,
    voting: Score,
    cover: Score,
    words: usize,
    /// Sums of confidences: of what was rightly accused, and of what was not.
    sure: [f64; 2],
    adding: Duration,
    inference: Duration,
    trials: u32,
}

fn main() {
    let asked: BTreeSet<String> = std::env::args().skip(1).collect();
    let (quick, talk) = (asked.contains("quick"), asked.contains("talk"));
    // Words that name sizes or strengths leave out the others.
    let left_out = |word: &str, all: &[&str]| {
        all.iter().any(|other| asked.contains(*other)) && !asked.contains(word)
    };
    let sizes: &[(usize, usize)] =
        if quick { &[(100, 20), (1000, 8)] } else { &[(100, 100), (1000, 40), (5000, 4)] };
    if !quick && !left_out("5000", &SIZES) {
        large();
    }
    println!(
        "\n{:>5} {:7} {:10} {:>6} | {:>9} {:>6} {:>6} {:>6} {:>13} | {:>6} {:>6} | {:>8} {:>8}",
        "nodes",
        "faults",
        "strength",
        "trials",
        "precision",
        "recall",
        "F1",
        "words",
        "right / wrong",
        "voting",
        "cover",
        "add",
        "infer"
    );
    for &(nodes, trials) in sizes {
        if left_out(&nodes.to_string(), &SIZES) {
            continue;
        }
        for strength in Strength::ALL {
            if left_out(strength.key(), &Strength::ALL.map(Strength::key)) {
                continue;
            }
            for count in (1..=3).filter(|count| !left_out(COUNTS[*count], &COUNTS)) {
                // Every kind is to have its turn, alone too.
                let trials = if count == 1 && nodes <= 1000 { trials.max(17) } else { trials };
                let row = trials_of(nodes, strength, count, trials, talk);
                print(nodes, count, strength, &row);
            }
        }
    }
    healthy(if quick { 5 } else { 20 });
}

fn print(nodes: usize, count: usize, strength: Strength, row: &Row) {
    let each = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(row.trials);
    println!(
        "{nodes:>5} {:7} {:10} {:>6} | {:>9.3} {:>6.3} {:>6.3} {:>6.3} {:>13} | {:>6.3} {:>6.3} | {:>6.0}ms {:>6.0}ms",
        COUNTS[count],
        strength.as_str(),
        row.trials,
        row.ours.precision(),
        row.ours.recall(),
        row.ours.f1(),
        row.words as f64 / row.ours.right.max(1) as f64,
        format!("{} / {}", mean(row.sure[0], row.ours.right), mean(row.sure[1], row.ours.wrong)),
        row.voting.f1(),
        row.cover.f1(),
        each(row.adding),
        each(row.inference),
    );
}

/// The mean of so many; a dash of none.
fn mean(sum: f64, count: usize) -> String {
    if count == 0 { "-".to_owned() } else { format!("{:.3}", sum / count as f64) }
}

fn trials_of(nodes: usize, strength: Strength, count: usize, trials: usize, talk: bool) -> Row {
    let cluster = Cluster::new(nodes);
    let mut row = Row::default();
    for trial in 0..trials {
        let seed = (nodes * 1_000_003 + count * 10_007 + trial * 101) as u64 + strength as u64;
        let mut random = Random::new(seed);
        let faults = Fault::pick(&cluster, strength, count, trial, &mut random);
        let mut evidence = Evidence::new(&cluster.topology);
        let mut crossed = Crossed::default();
        let mut adding = Duration::ZERO;
        cluster.observe(&faults, ATTEMPTS, &mut random, |path, observation| {
            let start = spent();
            evidence.add(observation);
            adding += spent() - start;
            crossed.add(&cluster, path, observation);
        });
        let start = spent();
        let report = evidence.diagnose(datetime!(2026-01-01 00:05 UTC));
        row.inference += spent() - start;
        row.adding += adding;
        row.trials += 1;
        let truth: BTreeSet<String> = faults.iter().map(|fault| fault.name(&cluster)).collect();
        let found: BTreeSet<String> =
            report.diagnoses.iter().map(|found| found.component.clone()).collect();
        row.ours.add(&truth, &found);
        for found in &report.diagnoses {
            row.sure[usize::from(!truth.contains(&found.component))] += found.confidence;
        }
        row.words += faults
            .iter()
            .filter(|fault| {
                report.diagnoses.iter().any(|found| {
                    found.component == fault.name(&cluster) && found.fault.as_str() == fault.word()
                })
            })
            .count();
        row.voting.add(&truth, &crossed.voting());
        row.cover.add(&truth, &crossed.cover());
        if talk && truth != found {
            tell(&cluster, &faults, &report);
        }
    }
    row
}

/// Prints what was told, and why, where that is wrong.
fn tell(cluster: &Cluster, faults: &[Fault], report: &Report) {
    for fault in faults {
        println!("  {} {} {fault:?}", fault.name(cluster), fault.word());
    }
    for found in &report.diagnoses {
        println!("    told {} {} {}", found.component, found.fault, found.confidence);
        if faults.iter().all(|fault| fault.name(cluster) != found.component) {
            found.evidence.iter().for_each(|line| println!("      {line}"));
        }
    }
}

/// Clusters with nothing but background failures.
fn healthy(trials: usize) {
    let cluster = Cluster::new(1000);
    let mut accused = 0;
    for trial in 0..trials {
        let mut evidence = Evidence::new(&cluster.topology);
        let mut random = Random::new(77 + trial as u64);
        cluster.observe(&[], ATTEMPTS, &mut random, |_, observation| evidence.add(observation));
        accused += evidence.diagnose(datetime!(2026-01-01 00:05 UTC)).diagnoses.len();
    }
    println!("\nhealthy, 1000 nodes: {accused} accused in {trials} trials");
}

/// Time and memory at 5,000 nodes, the file read from disk.
fn large() {
    let cluster = Cluster::new(5000);
    let mut random = Random::new(5);
    let faults = Fault::pick(&cluster, Strength::Gray, 3, 0, &mut random);
    let mut file = tempfile::tempfile().expect("a temporary file");
    let mut count = 0;
    {
        let mut out = BufWriter::new(&mut file);
        cluster.observe(&faults, ATTEMPTS, &mut random, |_, observation| {
            serde_json::to_writer(&mut out, observation).expect("it has a form");
            out.write_all(b"\n").expect("room on disk");
            count += 1;
        });
        out.flush().expect("room on disk");
    }
    file.rewind().expect("a file");
    let before = memory("VmRSS:");
    let start = spent();
    let mut read = 0;
    lines(BufReader::new(&file), |line| read += u32::from(matches!(line, Line::Read(_))))
        .expect("readable");
    let parsing = spent() - start;
    file.rewind().expect("a file");
    let start = spent();
    let mut evidence = Evidence::new(&cluster.topology);
    lines(BufReader::new(&file), |line| {
        if let Line::Read(observation) = line {
            evidence.add(&observation);
        }
    })
    .expect("readable");
    let both = spent() - start;
    let start = spent();
    let report = evidence.diagnose(datetime!(2026-01-01 00:05 UTC));
    let inference = spent() - start;
    println!(
        "5000 nodes, {count} observations ({read} read): parsing {:.2} s, adding {:.2} s, \
         inference {:.2} s, {} found; RSS {} MiB before, peak {} MiB",
        parsing.as_secs_f64(),
        both.saturating_sub(parsing).as_secs_f64(),
        inference.as_secs_f64(),
        report.diagnoses.len(),
        before / 1024,
        memory("VmHWM:") / 1024,
    );
}

/// The time that this thread has had of a processor: others that run beside it count for nothing.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux tells it").into()
}

/// A line of /proc/self/status, KiB.
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

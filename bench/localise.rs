//! How well broken components are found in simulated clusters, beside two simpler ways.
//!
//! `cargo bench --bench localise [-- NODES...]`, 100, 1,000 and 5,000 unless stated; a fixed seed.
//! Every agent asks its peers, CoreDNS, istiod and the services of the truth table 12 times; one
//! attempt in 10,000 fails for no reason. Found is a component by its name. Bars: F1 of 0.98 for
//! hard faults and 0.95 for gray ones of 5 % and more at 1,000 nodes; a second and 500 MiB at 5,000;
//! ahead of voting (as 007 does it) and of the greedy set cover everywhere.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod localise {
    pub(crate) mod baseline;
    pub(crate) mod cluster;
    pub(crate) mod faults;
    pub(crate) mod random;
}

use std::collections::BTreeSet;
use std::time::Instant;

use localise::baseline::{set_cover, voting};
use localise::cluster::Cluster;
use localise::faults::{Fault, Kind};
use localise::random::Random;
use meshprobe::diagnosis::{Line, diagnose, lines};
use meshprobe::observation::Observation;
use time::OffsetDateTime;
use time::macros::datetime;

/// When the minute that all agents tell is over.
const END: OffsetDateTime = datetime!(1970-01-01 00:01 UTC);
/// Trials of each kind of fault, or of each number of faults.
const TRIALS: usize = 4;
const COMBINED: usize = 24;

/// How often components were found, missed and accused wrongly.
#[derive(Debug, Default, Clone, Copy)]
struct Score {
    found: u32,
    missed: u32,
    wrong: u32,
}

impl Score {
    fn add(&mut self, truth: &BTreeSet<String>, said: &BTreeSet<String>) {
        self.found += truth.intersection(said).count() as u32;
        self.missed += truth.difference(said).count() as u32;
        self.wrong += said.difference(truth).count() as u32;
    }

    fn precision(self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.wrong).max(1))
    }

    fn recall(self) -> f64 {
        f64::from(self.found) / f64::from((self.found + self.missed).max(1))
    }

    fn f1(self) -> f64 {
        let (precision, recall) = (self.precision(), self.recall());
        2.0 * precision * recall / (precision + recall).max(f64::MIN_POSITIVE)
    }
}

fn main() {
    let stated: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let sizes = if stated.is_empty() { vec![100, 1000, 5000] } else { stated };
    for nodes in sizes {
        let cluster = Cluster::new(nodes);
        println!("{nodes} nodes, {} paths of 12 attempts", cluster.paths.len());
        println!(
            "  {:34} {:>9} {:>7} {:>7}   voting  set cover",
            "faults", "precision", "recall", "F1"
        );
        let large = nodes > 2000;
        let (trials, combined) = if large { (1, 4) } else { (TRIALS, COMBINED) };
        accuracy(&cluster, trials, combined);
        cost(&cluster);
    }
}

fn accuracy(cluster: &Cluster, trials: usize, combined: usize) {
    let mut random = Random(cluster.nodes.len() as u64);
    let groups = [
        ("hard", 1.0, 1.0),
        ("gray 20-50 %", 0.2, 0.5),
        ("gray 5-20 %", 0.05, 0.2),
        ("gray 2-5 %", 0.02, 0.05),
    ];
    for (name, low, high) in groups {
        let mut all = [Score::default(); 3];
        let mut weak: Vec<String> = Vec::new();
        for kind in Kind::ALL {
            let mut score = [Score::default(); 3];
            for _ in 0..trials {
                let fault = Fault::drawn(*kind, cluster, &mut random, (low, high));
                trial(cluster, &[fault], &mut random, &mut score);
            }
            if score[0].f1() < 0.9 {
                weak.push(format!("{} {:.2}", kind.as_str(), score[0].f1()));
            }
            (0..3).for_each(|at| merge(&mut all[at], score[at]));
        }
        line(&format!("single, {name}"), &all);
        if !weak.is_empty() {
            println!("    below 0.9: {}", weak.join(", "));
        }
        for (count, word) in [(2, "double"), (3, "triple")] {
            let mut score = [Score::default(); 3];
            for _ in 0..combined {
                let faults: Vec<Fault> = (0..count)
                    .map(|_| {
                        let kind = Kind::ALL[random.below(Kind::ALL.len())];
                        Fault::drawn(kind, cluster, &mut random, (low, high))
                    })
                    .collect();
                trial(cluster, &faults, &mut random, &mut score);
            }
            line(&format!("{word}, {name}"), &score);
        }
    }
}

fn merge(into: &mut Score, other: Score) {
    into.found += other.found;
    into.missed += other.missed;
    into.wrong += other.wrong;
}

fn line(name: &str, [ours, voted, covered]: &[Score; 3]) {
    println!(
        "  {name:34} {:>9.3} {:>7.3} {:>7.3}   {:>6.3}  {:>9.3}",
        ours.precision(),
        ours.recall(),
        ours.f1(),
        voted.f1(),
        covered.f1()
    );
}

fn trial(cluster: &Cluster, faults: &[Fault], random: &mut Random, score: &mut [Score; 3]) {
    let truth: BTreeSet<String> = faults.iter().map(|fault| fault.component(cluster)).collect();
    let seen = cluster.observe(faults, random);
    let report = diagnose(&cluster.topology, &seen, END);
    let ours = report.diagnoses.iter().map(|diagnosis| diagnosis.component.clone());
    let ours: BTreeSet<String> = ours.filter(|name| !name.starts_with("agent/")).collect();
    if std::env::var_os("WRONG").is_some() && ours != truth {
        println!("    {truth:?}, said {ours:?}: {faults:?}");
    }
    score[0].add(&truth, &ours);
    score[1].add(&truth, &voting(cluster, &seen));
    score[2].add(&truth, &set_cover(cluster, &seen));
}

/// Time and memory of a cluster with three faults.
fn cost(cluster: &Cluster) {
    let mut random = Random(99);
    let kinds = [Kind::ZtunnelDead, Kind::CorednsPod, Kind::NodeUnreachable];
    let faults = kinds.map(|kind| Fault::drawn(kind, cluster, &mut random, (1.0, 1.0)));
    let text: Vec<u8> = {
        let seen: Vec<Observation> = cluster.observe(&faults, &mut random);
        let lines = seen.iter().map(|it| serde_json::to_string(it).expect("it has a form") + "\n");
        lines.collect::<String>().into_bytes()
    };
    let mut times = Vec::new();
    let began = Instant::now();
    let mut seen: Vec<Observation> = Vec::new();
    let read = lines(text.as_slice(), |line| match line {
        Line::Read(observation) => seen.push(*observation),
        Line::Malformed { .. } => unreachable!("made a moment ago"),
    });
    read.expect("in memory");
    let parsing = began.elapsed();
    let mib = text.len() / 1_048_576;
    drop(text);
    for _ in 0..3 {
        let began = Instant::now();
        let report = diagnose(&cluster.topology, &seen, END);
        times.push(began.elapsed());
        assert!(!report.diagnoses.is_empty(), "three faults");
    }
    times.sort_unstable();
    println!(
        "  three hard faults: {:.2} s in the median of 3, {} MiB resident at most; {} observations ({mib} MiB of JSON) parsed in {:.2} s",
        times[1].as_secs_f64(),
        peak_mib(),
        seen.len(),
        parsing.as_secs_f64()
    );
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("it is there");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

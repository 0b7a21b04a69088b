//! What the controller's memory of a fleet takes: two agents a node, 40 paths each, 30 windows of
//! two attempts.
//!
//! `cargo bench --bench evidence [-- NODES]`, 5,000 by default. Prints memory (the process's, as
//! the kernel has it), and the time that a pull and a reading of everything take.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::time::{Duration, Instant};

use meshprobe::digest::Digest;
use meshprobe::evidence::{Evidence, Source, Telling, WINDOWS};
use meshprobe::observation::{Expected, Observation, Verdicts};
use meshprobe::target::{ProbeKind, Vantage, Via};
use time::OffsetDateTime;

const NODES: usize = 5_000;
const PEERS: usize = 10;
const ROWS: [(&str, &str); 4] =
    [("peer", "peer"), ("canary", "peer-strict"), ("plain-peer", "underlay"), ("hbone", "peer")];
const SECONDS: u64 = 10;
const MIB: f64 = (1 << 20) as f64;

fn main() {
    let nodes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(NODES);
    let evidence = Evidence::default();
    let before = resident();
    let began = Instant::now();
    let mut pulls = 0u32;
    for number in 0..WINDOWS {
        for node in 0..nodes {
            for vantage in Vantage::ALL {
                let told = windows(node, nodes, number);
                let source = Source { node: name(node), vantage };
                let telling = Telling { observations: &told, whole: false, as_of: None };
                let heard = evidence.hear(&source, telling, at(number) + SECONDS as i32 * SECOND);
                assert_eq!((heard.kept, heard.refused), (told.len(), 0));
                pulls += 1;
            }
        }
    }
    let (spent, held) = (began.elapsed(), evidence.held());
    println!("agents {}, paths {}, different {}", held.sources, held.paths, held.different);
    println!("windows {:.0} MiB, process {:.0} MiB", held.bytes as f64 / MIB, resident() - before);
    println!("made and heard a window of each path of an agent in {:?}", spent / pulls);
    let began = Instant::now();
    let mut attempts = 0;
    let last = at(WINDOWS - 3);
    evidence.each(last, |_, observation| attempts += observation.attempts);
    println!("read {attempts} attempts of the last windows in {:?}", began.elapsed());
}

const SECOND: time::Duration = time::Duration::SECOND;

/// What one agent of `node` tells of one window.
fn windows(node: usize, nodes: usize, number: u32) -> Vec<Observation> {
    let paths = (1..=PEERS).flat_map(|peer| ROWS.map(|row| (peer, row)));
    let window = |(peer, (row, subject)): (usize, (&str, &str))| {
        let other = name((node + peer * 7) % nodes);
        let mut digest = Digest::default();
        for attempt in 0..2 {
            let micros = 800 + (node * 31 + peer * 17 + number as usize * 7 + attempt) % 900;
            digest.add(Duration::from_micros(micros as u64));
        }
        Observation {
            source_node: String::new(),
            vantage: None,
            probe: ProbeKind::Http,
            target: subject.to_owned(),
            name: Some(format!("{row}/{other}")),
            destination_node: Some(other),
            via: Some(Via::PodIp),
            expect: Expected::Reply,
            window_start: at(number),
            window_seconds: SECONDS,
            attempts: 2,
            verdicts: Verdicts { met: 2, ..Verdicts::default() },
            reasons: std::collections::BTreeMap::new(),
            latency_seconds: None,
            digest: Some(digest),
        }
    };
    paths.map(window).collect()
}

fn name(node: usize) -> String {
    format!("ip-10-{}-{}-{}.eu-central-1.compute.internal", node >> 16, node >> 8 & 255, node & 255)
}

fn at(number: u32) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
        + time::Duration::seconds(1_800_000_000)
        + SECOND * (number * 10) as i32
}

/// Memory of this process, MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}

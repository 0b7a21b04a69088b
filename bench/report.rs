//! What `meshprobe report slo` takes over 30 days, compared with the 30 before, from a real
//! Prometheus that holds what the rules record.
//!
//! `cargo bench --bench report [-- NODES]`, 100 by default: an SLO with a budget for each node, and
//! one of latency for all. Counts are as dense as the rules make them, once a minute; in the 30 days
//! before, which are only summed up by the hour, every 5 minutes. Needs prometheus and promtool of
//! `make tools`, and writes 2 GB below the temporary directory bit by bit. Bar: 5 s.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/real"]
mod real {
    #[path = "report/past.rs"]
    pub(crate) mod past;
    pub(crate) mod support;
}

use std::time::{Duration, Instant};

use meshprobe::cli::{Exit, World, run};

use real::past::{Past, Samples, last_hour, stamp};
use real::support::{temp_dir, write_file};

const NODES: usize = 100;
const BAR: Duration = Duration::from_secs(5);
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Days that are written at once.
const CHUNK: i64 = 3;
const SLOS: &str = "slos:
- { name: peers, objective: 99.9%, window: 30d, sli: availability, group_by: [node] }
- { name: quick, objective: 99%, window: 30d, sli: { latency: { threshold: 250ms } } }
";
const BOUNDS: [&str; 15] = [
    "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.25", "0.5", "1.0", "2.0",
    "5.0", "10.0", "+Inf",
];

/// Numbers without a pattern, always the same ones (splitmix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn main() {
    let nodes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(NODES);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measure(nodes));
}

async fn measure(nodes: usize) {
    let (past, end) = (Past::empty(), last_hour());
    let (began, mut noise, mut count) = (Instant::now(), Noise(1), 0);
    for days in (0..60).step_by(CHUNK as usize) {
        let (from, to) = (end - (60 - days) * DAY, end - (60 - days - CHUNK) * DAY);
        let samples = chunk(nodes, from..to, if days < 30 { 300 } else { 60 }, &mut noise);
        count += samples.len();
        past.remember(samples);
    }
    println!("{nodes} nodes, {count} samples over 60 days written in {:?}", began.elapsed());
    let serving = past.serve(&[]).await;
    let dir = temp_dir();
    let config = write_file(&dir, "config.yaml", SLOS);
    let (mut slowest, to) = (Duration::ZERO, stamp(end));
    for format in ["json", "table", "html"] {
        let url = format!("http://{}", serving.address);
        let config = config.display().to_string();
        let words = ["meshprobe", "report", "slo", "--prometheus", &url, "--config", &config];
        let words = words.into_iter().chain(["--to", &to, "-o", format]).map(Into::into);
        let world = World { arguments: words.collect(), ..World::default() };
        let began = Instant::now();
        let work = move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            (run(world, &mut out, &mut err), out, err)
        };
        let (exit, out, err) = tokio::task::spawn_blocking(work).await.expect("no panic");
        let took = began.elapsed();
        assert_eq!(exit, Exit::Met, "{}", String::from_utf8_lossy(&err));
        println!("report slo -o {format}: {took:?}, {} bytes", out.len());
        slowest = slowest.max(took);
    }
    let word = if slowest <= BAR { "within" } else { "BEYOND" };
    println!("the slowest took {slowest:?}, {word} the bar of {BAR:?}");
}

/// What the rules record in this time, counts every so many seconds.
fn chunk(nodes: usize, times: std::ops::Range<i64>, every: usize, noise: &mut Noise) -> Samples {
    let mut samples = Samples::default();
    for (slo, groups, allowed) in [("peers", nodes, 0.0004), ("quick", 1, 0.004)] {
        for group in 0..groups {
            let of = match slo {
                "peers" => format!("slo=\"{slo}\",node=\"node-{group:04}\""),
                _ => format!("slo=\"{slo}\""),
            };
            for at in times.clone().step_by(every) {
                for (name, most) in [("bad", allowed), ("total", 1.0), ("inconclusive", 0.01)] {
                    let value = 3600.0 * most * (0.9 + 0.1 * noise.next());
                    samples.add(&format!("meshprobe:slo_{name}:increase1h{{{of}}}"), value, at);
                }
            }
            for at in times.clone().step_by(HOUR as usize) {
                latencies(&mut samples, &of, at + 1234, noise);
            }
        }
        for at in times.clone().step_by(300) {
            samples.add(&format!("meshprobe:slo_objective:ratio{{slo=\"{slo}\"}}"), 0.99, at);
        }
        for node in 0..nodes {
            let zone = node % 3;
            let of = format!("{{slo=\"{slo}\",node=\"node-{node:04}\",zone=\"z{zone}\"}}");
            for at in times.clone().step_by(HOUR as usize) {
                for (name, most) in [("bad", allowed), ("total", 1.0), ("inconclusive", 0.01)] {
                    let value = 3600.0 * most * (0.9 + 0.1 * noise.next());
                    let series = format!("meshprobe:slo_node_{name}:increase1h{of}");
                    samples.add(&series, value, at + 2345);
                }
            }
        }
    }
    samples
}

fn latencies(samples: &mut Samples, of: &str, at: i64, noise: &mut Noise) {
    for connection in ["cold", "warm"] {
        let mut count = 0.0;
        for le in BOUNDS {
            count += 500.0 * noise.next();
            let labels = format!("{of},connection=\"{connection}\",le=\"{le}\"");
            let name = "meshprobe:slo_duration_seconds_bucket:increase1h";
            samples.add(&format!("{name}{{{labels}}}"), count, at);
        }
    }
    for phase in ["resolve", "connect", "tls", "processing", "transfer"] {
        for (part, most) in [("sum", 36.0), ("count", 3600.0)] {
            let name = format!("meshprobe:slo_phase_duration_seconds_{part}:increase1h");
            samples.add(&format!("{name}{{{of},phase=\"{phase}\"}}"), most * noise.next(), at);
        }
    }
}

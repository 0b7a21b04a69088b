//! `meshprobe report slo` against a real Prometheus whose past was written by the test.

mod counters;
mod doubts;
pub(crate) mod past;
pub(crate) mod recorded;

use std::net::SocketAddr;

use meshprobe::cli::{Exit, World, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::real::support::write_file;

/// How a report ended, and what it wrote.
pub(crate) struct Told {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.err))
    }

    /// The report of the first SLO.
    pub(crate) fn slo(&self) -> Value {
        self.json()["slos"][0].clone()
    }
}

/// Whether some note of `report` holds `text`.
pub(crate) fn is_noted(report: &Value, text: &str) -> bool {
    let notes = report["notes"].as_array().expect("notes");
    notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains(text)))
}

/// Runs `meshprobe report slo` on a Prometheus at `address` for `slos`.
pub(crate) async fn report(address: SocketAddr, slos: &str, flags: &[&str]) -> Told {
    let dir = crate::real::support::temp_dir();
    report_in(&dir, address, slos, flags).await
}

async fn report_in(dir: &TempDir, address: SocketAddr, slos: &str, flags: &[&str]) -> Told {
    let config = write_file(dir, "config.yaml", slos);
    let url = format!("http://{address}");
    let config = config.to_str().expect("UTF-8");
    let all = ["meshprobe", "report", "slo", "--prometheus", &url, "--config", config];
    let arguments = all.iter().chain(flags).map(Into::into).collect();
    let world = World { arguments, ..World::default() };
    let work = move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(world, &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Told { exit, out: text(out), err: text(err) }
    };
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

//! A Prometheus that remembers what a test wrote.
#![allow(dead_code, reason = "the benchmark needs less of it")]

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::real::support::{Daemon, fetch, free_port, temp_dir, tool, write_file};

/// Samples on their way into a Prometheus.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    text: String,
    count: usize,
}

impl Samples {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, series: &str, value: f64, at: i64) {
        self.count += 1;
        writeln!(self.text, "{series} {value:?} {at}").expect("a string takes it");
    }
}

/// What a Prometheus remembers.
pub(crate) struct Past {
    dir: TempDir,
}

impl Past {
    pub(crate) fn of(samples: Samples) -> Self {
        let past = Self::empty();
        past.remember(samples);
        past
    }

    pub(crate) fn empty() -> Self {
        Self { dir: temp_dir() }
    }

    /// Takes in what is of another time than all before.
    pub(crate) fn remember(&self, samples: Samples) {
        let file = write_file(&self.dir, "past.om", samples.text + "# EOF\n");
        let mut command = Command::new(tool("promtool"));
        command.args(["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=162h"]);
        self.run(command.arg(&file).arg(self.data()));
        std::fs::remove_file(file).expect("it is ours");
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run(&self, command: &mut Command) {
        let output = command.output().expect("promtool runs");
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
    }

    /// Evaluates the rules of `file` as they would have been from `start` to `end`; `times` is how
    /// deep rules build upon each other.
    pub(crate) async fn evaluate(&self, file: &str, (start, end): (i64, i64), times: u32) {
        let rules = write_file(&self.dir, "rules.yaml", file);
        for _ in 0..times {
            let serving = self.serve(&[]).await;
            let mut command = Command::new(tool("promtool"));
            command.args(["tsdb", "create-blocks-from", "rules"]);
            command.arg(format!("--start={start}")).arg(format!("--end={end}"));
            command.arg(format!("--url=http://{}", serving.address));
            command.arg(format!("--output-dir={}", self.data().display()));
            self.run(command.arg(&rules));
        }
    }

    /// A Prometheus that tells of it, with these flags.
    pub(crate) async fn serve(&self, flags: &[String]) -> Serving {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = write_file(&self.dir, "prometheus.yml", "scrape_configs: []\n");
        let mut command = Command::new(tool("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", self.data().display()));
        command.arg("--storage.tsdb.retention.time=10y");
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--log.level=warn").args(flags);
        let daemon = Daemon::start_when(command, || async move {
            // One that wants a password is ready as well.
            fetch(address, "/-/ready").await.is_some_and(|(status, _)| [200, 401].contains(&status))
        })
        .await;
        Serving { address, daemon }
    }
}

/// A running Prometheus, and what it remembers.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) daemon: Daemon,
}

/// An instant, unix seconds, by RFC 3339.
pub(crate) fn stamp(at: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at).expect("in range");
    at.format(&Rfc3339).expect("in range")
}

/// The last whole hour that is over, unix seconds.
pub(crate) fn last_hour() -> i64 {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    now - now.rem_euclid(3600)
}

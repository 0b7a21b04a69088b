//! Dashboards for Grafana: what stands on them, once, and the JSON that Grafana reads.
//!
//! Each is described in a few lines a panel; queries read recorded series where there are some.
//! Knows nothing of a running Grafana or Prometheus.

mod board;
mod certificates;
mod control_plane;
mod json;
mod meshprobe;
mod overview;
mod panel;
mod paths;
mod slo;

#[cfg(test)]
mod tests;

use board::Board;

/// A dashboard, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dashboard {
    /// Its `uid` in Grafana, and the name of its file without `.json`.
    pub uid: &'static str,
    /// JSON, as Grafana imports it and its sidecar provisions it.
    pub json: String,
}

/// All dashboards; links to runbooks lead to `runbooks`, a folder or the start of a URL.
pub fn dashboards(runbooks: &str) -> Vec<Dashboard> {
    let runbooks = runbooks.trim_end_matches('/');
    let dashboard = |board: Board| Dashboard { uid: board.uid, json: json::text(&board, runbooks) };
    boards().into_iter().map(dashboard).collect()
}

fn boards() -> Vec<Board> {
    vec![
        overview::board(),
        paths::board(),
        control_plane::board(),
        certificates::board(),
        slo::board(),
        meshprobe::board(),
    ]
}

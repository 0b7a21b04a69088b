//! What became of the SLOs in the last minutes: `/v1/slo`.

use std::time::Duration;

use time::OffsetDateTime;

use crate::analysis::Pace;
use crate::cluster::Agent;
use crate::controller::Shared;
use crate::evidence::{Silence, Source};
use crate::report::{Incident, Report, Tally};

/// How long ago a window may have ended.
const REMEMBERED: time::Duration = time::Duration::hours(1);
/// An agent of which nothing was told for so long is silent: windows are told by the minute.
const SILENT: Duration = Pace::BY_MINUTES.silent;

impl Shared {
    /// A report on the windows that agents told.
    pub(super) fn promises(&self) -> Report {
        let now = OffsetDateTime::now_utc();
        let snapshot = self.snapshots.borrow().clone();
        let mut tally = Tally::of(&self.slos);
        self.evidence.each(now - REMEMBERED, |source, observation| {
            let node = snapshot.cluster.nodes.get(&source.node);
            tally.hear(&observation, node.and_then(|node| node.zone.as_deref()));
        });
        let agents = &snapshot.cluster.agents;
        let source =
            |agent: &Agent| Source { node: agent.pod.node.clone(), vantage: agent.vantage };
        let silent = self.evidence.silent(agents.iter().map(source), SILENT, now);
        for Silence { source: Source { node, vantage }, .. } in silent {
            let zone = snapshot.cluster.nodes.get(&node).and_then(|node| node.zone.as_deref());
            tally.silent(vantage, &node, zone);
        }
        let told = self.analysis.latest();
        let incidents: Vec<Incident> =
            told.open.iter().chain(&told.closed).map(Incident::from).collect();
        tally.report(now, "a controller, which remembers the last minutes".to_owned(), &incidents)
    }
}

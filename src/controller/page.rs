//! What the page of a controller is made from: its memory, its diagnosis, its gate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::controller::Shared;
use crate::evidence::Source as AgentPlace;
use crate::gate::answer::Ask;
use crate::gate::{Report, Scope};
use crate::observation::Observation;
use crate::page::{Known, MOST_WINDOWS, Node, Past, Paths, Source, Whose};
use crate::target::Vantage;

/// The API server is heard of once in 100 seconds at the least.
const STALE: Duration = Duration::from_secs(120);

/// A controller as its page sees it.
#[derive(Debug, Clone)]
pub(super) struct Told(pub(super) Arc<Shared>);

impl Source for Told {
    async fn known(&self) -> Known {
        let shared = Arc::clone(&self.0);
        // Of a large fleet it is much work: nobody else is to wait for it.
        let known = tokio::task::spawn_blocking(move || shared.known()).await;
        known.unwrap_or_else(|error| {
            Known::blind(&format!("the page failed: {error}"), OffsetDateTime::now_utc())
        })
    }

    async fn past(&self, _at: OffsetDateTime) -> Result<Past, String> {
        Err("This controller remembers a few minutes only, and has no Prometheus to ask."
            .to_owned())
    }

    async fn gate(&self, scope: Scope) -> Result<Report, String> {
        let settings = self.0.gate.settings();
        self.0.report(Ask { scope, settings }).await.map(|report| Report::clone(&report))
    }

    async fn windows(&self, whose: Whose) -> Vec<Observation> {
        let shared = Arc::clone(&self.0);
        let windows = tokio::task::spawn_blocking(move || shared.windows(&whose)).await;
        windows.unwrap_or_default()
    }
}

impl Shared {
    fn known(&self) -> Known {
        let snapshot = self.snapshots.borrow().clone();
        let (concluded_at, diagnoses) = self.analysis.concluded();
        let cluster = &snapshot.cluster;
        let at = OffsetDateTime::now_utc();
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for (name, node) in &cluster.nodes {
            let known =
                Node { zone: node.zone.clone(), ready: Some(node.ready), agents: Vec::new() };
            nodes.insert(name.clone(), known);
        }
        for agent in &cluster.agents {
            let node = nodes.entry(agent.pod.node.clone()).or_default();
            node.agents.push(self.standing(agent));
        }
        let blind = (!snapshot.synced).then(|| "the cluster was not read yet".to_owned());
        Known {
            blind,
            concluded: concluded_at.map(|at| (at, diagnoses.report.clone())),
            open: diagnoses.open.clone(),
            closed: diagnoses.closed.clone(),
            namespaces: cluster.namespaces.keys().cloned().collect(),
            paths: Paths::of(&self.evidence, &nodes, at),
            caveats: self.caveats(),
            nodes,
            ..Known::blind("", at)
        }
    }

    /// Why what is shown may not be all.
    fn caveats(&self) -> Vec<String> {
        let silent = self.watches.oldest_contact().map(|at| at.elapsed());
        let stale = silent.filter(|silent| *silent > STALE).map(|silent| {
            let seconds = silent.as_secs();
            format!("The API server was not heard of for {seconds} s: nodes and policies are as they were.")
        });
        let planned = self.planned.borrow().clone();
        let unprobed = planned.map_or(0, |planned| planned.unknown().len());
        let unprobed = (unprobed > 0).then(|| {
            format!(
                "Not probed, for nobody could say what must come back: {unprobed}; meshprobe check \
                 names each."
            )
        });
        stale.into_iter().chain(unprobed).collect()
    }

    fn windows(&self, whose: &Whose) -> Vec<Observation> {
        match whose {
            Whose::Node(node) => {
                let place = |vantage| AgentPlace { node: node.clone(), vantage };
                let both = Vantage::ALL.map(place);
                both.iter().flat_map(|it| self.evidence.lately(it, None, MOST_WINDOWS)).collect()
            }
            Whose::Target { vantage, name } => {
                let places = self.evidence.sources();
                let asking = places.iter().filter(|place| place.vantage == *vantage);
                let windows =
                    asking.flat_map(|it| self.evidence.lately(it, Some(name), MOST_WINDOWS));
                windows.collect()
            }
        }
    }
}

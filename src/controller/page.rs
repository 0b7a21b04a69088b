//! What the page of a controller is made from: its memory, its diagnosis, its gate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::cluster::Cluster;
use crate::controller::Shared;
use crate::controller::analyse::described;
use crate::evidence::Source as Place;
use crate::gate::answer::Ask;
use crate::gate::{Report, Scope};
use crate::observation::Observation;
use crate::page::{Known, MOST_WINDOWS, Node, Past, Paths, Source, Whose, past};
use crate::promql::Prometheus;
use crate::target::Vantage;

/// The API server is heard of once in 100 seconds at the least.
const STALE: Duration = Duration::from_secs(120);

/// A controller as its page sees it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) shared: Arc<Shared>,
    /// Where instants that are over are asked for.
    pub(super) prometheus: Option<Prometheus>,
}

/// Why there is no instant that is over.
const NO_PROMETHEUS: &str = "This controller remembers a few minutes only, and no Prometheus is \
                             configured that it could ask: write prometheus.url.";

/// Why there is none before it is known who is to be heard.
const NOT_READ: &str = "The controller has not read the cluster yet, so it does not know whom it \
                        should hear of.";

impl Source for Told {
    async fn known(&self) -> Known {
        let shared = Arc::clone(&self.shared);
        // Of a large fleet it is much work: nobody else is to wait for it.
        let known = tokio::task::spawn_blocking(move || shared.known()).await;
        known.unwrap_or_else(|error| {
            Known::blind(&format!("the page failed: {error}"), OffsetDateTime::now_utc())
        })
    }

    async fn past(&self, at: OffsetDateTime) -> Result<Past, String> {
        let prometheus = self.prometheus.as_ref().ok_or(NO_PROMETHEUS)?;
        let snapshot = self.shared.snapshots.borrow().clone();
        if !snapshot.synced {
            return Err(NOT_READ.to_owned());
        }
        let topology = described(&snapshot.cluster);
        let nodes = self.shared.standings(&snapshot.cluster);
        past(prometheus, topology, nodes, at, OffsetDateTime::now_utc()).await
    }

    async fn gate(&self, scope: Scope) -> Result<Report, String> {
        let ask = Ask { scope, settings: self.shared.gate.settings() };
        if let Some(report) = self.shared.gate.recent(&ask) {
            // Whoever looks next sees a newer one; of a large fleet it takes a second.
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.report(ask).await });
            return Ok(Report::clone(&report));
        }
        self.shared.report(ask).await.map(|report| Report::clone(&report))
    }

    async fn windows(&self, whose: Whose) -> Vec<Observation> {
        let shared = Arc::clone(&self.shared);
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
        let nodes = self.standings(cluster);
        let blind = (!snapshot.synced).then(|| "the cluster was not read yet".to_owned());
        Known {
            blind,
            concluded: concluded_at.map(|at| (at, diagnoses.report.clone())),
            slow: diagnoses.slow.clone(),
            open: diagnoses.open.clone(),
            closed: diagnoses.closed.clone(),
            namespaces: cluster.namespaces.keys().cloned().collect(),
            paths: Paths::of(&self.evidence, &nodes, at),
            caveats: self.caveats(),
            nodes,
            ..Known::blind("", at)
        }
    }

    /// Every node of `cluster`, and how its agents are linked.
    fn standings(&self, cluster: &Cluster) -> BTreeMap<String, Node> {
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
        nodes
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
                let place = |vantage| Place { node: node.clone(), vantage };
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

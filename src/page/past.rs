//! The page of an instant that is over: what a Prometheus holds of the minute before it, diagnosed
//! as if it were now.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::diagnosis::{Topology, diagnose};
use crate::evidence::Newest;
use crate::gate::Standing;
use crate::observation::Observation;
use crate::page::known::{Known, Node, Past};
use crate::page::paths::Paths;
use crate::promql::{Prometheus, Seen};
use crate::target::Vantage;

const TO_COME: &str = "That instant is to come.";
const EMPTY: &str = "Prometheus holds no attempts of the minute before that instant: it may be \
                     longer ago than it remembers, or the recording rules were not there.";
const NOT_THEN: &str = "Nodes, zones and agents are those of now. Counts are those of recording \
                        rules, of the minute before.";
const NO_INCIDENTS: &str = "What was an incident then is not known: Prometheus holds none. What was \
                            broken is in the first line.";

/// What `prometheus` tells of the minute before `at` in the cluster of `topology` and `nodes` with
/// their agents, as they are `now`; or why it tells nothing. Takes one question for each 50 nodes and rule.
pub async fn past(
    prometheus: &Prometheus,
    topology: Topology,
    nodes: BTreeMap<String, Node>,
    at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Past, String> {
    if at > now {
        return Err(TO_COME.to_owned());
    }
    let seen = prometheus.observations(at).await;
    let seen = seen.map_err(|error| format!("Prometheus does not tell: {error}"))?;
    if seen.observations.is_empty() {
        return Err(EMPTY.to_owned());
    }
    let work = move || diagnosed(seen, &topology, nodes, at);
    // Of a large fleet it is much work: nobody else is to wait for it.
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("it failed: {error}"))
}

fn diagnosed(
    seen: Seen,
    topology: &Topology,
    mut nodes: BTreeMap<String, Node>,
    at: OffsetDateTime,
) -> Past {
    let Seen { observations, warnings, unread } = seen;
    let report = diagnose(topology, &observations, at);
    let told: BTreeSet<(&str, Vantage)> = observations.iter().filter_map(source).collect();
    for (name, node) in &mut nodes {
        node.ready = None;
        // Those who are there now, and those who told something then.
        let there: BTreeSet<Vantage> = node.agents.iter().map(|agent| agent.vantage).collect();
        let sides = Vantage::ALL.map(|it| (it, told.contains(&(name.as_str(), it))));
        let sides = sides.into_iter().filter(|(side, told)| *told || there.contains(side));
        let agent = |(vantage, linked)| Standing { node: name.clone(), vantage, linked, age: None };
        node.agents = sides.map(agent).collect();
    }
    let mut paths = Paths::default();
    for observation in &observations {
        if let Some(source) = source(observation) {
            paths.add(source, &Newest::of(observation), true, at);
        }
    }
    let unread = (unread > 0).then(|| format!("{unread} series could not be read."));
    let warnings = warnings.into_iter().map(|warning| format!("Prometheus warns: {warning}"));
    Past {
        known: Known {
            blind: None,
            concluded: Some((at, report)),
            unremembered: Some(NO_INCIDENTS.to_owned()),
            nodes,
            paths,
            caveats: [NOT_THEN.to_owned()].into_iter().chain(unread).chain(warnings).collect(),
            ..Known::blind("", at)
        },
        windows: observations,
    }
}

fn source(observation: &Observation) -> Option<(&str, Vantage)> {
    Some((&observation.source_node, observation.vantage?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Expected, Verdicts};
    use crate::page::state::State;
    use crate::page::verdict::{Headline, Tone};
    use crate::target::ProbeKind;

    const THEN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn minute(node: &str, to: &str, violated: u64) -> Observation {
        Observation {
            source_node: node.to_owned(),
            vantage: Some(Vantage::Ambient),
            probe: ProbeKind::Http,
            target: "peer".to_owned(),
            name: Some(format!("peer/{to}")),
            destination_node: Some(to.to_owned()),
            via: None,
            expect: Expected::Reply,
            window_start: THEN - time::Duration::MINUTE,
            window_seconds: 60,
            attempts: 12,
            verdicts: Verdicts { met: 12 - violated, violated, inconclusive: 0 },
            reasons: BTreeMap::new(),
            latency_seconds: None,
            digest: None,
        }
    }

    fn told(observations: Vec<Observation>, unread: usize) -> Past {
        let agent = |name: &str, vantage| Standing {
            node: name.to_owned(),
            vantage,
            linked: true,
            age: Some(std::time::Duration::ZERO),
        };
        let nodes = ["a", "b"].map(|name| {
            let agents = Vantage::ALL.map(|vantage| agent(name, vantage)).into();
            (name.to_owned(), Node { agents, ..Node::default() })
        });
        let seen = Seen { observations, warnings: Vec::new(), unread };
        diagnosed(seen, &Topology::default(), nodes.into(), THEN)
    }

    #[test]
    fn what_was_broken_is_told_as_of_then() {
        let Past { known, windows } = told(vec![minute("a", "b", 12), minute("b", "a", 0)], 0);
        let headline = Headline::of(&known);
        assert_eq!((headline.tone, windows.len()), (Tone::Broken, 2), "{headline:?}");
        let counts = known.paths.counts();
        assert_eq!((counts.count(State::Violated), counts.count(State::Met)), (1, 1));
    }

    #[test]
    fn a_node_without_agents_lacks_none() {
        let nodes = ["a", "b"].map(|name| (name.to_owned(), Node::default()));
        let seen =
            Seen { observations: vec![minute("a", "b", 0)], warnings: Vec::new(), unread: 0 };
        let Past { known, .. } = diagnosed(seen, &Topology::default(), nodes.into(), THEN);
        assert_eq!((known.nodes["a"].agents.len(), known.nodes["b"].agents.len()), (1, 0));
        assert_eq!(Headline::of(&known).tone, Tone::Healthy);
    }

    #[test]
    fn who_told_nothing_then_was_not_heard_and_what_is_missing_is_said() {
        let Past { known, .. } = told(vec![minute("a", "b", 0)], 3);
        let heard: Vec<bool> = known.nodes["a"].agents.iter().map(|agent| agent.linked).collect();
        assert_eq!(heard, [true, false], "the plain agent told nothing");
        assert!(known.nodes["b"].agents.iter().all(|agent| !agent.linked));
        assert!(known.caveats.iter().any(|it| it.contains("3 series")), "{:?}", known.caveats);
    }
}

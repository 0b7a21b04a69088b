//! The lab as diagnosis sees it, its topology and each attempt as an observation; and as a page
//! shows it.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::analysis::Diagnoses;
use crate::attempt::Attempt;
use crate::diagnosis::{self, Agent, Endpoint, Pod, Service, Topology};
use crate::evidence::Newest;
use crate::expectation::Expectation;
use crate::lab::blame::replica_name;
use crate::lab::cell::{Cell, From, Node as LabNode};
use crate::lab::diagnosing::Diagnosing;
use crate::lab::fault::REPLICAS;
use crate::lab::gate::Seen;
use crate::lab::mesh::Mesh;
use crate::lab::plan::destination;
use crate::lab::signature::Layout;
use crate::observation::{Expected, Observation, Verdicts};
use crate::page::{Known, Node, Paths};
use crate::target::Vantage;

/// The topology of a lab of `nodes` nodes.
pub(super) fn topology(nodes: u16, layout: &Layout) -> Topology {
    let service = |namespace: &str, name: &str, node: LabNode| Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ambient: true,
        mode: None,
        endpoints: vec![Endpoint { node: Some(node.to_string()) }],
    };
    let all = || (1..=nodes).map(LabNode);
    let agent =
        |node: LabNode| Vantage::ALL.map(|vantage| Agent { node: node.to_string(), vantage });
    Topology {
        nodes: all().map(|node| diagnosis::Node { name: node.to_string(), zone: None }).collect(),
        coredns: (1..=REPLICAS).map(|n| Pod { pod: replica_name(n), node: None }).collect(),
        istiod: Vec::new(),
        services: vec![
            service("default", "mirai-frontend", layout.frontend),
            service("monitoring", "prometheus", layout.monitoring),
        ],
        agents: all().flat_map(agent).collect(),
    }
}

/// What a page is made from.
pub(super) fn known(mesh: &Mesh, diagnosing: &Diagnosing, seen: &Seen) -> Known {
    let at = OffsetDateTime::now_utc();
    let Diagnoses { slow, open, closed, .. } = diagnosing.diagnoses();
    let (mut nodes, mut paths) = (BTreeMap::new(), Paths::default());
    for node in mesh.built().nodes() {
        let name = node.to_string();
        let agents = Vantage::ALL.map(|vantage| seen.standing(&name, vantage, at));
        nodes.insert(name, Node { zone: None, ready: None, agents: agents.into() });
    }
    for (cell, last) in seen.last() {
        let vantage = cell.row.from().vantage();
        let agent = nodes.get(&last.source_node).map(|node| &node.agents[vantage as usize]);
        let heard = agent.is_some_and(|agent| agent.linked);
        paths.add((&last.source_node, vantage), &Newest::of(&last), heard, at);
    }
    let namespaces = mesh.built().world.pods.iter().map(|pod| pod.namespace.clone());
    let namespaces: BTreeSet<String> = namespaces.collect();
    Known {
        blind: None,
        concluded: diagnosing.concluded(),
        slow,
        open,
        closed,
        nodes,
        namespaces: namespaces.into_iter().collect(),
        paths,
        ..Known::blind("", at)
    }
}

/// `attempt` of the target of `cell` as an observation of its own.
pub(super) fn observation(cell: &Cell, attempt: &Attempt, layout: &Layout) -> Observation {
    let mut verdicts = Verdicts::default();
    verdicts.add(attempt.verdict);
    let reason = attempt.failure.as_ref().map(|failure| (failure.reason, 1));
    // The tunnel daemon is no agent: the paths of two callers must not be one.
    let name = match cell.row.from() {
        From::Ingress => format!("ingress/{}", cell.target_name()),
        From::Ambient | From::Plain => cell.target_name(),
    };
    Observation {
        source_node: cell.from.to_string(),
        vantage: Some(cell.row.from().vantage()),
        probe: attempt.probe,
        target: cell.subject(),
        name: Some(name),
        destination_node: destination(cell, layout).map(|node| node.to_string()),
        via: attempt.via,
        expect: match attempt.expect {
            Expectation::Denied => Expected::Denied,
            Expectation::Reply | Expectation::Status(_) | Expectation::Connect => Expected::Reply,
        },
        window_start: attempt.started_at.into(),
        window_seconds: 0,
        attempts: 1,
        verdicts,
        reasons: reason.into_iter().collect::<BTreeMap<_, _>>(),
        latency_seconds: None,
        digest: None,
    }
}

//! Our own agents: starved ones say so in their attempts, silent ones by saying nothing.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::diagnosis::{Diagnosis, Topology};
use crate::failure::Reason;
use crate::observation::Observation;
use crate::target::Vantage;

/// Attempts of an agent that say whether it is starved.
const ENOUGH: u64 = 3;
/// Silent agents that are named; more of them are a fault of their rollout or of who asks.
const MOST_SILENT: usize = 20;

type Seat<'a> = (&'a str, Vantage);

#[derive(Debug, Default)]
struct Told {
    attempts: u64,
    spoiled: u64,
    since: Option<OffsetDateTime>,
}

/// Adds what is wrong with agents to `diagnoses`, after all that is wrong with the mesh.
pub(super) fn accuse(
    topology: &Topology,
    observations: &[Observation],
    diagnoses: &mut Vec<Diagnosis>,
) {
    let mut seats: BTreeMap<Seat<'_>, Told> = BTreeMap::new();
    for observation in observations {
        let Some(vantage) = observation.vantage else { continue };
        let told = seats.entry((&observation.source_node, vantage)).or_default();
        told.attempts += observation.attempts;
        let ours = [Reason::ScheduleLag, Reason::LocalResource];
        let spoiled: u64 = ours.iter().filter_map(|it| observation.reasons.get(it)).sum();
        let spoiled = spoiled.min(observation.verdicts.inconclusive);
        told.spoiled += spoiled;
        if spoiled > 0 {
            let start = observation.window_start;
            told.since = Some(told.since.map_or(start, |since| since.min(start)));
        }
    }
    for ((node, vantage), told) in &seats {
        if told.attempts >= ENOUGH && told.spoiled * 2 > told.attempts {
            diagnoses.push(starved(node, *vantage, told));
        }
    }
    let unreachable: BTreeSet<&str> = diagnoses
        .iter()
        .filter_map(|diagnosis| diagnosis.component.strip_prefix("node/"))
        .collect();
    let silent = silent(topology, &seats);
    let silent: Vec<Seat<'_>> =
        silent.into_iter().filter(|(node, _)| !unreachable.contains(node)).collect();
    let ends = observations.iter().map(|it| it.window_start);
    if let (Some(since), 1..=MOST_SILENT) = (ends.min(), silent.len()) {
        let all = silent.into_iter().map(|(node, vantage)| quiet(node, vantage, since));
        let all: Vec<Diagnosis> = all.collect();
        diagnoses.extend(all);
    }
}

/// Agents of a vantage that most nodes tell of.
fn silent<'a>(topology: &'a Topology, seats: &BTreeMap<Seat<'_>, Told>) -> Vec<Seat<'a>> {
    let mut silent = Vec::new();
    for vantage in Vantage::ALL {
        let quiet = topology
            .nodes
            .iter()
            .filter(|node| !seats.contains_key(&(node.name.as_str(), vantage)));
        let quiet: Vec<Seat<'a>> = quiet.map(|node| (node.name.as_str(), vantage)).collect();
        if quiet.len() * 2 < topology.nodes.len() {
            silent.extend(quiet);
        }
    }
    silent
}

fn starved(node: &str, vantage: Vantage, told: &Told) -> Diagnosis {
    let Told { attempts, spoiled, .. } = told;
    Diagnosis {
        component: format!("agent/{node}/{vantage}"),
        fault: "starved".to_owned(),
        since: told.since.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        confidence: *spoiled as f64 / *attempts as f64,
        rate: None,
        evidence: vec![format!(
            "{spoiled} of its {attempts} attempts were spoiled by its own machine: they say \
             nothing of the mesh"
        )],
        alternatives: Vec::new(),
        next: format!(
            "kubectl -n meshprobe-{vantage} top pods --field-selector spec.nodeName={node}; \
             raise its CPU limit"
        ),
    }
}

fn quiet(node: &str, vantage: Vantage, since: OffsetDateTime) -> Diagnosis {
    Diagnosis {
        component: format!("agent/{node}/{vantage}"),
        fault: "silent".to_owned(),
        since,
        confidence: 1.0,
        rate: None,
        evidence: vec![
            "it told nothing, while most agents of its side did: its node is seen by others only"
                .to_owned(),
        ],
        alternatives: Vec::new(),
        next: format!(
            "kubectl -n meshprobe-{vantage} get pods -o wide --field-selector \
             spec.nodeName={node}"
        ),
    }
}

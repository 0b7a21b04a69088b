//! What is told, from the first failure to the end of an incident.

use std::collections::BTreeMap;

use time::macros::datetime;

use super::*;
use crate::diagnosis::{Agent, Node};
use crate::failure::Reason;
use crate::observation::{Expected, Latency, Verdicts};
use crate::target::{ProbeKind, Via};

const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);
const NODES: u32 = 4;

fn at(second: i64) -> OffsetDateTime {
    START + time::Duration::seconds(second)
}

fn topology() -> Topology {
    let name = |n| format!("node-{n}");
    let agent = |n| Vantage::ALL.map(|vantage| Agent { node: name(n), vantage });
    Topology {
        nodes: (1..=NODES).map(|n| Node { name: name(n), zone: None }).collect(),
        agents: (1..=NODES).flat_map(agent).collect(),
        ..Topology::default()
    }
}

fn attempt(
    (source, vantage): (u32, Vantage),
    (target, to): (&str, u32),
    second: i64,
    failure: Option<Reason>,
) -> Observation {
    let mut verdicts = Verdicts::default();
    let mut reasons = BTreeMap::new();
    match failure {
        None => verdicts.met = 1,
        Some(reason) => {
            verdicts.violated = 1;
            reasons.insert(reason, 1);
        }
    }
    Observation {
        source_node: format!("node-{source}"),
        vantage: Some(vantage),
        probe: ProbeKind::Http,
        target: target.to_owned(),
        name: Some(format!("{target}/node-{to}")),
        destination_node: Some(format!("node-{to}")),
        via: Some(Via::PodIp),
        expect: Expected::Reply,
        window_start: at(second),
        window_seconds: 0,
        attempts: 1,
        verdicts,
        reasons,
        latency_seconds: None,
        digest: None,
    }
}

/// Every path once, at `second`; with a ztunnel that is `dead`.
fn round(analyst: &mut Analyst, second: i64, dead: Option<u32>) {
    for source in 1..=NODES {
        for vantage in Vantage::ALL {
            for to in (1..=NODES).filter(|to| *to != source) {
                for target in ["peer", "underlay"] {
                    let ambient = vantage == Vantage::Ambient;
                    let failure = match (dead, target, ambient) {
                        (Some(dead), _, true) if dead == source => Some(Reason::Refused),
                        (Some(dead), "peer", true) if dead == to => Some(Reason::Reset),
                        (Some(dead), "peer", false) if dead == to => Some(Reason::Refused),
                        _ => None,
                    };
                    let told = attempt((source, vantage), (target, to), second, failure);
                    analyst.hear([&told], at(second));
                }
            }
        }
    }
}

fn named(conclusion: &Conclusion) -> Vec<String> {
    let all = conclusion.report.diagnoses.iter();
    all.map(|it| format!("{} {}", it.component, it.fault)).collect()
}

#[test]
fn a_fault_is_named_after_three_rounds_and_its_incident_ends_when_it_does() {
    let (mut analyst, topology) = (Analyst::new(START, Pace::ASKED), topology());
    for second in (0..60).step_by(5) {
        round(&mut analyst, second, None);
        assert_eq!(named(&analyst.conclude(&topology, at(second + 1))), [""; 0]);
    }
    let mut changes = Vec::new();
    for second in [60, 65, 70] {
        round(&mut analyst, second, Some(2));
        changes.extend(analyst.conclude(&topology, at(second + 1)).changes);
    }
    let now = analyst.conclude(&topology, at(72));
    changes.extend(now.changes.clone());
    assert_eq!(named(&now), ["ztunnel/node-2 dead"]);
    let [Change::Opened(incident)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((incident.component.as_str(), incident.since), ("ztunnel/node-2", at(60)));
    let mut over = Vec::new();
    for second in (75..150).step_by(5) {
        round(&mut analyst, second, None);
        over.extend(analyst.conclude(&topology, at(second + 1)).changes);
    }
    assert!(matches!(over.as_slice(), [Change::Closed(_)]), "{over:?}");
    assert_eq!((analyst.open().len(), analyst.closed().len()), (0, 1));
}

#[test]
fn a_stray_failure_accuses_nobody() {
    let (mut analyst, topology) = (Analyst::new(START, Pace::ASKED), topology());
    for second in (0..60).step_by(5) {
        round(&mut analyst, second, None);
    }
    for second in [61, 62] {
        let seat = (1, Vantage::Plain);
        let stray = attempt(seat, ("peer", 2), second, Some(Reason::Timeout));
        analyst.hear([&stray], at(second));
    }
    let now = analyst.conclude(&topology, at(63));
    assert_eq!((named(&now), now.report.broken_paths), (Vec::<String>::new(), 0));
}

#[test]
fn an_agent_is_silent_when_it_was_not_heard_and_not_when_it_was_not_asked() {
    let (mut analyst, topology) = (Analyst::new(START, Pace::ASKED), topology());
    round(&mut analyst, 0, None);
    for second in (5..80).step_by(5) {
        for source in 1..NODES {
            for vantage in Vantage::ALL {
                let told = attempt((source, vantage), ("underlay", NODES), second, None);
                analyst.hear([&told], at(second));
            }
        }
        let silent = named(&analyst.conclude(&topology, at(second + 1)));
        assert!(silent.is_empty() || second + 1 >= 45, "{second}: {silent:?}");
        assert!(silent.iter().all(|name| name.starts_with("agent/node-4/")), "{silent:?}");
    }
    // What is said was concluded twice in a row.
    analyst.conclude(&topology, at(120));
    assert_eq!(named(&analyst.conclude(&topology, at(121))).len(), 2);
}

#[test]
fn an_incident_stays_open_while_nobody_tells_anything() {
    let (mut analyst, topology) = (Analyst::new(START, Pace::ASKED), topology());
    for second in (0..60).step_by(5) {
        round(&mut analyst, second, (second >= 30).then_some(2));
        analyst.conclude(&topology, at(second + 1));
    }
    assert_eq!(analyst.open().len(), 1);
    for second in (60..900).step_by(5) {
        let blind = analyst.conclude(&topology, at(second));
        let closed = blind.changes.iter().any(|change| matches!(change, Change::Closed(_)));
        assert!(!closed, "{second}: {:?}", blind.changes);
    }
    let mut over = Vec::new();
    for second in (900..960).step_by(5) {
        round(&mut analyst, second, None);
        over.extend(analyst.conclude(&topology, at(second + 1)).changes);
    }
    assert!(
        over.iter().any(|it| matches!(it, Change::Closed(it) if it.component == "ztunnel/node-2"))
    );
}

#[test]
fn agents_are_counted_by_who_they_are() {
    let (mut analyst, mut topology) = (Analyst::new(START, Pace::ASKED), topology());
    round(&mut analyst, 0, None);
    // One node has gone, and another is there that nobody has heard of.
    topology.agents.retain(|agent| agent.node != "node-1");
    for vantage in Vantage::ALL {
        topology.agents.push(Agent { node: "node-9".to_owned(), vantage });
    }
    let report = analyst.conclude(&topology, at(1)).report;
    assert_eq!((report.agents, report.expected_agents), (6, 8));
}

#[test]
fn paths_that_take_longer_than_they_did_are_told_and_nobody_is_blamed() {
    let (mut analyst, topology) = (Analyst::new(START, Pace::ASKED), topology());
    let tell = |analyst: &mut Analyst, second: i64, slow: bool| {
        for source in [1, 3, 4] {
            let times = if slow { 3.0 } else { 1.0 };
            let seconds = times * (0.002 + (second % 97) as f64 / 1e4);
            let latency_seconds = Some(Latency { p50: seconds, p99: seconds });
            let told = attempt((source, Vantage::Ambient), ("peer", 2), second, None);
            analyst.hear([&Observation { latency_seconds, ..told }], at(second));
        }
    };
    (0..15_000).step_by(5).for_each(|second| tell(&mut analyst, second, false));
    let told = analyst.diagnoses(Report::default());
    assert_eq!(told.slow, Slow::default());
    (15_000..15_200).step_by(5).for_each(|second| tell(&mut analyst, second, true));
    let conclusion = analyst.conclude(&topology, at(15_200));
    assert_eq!((conclusion.report.broken_paths, conclusion.changes.len()), (0, 0));
    let told = analyst.diagnoses(conclusion.report);
    assert_eq!(told.slow.paths, 3);
    assert_eq!(told.slow.common.as_deref(), Some("all from or to node-2"));
    assert!(told.slow.since.is_some_and(|since| since >= at(14_900)), "{:?}", told.slow);
    let read: Diagnoses =
        serde_json::from_str(&serde_json::to_string(&told).expect("JSON")).expect("the same");
    assert_eq!(read.slow, told.slow);
}

//! The lab's own table of what each fault turns, held against the diagnosis: whatever the lab can
//! break is named first, and nothing beside it.

#![cfg(feature = "lab")]

use std::collections::BTreeMap;

use meshprobe::diagnosis::{self, Topology};
use meshprobe::expectation::Verdict;
use meshprobe::failure::Reason;
use meshprobe::lab::cell::{Cell, From, Node, Row, To};
use meshprobe::lab::fault::{Fault, Kind, NAMESPACES, REPLICAS, Victim};
use meshprobe::lab::signature::{Layout, effect};
use meshprobe::lab::{blame, replica_name};
use meshprobe::observation::Observation;
use meshprobe::target::Vantage;
use serde_json::json;
use time::macros::datetime;

/// Peers that each agent probes.
const PEERS: u16 = 3;

/// How cells that a fault turns are made to fail.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// Attempts of each path: three intervals, or more.
    attempts: u64,
    /// Whether pooled connections hide what they may.
    hides: bool,
    /// Whether some attempts fail in the other ways that the table allows.
    varied: bool,
}

fn layout(nodes: u16) -> Layout {
    Layout { frontend: Node(1), monitoring: Node(2.min(nodes)) }
}

fn cells(nodes: u16) -> Vec<Cell> {
    let mut cells = Vec::new();
    for from in 1..=nodes {
        let peers = (1..=PEERS.min(nodes - 1)).map(|step| (from - 1 + step) % nodes + 1);
        for row in Row::ALL {
            let mut add = |to| cells.push(Cell { row: *row, from: Node(from), to });
            match row {
                Row::AmbientPeer | Row::AmbientCanary | Row::AmbientUnderlay => {
                    peers.clone().for_each(|peer| add(To::Node(Node(peer))));
                }
                Row::PlainPeer
                | Row::PlainCanary
                | Row::PlainHbone
                | Row::PlainHboneCanary
                | Row::PlainCertificate
                | Row::PlainUnderlay => peers.clone().for_each(|peer| add(To::Node(Node(peer)))),
                Row::AmbientHeld | Row::AmbientLarge => add(To::Node(Node(from % nodes + 1))),
                Row::PlainDnsUdp | Row::PlainDnsTcp => {
                    (1..=REPLICAS).for_each(|replica| add(To::Replica(replica)));
                }
                Row::IngressFrontend if from != 1 => {}
                _ => add(To::Alone),
            }
        }
    }
    cells
}

/// Probe, target, via and what is expected of a row's cells.
fn asked(cell: &Cell) -> (&'static str, String, &'static str, &'static str) {
    let (probe, target, via) = match cell.row {
        Row::AmbientPeer | Row::PlainPeer => ("http", "peer", "pod_ip"),
        Row::AmbientCanary | Row::PlainCanary => ("http", "peer-strict", "pod_ip"),
        Row::AmbientUnderlay | Row::PlainUnderlay => ("http", "underlay", "pod_ip"),
        Row::AmbientFrontend => ("http", "service/default/mirai-frontend", "cluster_ip"),
        Row::PlainFrontend | Row::IngressFrontend => {
            ("http", "service/default/mirai-frontend", "pod_ip")
        }
        Row::AmbientMonitoring => ("http", "service/monitoring/prometheus", "cluster_ip"),
        Row::PlainMonitoring => ("http", "service/monitoring/prometheus", "pod_ip"),
        Row::AmbientHeld => ("hold", "peer", "pod_ip"),
        Row::AmbientLarge => ("mtu", "peer", "pod_ip"),
        Row::AmbientNames => ("dns", "coredns", "pod_ip"),
        Row::AmbientIstiod | Row::AmbientIstiodName | Row::PlainIstiod | Row::PlainIstiodName => {
            ("istiod", "istiod", "cluster_ip")
        }
        Row::AmbientCapture | Row::PlainCapture => ("capture", "capture", "pod_ip"),
        Row::AmbientOwnHbone => ("hbone", "own-hbone", "pod_ip"),
        Row::PlainHbone => ("hbone", "peer", "hbone"),
        Row::PlainHboneCanary => ("hbone", "peer-strict", "hbone"),
        Row::PlainCertificate => ("hbone", "certificate", "pod_ip"),
        Row::PlainDnsUdp | Row::PlainDnsTcp => ("dns", "coredns", "pod_ip"),
        Row::PlainZtunnel => ("ztunnel", "ztunnel", "pod_ip"),
    };
    let target = match cell.to {
        To::Replica(replica) => format!("{target}/{}", replica_name(replica)),
        To::Node(_) | To::Alone => target.to_owned(),
    };
    let expect = if cell.row == Row::PlainCanary { "denied" } else { "reply" };
    (probe, target, via, expect)
}

fn far(cell: &Cell, layout: &Layout) -> Option<Node> {
    match (cell.to, cell.row) {
        (To::Node(node), _) => Some(node),
        (_, Row::AmbientFrontend | Row::PlainFrontend | Row::IngressFrontend) => {
            Some(layout.frontend)
        }
        (_, Row::AmbientMonitoring | Row::PlainMonitoring) => Some(layout.monitoring),
        (_, Row::AmbientCapture | Row::PlainCapture | Row::AmbientOwnHbone | Row::PlainZtunnel) => {
            Some(cell.from)
        }
        _ => None,
    }
}

fn observation(cell: &Cell, faults: &[Fault], layout: &Layout, manner: Manner) -> Observation {
    let (probe, target, via, expect) = asked(cell);
    let effect = faults.iter().find_map(|fault| effect(fault, cell, layout));
    let effect = effect.filter(|effect| !(manner.hides && effect.may_hide));
    let all = manner.attempts;
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut verdicts = [all, 0, 0];
    if let Some(effect) = effect {
        verdicts = match effect.verdict {
            Verdict::Inconclusive => [0, 0, all],
            Verdict::Met | Verdict::Violated => [0, all, 0],
        };
        for attempt in 0..all as usize {
            let other = manner.varied && attempt % 5 == 4;
            let place = if other { attempt % effect.failures.len() } else { 0 };
            *reasons.entry(effect.failures[place].1.as_str()).or_default() += 1;
        }
    }
    let node = |node: Node| node.to_string();
    serde_json::from_value(json!({
        "source_node": node(cell.from), "vantage": cell.row.from().vantage().as_str(),
        "probe": probe, "target": target, "name": cell.target_name(),
        "destination_node": far(cell, layout).map(node), "via": via, "expect": expect,
        "window_start": "2026-01-01T00:00:00Z", "window_seconds": 10, "attempts": all,
        "verdicts": {"met": verdicts[0], "violated": verdicts[1], "inconclusive": verdicts[2]},
        "reasons": reasons,
    }))
    .expect("an observation")
}

fn topology(nodes: u16) -> Topology {
    let layout = layout(nodes);
    let json = json!({
        "nodes": (1..=nodes).map(|n| json!({"name": Node(n).to_string(), "zone": "lab"}))
            .collect::<Vec<_>>(),
        "coredns": (1..=REPLICAS).map(|r| json!({"pod": replica_name(r), "node": null}))
            .collect::<Vec<_>>(),
        "istiod": [{"pod": "istiod-1", "node": null}],
        "services": [
            {"namespace": "default", "name": "mirai-frontend", "ambient": true,
             "mode": "PERMISSIVE", "endpoints": [{"node": layout.frontend.to_string()}]},
            {"namespace": "monitoring", "name": "prometheus", "ambient": true,
             "mode": "PERMISSIVE", "endpoints": [{"node": layout.monitoring.to_string()}]},
        ],
    });
    Topology::read(json.to_string().as_bytes()).expect("a topology")
}

fn observations(nodes: u16, faults: &[Fault], manner: Manner) -> Vec<Observation> {
    let layout = layout(nodes);
    let cells = cells(nodes);
    cells.iter().map(|cell| observation(cell, faults, &layout, manner)).collect()
}

fn every_fault(nodes: u16) -> Vec<Fault> {
    let names = Kind::ALL.iter().flat_map(|kind| {
        let victims: Vec<String> = match kind.scope() {
            meshprobe::lab::fault::Scope::Node => {
                [1, 2, nodes].map(|n| format!("/{}", Node(n))).to_vec()
            }
            meshprobe::lab::fault::Scope::Namespace => {
                NAMESPACES.iter().map(|name| format!("/{name}")).collect()
            }
            meshprobe::lab::fault::Scope::Replica => {
                (1..=REPLICAS).map(|replica| format!("/{replica}")).collect()
            }
            meshprobe::lab::fault::Scope::Mesh => vec![String::new()],
        };
        victims.into_iter().map(|victim| format!("{}{victim}", kind.as_str())).collect::<Vec<_>>()
    });
    names.map(|name| name.parse().expect("a fault")).collect()
}

const MANNERS: [Manner; 4] = [
    Manner { attempts: 3, hides: false, varied: false },
    Manner { attempts: 3, hides: true, varied: false },
    Manner { attempts: 30, hides: false, varied: true },
    Manner { attempts: 30, hides: true, varied: true },
];

#[test]
fn every_fault_of_the_lab_is_named_first_and_nothing_else_is_accused() {
    let now = datetime!(2026-01-01 00:00:10 UTC);
    let mut wrong = Vec::new();
    for nodes in [3, 10] {
        let topology = topology(nodes);
        for fault in every_fault(nodes) {
            let (component, word) = blame(&fault);
            for manner in MANNERS {
                let seen = observations(nodes, &[fault], manner);
                let report = diagnosis::diagnose(&topology, &seen, now);
                let accused: Vec<String> = report
                    .diagnoses
                    .iter()
                    .map(|found| format!("{} {}", found.component, found.fault))
                    .collect();
                if accused != [format!("{component} {word}")] {
                    wrong.push(format!("{nodes} nodes, {fault}, {manner:?}: {accused:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_healthy_lab_accuses_nobody() {
    for (nodes, manner) in [(3, MANNERS[0]), (10, MANNERS[2])] {
        let seen = observations(nodes, &[], manner);
        let report = diagnosis::diagnose(&topology(nodes), &seen, datetime!(2026-01-01 0:00 UTC));
        assert_eq!(report.diagnoses, []);
        assert!((report.explained_fraction - 1.0).abs() < f64::EPSILON);
    }
}

#[test]
fn half_of_the_agents_are_enough() {
    let now = datetime!(2026-01-01 00:00:10 UTC);
    for text in ["ztunnel-dead/node-4", "hbone-blocked/node-7", "istiod-down", "coredns-down/2"] {
        let fault: Fault = text.parse().expect("a fault");
        let mut seen = observations(10, &[fault], MANNERS[2]);
        seen.retain(|one| {
            let number: u16 = one.source_node["node-".len()..].parse().expect("a number");
            number.is_multiple_of(2) == (one.vantage == Some(Vantage::Ambient))
        });
        let report = diagnosis::diagnose(&topology(10), &seen, now);
        let (component, word) = blame(&fault);
        let network: Vec<_> = report
            .diagnoses
            .iter()
            .filter(|found| !found.component.starts_with("agent/"))
            .map(|found| (found.component.clone(), found.fault))
            .collect();
        assert_eq!(network, [(component, word)], "{text}");
    }
}

#[test]
fn starved_agents_accuse_themselves_only() {
    let mut seen = observations(3, &[], MANNERS[2]);
    for one in &mut seen {
        let late = one.verdicts.met;
        (one.verdicts.met, one.verdicts.inconclusive) = (0, late);
        one.reasons.insert(Reason::ScheduleLag, late);
    }
    let report = diagnosis::diagnose(&topology(3), &seen, datetime!(2026-01-01 0:00 UTC));
    assert_eq!(report.conclusive_attempts, 0);
    assert_eq!(report.diagnoses.len(), 6);
    assert!(report.diagnoses.iter().all(|found| found.component.starts_with("agent/")));
}

#[test]
fn every_victim_has_a_name_of_its_own_in_the_blame() {
    for fault in every_fault(3) {
        let (component, _) = blame(&fault);
        match fault.victim {
            Victim::Node(node) => assert!(component.ends_with(&node.to_string()), "{component}"),
            Victim::Namespace(_) => assert!(component.starts_with("policy/"), "{component}"),
            Victim::Replica(_) => assert!(component.starts_with("coredns/"), "{component}"),
            Victim::Mesh => assert_eq!(component, "istiod"),
        }
    }
    assert_eq!(Row::IngressFrontend.from(), From::Ingress);
}

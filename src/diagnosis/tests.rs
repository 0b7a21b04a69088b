use time::macros::datetime;

use super::*;
use crate::failure::Reason;
use crate::observation::{Expected, Verdicts};
use crate::target::{ProbeKind, Vantage, Via};

const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);
const NODES: u32 = 6;

fn topology() -> Topology {
    let node = |n| Node { name: format!("node-{n}"), zone: Some(format!("zone-{}", n % 2)) };
    Topology {
        nodes: (1..=NODES).map(node).collect(),
        coredns: ["dns-a", "dns-b"].map(|pod| Replica { pod: pod.to_owned(), node: None }).to_vec(),
        istiod: Vec::new(),
        services: Vec::new(),
    }
}

fn observation(
    (source, vantage): (u32, Vantage),
    probe: ProbeKind,
    target: &str,
    to: Option<u32>,
) -> Observation {
    let met = Verdicts { met: 12, ..Verdicts::default() };
    Observation {
        source_node: format!("node-{source}"),
        vantage: Some(vantage),
        probe,
        target: target.to_owned(),
        name: None,
        destination_node: to.map(|node| format!("node-{node}")),
        via: Some(if probe == ProbeKind::Hbone { Via::Hbone } else { Via::PodIp }),
        expect: Expected::Reply,
        window_start: START,
        window_seconds: 60,
        attempts: 12,
        verdicts: met,
        reasons: [].into(),
        latency_seconds: None,
        digest: None,
    }
}

/// A healthy mesh as its agents see it.
fn healthy() -> Vec<Observation> {
    let mut all = Vec::new();
    for source in 1..=NODES {
        let (ambient, plain) = ((source, Vantage::Ambient), (source, Vantage::Plain));
        for to in (1..=NODES).filter(|to| *to != source) {
            for target in ["peer", "peer-strict", "underlay"] {
                all.push(observation(ambient, ProbeKind::Http, target, Some(to)));
            }
            all.push(observation(plain, ProbeKind::Http, "peer", Some(to)));
            all.push(observation(plain, ProbeKind::Http, "underlay", Some(to)));
            all.push(observation(plain, ProbeKind::Hbone, "peer", Some(to)));
            all.push(observation(plain, ProbeKind::Hbone, "certificate", Some(to)));
        }
        for pod in ["coredns/dns-a", "coredns/dns-b"] {
            all.push(observation(plain, ProbeKind::Dns, pod, None));
        }
        all.push(observation(ambient, ProbeKind::Istiod, "istiod", None));
        all.push(observation(plain, ProbeKind::Istiod, "istiod", None));
    }
    all
}

fn fail(observation: &mut Observation, failures: u64, reason: Reason) {
    let met = observation.attempts - failures;
    observation.verdicts = Verdicts { met, violated: failures, inconclusive: 0 };
    observation.reasons = [(reason, failures)].into();
}

fn broken(which: impl Fn(&Observation) -> Option<Reason>) -> Report {
    let mut all = healthy();
    for observation in &mut all {
        if let Some(reason) = which(observation) {
            fail(observation, 12, reason);
        }
    }
    diagnose(&topology(), &all)
}

fn named(report: &Report) -> Vec<(&str, &str)> {
    report.diagnoses.iter().map(|it| (it.component.as_str(), it.fault.as_str())).collect()
}

fn is_ambient(observation: &Observation) -> bool {
    observation.vantage == Some(Vantage::Ambient)
}

fn towards(observation: &Observation, node: &str) -> bool {
    observation.destination_node.as_deref() == Some(node)
}

#[test]
fn nothing_is_wrong_in_a_healthy_mesh() {
    let report = diagnose(&topology(), &healthy());
    assert_eq!((named(&report), report.explained_fraction), (vec![], 1.0));
    assert_eq!(report.headline(), "nothing is wrong");
}

#[test]
fn refused_everywhere_from_one_ambient_node_is_its_own_ztunnel() {
    let report = broken(|it| {
        let own = is_ambient(it) && it.source_node == "node-2";
        let far = towards(it, "node-2") && it.target != "underlay";
        match (own, far, is_ambient(it)) {
            (true, _, _) => Some(Reason::Refused),
            (false, true, true) => Some(Reason::Reset),
            (false, true, false) => Some(Reason::Refused),
            (false, false, _) => None,
        }
    });
    assert_eq!(named(&report), [("ztunnel/node-2", "dead")]);
    let diagnosis = &report.diagnoses[0];
    assert!(diagnosis.confidence > 0.99, "{diagnosis:?}");
    assert_eq!((diagnosis.since, report.explained_fraction), (START, 1.0));
    assert!(diagnosis.evidence[0].starts_with("for: "), "{diagnosis:?}");
}

#[test]
fn what_times_out_by_hbone_and_answers_in_plaintext_is_a_blocked_15008() {
    let report = broken(|it| {
        let far = towards(it, "node-3") && it.target != "underlay";
        match (far, is_ambient(it), it.probe) {
            (true, true, _) => Some(Reason::Reset),
            (true, false, ProbeKind::Hbone) => Some(Reason::Timeout),
            _ => None,
        }
    });
    assert_eq!(named(&report), [("hbone/node-3", "blocked")]);
}

#[test]
fn a_node_that_nobody_reaches_is_unreachable() {
    let report = broken(|it| {
        let touched = towards(it, "node-4") || it.source_node == "node-4";
        touched.then_some(Reason::Timeout)
    });
    assert_eq!(named(&report), [("node/node-4", "unreachable")]);
}

#[test]
fn two_faults_are_two_diagnoses() {
    let report = broken(|it| match it.target.as_str() {
        "coredns/dns-b" => Some(Reason::Timeout),
        "istiod" if it.source_node == "node-5" => Some(Reason::Refused),
        _ => None,
    });
    let mut all = named(&report);
    all.sort_unstable();
    assert_eq!(all, [("coredns/dns-b", "dead"), ("istiod-link/node-5", "broken")]);
}

#[test]
fn a_zone_that_is_cut_off_is_not_many_nodes() {
    let parity =
        |name: &str| name.trim_start_matches("node-").parse::<u32>().expect("a number") % 2;
    let report = broken(|it| {
        let to = it.destination_node.as_deref()?;
        let cut = parity(&it.source_node) != parity(to);
        cut.then_some(if is_ambient(it) { Reason::Reset } else { Reason::Timeout })
    });
    assert_eq!(named(&report), [("zone/zone-0/zone-1", "partitioned")]);
}

#[test]
fn a_tenth_of_everything_through_a_ztunnel_makes_it_gray() {
    let mut all = healthy();
    for (n, it) in all.iter_mut().enumerate() {
        let own = is_ambient(it) && it.source_node == "node-2";
        let far = towards(it, "node-2") && it.target != "underlay";
        if own || far {
            fail(it, 1 + (n as u64 % 2), Reason::Reset);
        }
    }
    let report = diagnose(&topology(), &all);
    assert_eq!(named(&report), [("ztunnel/node-2", "gray")]);
    let rate = report.diagnoses[0].rate.expect("a share");
    assert!((0.05..0.3).contains(&rate), "{rate}");
}

#[test]
fn a_few_stray_failures_accuse_nobody() {
    let mut all = healthy();
    for at in [3, 40, 77] {
        fail(&mut all[at], 1, Reason::Timeout);
    }
    let report = diagnose(&topology(), &all);
    assert_eq!(named(&report), []);
    assert_eq!(report.explained_fraction, 0.0);
}

#[test]
fn one_odd_pair_of_pods_is_no_fault_of_its_zone() {
    let report = broken(|it| {
        let odd = it.source_node == "node-1" && towards(it, "node-2") && it.target == "underlay";
        (odd && !is_ambient(it)).then_some(Reason::Timeout)
    });
    assert_eq!(named(&report), []);
}

#[test]
fn half_of_the_agents_may_be_silent() {
    let mut all = healthy();
    all.retain(|it| it.source_node > "node-3".to_owned());
    for it in &mut all {
        if towards(it, "node-2") && it.target != "underlay" {
            fail(it, 12, if is_ambient(it) { Reason::Reset } else { Reason::Refused });
        }
    }
    let report = diagnose(&topology(), &all);
    assert_eq!(named(&report), [("ztunnel/node-2", "dead")]);
}

#[test]
fn attempts_that_our_own_machine_spoiled_accuse_only_the_agent() {
    let mut all = healthy();
    for it in all.iter_mut().filter(|it| it.source_node == "node-1" && is_ambient(it)) {
        it.verdicts = Verdicts { met: 0, violated: 0, inconclusive: 12 };
        it.reasons = [(Reason::ScheduleLag, 12)].into();
    }
    let report = diagnose(&topology(), &all);
    assert_eq!(named(&report), [("agent/node-1/ambient", "starved")]);
    assert_eq!(report.explained_fraction, 1.0);
}

#[test]
fn an_agent_that_tells_nothing_is_told() {
    let mut all = healthy();
    all.retain(|it| it.source_node != "node-6" || !is_ambient(it));
    let report = diagnose(&topology(), &all);
    assert_eq!(named(&report), [("agent/node-6/ambient", "silent")]);
}

#[test]
fn an_answer_that_had_to_be_denied_is_a_gap() {
    let mut all = healthy();
    for source in 1..=NODES {
        for to in (1..=NODES).filter(|to| *to != source) {
            let seat = (source, Vantage::Plain);
            let mut it = observation(seat, ProbeKind::Http, "peer-strict", Some(to));
            it.expect = Expected::Denied;
            if to == 5 {
                fail(&mut it, 12, Reason::UnexpectedReply);
            }
            all.push(it);
        }
    }
    let report = diagnose(&topology(), &all);
    assert_eq!(named(&report), [("policy/meshprobe-ambient/node-5", "gap")]);
}

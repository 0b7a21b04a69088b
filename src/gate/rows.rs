//! The checks that rest on attempts alone: istiod, CoreDNS, the truth table, the canary, and
//! certificates.

use std::collections::BTreeSet;

use crate::failure::Reason;
use crate::gate::Evidence;
use crate::gate::check::Check;
use crate::gate::proof::{Demand, dead, prove};
use crate::gate::recent::Recent;
use crate::gate::report::{CheckReport, Row};
use crate::gate::text::{counted, names};
use crate::observation::Expected;
use crate::target::Vantage;

const BOTH: &[Vantage] = &Vantage::ALL;

/// Every node reaches istiod, each replica of it.
pub(super) fn istiod(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Istiod);
    let demand =
        Demand { check: Check::Istiod, expect: Expected::Reply, what: "ladders", vantages: BOTH };
    prove(&mut row, demand, evidence, recent);
    let replicas = evidence.cluster.istiod.replicas.keys();
    unseen(&mut row, "istiod", replicas, recent);
    if evidence.cluster.istiod.service.is_none() {
        row.fail("there is no Service of istiod with port 15012");
    }
    unprobed(&mut row, evidence, "istiod");
    row.done()
}

/// CoreDNS answers: its Service, and each replica of it.
pub(super) fn coredns(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Coredns);
    let demand =
        Demand { check: Check::Coredns, expect: Expected::Reply, what: "queries", vantages: BOTH };
    prove(&mut row, demand, evidence, recent);
    let replicas = evidence.cluster.coredns.replicas.keys();
    unseen(&mut row, "coredns", replicas, recent);
    if evidence.cluster.coredns.replicas.is_empty() {
        row.lack("no ready replica of CoreDNS is known");
    }
    unprobed(&mut row, evidence, "coredns");
    row.done()
}

/// Replicas that nobody asked just now.
fn unseen<'a>(
    row: &mut Row,
    of: &str,
    replicas: impl Iterator<Item = &'a String>,
    recent: &Recent<'_>,
) {
    let asked = |pod: &&String| {
        recent.of_check(row.check).any(|(key, seen)| {
            let mut words = key.target.rsplit('/');
            words.next() == Some(pod.as_str()) && seen.verdicts.conclusive() > 0
        })
    };
    let unseen: Vec<&String> = replicas.filter(|pod| !asked(pod)).collect();
    if !unseen.is_empty() {
        let count = counted(unseen.len() as u64, "replica");
        row.lack(format!("{count} of {of} answered no probe of its own: {}", names(&unseen)));
    }
}

/// What is not probed of a part of the control plane.
fn unprobed(row: &mut Row, evidence: &Evidence<'_>, name: &str) {
    let of = evidence.unprobed.iter();
    for it in of.filter(|it| it.object.kind == "ControlPlane" && it.object.name == name) {
        row.warn(it.message.clone());
    }
}

/// The cells of the truth table: peers, and Services of the scope.
pub(super) fn connectivity(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Connectivity);
    let check = Check::Connectivity;
    let demand = Demand { check, expect: Expected::Reply, what: "calls", vantages: BOTH };
    prove(&mut row, demand, evidence, recent);
    let denied = recent.of_check(check).filter(|(key, _)| key.expect == Expected::Denied);
    dead(&mut row, denied);
    for (node, broken) in recent.broken.iter().filter(|(_, broken)| **broken > 0) {
        row.warn(format!("{node}: {} broke", counted(*broken, "held connection")));
    }
    for it in &evidence.unprobed {
        let of_service = it.object.kind == "Service" && evidence.scope.holds(&it.object.namespace);
        if of_service || it.reason == "WrongSide" {
            row.warn(it.message.clone());
        }
    }
    let cluster = evidence.cluster;
    let services = cluster.services.iter().filter(|it| evidence.scope.holds(&it.namespace));
    if services.count() == 0 {
        row.warn(format!(
            "no Service of {} is called: annotate one with meshprobe.dev/probe, or name it under \
             services in the controller's configuration",
            evidence.scope
        ));
    }
    row.done()
}

/// The canary port, STRICT whatever else is: the mesh gets a reply, plaintext a denial.
pub(super) fn canary(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Canary);
    let check = Check::Canary;
    let reply = Demand { check, expect: Expected::Reply, what: "calls", vantages: BOTH };
    let plain = &[Vantage::Plain];
    let denied = Demand { check, expect: Expected::Denied, what: "denials", vantages: plain };
    prove(&mut row, reply, evidence, recent);
    prove(&mut row, denied, evidence, recent);
    pairs(&mut row, recent);
    for it in evidence.unprobed.iter().filter(|it| it.reason == "CanaryNotStrict") {
        row.fail(it.message.clone());
    }
    row.done()
}

/// Pairs of nodes of which one half of the experiment is missing.
fn pairs(row: &mut Row, recent: &Recent<'_>) {
    let told = |expect: Expected| -> BTreeSet<(&str, &str)> {
        let paths = recent.of_check(Check::Canary);
        let met =
            paths.filter(|(key, seen)| key.expect == expect && seen.verdicts.conclusive() > 0);
        met.filter_map(|(key, _)| Some((key.node, key.destination?))).collect()
    };
    let (reply, denied) = (told(Expected::Reply), told(Expected::Denied));
    for (one, other, what) in
        [(&reply, &denied, "denial of plaintext"), (&denied, &reply, "reply to the mesh")]
    {
        let half: Vec<String> =
            one.difference(other).map(|(from, to)| format!("{from} to {to}")).collect();
        if !half.is_empty() {
            let count = counted(half.len() as u64, "pair");
            row.lack(format!("{count} of nodes showed no {what}: {}", names(&half)));
        }
    }
}

/// Certificates: shown by every node, and trusted by those who look.
///
/// Each attempt verifies the whole chain to the roots that the looking node trusts, and demands
/// that a tenth of the validity is left; so roots that disagree between nodes show.
pub(super) fn certificates(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Certificates);
    let check = Check::Certificates;
    let demand = Demand { check, expect: Expected::Reply, what: "handshakes", vantages: BOTH };
    prove(&mut row, demand, evidence, recent);
    let mut shown: BTreeSet<&str> = BTreeSet::new();
    for (key, seen) in recent.of_check(check) {
        let bad = [
            (Reason::CertUntrusted, "roots disagree: not trusted there"),
            (Reason::CertExpired, "expired, or less than a tenth of its validity is left"),
            (Reason::CertNotYetValid, "not valid yet: clocks differ"),
            (Reason::CertNameMismatch, "of another identity than its pod's"),
        ];
        for (reason, what) in bad {
            if seen.reasons.get(&reason).is_some_and(|count| *count > 0) && seen.is_dead() {
                row.fail(format!("{key}: {what} ({reason})"));
            }
        }
        if seen.verdicts.met > 0 {
            shown.extend(key.destination);
        }
    }
    let nodes = evidence.nodes();
    let hidden: Vec<&str> = nodes.iter().copied().filter(|node| !shown.contains(node)).collect();
    if !hidden.is_empty() {
        row.lack(format!("nobody saw a valid certificate of {}", names(&hidden)));
    }
    row.done()
}

//! The data plane itself: ztunnel on every node, and that it captures what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cluster::NamespacePods;
use crate::flow::NodeStanding;
use crate::gate::check::Check;
use crate::gate::proof::dead;
use crate::gate::recent::Recent;
use crate::gate::report::{CheckReport, Row};
use crate::gate::text::{ago, counted, names, number, rate, span};
use crate::gate::{Evidence, Scope};
use crate::target::Vantage;

/// What an agent told of its ztunnel longer ago says nothing of now.
const FRESH: Duration = Duration::from_secs(120);
/// A restart within this time is worth a word.
const RESTARTED: time::Duration = time::Duration::hours(1);
/// Connections to istiod that may end per second: one in five minutes.
const TERMINATIONS: f64 = 1.0 / 300.0;
/// Ends of connections to istiod that are no ordinary ones.
const BROKEN: [&str; 2] = ["ConnectionError", "Error"];

/// ztunnel is ready and stable on every node.
pub(super) fn ztunnel(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Ztunnel);
    match evidence.cluster.daemon_sets.get("ztunnel") {
        None => row.lack("there is no DaemonSet ztunnel, or it may not be read"),
        Some(set) => {
            if set.ready < set.desired {
                row.fail(format!("{} of {} ztunnels are ready", set.ready, set.desired));
            }
            if set.updated < set.desired {
                let old = set.desired - set.updated;
                row.warn(format!("a rollout is under way: {old} of {} are old", set.desired));
            }
        }
    }
    dead(&mut row, recent.of_check(Check::Ztunnel));
    let probed: BTreeSet<&str> = recent
        .of_check(Check::Ztunnel)
        .filter(|(_, seen)| seen.verdicts.met > 0)
        .map(|(key, _)| key.node)
        .collect();
    let flows = evidence.flows.map_or(&[][..], |flows| &flows.nodes);
    let told: BTreeMap<&str, &NodeStanding> =
        flows.iter().map(|it| (it.node.as_str(), it)).collect();
    let (mut unknown, mut good) = (Vec::new(), 0);
    for node in evidence.nodes() {
        let standing = told.get(node).filter(|it| it.age_seconds <= FRESH.as_secs_f64());
        let stood = standing.is_some_and(|standing| health(&mut row, standing, evidence));
        if stood || probed.contains(node) {
            good += 1;
        } else {
            unknown.push(node);
        }
    }
    if !unknown.is_empty() {
        let window = span(evidence.window);
        row.lack(format!("no ready ztunnel was seen in the last {window} on {}", names(&unknown)));
    } else if good > 0 {
        row.pass(format!("ready on {}", counted(good, "node")));
    }
    row.done()
}

/// What one node's ztunnel says; whether it is ready.
fn health(row: &mut Row, standing: &NodeStanding, evidence: &Evidence<'_>) -> bool {
    let Some(ztunnel) = &standing.ztunnel else { return false };
    let node = &standing.node;
    if ztunnel.ready == Some(false) {
        let pending = ztunnel.pending.as_deref().unwrap_or("it does not say what for");
        row.fail(format!("{node}: not ready, waits: {pending}"));
    }
    if let Some(at) = ztunnel.last_restart.filter(|at| evidence.now - *at < RESTARTED) {
        let times = counted(ztunnel.restarts, "restart");
        row.warn(format!("{node}: {times}, the last {}", ago(at, evidence.now)));
    }
    let terminations = BROKEN.iter().filter_map(|reason| ztunnel.xds_terminations.get(*reason));
    let per_second: f64 = terminations.map(|it| it.rate_per_second).sum();
    if per_second > TERMINATIONS {
        row.warn(format!("{node}: its connection to istiod breaks at {}", rate(per_second)));
    }
    ztunnel.ready == Some(true)
}

/// Every pod that is labelled is captured: by its annotation, and by what agents see themselves.
pub(super) fn capture(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Capture);
    let cluster = evidence.cluster;
    let pods: BTreeMap<&String, &NamespacePods> =
        cluster.pods.iter().filter(|(namespace, _)| evidence.scope.holds(namespace)).collect();
    if let Scope::Namespace { namespace } = &evidence.scope
        && pods.is_empty()
    {
        row.lack(format!(
            "the pods of {namespace} are not watched: name it under gate.namespaces in the \
             controller's configuration, or have one of its Services called"
        ));
    }
    let enrolled =
        cluster.namespaces.iter().filter(|(_, it)| it.is_ambient()).map(|(name, _)| name);
    let unwatched: Vec<&String> = enrolled
        .filter(|name| evidence.scope == Scope::Mesh && !pods.contains_key(name))
        .filter(|name| !evidence.own_namespaces.contains(*name))
        .collect();
    if !unwatched.is_empty() {
        let all = counted(unwatched.len() as u64, "enrolled namespace");
        row.warn(format!("the pods of {all} are not watched: {}", names(&unwatched)));
    }
    let (mut wanted, mut captured) = (0, 0);
    for (namespace, pods) in pods {
        wanted += u64::from(pods.wanted);
        captured += u64::from(pods.captured);
        if pods.uncaptured > 0 {
            let count = counted(pods.uncaptured.into(), "pod");
            let named = names(&pods.uncaptured_names);
            row.fail(format!("{count} of {namespace} labelled and not captured: {named}"));
        }
        if pods.starting > 0 {
            let count = counted(pods.starting.into(), "pod");
            row.warn(format!("{count} of {namespace} not captured yet, and not ready"));
        }
    }
    if wanted > 0 {
        row.pass(format!("{} of {} labelled pods are captured", number(captured), number(wanted)));
    } else if !row.details.iter().any(|it| it.text.contains("not watched")) {
        let scope = &evidence.scope;
        row.lack(format!("no pod of {scope} is enrolled: STRICT would protect nothing there"));
    }
    dead(&mut row, recent.of_check(Check::Capture));
    let checked: BTreeSet<&str> = recent
        .of_check(Check::Capture)
        .filter(|(key, seen)| key.vantage == Some(Vantage::Ambient) && seen.verdicts.met > 0)
        .map(|(key, _)| key.node)
        .collect();
    let nodes = evidence.nodes();
    let unchecked: Vec<&str> = nodes.iter().copied().filter(|it| !checked.contains(it)).collect();
    if unchecked.is_empty() {
        row.pass(format!("the agents in the mesh are, on {}", counted(nodes.len() as u64, "node")));
    } else {
        let window = span(evidence.window);
        row.lack(format!(
            "no agent found itself captured in the last {window} on {}",
            names(&unchecked)
        ));
    }
    row.done()
}

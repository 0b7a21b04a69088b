//! Who would break: callers in plaintext, by what ztunnels count, and those that can call no other
//! way: the API server at its webhooks, and pods on the host's network.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::mtls::{Effective, Policies};
use crate::cluster::{Enrolment, Webhook};
use crate::flow::{FlowDestination, FlowPair, FlowSource, NodeStanding};
use crate::gate::check::Check;
use crate::gate::policies::with_strict;
use crate::gate::report::{Caller, CheckReport, Row};
use crate::gate::text::{ago, counted, names, rate, span};
use crate::gate::{Evidence, Scope};

/// What a node told longer ago says nothing of now.
const FRESH: Duration = Duration::from_secs(120);
/// Callers that are listed.
const MOST: usize = 100;

/// The check, and everybody who calls in plaintext.
pub(super) fn check(evidence: &Evidence<'_>) -> (CheckReport, Vec<Caller>) {
    let mut row = Row::new(Check::Plaintext);
    let callers = callers(&mut row, evidence);
    watched(&mut row, evidence, callers.is_empty());
    webhooks(&mut row, evidence);
    host_network(&mut row, evidence);
    (row.done(), callers)
}

fn callers(row: &mut Row, evidence: &Evidence<'_>) -> Vec<Caller> {
    let Some(flows) = evidence.flows else { return Vec::new() };
    let into = |pair: &&FlowPair| {
        let namespace = pair.destination.namespace.as_deref();
        let namespace = namespace.or(pair.destination.service_namespace.as_deref());
        // A destination without a name may be in any scope.
        let own = namespace.is_some_and(|it| evidence.own_namespaces.contains(it));
        !own && namespace.is_none_or(|it| evidence.scope.holds(it))
    };
    let users = flows.plaintext_of_users(evidence.own_namespaces);
    let mut pairs: Vec<&FlowPair> = users.filter(into).filter(|pair| pair.total() > 0).collect();
    pairs.sort_by(|one, other| {
        // Those with a name first: they can be mended.
        let unknown = one.source.is_unknown().cmp(&other.source.is_unknown());
        unknown
            .then(other.last_seen.cmp(&one.last_seen))
            .then_with(|| other.rate_per_second.total_cmp(&one.rate_per_second))
    });
    for pair in &pairs {
        told(row, pair, evidence);
    }
    pairs.into_iter().take(MOST).map(caller).collect()
}

fn caller(pair: &FlowPair) -> Caller {
    Caller {
        source: source(&pair.source),
        destination: destination(&pair.destination),
        rate_per_second: pair.rate_per_second,
        last_seen: pair.last_seen,
        opened: pair.opened,
        denied: pair.denied,
    }
}

/// What one caller makes of the check: of late it stands in the way, earlier it is worth a look.
fn told(row: &mut Row, pair: &FlowPair, evidence: &Evidence<'_>) {
    let quiet = evidence.settings.quiet;
    let what =
        format!("plaintext from {} to {}", source(&pair.source), destination(&pair.destination));
    let Some(last) = pair.last_seen else {
        let count = counted(pair.opened_before, "connection");
        row.warn(format!("{what}: {count} before anybody looked, none since"));
        return;
    };
    let seen = ago(last, evidence.now);
    if evidence.now - last > time::Duration::seconds(quiet.as_secs() as i64) {
        row.warn(format!("{what}: last seen {seen}, none in the last {}", span(quiet)));
        return;
    }
    let denied = match pair.denied {
        0 => String::new(),
        count => format!(", {} denied already", counted(count, "connection")),
    };
    let per = rate(pair.rate_per_second);
    row.fail(format!(
        "{what}, {per}, last seen {seen}{denied}: {}",
        remedy(&pair.source, evidence)
    ));
}

/// What the caller's own namespace says of it.
fn remedy(source: &FlowSource, evidence: &Evidence<'_>) -> String {
    let Some(namespace) = &source.namespace else {
        return "ztunnel knows no such workload: a pod on the host's network, a node, or one from \
                outside the cluster"
            .to_owned();
    };
    match evidence.cluster.namespaces.get(namespace).map(|it| it.is_ambient()) {
        Some(true) => format!("{namespace} is enrolled, and this pod is not captured"),
        Some(false) => format!("{namespace} is not enrolled"),
        None => format!("namespace {namespace} is not known"),
    }
}

fn source(source: &FlowSource) -> String {
    named(source.namespace.as_deref(), source.workload.as_deref())
}

fn destination(to: &FlowDestination) -> String {
    let workload = to.workload.as_deref().or(to.service.as_deref());
    named(to.namespace.as_deref().or(to.service_namespace.as_deref()), workload)
}

fn named(namespace: Option<&str>, workload: Option<&str>) -> String {
    match (namespace, workload) {
        (None, None) => "unknown".to_owned(),
        (namespace, workload) => {
            format!("{}/{}", namespace.unwrap_or("unknown"), workload.unwrap_or("unknown"))
        }
    }
}

/// Whether every node's ztunnel was looked at for long enough.
fn watched(row: &mut Row, evidence: &Evidence<'_>, nobody: bool) {
    let Some(flows) = evidence.flows else {
        row.lack("no agent tells what its ztunnel counts");
        return;
    };
    let quiet = time::Duration::seconds(evidence.settings.quiet.as_secs() as i64);
    let told: BTreeMap<&str, &NodeStanding> =
        flows.nodes.iter().map(|it| (it.node.as_str(), it)).collect();
    let (mut silent, mut young, mut blind) = (Vec::new(), Vec::new(), Vec::new());
    for node in evidence.nodes() {
        let standing = told.get(node).copied();
        match standing.filter(|it| is_fresh(it, evidence)).and_then(|it| it.ztunnel.as_ref()) {
            None => silent.push(node),
            Some(ztunnel) if evidence.now - ztunnel.watched_since < quiet => young.push(node),
            Some(_) => {}
        }
        if standing.is_some_and(|it| it.dropped_plaintext > 0) {
            blind.push(node);
        }
    }
    if !silent.is_empty() {
        row.lack(format!("what ztunnel counts is not known of {}", names(&silent)));
    }
    if !young.is_empty() {
        let quiet = span(evidence.settings.quiet);
        row.lack(format!("ztunnel is looked at for less than {quiet} on {}", names(&young)));
    }
    if !blind.is_empty() {
        let blind = names(&blind);
        row.lack(format!("more callers than an agent keeps: not all are known of {blind}"));
    }
    if nobody && silent.is_empty() && young.is_empty() && blind.is_empty() {
        let nodes = counted(evidence.nodes().len() as u64, "node");
        let quiet = span(evidence.settings.quiet);
        row.pass(format!("ztunnel on {nodes} saw no plaintext of users in the last {quiet}"));
    }
}

fn is_fresh(standing: &NodeStanding, evidence: &Evidence<'_>) -> bool {
    let read = standing.ztunnel.as_ref().and_then(|it| it.last_scrape);
    standing.age_seconds <= FRESH.as_secs_f64()
        && read
            .is_some_and(|at| evidence.now - at <= time::Duration::seconds(FRESH.as_secs() as i64))
}

/// The API server calls webhooks in plaintext as far as the mesh is concerned, and is in no mesh.
fn webhooks(row: &mut Row, evidence: &Evidence<'_>) {
    let Some(webhooks) = &evidence.cluster.webhooks else {
        row.lack(
            "webhook configurations may not be read: whether the API server calls in is not known",
        );
        return;
    };
    for webhook in webhooks.iter().filter(|it| evidence.scope.holds(&it.namespace)) {
        let told = format!(
            "the API server calls {}/{} as webhook {}, and STRICT denies it{}",
            webhook.namespace,
            webhook.service,
            webhook.name,
            if webhook.is_required { "" } else { " (failurePolicy is Ignore)" },
        );
        match reached(webhook, evidence) {
            Some(true) => {}
            Some(false) if webhook.is_required => row.fail(told),
            Some(false) => row.warn(told),
            None => row.lack(format!(
                "{told}, unless its pods are outside the mesh: they are not watched"
            )),
        }
    }
}

/// Whether the API server would still reach the pods behind `webhook`: they are not in the mesh, or
/// their port stays open. `None` when they are not known.
fn reached(webhook: &Webhook, evidence: &Evidence<'_>) -> Option<bool> {
    let cluster = evidence.cluster;
    let pods = cluster.pods.get(&webhook.namespace);
    let enrolled = cluster.namespaces.get(&webhook.namespace).is_some_and(|it| it.is_ambient());
    if pods.map_or(!enrolled, |pods| pods.wanted == 0) {
        return Some(true);
    }
    let called = cluster.services.iter().filter(|it| {
        it.namespace == webhook.namespace && it.name == webhook.service && it.port == webhook.port
    });
    let endpoints: Vec<_> = called.flat_map(|it| &it.endpoints).collect();
    if endpoints.is_empty() {
        // In an enrolled namespace it is the rule that its pods are captured.
        return enrolled.then_some(false);
    }
    let policies = cluster.peer_authentications.as_deref()?;
    let policies = with_strict(&evidence.scope, policies, evidence.root_namespace);
    let policies = Policies::new(&policies, evidence.root_namespace);
    Some(endpoints.iter().all(|endpoint| {
        let pod = &endpoint.pod;
        let mode = policies.effective(&pod.namespace, &pod.labels, endpoint.target_port);
        pod.wanted == Enrolment::None || mode == Effective::Permissive
    }))
}

/// Pods on the host's network call in plaintext, and are exempt on their own node alone.
fn host_network(row: &mut Row, evidence: &Evidence<'_>) {
    let pods = evidence.cluster.pods.iter();
    let pods = pods.filter(|(_, pods)| pods.host_network > 0);
    let within = pods.filter(|(namespace, _)| match &evidence.scope {
        Scope::Namespace { namespace: only } => only == *namespace,
        Scope::Mesh => true,
    });
    for (namespace, pods) in within {
        let count = counted(pods.host_network.into(), "pod");
        let named = names(&pods.host_network_names);
        row.warn(format!(
            "{count} of {namespace} on the host's network: {named}; what they call on their own \
             node stays open, on others STRICT denies it"
        ));
    }
}

//! Which PeerAuthentications are in force already, what they would leave open, and whether what
//! they deny is denied.

use crate::cluster::mtls::{Effective, Mode, PeerAuthentication};
use crate::gate::check::Check;
use crate::gate::command::word;
use crate::gate::recent::Recent;
use crate::gate::report::{CheckReport, Row};
use crate::gate::text::{counted, span};
use crate::gate::{Evidence, Scope};
use crate::observation::Expected;

pub(super) fn check(evidence: &Evidence<'_>, recent: &Recent<'_>) -> CheckReport {
    let mut row = Row::new(Check::Policies);
    match evidence.cluster.peer_authentications.as_deref() {
        None => row.lack("PeerAuthentications cannot be read: which are in force is not known"),
        Some(policies) => in_force(&mut row, policies, evidence),
    }
    gaps(&mut row, evidence, recent);
    row.done()
}

fn in_force(row: &mut Row, policies: &[PeerAuthentication], evidence: &Evidence<'_>) {
    if evidence.mode() == Some(Effective::Strict) {
        row.pass(format!("STRICT is in force in {} already", evidence.scope));
    }
    let mut open = 0;
    for policy in policies.iter().filter(|it| is_narrower(it, evidence)) {
        let own = evidence.own_namespaces.contains(&policy.namespace);
        let ports: Vec<String> = policy.ports.iter().map(|(port, _)| port.to_string()).collect();
        let loose = leaves_open(policy);
        if loose.is_empty() || own {
            continue;
        }
        open += 1;
        let of = match &policy.selector {
            Some(labels) => {
                let labels: Vec<String> =
                    labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("pods with {}", labels.join(","))
            }
            None => "the whole namespace".to_owned(),
        };
        let ports =
            if ports.is_empty() { String::new() } else { format!(", ports {}", ports.join(" ")) };
        row.warn(format!(
            "PeerAuthentication {}/{} for {of}{ports} stays {}: plaintext goes on being answered \
             there",
            policy.namespace,
            policy.name,
            loose.join(" and "),
        ));
    }
    if open == 0 {
        row.pass(format!("no narrower policy keeps anything of {} open", evidence.scope));
    }
}

/// Whether `policy` goes before the one that is to be applied.
fn is_narrower(policy: &PeerAuthentication, evidence: &Evidence<'_>) -> bool {
    let root = policy.namespace == evidence.root_namespace;
    // istiod passes over selectors in the root namespace for ambient workloads.
    match (&evidence.scope, &policy.selector) {
        (_, Some(_)) => !root && evidence.scope.holds(&policy.namespace),
        (Scope::Namespace { .. }, None) => false,
        (Scope::Mesh, None) => !root,
    }
}

/// The modes by which it leaves something open.
fn leaves_open(policy: &PeerAuthentication) -> Vec<&'static str> {
    let ports = policy.ports.iter().filter(|_| policy.selector.is_some()).map(|(_, mode)| *mode);
    let modes = [policy.mode].into_iter().chain(ports);
    let mut open: Vec<&str> =
        modes.filter(|mode| matches!(mode, Mode::Permissive | Mode::Disable)).map(word).collect();
    open.dedup();
    open
}

/// `policies` after STRICT was applied to `scope`, as [`crate::gate::command`] does it.
pub(super) fn with_strict(
    scope: &Scope,
    policies: &[PeerAuthentication],
    root_namespace: &str,
) -> Vec<PeerAuthentication> {
    let namespace = match scope {
        Scope::Namespace { namespace } => namespace.as_str(),
        Scope::Mesh => root_namespace,
    };
    let mut policies = policies.to_vec();
    let whole = policies.iter_mut().filter(|it| it.namespace == namespace && it.selector.is_none());
    match whole.min_by_key(|it| (it.created, it.name.clone())) {
        Some(own) => own.mode = Mode::Strict,
        None => policies.push(PeerAuthentication {
            namespace: namespace.to_owned(),
            name: "default".to_owned(),
            created: i64::MAX,
            selector: None,
            mode: Mode::Strict,
            ports: Vec::new(),
        }),
    }
    policies
}

/// Replies where a denial was due: STRICT that is not enforced.
fn gaps(row: &mut Row, evidence: &Evidence<'_>, recent: &Recent<'_>) {
    let mut denied = 0;
    for (path, seen) in recent.paths.iter().filter(|(path, _)| path.expect == Expected::Denied) {
        denied += seen.verdicts.met;
        if seen.verdicts.violated > 0 && seen.gaps() > 0 {
            let replies = counted(seen.gaps(), "reply").replace("replys", "replies");
            row.fail(format!("{path}: enforcement gap, {replies} where STRICT must deny"));
        }
    }
    if denied > 0 {
        let window = span(evidence.window);
        row.pass(format!("{} of plaintext in the last {window}", counted(denied, "denial")));
    } else {
        row.lack(format!("nothing was seen to be denied in the last {}", span(evidence.window)));
    }
}

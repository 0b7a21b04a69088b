//! A change of mode, and what came of it: before against after, and whether to take it back.
//!
//! Pure. Recommends, and never acts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cluster::Cluster;
use crate::cluster::mtls::{Effective, PeerAuthentication};
use crate::flow::{FleetFlows, FlowDestination, FlowSource};
use crate::gate::bound::{lower, proves, upper};
use crate::gate::check::Check;
use crate::gate::command::back;
use crate::gate::report::Mode;
use crate::gate::tally::{Sum, Tally, Turn};
use crate::gate::text::{counted, number, percent};
use crate::gate::{Evidence, Scope, mode};
use crate::observation::rfc3339;

/// Checks that are compared.
const COMPARED: [Check; 5] =
    [Check::Istiod, Check::Coredns, Check::Connectivity, Check::Canary, Check::Certificates];
/// How much longer the slowest may take afterwards.
const SLOWER: f64 = 3.0;
/// Latencies below this say little, on either side.
const FEW: u64 = 100;
/// The most scopes whose mode is followed.
const MOST_SCOPES: usize = 10_000;
/// The most callers whose denials are remembered.
const MOST_CALLERS: usize = 5_000;
/// For how long after a change agents count contradictions as inconclusive, and policies travel.
const GRACE: Duration = Duration::from_secs(60);

type Caller = (FlowSource, FlowDestination);

/// The modes of every scope, as far as a controller has seen them.
#[derive(Debug, Default)]
pub struct History {
    modes: BTreeMap<Scope, Effective>,
    /// What decides what is expected in each namespace.
    policies: BTreeMap<String, Vec<PeerAuthentication>>,
    changed: BTreeMap<Scope, Changed>,
}

#[derive(Debug)]
struct Changed {
    from: Effective,
    /// The policies that decided it before.
    policies: Vec<PeerAuthentication>,
    /// Connections that were denied before, by caller.
    denied: BTreeMap<Caller, u64>,
}

/// A change of the mode, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When the controller saw it.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The mode before.
    pub from: Mode,
    /// The mode since.
    pub to: Mode,
    /// What to do.
    pub recommendation: Recommendation,
    /// Why, in one line.
    pub summary: String,
    /// What got worse.
    pub evidence: Vec<String>,
    /// Before and after, check by check.
    pub checks: Vec<Comparison>,
    /// The command that takes it back, for whom wants to.
    pub revert: String,
}

/// What to do after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recommendation {
    /// Nothing got worse, and there is enough evidence of it.
    Keep,
    /// It is too early to tell.
    Wait,
    /// Something got worse.
    Revert,
}

/// One check before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Which.
    pub check: Check,
    /// Until the change, as far back as was counted.
    pub before: Period,
    /// Since then.
    pub after: Period,
    /// Whether it got worse.
    pub result: Shift,
}

/// How a check went on after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// As before.
    Same,
    /// Too few attempts to tell.
    NotEnoughEvidence,
    /// Slower, and not failing.
    Slower,
    /// It fails more often.
    Worse,
}

/// What was counted in a span of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// Attempts that can tell something.
    pub attempts: u64,
    /// Of those, the ones not as stated.
    pub violated: u64,
    /// Median latency of those that succeeded, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    /// Their 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
}

impl History {
    /// Takes in the policies of `cluster` at `now`. Where they are other than before, what was
    /// counted of what they decide is forgotten; where the mode of a scope is, that is a turn of
    /// `tally`. `ambient` is where meshprobe's own agents in the mesh are.
    pub fn observe(
        &mut self,
        cluster: &Cluster,
        root_namespace: &str,
        ambient: &str,
        flows: Option<&FleetFlows>,
        tally: &mut Tally,
        now: OffsetDateTime,
    ) {
        let Some(policies) = cluster.peer_authentications.as_deref() else { return };
        let named = policies.iter().map(|it| it.namespace.as_str()).chain([root_namespace]);
        let known = cluster.namespaces.keys().map(String::as_str);
        let mut namespaces: Vec<&str> = known.chain(named).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces.truncate(MOST_SCOPES);
        let mut changed = Vec::new();
        for namespace in namespaces {
            let decides = decides(policies, root_namespace, namespace);
            if self.policies.get(namespace) == Some(&decides) {
                continue;
            }
            let before = self.policies.insert(namespace.to_owned(), decides);
            if before.is_some() {
                changed.push(namespace);
            }
            let before = before.unwrap_or_default();
            let mut turn = |scope: Scope| {
                let to = mode(policies, root_namespace, &scope);
                self.turn(scope, to, before.clone(), flows, tally, now);
            };
            turn(Scope::of(namespace));
            if namespace == root_namespace {
                turn(Scope::Mesh);
            }
        }
        for namespace in changed {
            tally.forget(Some(namespace), now);
            if namespace == ambient {
                tally.forget(None, now);
            }
        }
    }

    fn turn(
        &mut self,
        scope: Scope,
        to: Effective,
        policies: Vec<PeerAuthentication>,
        flows: Option<&FleetFlows>,
        tally: &mut Tally,
        now: OffsetDateTime,
    ) {
        let Some(from) = self.modes.insert(scope.clone(), to).filter(|from| *from != to) else {
            return;
        };
        tally.turn(&scope, now);
        let pairs = flows.into_iter().flat_map(FleetFlows::plaintext).take(MOST_CALLERS);
        let denied = pairs.map(|it| ((it.source.clone(), it.destination.clone()), it.denied));
        self.changed.insert(scope, Changed { from, policies, denied: denied.collect() });
    }

    /// The last change of the mode of `evidence`'s scope, held against what came after.
    pub fn change(&self, evidence: &Evidence<'_>) -> Option<Change> {
        let turn = evidence.tally.turned(&evidence.scope)?;
        let changed = self.changed.get(&evidence.scope)?;
        let to = evidence.mode()?;
        let checks: Vec<Comparison> =
            COMPARED.into_iter().filter_map(|check| compare(check, turn, evidence)).collect();
        let mut told = worse(&checks);
        told.extend(denied(&changed.denied, evidence));
        let recommendation = recommend(to, &checks, !told.is_empty(), turn, evidence);
        let slower = checks.iter().filter(|it| it.result == Shift::Slower);
        told.extend(slower.map(|it| {
            let [before, after] = [&it.before, &it.after].map(|period| period.p99_seconds);
            let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
            format!("{}: p99 rose from {before:.3} s to {after:.3} s", it.check.as_str())
        }));
        let summary = summary(recommendation, to, &evidence.scope, &told);
        let namespace = match &evidence.scope {
            Scope::Namespace { namespace } => namespace,
            Scope::Mesh => evidence.root_namespace,
        };
        let policies = evidence.cluster.peer_authentications.as_deref()?;
        let policies = decides(policies, evidence.root_namespace, namespace);
        Some(Change {
            at: turn.at,
            from: changed.from.into(),
            to: to.into(),
            recommendation,
            summary,
            evidence: told,
            checks,
            revert: back(&changed.policies, &policies),
        })
    }
}

/// The policies that decide what is expected in `namespace`, in an order of their own.
fn decides(
    policies: &[PeerAuthentication],
    root_namespace: &str,
    namespace: &str,
) -> Vec<PeerAuthentication> {
    let own = policies.iter().filter(|it| {
        it.namespace == namespace || (it.namespace == root_namespace && it.selector.is_none())
    });
    let mut own: Vec<PeerAuthentication> = own.cloned().collect();
    own.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    own
}

fn compare(check: Check, turn: &Turn, evidence: &Evidence<'_>) -> Option<Comparison> {
    let (before, after) = (turn.before.get(&check), turn.after.get(&check));
    if before.is_none() && after.is_none() {
        return None;
    }
    let period = |sum: Option<&Sum>| sum.map(Period::of).unwrap_or_default();
    let (before, after) = (period(before), period(after));
    let result = shift(&before, &after, evidence);
    Some(Comparison { check, before, after, result })
}

/// Worse is what fails more than is allowed and more than it did, each with the confidence that is
/// asked for, shared by the checks.
fn shift(before: &Period, after: &Period, evidence: &Evidence<'_>) -> Shift {
    let confidence = evidence.settings.confidence;
    let shared = 1.0 - (1.0 - confidence) / COMPARED.len() as f64;
    let known =
        if before.attempts == 0 { 0.0 } else { upper(before.violated, before.attempts, shared) };
    let allowed = evidence.allowed().max(known);
    if after.violated > 1 && lower(after.violated, after.attempts, shared) > allowed {
        return Shift::Worse;
    }
    if !proves(after.violated, after.attempts, allowed, confidence) {
        return Shift::NotEnoughEvidence;
    }
    let many = before.attempts >= FEW && after.attempts >= FEW;
    let slower =
        before.p99_seconds.zip(after.p99_seconds).is_some_and(|(one, other)| other > one * SLOWER);
    if many && slower { Shift::Slower } else { Shift::Same }
}

fn worse(checks: &[Comparison]) -> Vec<String> {
    let worse = checks.iter().filter(|it| it.result == Shift::Worse);
    let told = worse.map(|it| {
        let share = |period: &Period| match period.attempts {
            0 => "unknown".to_owned(),
            attempts => percent(period.violated as f64 / attempts as f64),
        };
        format!(
            "{}: {} of {} attempts failed since, {} before",
            it.check.as_str(),
            number(it.after.violated),
            number(it.after.attempts),
            share(&it.before),
        )
    });
    told.collect()
}

/// Users whose connections into the scope a policy has denied since.
fn denied(before: &BTreeMap<Caller, u64>, evidence: &Evidence<'_>) -> Vec<String> {
    let flows = evidence.flows.into_iter();
    let users = flows.flat_map(|flows| flows.plaintext_of_users(evidence.own_namespaces));
    let told = users.filter_map(|pair| {
        let into = pair.destination.namespace.as_deref().is_none_or(|it| evidence.scope.holds(it));
        let known = before.get(&(pair.source.clone(), pair.destination.clone()));
        let since = pair.denied.saturating_sub(known.copied().unwrap_or(0));
        let name = |namespace: &Option<String>, workload: &Option<String>| {
            let text = |name: &Option<String>| name.clone().unwrap_or_else(|| "unknown".to_owned());
            format!("{}/{}", text(namespace), text(workload))
        };
        (into && since > 0).then(|| {
            format!(
                "{} from {} to {} denied since",
                counted(since, "connection"),
                name(&pair.source.namespace, &pair.source.workload),
                name(&pair.destination.namespace, &pair.destination.workload),
            )
        })
    });
    told.collect()
}

fn recommend(
    to: Effective,
    checks: &[Comparison],
    bad: bool,
    turn: &Turn,
    evidence: &Evidence<'_>,
) -> Recommendation {
    if to == Effective::Strict && bad {
        return Recommendation::Revert;
    }
    let young = evidence.now - turn.at < time::Duration::seconds(GRACE.as_secs() as i64);
    let unsure = checks.iter().any(|it| it.result == Shift::NotEnoughEvidence);
    if young || unsure || checks.is_empty() || bad {
        Recommendation::Wait
    } else {
        Recommendation::Keep
    }
}

fn summary(
    recommendation: Recommendation,
    to: Effective,
    scope: &Scope,
    told: &[String],
) -> String {
    let what = match to {
        Effective::Strict => "STRICT",
        Effective::Permissive => "PERMISSIVE",
    };
    let why = told.join("; ");
    match recommendation {
        Recommendation::Revert => format!("REVERT {what} in {scope}: {why}"),
        Recommendation::Wait if why.is_empty() => {
            format!("WAIT: too few attempts since {what} in {scope} to compare")
        }
        Recommendation::Wait => format!("WAIT: {what} in {scope}: {why}"),
        Recommendation::Keep if why.is_empty() => {
            format!("KEEP {what} in {scope}: nothing got worse")
        }
        Recommendation::Keep => format!("KEEP {what} in {scope}: nothing fails more, but {why}"),
    }
}

impl Period {
    fn of(sum: &Sum) -> Self {
        Self {
            attempts: sum.verdicts.conclusive(),
            violated: sum.verdicts.violated,
            p50_seconds: sum.latencies.quantile(0.5),
            p99_seconds: sum.latencies.quantile(0.99),
        }
    }
}

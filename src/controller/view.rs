//! `/v1/nodes`: per node and vantage what holds and what does not, as JSON for readers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::cluster::ObjectRef;
use crate::controller::Shared;
use crate::controller::roster::{Entry, Seat};
pub use crate::controller::sighting::Sighting;
use crate::controller::sighting::sightings;
use crate::expectation::Verdict;
use crate::observation::Expected;
use crate::observation::rfc3339;
use crate::target::Vantage;

/// What was pulled longer ago is not shown, nor are windows that ended before.
const FRESH: Duration = Duration::from_secs(60);
/// Targets of a row that are named one by one.
const NAMED: usize = 5;
/// What stands for a reason where no attempt has ended: a gap must not read as a good sign.
pub const NO_RESULT: &str = "no_result";

/// What a controller knows of the whole fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// Whether the cluster was read completely once; until then there are no plans.
    pub synced: bool,
    /// Kinds of objects that were never read, as `resource` or `namespace/resource`.
    pub waiting: Vec<String>,
    /// Since how many seconds the API server was not heard of, at the quietest watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_seconds: Option<u64>,
    /// Whether PeerAuthentications can be read; without them nobody knows where STRICT holds.
    pub peer_authentications: bool,
    /// Every node, by name.
    pub nodes: Vec<Node>,
    /// What a user asked for and cannot be had.
    pub findings: Vec<Remark>,
    /// What is not probed, and why.
    pub unknown: Vec<Remark>,
}

/// A node and its agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Label `topology.kubernetes.io/zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Condition `Ready`.
    pub ready: bool,
    /// Its agents; a vantage without one is a blind spot.
    pub agents: Vec<Agent>,
}

/// An agent and what it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Side of the mesh.
    pub vantage: Vantage,
    /// Its pod.
    pub pod: String,
    /// How it is linked to this controller.
    pub link: Link,
    /// How many seconds ago its windows were last pulled, or told by a Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<u64>,
    /// The revision of the plan that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When its windows were last pulled, or told by a Prometheus, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulled_at: Option<String>,
    /// What it sees, by row of the truth table; its own configuration's targets included.
    pub rows: Vec<Row>,
    /// Each target; only when one node is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Sighting>,
}

/// How an agent is linked to a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Connected, with the plan that it is to run.
    Current,
    /// Connected; it runs another plan, or none yet.
    Outdated,
    /// Its windows were pulled before, and not in the last minute, or it is connected no more. Also
    /// where a Prometheus speaks for it: then nobody asks it.
    Lost,
    /// This controller never heard of it.
    Never,
}

impl Link {
    /// The word in JSON and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Outdated => "outdated",
            Self::Lost => "lost",
            Self::Never => "never",
        }
    }
}

/// A row of the truth table as one agent sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its targets' names up to the first `/`.
    pub row: String,
    /// Its targets by the verdict of their newest window.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// The first few targets that are not met, with the most frequent reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<Unmet>,
}

/// A target that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The target.
    pub target: String,
    /// What had to come back.
    pub expect: Expected,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why: a reason of failure, or [`NO_RESULT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Something to be said of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// `Service`, `Pod`, …
    pub kind: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A closed word.
    pub reason: String,
    /// What, where, and how to mend it.
    pub message: String,
}

impl Row {
    /// The worst of its targets: violated before inconclusive before met.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.verdicts.get(&verdict).is_some_and(|count| *count > 0);
        let order = [Verdict::Violated, Verdict::Inconclusive, Verdict::Met];
        order.into_iter().find(|verdict| any(*verdict)).unwrap_or(Verdict::Inconclusive)
    }
}

impl Shared {
    /// The whole fleet, or one node with each of its targets.
    pub(super) fn view(&self, only: Option<&str>) -> Nodes {
        let snapshot = self.snapshots.borrow().clone();
        let cluster = &snapshot.cluster;
        let now = SystemTime::now();
        let mut agents: BTreeMap<&str, Vec<Agent>> = BTreeMap::new();
        let wanted = |node: &str| only.is_none_or(|only| only == node);
        for agent in cluster.agents.iter().filter(|agent| wanted(&agent.pod.node)) {
            let seat = Seat {
                node: agent.pod.node.clone(),
                vantage: agent.vantage,
                pod: agent.pod.name.clone(),
            };
            let entry = match self.patience {
                None => self.roster.look(&seat, Entry::clone),
                Some(_) => self.evidence.heard(&seat.source()).map(scraped),
            };
            let fresh = self.patience.unwrap_or(FRESH);
            let lately = || sightings(&self.evidence.latest(&seat.source()));
            let told = seen(&seat, entry.as_ref(), (now, fresh), lately, only.is_some());
            agents.entry(&agent.pod.node).or_default().push(told);
        }
        let nodes = cluster.nodes.iter().filter(|(name, _)| wanted(name)).map(|(name, node)| {
            let mut agents = agents.remove(name.as_str()).unwrap_or_default();
            agents.sort_by(|a, b| (a.vantage, &a.pod).cmp(&(b.vantage, &b.pod)));
            Node { name: name.clone(), zone: node.zone.clone(), ready: node.ready, agents }
        });
        let planned = self.planned.borrow().clone();
        let unknown = planned.iter().flat_map(|planned| planned.unknown());
        let findings = cluster.findings.iter();
        let findings = findings.map(|it| remark(&it.object, it.reason.as_str(), &it.message));
        Nodes {
            synced: snapshot.synced,
            waiting: snapshot.waiting.iter().map(ToString::to_string).collect(),
            stale_seconds: self.watches.oldest_contact().map(|at| at.elapsed().as_secs()),
            peer_authentications: cluster.peer_authentications.is_some(),
            nodes: nodes.collect(),
            findings: findings.collect(),
            unknown: unknown
                .map(|it| remark(&it.object, it.reason.as_str(), &it.message))
                .collect(),
        }
    }
}

/// What is known of an agent of which a Prometheus told something at `heard`: neither a connection
/// nor a plan.
fn scraped(heard: OffsetDateTime) -> Entry {
    Entry { peer: 0, connected: false, heard: heard.into(), runs: None, current: false }
}

/// What `entry` says of the agent in `seat` at `now`, and what it saw `lately`. When it was heard
/// longer ago than `fresh`, that says nothing of now.
fn seen(
    seat: &Seat,
    entry: Option<&Entry>,
    (now, fresh): (SystemTime, Duration),
    lately: impl FnOnce() -> Vec<Sighting>,
    each: bool,
) -> Agent {
    let age = entry.map(|entry| now.duration_since(entry.heard).unwrap_or_default());
    let fresh = age.is_some_and(|age| age <= fresh);
    let link = match entry {
        None => Link::Never,
        Some(entry) if !entry.connected || !fresh => Link::Lost,
        Some(entry) if entry.current => Link::Current,
        Some(_) => Link::Outdated,
    };
    let sightings = if fresh { lately() } else { Vec::new() };
    Agent {
        vantage: seat.vantage,
        pod: seat.pod.clone(),
        link,
        silent_seconds: age.map(|age| age.as_secs()),
        revision: entry.and_then(|entry| entry.runs.clone()),
        pulled_at: entry.map(|entry| rfc3339::seconds(entry.heard.into())),
        rows: rows(&sightings),
        targets: if each { sightings } else { Vec::new() },
    }
}

fn rows(sightings: &[Sighting]) -> Vec<Row> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for sighting in sightings {
        let name = sighting.row();
        let empty = || Row { row: name.to_owned(), verdicts: BTreeMap::new(), unmet: Vec::new() };
        let row = rows.entry(name).or_insert_with(empty);
        let verdict = sighting.verdict();
        *row.verdicts.entry(verdict).or_default() += 1;
        if verdict != Verdict::Met && row.unmet.len() < NAMED {
            row.unmet.push(Unmet {
                target: sighting.target.clone(),
                expect: sighting.expect,
                verdict,
                reason: reason(sighting),
            });
        }
    }
    rows.into_values().collect()
}

fn reason(sighting: &Sighting) -> Option<String> {
    let reason = if sighting.attempted() { sighting.reason() } else { Some(NO_RESULT) };
    reason.map(str::to_owned)
}

fn remark(object: &ObjectRef, reason: &str, message: &str) -> Remark {
    Remark {
        kind: object.kind.clone(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Pace;
    use crate::observation::Verdicts;
    use crate::target::ProbeKind;

    fn told(age: u64, connected: bool) -> Agent {
        let now = SystemTime::now();
        let entry = Entry {
            peer: 1,
            connected,
            heard: now - Duration::from_secs(age),
            runs: Some("r".to_owned()),
            current: true,
        };
        of(&entry, (now, FRESH))
    }

    fn of(entry: &Entry, now: (SystemTime, Duration)) -> Agent {
        let seat = Seat {
            node: "node-1".to_owned(),
            vantage: Vantage::Plain,
            pod: "meshprobe-agent-1".to_owned(),
        };
        let sighting = Sighting {
            target: "peer/node-2".to_owned(),
            probe: ProbeKind::Http,
            expect: Expected::Reply,
            window_start: time::OffsetDateTime::UNIX_EPOCH,
            window_seconds: 10,
            verdicts: Verdicts { met: 3, ..Verdicts::default() },
            reasons: BTreeMap::new(),
            latency_seconds: None,
        };
        seen(&seat, Some(entry), now, || vec![sighting], false)
    }

    #[test]
    fn what_was_met_a_minute_ago_is_not_shown_as_met_now() {
        let fresh = told(20, true);
        assert_eq!((fresh.link, fresh.rows.len()), (Link::Current, 1));
        let stale = told(61, true);
        assert_eq!((stale.link, stale.rows.len()), (Link::Lost, 0), "connected, and silent");
        assert_eq!(told(20, false).link, Link::Lost);
    }

    #[test]
    fn an_agent_for_whom_a_prometheus_speaks_is_seen_and_of_its_plan_nothing_is_said() {
        let now = SystemTime::now();
        let patience = Pace::BY_MINUTES.silent;
        let told = |age| of(&scraped((now - Duration::from_secs(age)).into()), (now, patience));
        let lately = told(130);
        assert_eq!((lately.rows.len(), lately.silent_seconds), (1, Some(130)));
        assert_eq!((lately.link, lately.revision), (Link::Lost, None));
        assert_eq!(told(211).rows, []);
    }

    #[test]
    fn a_target_that_was_not_attempted_is_a_gap_in_its_row() {
        let sighting = |target: &str, met| Sighting {
            target: target.to_owned(),
            probe: ProbeKind::Http,
            expect: Expected::Reply,
            window_start: time::OffsetDateTime::UNIX_EPOCH,
            window_seconds: 10,
            verdicts: Verdicts { met, ..Verdicts::default() },
            reasons: BTreeMap::new(),
            latency_seconds: None,
        };
        let rows = rows(&[sighting("peer/a", 3), sighting("peer/b", 0)]);
        assert_eq!((rows.len(), rows[0].verdict()), (1, Verdict::Inconclusive));
        let [unmet] = &rows[0].unmet[..] else { panic!("{rows:?}") };
        assert_eq!((unmet.target.as_str(), unmet.reason.as_deref()), ("peer/b", Some(NO_RESULT)));
    }

    #[test]
    fn the_worst_target_of_a_row_is_its_verdict() {
        let row = |verdicts: &[Verdict]| Row {
            row: "peer".to_owned(),
            verdicts: verdicts.iter().map(|verdict| (*verdict, 1)).collect(),
            unmet: Vec::new(),
        };
        let [met, violated, inconclusive] = Verdict::ALL;
        assert_eq!(row(&[met, inconclusive]).verdict(), inconclusive);
        assert_eq!(row(&[met, inconclusive, violated]).verdict(), violated);
        assert_eq!(row(&[]).verdict(), inconclusive);
    }
}

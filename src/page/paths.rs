//! Every path of a mesh by row of the truth table, small enough for a hundred thousand of them.
//! Pure.

use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use crate::evidence::{Evidence, Newest, Source};
use crate::observation::Expected;
use crate::page::known::Node;
use crate::page::lines::is_heard;
use crate::page::state::{Counts, State, is_fresh};
use crate::target::Vantage;

/// A row of the truth table: who asks, and the name of its targets before the far end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The side of the mesh that asks.
    pub vantage: Vantage,
    /// Such as `peer`.
    pub name: String,
}

/// The far end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Far {
    /// The agents on a node, by number of its name.
    Node(u32),
    /// Something else, by number of its name.
    Other(u32),
    /// What the row asks is there once.
    Alone,
}

/// A path of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Number of the name of the node that asks.
    pub from: u32,
    /// Of whom.
    pub to: Far,
    /// How it stands.
    pub state: State,
}

/// The paths of a row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// All of them.
    pub paths: Vec<Path>,
    /// The same by state.
    pub counts: Counts,
    /// How many must be denied.
    pub denied: u32,
}

/// Every path, by row.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// By who asks what.
    pub rows: BTreeMap<RowKey, Row>,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// The row of the path that was added last.
    last: Option<RowKey>,
}

impl Paths {
    /// Those that `evidence` holds of agents on `nodes`, as of `now`.
    pub fn of(evidence: &Evidence, nodes: &BTreeMap<String, Node>, now: OffsetDateTime) -> Self {
        let mut paths = Self::default();
        // What one agent told comes in a row.
        let mut last: Option<(Source, bool)> = None;
        evidence.newest(|source, newest| {
            let is_heard = match &last {
                Some((of, is_heard)) if of == source => *is_heard,
                _ => {
                    let is_heard = is_heard(nodes.get(&source.node), source.vantage);
                    last = Some((source.clone(), is_heard));
                    is_heard
                }
            };
            paths.add((&source.node, source.vantage), newest, is_heard, now);
        });
        paths
    }

    /// Adds the path of `newest`, which an agent on `node` of that side told, as of `now`. Of an
    /// agent that `is_heard` no more nothing is known.
    pub fn add(
        &mut self,
        (node, vantage): (&str, Vantage),
        newest: &Newest<'_>,
        is_heard: bool,
        now: OffsetDateTime,
    ) {
        let (row, rest) = split(newest.name);
        let fresh = is_heard && is_fresh(newest.ended_at, newest.rhythm, now);
        let state = if fresh { State::of(newest.verdicts) } else { State::Unknown };
        let from = self.number(node);
        let to = match (rest, newest.destination_node) {
            (None, _) => Far::Alone,
            (Some(_), Some(node)) if is_per_node(newest.target) => Far::Node(self.number(node)),
            (Some(rest), _) => Far::Other(self.number(rest)),
        };
        let row = self.row(vantage, row);
        row.paths.push(Path { from, to, state });
        row.counts.add(state);
        row.denied += u32::from(newest.expect == Expected::Denied);
    }

    /// The name with that number.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    /// Paths by state, of all rows.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.rows.values().for_each(|row| all.join(&row.counts));
        all
    }

    fn row(&mut self, vantage: Vantage, name: &str) -> &mut Row {
        // An agent's targets come by name, and those of one row are many.
        let known = self.last.as_ref().is_some_and(|it| it.vantage == vantage && it.name == name);
        if !known {
            let key = RowKey { vantage, name: name.to_owned() };
            self.rows.entry(key.clone()).or_default();
            self.last = Some(key);
        }
        let key = self.last.as_ref().expect("set above");
        self.rows.get_mut(key).expect("it was entered")
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

/// A target's name as the name of its row and the far end's, if it has one.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('/') {
        Some((row, rest)) => (row, Some(rest)),
        None => (name, None),
    }
}

/// Whether what is asked is there once per node, so that its far end is a node.
fn is_per_node(target: &str) -> bool {
    ["peer", "peer-strict", "underlay", "certificate"].contains(&target)
}

impl RowKey {
    /// The key as it is written in links, such as `ambient.peer`.
    pub fn to_word(&self) -> String {
        format!("{}.{}", self.vantage, self.name)
    }

    /// Reads it; `None` when it is none.
    pub fn read(word: &str) -> Option<Self> {
        let (vantage, name) = word.split_once('.')?;
        Some(Self { vantage: vantage.parse().ok()?, name: name.to_owned() })
    }

    /// What is asked, in words, and `None` for targets that a user named.
    pub fn words(&self) -> Option<&'static str> {
        let known = WORDS.iter().find(|(name, _)| *name == self.name);
        known.map(|(_, words)| *words)
    }

    /// Its place in the truth table.
    pub fn rank(&self) -> usize {
        let place = WORDS.iter().position(|(name, _)| *name == self.name);
        self.vantage as usize * (WORDS.len() + 1) + place.unwrap_or(WORDS.len())
    }
}

/// The rows that every plan or lab has, and what they ask.
const WORDS: &[(&str, &str)] = &[
    ("peer", "ambient peer"),
    ("canary", "STRICT canary"),
    ("plain-peer", "plain peer, the underlay"),
    ("hbone", "HBONE to ambient peer"),
    ("hbone-canary", "HBONE to STRICT canary"),
    ("certificate", "HBONE certificate"),
    ("held", "held connection"),
    ("large", "large bodies"),
    ("service", "services"),
    ("frontend", "default/mirai-frontend"),
    ("monitoring", "monitoring/prometheus"),
    ("ingress", "ingress to default/mirai-frontend"),
    ("hbone-service", "HBONE to service pods"),
    ("waypoint", "waypoints"),
    ("names", "captured DNS"),
    ("coredns-udp", "CoreDNS by udp"),
    ("coredns-tcp", "CoreDNS by tcp"),
    ("istiod", "istiod ladder"),
    ("istiod-name", "istiod by name"),
    ("capture", "own capture"),
    ("own-hbone", "own certificate"),
    ("ztunnel", "ztunnel readiness"),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::Verdicts;

    fn newest(name: &'static str, target: &'static str) -> Newest<'static> {
        Newest {
            name,
            target,
            destination_node: Some("node-2"),
            expect: Expected::Reply,
            verdicts: Verdicts { met: 1, ..Verdicts::default() },
            ended_at: OffsetDateTime::UNIX_EPOCH,
            rhythm: None,
        }
    }

    fn added(newest: &Newest<'_>, is_heard: bool, age: u64) -> Paths {
        let mut paths = Paths::default();
        let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(age);
        paths.add(("node-1", Vantage::Plain), newest, is_heard, now);
        paths
    }

    fn only(paths: &Paths) -> Path {
        paths.rows.values().next().expect("a row").paths[0]
    }

    #[test]
    fn the_far_end_of_a_peer_is_its_node_and_of_other_targets_what_they_are_called() {
        let far = |name, target| {
            let paths = added(&newest(name, target), true, 0);
            match only(&paths).to {
                Far::Node(number) => format!("node {}", paths.name(number)),
                Far::Other(number) => paths.name(number).to_owned(),
                Far::Alone => "alone".to_owned(),
            }
        };
        assert_eq!(far("peer/node-2", "peer"), "node node-2");
        assert_eq!(far("coredns-udp/1", "coredns/1"), "1");
        assert_eq!(far("service/a/b:80/pod", "service/a/b"), "a/b:80/pod");
        assert_eq!(far("capture", "capture"), "alone");
    }

    #[test]
    fn what_a_silent_agent_saw_last_and_what_is_old_are_unknown() {
        let peer = newest("peer/node-2", "peer");
        assert_eq!(only(&added(&peer, true, 0)).state, State::Met);
        assert_eq!(only(&added(&peer, false, 0)).state, State::Unknown);
        assert_eq!(only(&added(&peer, true, 61)).state, State::Unknown);
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let key = RowKey { vantage: Vantage::Ambient, name: "a.b".to_owned() };
        assert_eq!(RowKey::read(&key.to_word()), Some(key));
        for word in ["", "peer", "nowhere.peer"] {
            assert_eq!(RowKey::read(word), None, "{word}");
        }
    }
}

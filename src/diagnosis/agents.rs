//! Our own agents: which are silent, and which are starved. Neither is evidence against the
//! network.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnosis::component::Names;
use crate::diagnosis::path::Path;
use crate::diagnosis::topology::Topology;
use crate::failure::Reason;
use crate::observation::Observation;
use crate::target::Vantage;

/// Windows that an agent may be behind the others before it is silent.
const BEHIND: u64 = 3;
/// The share of attempts that says that an agent is starved.
const STARVED: f64 = 0.2;
/// The least attempts to tell it from.
const FEW: u64 = 5;

/// What one agent told.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    attempts: u64,
    starved: u64,
    /// Seconds since 1970.
    last: i64,
    since: Option<i64>,
    window: u64,
}

/// What agents told, by node and vantage.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<(u32, Vantage), Account>);

/// An agent that cannot do its work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lame {
    pub(super) node: u32,
    pub(super) vantage: Vantage,
    pub(super) how: How,
    /// Seconds since 1970, when it is known.
    pub(super) since: Option<i64>,
}

/// How an agent fails us.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum How {
    /// It tells nothing, while `heard` of `all` agents of its vantage do.
    Silent { heard: usize, all: usize },
    /// It was too busy for `starved` of its `attempts`.
    Starved { starved: u64, attempts: u64 },
}

impl Heard {
    pub(super) fn add(&mut self, path: &Path, observation: &Observation) {
        let account = self.0.entry((path.source, path.vantage)).or_default();
        let count = |reason| observation.reasons.get(&reason).copied().unwrap_or(0);
        let starved = count(Reason::ScheduleLag).saturating_add(count(Reason::LocalResource));
        let starved = starved.min(observation.verdicts.inconclusive);
        account.attempts = account.attempts.saturating_add(observation.verdicts.total());
        account.starved = account.starved.saturating_add(starved);
        account.last = account.last.max(observation.window_end().unix_timestamp());
        account.window = account.window.max(observation.window_seconds);
        if starved > 0 {
            let start = observation.window_start.unix_timestamp();
            account.since = Some(account.since.map_or(start, |since| since.min(start)));
        }
    }

    /// Agents that are starved, and those that should tell something and do not. `given` are the
    /// agents that there are; without it, every node is taken to have those that most nodes have.
    pub(super) fn lame(&self, topology: &Topology, names: &mut Names) -> Vec<Lame> {
        let newest = self.0.values().map(|account| account.last).max().unwrap_or_default();
        let fresh = |account: &Account| {
            let allowed = BEHIND.saturating_mul(account.window.max(1));
            newest.saturating_sub(account.last) <= i64::try_from(allowed).unwrap_or(i64::MAX)
        };
        let expected = self.expected(topology, names);
        let mut lame = Vec::new();
        for vantage in Vantage::ALL {
            let nodes: Vec<u32> =
                expected.iter().filter(|agent| agent.1 == vantage).map(|agent| agent.0).collect();
            let speaks = |node: u32, vantage| self.0.get(&(node, vantage)).is_some_and(fresh);
            let heard = nodes.iter().filter(|node| speaks(**node, vantage)).count();
            for &node in &nodes {
                let other =
                    Vantage::ALL.iter().any(|other| *other != vantage && speaks(node, *other));
                if speaks(node, vantage) || !(other || heard * 2 > nodes.len()) {
                    continue;
                }
                let since = self.0.get(&(node, vantage)).map(|account| account.last);
                let how = How::Silent { heard, all: nodes.len() };
                lame.push(Lame { node, vantage, how, since });
            }
        }
        lame.extend(self.starved());
        lame
    }

    fn starved(&self) -> impl Iterator<Item = Lame> {
        self.0.iter().filter_map(|((node, vantage), account)| {
            let Account { attempts, starved, since, .. } = *account;
            let is = attempts >= FEW && starved as f64 >= STARVED * attempts as f64;
            let how = How::Starved { starved, attempts };
            is.then_some(Lame { node: *node, vantage: *vantage, how, since })
        })
    }

    fn expected(&self, topology: &Topology, names: &mut Names) -> BTreeSet<(u32, Vantage)> {
        let mut expected: BTreeSet<(u32, Vantage)> = self.0.keys().copied().collect();
        if !topology.agents.is_empty() {
            expected.extend(
                topology.agents.iter().map(|agent| (names.node(&agent.node), agent.vantage)),
            );
            return expected;
        }
        for vantage in Vantage::ALL {
            if self.0.keys().any(|agent| agent.1 == vantage) {
                expected
                    .extend(topology.nodes.iter().map(|node| (names.node(&node.name), vantage)));
            }
        }
        expected
    }

    /// How many agents told something.
    pub(super) fn agents(&self) -> usize {
        self.0.len()
    }
}

//! Verdicts per node and check over hours, so that evidence grows beyond the minutes that a
//! controller keeps windows for.
//!
//! Pure and bounded; time is an argument. What is counted is lost when the controller ends, and
//! nothing of it is older than two [`GENERATION`]s.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use time::OffsetDateTime;

use crate::digest::Digest;
use crate::gate::Scope;
use crate::gate::check::{Check, counts};
use crate::observation::{Expected, Observation, Verdicts};

/// Windows count once they are so much older than the newest that their agent tells: attempts of
/// up to 20 s have ended by then. Longer ones count only as far as they ended in time.
pub const SETTLE: Duration = Duration::from_secs(30);
/// How long counts are added to before they are the previous generation, which is dropped when the
/// next one is. Evidence is of one to two generations.
pub const GENERATION: Duration = Duration::from_secs(12 * 3600);
/// An agent's windows that begin so much before those that were counted are of a clock that was
/// set back.
const SET_BACK: time::Duration = time::Duration::minutes(10);
/// The most agents that are told apart.
const MOST_AGENTS: usize = 20_000;
/// The most nodes that are counted for.
const MOST_NODES: usize = 20_000;
/// The most cells of one node.
const MOST_CELLS: usize = 512;
/// The most latency digests.
const MOST_DIGESTS: usize = 2_048;
/// The most scopes whose last change is kept.
const MOST_TURNS: usize = 64;
/// The most namespaces whose expectations are known to have changed.
const MOST_NAMESPACES: usize = 10_000;

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cell {
    check: Check,
    /// Of the Service that was asked; `None` for everything else.
    namespace: Option<String>,
    expect: Expected,
}

/// Verdicts, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Attempts by verdict.
    pub verdicts: Verdicts,
    /// When the first window began that counted.
    pub since: OffsetDateTime,
}

/// All nodes' verdicts of one kind, with their latencies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {
    /// Attempts by verdict.
    pub verdicts: Verdicts,
    /// Latencies of those that succeeded.
    pub latencies: Digest,
}

type Nodes = BTreeMap<String, BTreeMap<Cell, Count>>;
type Digests = BTreeMap<Cell, Digest>;

/// What one scope counted before its mode changed, and what it counts since.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// When the controller saw the change.
    pub at: OffsetDateTime,
    /// Everything that was known then, by check.
    pub before: BTreeMap<Check, Sum>,
    /// Windows that began since then, by check.
    pub after: BTreeMap<Check, Sum>,
}

/// What was counted in one span of time.
#[derive(Debug, Default)]
struct Generation {
    nodes: Nodes,
    digests: Digests,
}

/// Counts verdicts of windows, each once.
#[derive(Debug)]
pub struct Tally {
    began: OffsetDateTime,
    /// When the younger generation began.
    young_since: OffsetDateTime,
    /// Younger first.
    generations: [Generation; 2],
    /// By agent: its windows from before this count no more.
    counted: HashMap<String, OffsetDateTime>,
    /// By namespace of Services, and for meshprobe's own agents: what is expected since then.
    expected_since: HashMap<Option<String>, OffsetDateTime>,
    turns: BTreeMap<Scope, Turn>,
    dropped: u64,
}

impl Tally {
    /// Nothing counted, from `now` on.
    pub fn new(now: OffsetDateTime) -> Self {
        Self {
            began: now,
            young_since: now,
            generations: Default::default(),
            counted: HashMap::new(),
            expected_since: HashMap::new(),
            turns: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// When counting began: everything before is not known.
    pub fn began(&self) -> OffsetDateTime {
        self.began
    }

    /// The newest window of `agent` that can have counted began then; later ones have not settled.
    pub fn counted(&self, agent: &str) -> Option<OffsetDateTime> {
        self.counted.get(agent).copied()
    }

    /// Windows that were not counted for want of place.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// `agent` (any name of its own) told these windows at `now`. Those that settled and were not
    /// counted before count; an agent must be asked again within [`SETTLE`], or windows are lost,
    /// which takes away evidence and adds none.
    pub fn take(&mut self, agent: &str, told: &[Observation], now: OffsetDateTime) {
        self.age(now);
        let Some(newest) = told.iter().map(|it| it.window_start).max() else { return };
        let settled = newest.saturating_sub(time::Duration::seconds(SETTLE.as_secs() as i64));
        if self.counted.len() >= MOST_AGENTS && !self.counted.contains_key(agent) {
            let oldest = self.counted.iter().min_by_key(|(_, until)| **until);
            let oldest = oldest.map(|(agent, _)| agent.clone());
            oldest.map(|agent| self.counted.remove(&agent));
        }
        let last = self.counted.get(agent).copied();
        let last = last.filter(|last| newest.saturating_add(SET_BACK) >= *last);
        for observation in told {
            let start = observation.window_start;
            if start <= settled && last.is_none_or(|last| start > last) {
                self.count(observation);
            }
        }
        let until = last.map_or(settled, |last| last.max(settled));
        self.counted.insert(agent.to_owned(), until);
    }

    /// Counts what will not be told again: every agent's windows come by [`Self::take`], which sees
    /// to that.
    pub fn count(&mut self, observation: &Observation) {
        let Some((check, namespace)) = Check::of(observation) else { return };
        if !counts(observation) || observation.verdicts.total() == 0 {
            return;
        }
        let namespace = namespace.map(str::to_owned);
        let start = observation.window_start;
        if concerned(check, &namespace)
            && self.expected_since.get(&namespace).is_some_and(|since| start < *since)
        {
            return;
        }
        self.after(check, namespace.as_deref(), observation);
        let cell = Cell { check, namespace, expect: observation.expect };
        let Generation { nodes, digests } = &mut self.generations[0];
        let node = &observation.source_node;
        if nodes.len() >= MOST_NODES && !nodes.contains_key(node) {
            self.dropped += 1;
            return;
        }
        let cells = nodes.entry(node.clone()).or_default();
        if cells.len() >= MOST_CELLS && !cells.contains_key(&cell) {
            self.dropped += 1;
            return;
        }
        let fresh = Count { verdicts: Verdicts::default(), since: start };
        let count = cells.entry(cell.clone()).or_insert(fresh);
        count.verdicts = plus(count.verdicts, observation.verdicts);
        count.since = count.since.min(start);
        if let Some(digest) = &observation.digest
            && (digests.len() < MOST_DIGESTS || digests.contains_key(&cell))
        {
            digests.entry(cell).or_default().merge(digest);
        }
    }

    fn age(&mut self, now: OffsetDateTime) {
        if now - self.young_since >= GENERATION {
            let young = std::mem::take(&mut self.generations[0]);
            self.generations[1] = young;
            self.young_since = now;
        }
    }

    fn after(&mut self, check: Check, namespace: Option<&str>, observation: &Observation) {
        let turns = self
            .turns
            .iter_mut()
            .filter(|(scope, turn)| scope.reads(namespace) && observation.window_start >= turn.at);
        for (_, turn) in turns {
            turn.after
                .entry(check)
                .or_default()
                .add(observation.verdicts, observation.digest.as_ref());
        }
    }

    /// What is expected of Services in `namespace` (`None`: of meshprobe's own agents) is from
    /// `now` on other than before: what was counted of them says nothing any more.
    pub fn forget(&mut self, namespace: Option<&str>, now: OffsetDateTime) {
        let namespace = namespace.map(str::to_owned);
        let about =
            |cell: &Cell| cell.namespace == namespace && concerned(cell.check, &cell.namespace);
        for Generation { nodes, digests } in &mut self.generations {
            nodes.values_mut().for_each(|cells| cells.retain(|cell, _| !about(cell)));
            nodes.retain(|_, cells| !cells.is_empty());
            digests.retain(|cell, _| !about(cell));
        }
        if self.expected_since.len() >= MOST_NAMESPACES {
            self.expected_since.clear();
        }
        self.expected_since.insert(namespace, now);
    }

    /// The mode of `scope` changed: what is known now is what came before.
    pub fn turn(&mut self, scope: &Scope, now: OffsetDateTime) {
        if self.turns.len() >= MOST_TURNS && !self.turns.contains_key(scope) {
            let oldest = self.turns.iter().min_by_key(|(_, turn)| turn.at);
            let oldest = oldest.map(|(scope, _)| scope.clone());
            oldest.map(|scope| self.turns.remove(&scope));
        }
        let turn = Turn { at: now, before: self.sums(scope), after: BTreeMap::new() };
        self.turns.insert(scope.clone(), turn);
    }

    /// The last change of `scope`'s mode.
    pub fn turned(&self, scope: &Scope) -> Option<&Turn> {
        self.turns.get(scope)
    }

    /// What each node counted of `check` with `expect` within `scope`.
    pub fn nodes(&self, check: Check, expect: Expected, scope: &Scope) -> BTreeMap<&str, Count> {
        let mut found: BTreeMap<&str, Count> = BTreeMap::new();
        for (node, cells) in self.generations.iter().flat_map(|one| &one.nodes) {
            let within = |cell: &Cell| {
                let Cell { check: its, namespace, expect: wants } = cell;
                *its == check && *wants == expect && scope.reads(namespace.as_deref())
            };
            for (_, count) in cells.iter().filter(|(cell, _)| within(cell)) {
                let sum =
                    found.entry(node).or_insert(Count { verdicts: Verdicts::default(), ..*count });
                sum.verdicts = plus(sum.verdicts, count.verdicts);
                sum.since = sum.since.min(count.since);
            }
        }
        found
    }

    /// All nodes together, by check, within `scope`; whatever was expected.
    fn sums(&self, scope: &Scope) -> BTreeMap<Check, Sum> {
        let mut found: BTreeMap<Check, Sum> = BTreeMap::new();
        for Generation { nodes, digests } in &self.generations {
            for (cell, count) in nodes.values().flatten() {
                if scope.reads(cell.namespace.as_deref()) {
                    found.entry(cell.check).or_default().add(count.verdicts, None);
                }
            }
            for (cell, digest) in digests {
                if scope.reads(cell.namespace.as_deref()) {
                    found.entry(cell.check).or_default().latencies.merge(digest);
                }
            }
        }
        found
    }
}

/// Whether PeerAuthentications decide what is expected.
fn concerned(check: Check, namespace: &Option<String>) -> bool {
    namespace.is_some() || matches!(check, Check::Connectivity | Check::Canary)
}

impl Sum {
    fn add(&mut self, verdicts: Verdicts, latencies: Option<&Digest>) {
        self.verdicts = plus(self.verdicts, verdicts);
        if let Some(digest) = latencies {
            self.latencies.merge(digest);
        }
    }
}

/// The sum of two counts, which stays at the largest number there is.
pub(super) fn plus(one: Verdicts, other: Verdicts) -> Verdicts {
    Verdicts {
        met: one.met.saturating_add(other.met),
        violated: one.violated.saturating_add(other.violated),
        inconclusive: one.inconclusive.saturating_add(other.inconclusive),
    }
}

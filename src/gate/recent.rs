//! What agents saw just now, as the checks read it: by node and vantage, and path by path.

use std::collections::BTreeMap;

use crate::failure::Reason;
use crate::gate::Evidence;
use crate::gate::check::{Check, counts};
use crate::gate::tally::plus;
use crate::observation::{Expected, Observation, Verdicts};
use crate::target::Vantage;

/// A path that was violated so often, and met not once, is dead.
const DEAD: u64 = 3;

/// One path: who asks whom for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PathKey<'a> {
    pub(super) check: Check,
    pub(super) expect: Expected,
    pub(super) node: &'a str,
    pub(super) vantage: Option<Vantage>,
    /// The target's name, or what it is of.
    pub(super) target: &'a str,
    pub(super) destination: Option<&'a str>,
}

/// What was seen of one path.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) verdicts: Verdicts,
    pub(super) reasons: BTreeMap<Reason, u64>,
    /// Of the last minute or so alone.
    lately: Verdicts,
}

/// Everything within the window.
#[derive(Debug, Default)]
pub(super) struct Recent<'a> {
    pub(super) paths: BTreeMap<PathKey<'a>, Seen>,
    /// Held connections that broke, by node.
    pub(super) broken: BTreeMap<&'a str, u64>,
}

impl<'a> Recent<'a> {
    /// The observations of `evidence` that are of its scope and no older than its window.
    pub(super) fn of(evidence: &Evidence<'a>) -> Self {
        let oldest = evidence.now - evidence.window;
        let mut recent = Self::default();
        let within = |it: &&Observation| it.window_end() > oldest;
        for observation in evidence.observations.iter().filter(within) {
            if let Some(key) = recent.key(observation, evidence) {
                recent.paths.entry(key).or_default().add(observation);
            }
        }
        let mut lately = Self::default();
        for observation in evidence.lately.iter().filter(within) {
            if let Some(key) = lately.key(observation, evidence) {
                lately.paths.entry(key).or_default().add(observation);
            }
        }
        for (key, seen) in lately.paths {
            if let Some(path) = recent.paths.get_mut(&key) {
                path.lately = seen.verdicts;
            }
        }
        recent
    }

    /// The path of `observation`, if it is one that the checks read.
    fn key(
        &mut self,
        observation: &'a Observation,
        evidence: &Evidence<'a>,
    ) -> Option<PathKey<'a>> {
        let (check, namespace) = Check::of(observation)?;
        if !evidence.scope.reads(namespace) {
            return None;
        }
        if !counts(observation) {
            let broken = self.broken.entry(&observation.source_node).or_default();
            *broken += observation.verdicts.violated;
            return None;
        }
        Some(PathKey {
            check,
            expect: observation.expect,
            node: &observation.source_node,
            vantage: observation.vantage,
            target: observation.name.as_deref().unwrap_or(&observation.target),
            destination: observation.destination_node.as_deref(),
        })
    }

    /// The paths of `check`.
    pub(super) fn of_check(&self, check: Check) -> impl Iterator<Item = (&PathKey<'a>, &Seen)> {
        self.paths.iter().filter(move |(key, _)| key.check == check)
    }

    /// Verdicts and reasons by node and vantage, of paths of `check` that expect `expect`.
    pub(super) fn nodes(
        &self,
        check: Check,
        expect: Expected,
    ) -> BTreeMap<(&'a str, Option<Vantage>), Seen> {
        let mut nodes: BTreeMap<_, Seen> = BTreeMap::new();
        for (key, seen) in self.of_check(check).filter(|(key, _)| key.expect == expect) {
            let node = nodes.entry((key.node, key.vantage)).or_default();
            node.verdicts = plus(node.verdicts, seen.verdicts);
            for (reason, count) in &seen.reasons {
                *node.reasons.entry(*reason).or_default() += count;
            }
        }
        nodes
    }
}

impl Seen {
    fn add(&mut self, window: &Observation) {
        self.verdicts = plus(self.verdicts, window.verdicts);
        // Of an expected denial the reason is how it was denied: no failure.
        if window.verdicts.violated > 0 {
            for (reason, count) in &window.reasons {
                *self.reasons.entry(*reason).or_default() += count;
            }
        }
    }

    /// Whether the path shows nothing but violations, in all of the window or of late.
    pub(super) fn is_dead(&self) -> bool {
        let dead = |verdicts: Verdicts| verdicts.met == 0 && verdicts.violated >= DEAD;
        dead(self.verdicts) || dead(self.lately)
    }

    /// The most frequent reason, as ` (reset)`.
    pub(super) fn because(&self) -> String {
        if self.gaps() > 0 {
            return format!(" ({})", Reason::UnexpectedReply);
        }
        let most = self.reasons.iter().max_by_key(|(_, count)| **count);
        most.map(|(reason, _)| format!(" ({reason})")).unwrap_or_default()
    }

    /// How many replies came where a denial was due.
    pub(super) fn gaps(&self) -> u64 {
        self.reasons.get(&Reason::UnexpectedReply).copied().unwrap_or(0)
    }
}

/// The path for people: `node-1 (plain) to canary/node-2`.
impl std::fmt::Display for PathKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.node)?;
        if let Some(vantage) = self.vantage {
            write!(f, " ({vantage})")?;
        }
        write!(f, " to {}", self.target)?;
        match self.destination {
            Some(node) if !self.target.contains(node) && node != self.node => {
                write!(f, " on {node}")
            }
            Some(_) | None => Ok(()),
        }
    }
}

//! What agents saw just now, as the checks read it: by node and vantage, and path by path.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::failure::Reason;
use crate::gate::Evidence;
use crate::gate::check::{Check, counts};
use crate::gate::tally::plus;
use crate::observation::{Expected, Observation, Verdicts};
use crate::target::Vantage;

/// A path that was violated so often, and met not once, is dead.
const DEAD: u64 = 3;
/// How far back of its newest window a path is looked at by itself.
const LATELY: time::Duration = time::Duration::seconds(30);

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
    /// Of the newest windows alone.
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
        let mut found: BTreeMap<PathKey<'a>, Vec<&'a Observation>> = BTreeMap::new();
        let mut recent = Self::default();
        let observations = evidence.observations.iter().filter(|it| it.window_end() > oldest);
        for observation in observations {
            let Some((check, namespace)) = Check::of(observation) else { continue };
            if !evidence.scope.reads(namespace) {
                continue;
            }
            if !counts(observation) {
                let broken = recent.broken.entry(&observation.source_node).or_default();
                *broken += observation.verdicts.violated;
                continue;
            }
            let key = PathKey {
                check,
                expect: observation.expect,
                node: &observation.source_node,
                vantage: observation.vantage,
                target: observation.name.as_deref().unwrap_or(&observation.target),
                destination: observation.destination_node.as_deref(),
            };
            found.entry(key).or_default().push(observation);
        }
        recent.paths = found.into_iter().map(|(key, windows)| (key, Seen::of(&windows))).collect();
        recent
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
    fn of(windows: &[&Observation]) -> Self {
        let newest = windows.iter().map(|it| it.window_start).max();
        let since = newest.map_or(OffsetDateTime::UNIX_EPOCH, |newest| newest - LATELY);
        let mut seen = Self::default();
        for window in windows {
            seen.verdicts = plus(seen.verdicts, window.verdicts);
            if window.window_start >= since {
                seen.lately = plus(seen.lately, window.verdicts);
            }
            // Of an expected denial the reason is how it was denied: no failure.
            if window.verdicts.violated > 0 {
                for (reason, count) in &window.reasons {
                    *seen.reasons.entry(*reason).or_default() += count;
                }
            }
        }
        seen
    }

    /// Whether the path shows nothing but violations, in all of the window or of late.
    pub(super) fn is_dead(&self) -> bool {
        let dead = |verdicts: Verdicts| verdicts.met == 0 && verdicts.violated >= DEAD;
        dead(self.verdicts) || dead(self.lately)
    }

    /// The most frequent reason, as ` (reset)`.
    pub(super) fn because(&self) -> String {
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

//! What is the same in all windows of a path, kept once for all agents that ask the same.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::observation::{Expected, Observation};
use crate::target::{ProbeKind, SubjectName, Via};

/// Longest name of a target that is kept: older agents tell none longer.
const LONGEST_NAME: usize = 128;
/// Longest name of a node.
const LONGEST_NODE: usize = 253;
/// Longest window, seconds.
const LONGEST_WINDOW: u64 = 3600;

/// What an agent asks of whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Path {
    /// The target's name within its agent's plan.
    pub(super) name: Box<str>,
    /// What it is an observation of.
    pub(super) target: Box<str>,
    /// Node of the far end.
    pub(super) destination_node: Option<Box<str>>,
    /// What is asked.
    pub(super) probe: ProbeKind,
    /// Through what.
    pub(super) via: Option<Via>,
    /// What must come back.
    pub(super) expect: Expected,
    /// Length of a window.
    pub(super) window_seconds: u32,
}

impl Path {
    /// The path that `observation` is of; `None` when its words are longer than names are.
    pub(super) fn of(observation: &Observation) -> Option<Self> {
        let (name, target) = (observation.name(), observation.target.as_str());
        let node = observation.destination_node.as_deref();
        let seconds = observation.window_seconds;
        let fits = name.len() <= LONGEST_NAME
            && target.len() <= SubjectName::LONGEST
            && node.is_none_or(|node| node.len() <= LONGEST_NODE)
            && (1..=LONGEST_WINDOW).contains(&seconds);
        fits.then(|| Self {
            name: name.into(),
            target: target.into(),
            destination_node: node.map(Into::into),
            probe: observation.probe,
            via: observation.via,
            expect: observation.expect,
            window_seconds: seconds as u32,
        })
    }

    /// Whether `observation` is of this path.
    pub(super) fn is(&self, observation: &Observation) -> bool {
        *self.name == *observation.name()
            && *self.target == *observation.target
            && self.destination_node.as_deref() == observation.destination_node.as_deref()
            && self.probe == observation.probe
            && self.via == observation.via
            && self.expect == observation.expect
            && u64::from(self.window_seconds) == observation.window_seconds
    }
}

/// A path in the order of names, to be found by its name.
#[derive(Debug, Clone)]
pub(super) struct Named(pub(super) Arc<Path>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Every path that somebody asks.
#[derive(Debug, Default)]
pub(super) struct Paths(Mutex<HashSet<Arc<Path>>>);

impl Paths {
    /// The one copy of `path`.
    pub(super) fn shared(&self, path: Path) -> Arc<Path> {
        let mut all = self.0.lock().expect("no panic while held");
        if let Some(known) = all.get(&path) {
            return Arc::clone(known);
        }
        let path = Arc::new(path);
        all.insert(Arc::clone(&path));
        path
    }

    /// Forgets what nobody asks any more.
    pub(super) fn sweep(&self) {
        let mut all = self.0.lock().expect("no panic while held");
        all.retain(|path| Arc::strong_count(path) > 1);
        all.shrink_to_fit();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.lock().expect("no panic while held").len()
    }
}

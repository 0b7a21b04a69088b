//! Which agents are connected, by what they themselves told with their windows: which plan each
//! runs. What they saw is evidence.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use crate::evidence::Source;
use crate::target::Vantage;

/// More agents than this are not kept: those that were heard of least lately go.
const MOST: usize = 20_000;

/// Whose place it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat {
    pub(super) node: String,
    pub(super) vantage: Vantage,
    pub(super) pod: String,
}

impl Seat {
    /// Where what it tells is from.
    pub(super) fn source(&self) -> Source {
        Source { node: self.node.clone(), vantage: self.vantage }
    }
}

/// What one agent told of itself.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The connection that it has, or had.
    pub(super) peer: u64,
    /// Whether that connection is there.
    pub(super) connected: bool,
    /// When it told this.
    pub(super) heard: SystemTime,
    /// The revision of the plan that it runs.
    pub(super) runs: Option<String>,
    /// Whether that was the one that it was to run.
    pub(super) current: bool,
}

/// Every agent that told its windows.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<BTreeMap<Seat, Entry>>);

impl Roster {
    /// The agent in `seat` told `entry`.
    pub(super) fn heard(&self, seat: Seat, entry: Entry) {
        let mut entries = self.0.lock().expect("no panic while held");
        if entries.len() >= MOST && !entries.contains_key(&seat) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.heard);
            let oldest = oldest.map(|(seat, _)| seat.clone());
            oldest.map(|seat| entries.remove(&seat));
        }
        entries.insert(seat, entry);
    }

    /// Connection `peer` is gone.
    pub(super) fn lost(&self, seat: &Seat, peer: u64) {
        if let Some(entry) = self.0.lock().expect("no panic while held").get_mut(seat)
            && entry.peer == peer
        {
            entry.connected = false;
        }
    }

    /// What is known of the agent in `seat`.
    pub(super) fn look<T>(&self, seat: &Seat, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.0.lock().expect("no panic while held").get(seat).map(look)
    }

    /// Forgets everybody of whom `stays` says no.
    pub(super) fn retain(&self, stays: impl Fn(&Seat) -> bool) {
        let mut entries = self.0.lock().expect("no panic while held");
        entries.retain(|seat, _| stays(seat));
    }
}

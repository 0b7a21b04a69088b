//! Which agents are there, by what they told themselves: who is connected, which plan it runs,
//! what it saw last.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use crate::controller::sighting::Sighting;
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

/// What is known of one agent.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The connection that it has, or had.
    peer: u64,
    /// Whether that connection is there.
    pub(super) connected: bool,
    /// When it was last heard of.
    pub(super) heard: SystemTime,
    /// The revision that it was last given.
    served: Option<String>,
    /// The revision that it said it runs.
    pub(super) runs: Option<String>,
    /// When its windows were last pulled, and what they show.
    pub(super) windows: Option<(SystemTime, Vec<Sighting>)>,
}

impl Entry {
    /// Whether it runs the plan that it was last given.
    pub(super) fn is_current(&self) -> bool {
        self.runs.is_some() && (self.served.is_none() || self.runs == self.served)
    }
}

/// Every agent that asked for a plan.
#[derive(Debug, Default)]
pub(super) struct Roster(Mutex<BTreeMap<Seat, Entry>>);

impl Roster {
    /// An agent asks on connection `peer`, and runs the revision `runs` if that is the one it is
    /// to run. Gives whether the connection is a new one.
    pub(super) fn met(&self, seat: &Seat, peer: u64, runs: Option<&str>) -> bool {
        let mut entries = self.0.lock().expect("no panic while held");
        let heard = SystemTime::now();
        if let Some(entry) = entries.get_mut(seat) {
            let new = entry.peer != peer || !entry.connected;
            entry.peer = peer;
            entry.connected = true;
            entry.heard = heard;
            entry.runs = runs.map(str::to_owned);
            return new;
        }
        if entries.len() >= MOST {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.heard);
            let oldest = oldest.map(|(seat, _)| seat.clone());
            oldest.map(|seat| entries.remove(&seat));
        }
        let entry = Entry {
            peer,
            connected: true,
            heard,
            served: None,
            runs: runs.map(str::to_owned),
            windows: None,
        };
        entries.insert(seat.clone(), entry);
        true
    }

    /// It was given this revision.
    pub(super) fn served(&self, seat: &Seat, revision: &str) {
        if let Some(entry) = self.0.lock().expect("no panic while held").get_mut(seat) {
            entry.served = Some(revision.to_owned());
        }
    }

    /// Its windows were pulled.
    pub(super) fn saw(&self, seat: &Seat, sightings: Vec<Sighting>) {
        if let Some(entry) = self.0.lock().expect("no panic while held").get_mut(seat) {
            let now = SystemTime::now();
            entry.heard = now;
            entry.windows = Some((now, sightings));
        }
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
        entries.retain(|seat, entry| entry.connected || stays(seat));
    }
}

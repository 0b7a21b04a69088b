//! What is broken, and since when: the set of components that best explains what all agents saw,
//! healthy paths included.
//!
//! Pure: observations and a topology in, a report out. Knows neither where observations come from
//! nor what is done about a diagnosis. A path model says which components a path crosses
//! (`path`), a table how each fault of each shows (`signature`), and `infer` finds the faults.

mod agents;
mod component;
mod index;
mod infer;
mod likelihood;
mod path;
mod read;
mod report;
mod seen;
mod signature;
mod topology;
mod weigh;
mod words;

use time::OffsetDateTime;

use crate::observation::Observation;

pub use component::FaultWord;
pub use read::{Line, MAX_LINE, lines};
pub use report::{Alternative, Diagnosis, Report};
pub use topology::{Agent, Endpoint, InvalidTopology, MOST, Node, Pod, Service, Topology};

use component::Names;
use infer::Search;
use seen::Seen;

/// What was seen of a cluster, summed up as it comes: the observations need not be kept.
#[derive(Debug)]
pub struct Evidence<'a> {
    topology: &'a Topology,
    names: Names,
    seen: Seen,
}

impl<'a> Evidence<'a> {
    /// None yet, of the cluster of `topology`.
    pub fn new(topology: &'a Topology) -> Self {
        Self { topology, names: Names::new(topology), seen: Seen::default() }
    }

    /// Adds one window of one path.
    pub fn add(&mut self, observation: &Observation) {
        self.seen.add(observation, &mut self.names);
    }

    /// Attempts so far that can tell something.
    pub fn conclusive(&self) -> u64 {
        self.seen.conclusive
    }

    /// The end of the last window so far.
    pub fn last(&self) -> Option<OffsetDateTime> {
        self.seen.last
    }

    /// What is broken, as of `now`.
    pub fn diagnose(mut self, now: OffsetDateTime) -> Report {
        let lame = self.seen.heard.lame(self.topology, &mut self.names);
        let tallies = self.seen.tallies();
        let mut search = Search::new(&self.names, &self.seen.paths, &tallies);
        let suspects = search.run();
        let expected = self.topology.agents.len();
        report::report(&mut search, &suspects, &lame, (&self.seen, expected), now)
    }
}

/// What is broken by `observations` of the cluster of `topology`, as of `now`.
pub fn diagnose(topology: &Topology, observations: &[Observation], now: OffsetDateTime) -> Report {
    let mut evidence = Evidence::new(topology);
    for observation in observations {
        evidence.add(observation);
    }
    evidence.diagnose(now)
}

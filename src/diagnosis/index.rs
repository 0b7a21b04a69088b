//! Which paths each component that may be broken is on: failing ones one by one, healthy ones
//! counted together, since each of those weighs the same whatever else is broken.

use std::collections::HashMap;

use crate::diagnosis::component::{Component, Kind, Names};
use crate::diagnosis::path::{Class, End, Path, Subject};
use crate::diagnosis::seen::Tally;
use crate::diagnosis::signature::{Signature, signature};

/// No number.
const NONE: u32 = u32::MAX;

/// A component that may be broken, by its place in the index.
pub(super) type Candidate = u32;

/// A failing path that a component is on.
#[derive(Debug, Clone, Copy)]
struct Touch {
    /// Place among the failing paths.
    failing: u32,
    end: End,
    /// The share of the attempts that meet it.
    share: f32,
}

/// Healthy paths that look the same to every fault of a component.
#[derive(Debug, Clone)]
pub(super) struct Healthy {
    key: u64,
    /// One of them.
    sample: Path,
    /// Where the component is; twice the same unless it is at two ends.
    ends: [End; 2],
    /// How many of several far ends it is, and the share of one.
    hits: u32,
    share: f32,
    /// Attempts of all of them, every one met.
    pub(super) met: u64,
    pub(super) paths: u32,
}

/// How a fault shows on a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contact {
    pub(super) signature: &'static Signature,
    pub(super) end: End,
    pub(super) class: Class,
    /// The share of the attempts that meet it.
    pub(super) share: f32,
}

impl Contact {
    fn new(kind: Kind, end: End, path: &Path, share: f32) -> Option<Self> {
        let signature = signature(kind, end, path)?;
        Some(Self { signature, end, class: path.class, share })
    }
}

impl Healthy {
    pub(super) fn class(&self) -> Class {
        self.sample.class
    }

    fn share(&self, end: End) -> f32 {
        if end == End::Shared { self.hits as f32 * self.share } else { 1.0 }
    }
}

/// One component's paths.
#[derive(Debug)]
struct Entry {
    component: Component,
    touches: Vec<Touch>,
    healthy: Vec<Healthy>,
    /// The path that was counted last, and where.
    last: (u32, u32),
}

/// Paths by component.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// Candidates by failing path, one after the other, and where those of each begin.
    crossed: Vec<Candidate>,
    starts: Vec<u32>,
}

impl Index {
    /// Of components whose failing paths pull with more than `least` in all; `pulls` by place in
    /// `failing`.
    pub(super) fn new(
        names: &Names,
        (paths, tallies): (&[Path], &[Tally]),
        failing: &[u32],
        pulls: &[f64],
        least: f64,
    ) -> Self {
        let mut numbers = Numbers::new(names);
        let mut sums: Vec<(f64, Component)> = Vec::new();
        let mut crossings: Vec<(u32, Touch)> = Vec::new();
        for (place, (path, pull)) in std::iter::zip(failing, pulls).enumerate() {
            paths[*path as usize].crossings(names, &mut |component, end, share| {
                let number = numbers.number(component);
                if sums.len() <= number as usize {
                    sums.resize(number as usize + 1, (0.0, component));
                }
                let sum = &mut sums[number as usize];
                *sum = (sum.0 + pull, component);
                crossings.push((number, Touch { failing: place as u32, end, share }));
            });
        }
        let mut candidates: Vec<(Component, u32)> = std::iter::zip(&sums, 0..)
            .filter(|((sum, _), _)| *sum > least)
            .map(|((_, component), number)| (*component, number))
            .collect();
        candidates.sort_unstable();
        let mut places = vec![NONE; sums.len()];
        let mut index = Self::default();
        for (place, (component, number)) in candidates.into_iter().enumerate() {
            places[number as usize] = place as u32;
            let (touches, healthy) = (Vec::new(), Vec::new());
            index.entries.push(Entry { component, touches, healthy, last: (NONE, 0) });
        }
        index.add_failing(failing.len(), &crossings, &places);
        drop(crossings);
        if !index.entries.is_empty() {
            let healthy = (0..).zip(paths).zip(tallies).filter(|(_, tally)| tally.violated == 0);
            for ((number, path), tally) in healthy {
                path.crossings(names, &mut |component, end, share| {
                    let place = numbers.known(component).and_then(|n| places.get(n as usize));
                    if let Some(place) = place.filter(|place| **place != NONE) {
                        index.entries[*place as usize].count(
                            (number, path),
                            (end, share),
                            tally.met,
                        );
                    }
                });
            }
        }
        index
    }

    fn add_failing(&mut self, count: usize, crossings: &[(u32, Touch)], places: &[u32]) {
        let mut begun = 0;
        for (number, touch) in crossings {
            let place = places[*number as usize];
            if place == NONE {
                continue;
            }
            while begun <= touch.failing {
                self.starts.push(self.crossed.len() as u32);
                begun += 1;
            }
            let touches = &mut self.entries[place as usize].touches;
            match touches.last_mut().filter(|last| last.failing == touch.failing) {
                Some(last) if last.end == End::Shared && touch.end == End::Shared => {
                    last.share += touch.share;
                }
                Some(_) => touches.push(*touch),
                None => {
                    touches.push(*touch);
                    self.crossed.push(place);
                }
            }
        }
        self.starts.resize(count + 1, self.crossed.len() as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn component(&self, candidate: Candidate) -> Component {
        self.entries[candidate as usize].component
    }

    /// Candidates on the failing path at `place`.
    pub(super) fn crossed(&self, place: u32) -> &[Candidate] {
        let range = self.starts[place as usize] as usize..self.starts[place as usize + 1] as usize;
        &self.crossed[range]
    }

    /// Places of failing paths on which `kind` of `candidate` shows, each once, and how; `path`
    /// tells the path of a place.
    pub(super) fn failing<'a>(
        &'a self,
        candidate: Candidate,
        kind: Kind,
        path: impl Fn(u32) -> &'a Path + 'a,
    ) -> impl Iterator<Item = (u32, Contact)> + 'a {
        let mut last = NONE;
        self.entries[candidate as usize].touches.iter().filter_map(move |touch| {
            if last == touch.failing {
                return None;
            }
            let contact = Contact::new(kind, touch.end, path(touch.failing), touch.share)?;
            last = touch.failing;
            Some((touch.failing, contact))
        })
    }

    /// Healthy paths on which `kind` of `candidate` would show, and how.
    pub(super) fn healthy(
        &self,
        candidate: Candidate,
        kind: Kind,
    ) -> impl Iterator<Item = (&Healthy, Contact)> {
        self.entries[candidate as usize].filled().filter_map(move |healthy| {
            let mut ends = healthy.ends.iter();
            let contact = ends
                .find_map(|end| Contact::new(kind, *end, &healthy.sample, healthy.share(*end)))?;
            Some((healthy, contact))
        })
    }
}

impl Entry {
    /// Groups of healthy paths; one is empty when its only path turned out to be there again.
    fn filled(&self) -> impl Iterator<Item = &Healthy> {
        self.healthy.iter().filter(|healthy| healthy.paths > 0)
    }

    /// Counts a healthy path.
    fn count(&mut self, (number, path): (u32, &Path), (end, share): (End, f32), met: u64) {
        let (mut ends, mut hits) = ([end, end], 1);
        if self.last.0 == number {
            // It is there more than once.
            let first = &mut self.healthy[self.last.1 as usize];
            ends = first.ends;
            hits = first.hits + u32::from(ends.contains(&end));
            if !ends.contains(&end) {
                ends[1] = end;
            }
            first.met = first.met.saturating_sub(met);
            first.paths -= 1;
        }
        let key = key(path, (ends, hits, share), met);
        let place = self.healthy.iter().position(|healthy| healthy.key == key);
        let place = place.unwrap_or_else(|| {
            let sample = *path;
            self.healthy.push(Healthy { key, sample, ends, hits, share, met: 0, paths: 0 });
            self.healthy.len() - 1
        });
        let group = &mut self.healthy[place];
        group.met = group.met.saturating_add(met);
        group.paths += 1;
        self.last = (number, place as u32);
    }
}

/// What faults see of a healthy path; of its attempts the order of magnitude, in steps of a tenth.
fn key(path: &Path, (ends, hits, share): ([End; 2], u32, f32), met: u64) -> u64 {
    let magnitude = ((met.saturating_add(1) as f64).log2() * 7.0) as u32;
    let peer = u32::from(path.subject == Subject::Peer);
    let shape = (path.class as u32) << 2 | peer << 1 | u32::from(path.large);
    let place = hits.min(255) << 16 | (ends[0] as u32) << 12 | (ends[1] as u32) << 8 | shape;
    u64::from(place) << 32 | u64::from(share.to_bits() & 0xffff_f000) | u64::from(magnitude)
}

/// Components by number: those that a topology bounds by their place in a table, what lies between
/// zones as it comes.
struct Numbers {
    nodes: u32,
    coredns: u32,
    istiod: u32,
    services: u32,
    targets: u32,
    zones: HashMap<(u32, u32), u32>,
}

/// Kinds of components of nodes, and components that there is one of.
const OF_NODES: u32 = 8;
const ALONE: u32 = 3;

impl Numbers {
    fn new(names: &Names) -> Self {
        Self {
            nodes: names.nodes.len() as u32,
            coredns: names.coredns.len() as u32,
            istiod: names.istiod.len() as u32,
            services: names.services.len() as u32,
            targets: names.targets.len() as u32,
            zones: HashMap::new(),
        }
    }

    fn number(&mut self, component: Component) -> u32 {
        let Component::Zone(one, other) = component else { return self.fixed(component) };
        let next = self.bound() + self.zones.len() as u32;
        *self.zones.entry((one, other)).or_insert(next)
    }

    /// The number of `component`, if it has one already.
    fn known(&self, component: Component) -> Option<u32> {
        match component {
            Component::Zone(one, other) => self.zones.get(&(one, other)).copied(),
            _ => Some(self.fixed(component)),
        }
    }

    fn fixed(&self, component: Component) -> u32 {
        let pods = ALONE + OF_NODES * self.nodes;
        match component {
            Component::Coredns => 0,
            Component::Istiod => 1,
            Component::PeersPolicy => 2,
            Component::Ztunnel(n) => ALONE + OF_NODES * n,
            Component::Hbone(n) => ALONE + OF_NODES * n + 1,
            Component::Capture(n) => ALONE + OF_NODES * n + 2,
            Component::Node(n) => ALONE + OF_NODES * n + 3,
            Component::IstiodLink(n) => ALONE + OF_NODES * n + 4,
            Component::Peer(n) => ALONE + OF_NODES * n + 5,
            Component::PeerPolicy(n) => ALONE + OF_NODES * n + 6,
            Component::Trust(n) => ALONE + OF_NODES * n + 7,
            Component::CorednsPod(pod) => pods + pod,
            Component::IstiodPod(pod) => pods + self.coredns + pod,
            Component::Service(s) => pods + self.coredns + self.istiod + 2 * s,
            Component::ServicePolicy(s) => pods + self.coredns + self.istiod + 2 * s + 1,
            Component::Target(t) => self.bound() - self.targets + t,
            Component::Zone(..) => self.bound(),
        }
    }

    /// One more than the largest number that a topology bounds.
    fn bound(&self) -> u32 {
        let pods = ALONE + OF_NODES * self.nodes + self.coredns + self.istiod;
        pods + 2 * self.services + self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::path::Class;
    use crate::target::Vantage;

    #[test]
    fn a_healthy_path_that_is_there_at_both_ends_counts_once() {
        let (touches, healthy) = (Vec::new(), Vec::new());
        let component = Component::Ztunnel(0);
        let mut entry = Entry { component, touches, healthy, last: (NONE, 0) };
        let (class, subject) = (Class::Mesh, Subject::Peer);
        let path =
            Path { source: 0, far: 0, vantage: Vantage::Ambient, class, subject, large: false };
        entry.count((7, &path), (End::From, 1.0), 5);
        entry.count((7, &path), (End::To, 1.0), 5);
        let groups: Vec<(u64, u32)> = entry.filled().map(|it| (it.met, it.paths)).collect();
        assert_eq!(groups, [(5, 1)]);
    }
}

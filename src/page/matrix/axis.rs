//! One side of a matrix: nodes, or zones with the nodes of those that are open. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::page::state::{Counts, State};

/// More nodes than this are folded into zones.
const MOST_FLAT: usize = 50;
/// Nodes of open zones, zones, and other ends that are shown, the worst of each; the rest are one.
const MOST: usize = 40;

/// A line of a matrix, or a column.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::page) struct Entry {
    /// What it stands for.
    pub(in crate::page) kind: Kind,
    /// Its name; of a zone that of the zone, empty for nodes without one; empty also for what is
    /// there once.
    pub(in crate::page) name: String,
    /// Its paths by state.
    pub(in crate::page) counts: Counts,
}

/// What a line or column stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::page) enum Kind {
    /// A node.
    Node,
    /// All nodes of a zone.
    Zone {
        /// How many they are.
        nodes: usize,
        /// Whether they follow one by one.
        is_open: bool,
    },
    /// Those of the kind before that are not shown one by one.
    Rest {
        /// How many they are.
        count: usize,
    },
    /// Something that is no node.
    Other,
}

/// A side that is being counted.
pub(super) struct Axis<'a> {
    opened: &'a BTreeSet<String>,
    nodes: BTreeMap<String, (String, Counts)>,
    others: BTreeMap<String, Counts>,
}

/// A side that is complete.
pub(super) struct Side {
    pub(super) entries: Vec<Entry>,
    pub(super) is_folded: bool,
    places: HashMap<String, Vec<usize>>,
}

impl<'a> Axis<'a> {
    pub(super) fn new(opened: &'a BTreeSet<String>) -> Self {
        Self { opened, nodes: BTreeMap::new(), others: BTreeMap::new() }
    }

    /// There is a node of that name.
    pub(super) fn node(&mut self, name: &str, zone: Option<&str>) {
        let zone = zone.unwrap_or_default().to_owned();
        self.nodes.insert(name.to_owned(), (zone, Counts::default()));
    }

    /// A path of that node is in `state`; the node is new if it was never named.
    pub(super) fn count(&mut self, name: &str, state: State) {
        if let Some((_, counts)) = self.nodes.get_mut(name) {
            return counts.add(state);
        }
        self.node(name, None);
        self.count(name, state);
    }

    /// A path of something else is in `state`.
    pub(super) fn other(&mut self, name: &str, state: State) {
        self.others.entry(name.to_owned()).or_default().add(state);
    }

    pub(super) fn done(self) -> Side {
        let is_folded = self.nodes.len() > MOST_FLAT;
        let mut side = Side { entries: Vec::new(), is_folded, places: HashMap::new() };
        if is_folded {
            self.fold(&mut side);
        } else {
            let mut nodes: Vec<(String, (String, Counts))> = self.nodes.into_iter().collect();
            nodes.sort_by_cached_key(|(name, _)| natural(name));
            nodes.into_iter().for_each(|(name, (_, counts))| side.push(Kind::Node, name, counts));
        }
        side.some_of(Kind::Other, self.others.into_iter().collect(), MOST);
        side
    }

    fn fold(&self, side: &mut Side) {
        let mut zones: BTreeMap<&str, Vec<(String, Counts)>> = BTreeMap::new();
        for (name, (zone, counts)) in &self.nodes {
            zones.entry(zone).or_default().push((name.clone(), *counts));
        }
        let sum = |nodes: &[(String, Counts)]| {
            let mut sum = Counts::default();
            nodes.iter().for_each(|(_, counts)| sum.join(counts));
            sum
        };
        let mut shown: Vec<(&str, Vec<(String, Counts)>)> = zones.into_iter().collect();
        let is_open = |zone: &str| self.opened.contains(zone);
        shown.sort_by_cached_key(|(zone, nodes)| {
            (!is_open(zone), std::cmp::Reverse(sum(nodes).badness()), natural(zone))
        });
        let rest = shown.split_off(shown.len().min(MOST));
        shown.sort_by_cached_key(|(zone, _)| natural(zone));
        let open = shown.iter().filter(|(zone, _)| is_open(zone)).count();
        for (zone, nodes) in shown {
            let kind = Kind::Zone { nodes: nodes.len(), is_open: is_open(zone) };
            let place = side.entries.len();
            for (name, _) in &nodes {
                side.places.entry(name.clone()).or_default().push(place);
            }
            side.entries.push(Entry { kind, name: zone.to_owned(), counts: sum(&nodes) });
            if is_open(zone) {
                side.some_of(Kind::Node, nodes, (MOST / open).max(1));
            }
        }
        side.rest(rest.into_iter().flat_map(|(_, nodes)| nodes).collect());
    }
}

impl Side {
    /// Which entries hold what is called `name`.
    pub(super) fn places(&self, name: &str) -> impl Iterator<Item = usize> {
        self.places.get(name).into_iter().flatten().copied()
    }

    fn push(&mut self, kind: Kind, name: String, counts: Counts) {
        self.places.entry(name.clone()).or_default().push(self.entries.len());
        self.entries.push(Entry { kind, name, counts });
    }

    /// All by name if they are at most `most`; else the worst, worst first, and the others as one.
    fn some_of(&mut self, kind: Kind, mut all: Vec<(String, Counts)>, most: usize) {
        all.sort_by_cached_key(|(name, it)| (std::cmp::Reverse(it.badness()), natural(name)));
        let rest = all.split_off(all.len().min(most));
        if rest.is_empty() {
            all.sort_by_cached_key(|(name, _)| natural(name));
        }
        all.into_iter().for_each(|(name, counts)| self.push(kind, name, counts));
        self.rest(rest);
    }

    fn rest(&mut self, rest: Vec<(String, Counts)>) {
        if rest.is_empty() {
            return;
        }
        let (count, place) = (rest.len(), self.entries.len());
        let mut counts = Counts::default();
        for (name, its) in rest {
            counts.join(&its);
            self.places.entry(name).or_default().push(place);
        }
        self.entries.push(Entry { kind: Kind::Rest { count }, name: String::new(), counts });
    }
}

/// A part of a name, for an order in which `node-2` stands before `node-10`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Number(u64),
    Letter(char),
}

fn natural(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for letter in name.chars() {
        match (letter.to_digit(10), parts.last_mut()) {
            (Some(digit), Some(Part::Number(number))) => {
                *number = number.saturating_mul(10).saturating_add(digit.into());
            }
            (Some(digit), _) => parts.push(Part::Number(digit.into())),
            (None, _) => parts.push(Part::Letter(letter)),
        }
    }
    parts
}

/// What all of `names` end in, from a dot on: nothing to show in each of them.
pub(in crate::page) fn short<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut common: Option<&str> = None;
    let mut several = false;
    for name in names {
        let Some(known) = common else {
            common = Some(name.find('.').map_or("", |dot| &name[dot..]));
            continue;
        };
        several = true;
        let mut rest = known;
        while !name.ends_with(rest) {
            rest = rest[1..].find('.').map_or("", |dot| &rest[1 + dot..]);
        }
        common = Some(rest);
    }
    common.filter(|_| several).unwrap_or_default().to_owned()
}

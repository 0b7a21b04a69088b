//! Which nodes probe which: everybody everybody in a small cluster, k peers each in a large one.
//!
//! Pure: the same nodes give the same peers, whatever their order. Knows neither agents nor what
//! is asked of a peer.
//!
//! All nodes stand on one ring, in the order of a hash of their names (rendezvous by consistent
//! hashing). With `k` peers a node probes the `k - 1` that follow it, and by its *last edge* the
//! one after those. Where no edge along the ring leads from one zone to another, the last edge of
//! some node of the one is turned to some node of the other. Therefore, for `n` nodes:
//!
//! * Each node probes exactly `k` others, or all `n - 1` when those are fewer, and is probed by
//!   `k - 1` to `k + 1`; exactly `k` while the ring itself covers all pairs of zones.
//! * Each ordered pair of zones that has two nodes for it, a zone with itself included, has an
//!   edge, while there are at most [`MOST_ZONES`] zones.
//! * Zones with fewer nodes than pairs that the ring leaves out have too few last edges. There
//!   edges are added: from or to a node of a zone of `m` nodes at most `⌈zones / m⌉` more.
//! * A node's arrival or leaving moves at most `3k` edges along the ring, and those of turned ones
//!   ([`Topology::turned`]) whose pair, or whose best node, it changes.
//!
//! More zones than [`MOST_ZONES`] are racks rather than zones: their pairs outgrow the edges that
//! there are (`n × k`), and are left to the ring. A node without a zone is in no pair.

use std::collections::BTreeMap;

/// The most zones of which every pair is covered: more are left to chance.
pub const MOST_ZONES: usize = 32;

/// Who probes whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Node names, sorted.
    names: Vec<String>,
    /// For each of `names` the places of its peers in it, nearest on the ring first.
    peers: Vec<Vec<u32>>,
    turned: usize,
}

impl Topology {
    /// The topology of `nodes` (names with zones; of one name the last counts): a full mesh of up
    /// to `full_mesh_up_to` nodes, and `k` peers each in larger clusters.
    ///
    /// Takes O(n log n + n k), and for each pair of zones that the ring leaves out the zones' nodes.
    pub fn new<'a>(
        nodes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        full_mesh_up_to: usize,
        k: usize,
    ) -> Self {
        let nodes: BTreeMap<&str, Option<&str>> = nodes.into_iter().collect();
        let names: Vec<String> = nodes.keys().map(|name| (*name).to_owned()).collect();
        let count = names.len();
        let ring = Ring::new(&names);
        let others = count.saturating_sub(1);
        if count <= full_mesh_up_to || k >= others {
            return Self { peers: ring.followers(others), names, turned: 0 };
        }
        let mut peers = ring.followers(k.saturating_sub(1));
        let zones = Zones::new(nodes.values().copied());
        let turns = if k == 0 { Vec::new() } else { zones.turns(&names, &peers) };
        let mut last: Vec<bool> = vec![k > 0; count];
        for (from, to) in &turns {
            last[*from as usize] = false;
            peers[*from as usize].push(*to);
        }
        for (node, peers) in peers.iter_mut().enumerate().filter(|(node, _)| last[*node]) {
            peers.push(ring.after(node as u32, k));
        }
        Self { names, peers, turned: turns.len() }
    }

    /// The peers that `node` probes, in an order of its own; none for a node that is unknown.
    pub fn peers(&self, node: &str) -> impl Iterator<Item = &str> {
        let place = self.names.binary_search_by(|name| name.as_str().cmp(node)).ok();
        let peers = place.map_or(&[][..], |place| &self.peers[place]);
        peers.iter().map(|peer| self.names[*peer as usize].as_str())
    }

    /// Every edge: who probes whom, sorted by who.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().flat_map(|name| self.peers(name).map(move |peer| (name.as_str(), peer)))
    }

    /// How many edges were turned or added for pairs of zones.
    pub fn turned(&self) -> usize {
        self.turned
    }
}

/// All nodes in the order of their hashes, closed to a ring.
struct Ring {
    /// Places in the list of names, by place on the ring.
    order: Vec<u32>,
    /// Places on the ring, by place in the list of names.
    place: Vec<u32>,
}

impl Ring {
    fn new(names: &[String]) -> Self {
        let mut order: Vec<u32> = (0..names.len() as u32).collect();
        order.sort_by_cached_key(|node| (score(&[&names[*node as usize]]), *node));
        let mut place = vec![0; order.len()];
        for (at, node) in order.iter().enumerate() {
            place[*node as usize] = at as u32;
        }
        Self { order, place }
    }

    /// The node that is `steps` after `node`.
    fn after(&self, node: u32, steps: usize) -> u32 {
        self.order[(self.place[node as usize] as usize + steps) % self.order.len()]
    }

    /// The next `steps` of each node.
    fn followers(&self, steps: usize) -> Vec<Vec<u32>> {
        let of = |node| (1..=steps).map(|step| self.after(node, step)).collect();
        (0..self.order.len() as u32).map(of).collect()
    }
}

/// Which nodes are in which zone.
struct Zones<'a> {
    /// Places of nodes by zone.
    nodes: BTreeMap<&'a str, Vec<u32>>,
    /// Zones by place of node.
    of: Vec<Option<&'a str>>,
}

impl<'a> Zones<'a> {
    fn new(zones: impl Iterator<Item = Option<&'a str>>) -> Self {
        let of: Vec<Option<&str>> = zones.collect();
        let mut nodes: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (place, zone) in of.iter().enumerate() {
            if let Some(zone) = zone {
                nodes.entry(zone).or_default().push(place as u32);
            }
        }
        Self { nodes, of }
    }

    /// An edge for each ordered pair of zones that `peers` leave out; ends of a zone take turns,
    /// by rendezvous hashing of pair and node, so that other pairs keep theirs.
    fn turns(&self, names: &[String], peers: &[Vec<u32>]) -> Vec<(u32, u32)> {
        if self.nodes.len() > MOST_ZONES {
            return Vec::new();
        }
        let mut covered = vec![false; self.nodes.len() * self.nodes.len()];
        let index: BTreeMap<&str, usize> = self.nodes.keys().copied().zip(0..).collect();
        let index: Vec<Option<usize>> =
            self.of.iter().map(|zone| zone.map(|zone| index[zone])).collect();
        for (from, peers) in peers.iter().enumerate() {
            for to in peers {
                if let (Some(from), Some(to)) = (index[from], index[*to as usize]) {
                    covered[from * self.nodes.len() + to] = true;
                }
            }
        }
        let mut used = vec![[0u32; 2]; names.len()];
        let mut turns = Vec::new();
        let pairs = self.nodes.iter().flat_map(|from| self.nodes.iter().map(move |to| (from, to)));
        for ((from, to), _) in pairs.zip(covered).filter(|(_, covered)| !covered) {
            let mut end = |side: usize, nodes: &[u32], other: Option<u32>| {
                let best = nodes.iter().filter(|node| Some(**node) != other).min_by_key(|node| {
                    let name = &names[**node as usize];
                    (used[**node as usize][side], score(&[from.0, to.0, name]), **node)
                });
                best.inspect(|best| used[**best as usize][side] += 1).copied()
            };
            // A zone of one node has no pair with itself.
            if from.0 == to.0 && from.1.len() < 2 {
                continue;
            }
            let source = end(0, from.1, None);
            turns.extend(source.and_then(|source| Some((source, end(1, to.1, Some(source))?))));
        }
        turns
    }
}

/// A hash of `words` whose every bit depends on each of theirs; the same in every build.
pub(crate) fn score(words: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for word in words {
        // A byte that is in no UTF-8 text keeps the words apart.
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

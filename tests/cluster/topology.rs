//! What the topology promises, for any nodes and zones.

use std::collections::{BTreeMap, BTreeSet};

use meshprobe::topology::{MOST_ZONES, Topology};
use proptest::collection::vec;
use proptest::prelude::*;

type Nodes = Vec<(String, Option<String>)>;

fn topology(nodes: &Nodes, full: usize, k: usize) -> Topology {
    let nodes = nodes.iter().map(|(name, zone)| (name.as_str(), zone.as_deref()));
    Topology::new(nodes, full, k)
}

/// `count` nodes in zones of about the given shares; share 0 is of nodes without a zone.
fn nodes(count: usize, shares: &[usize], salt: u32) -> Nodes {
    let all: usize = shares.iter().sum::<usize>().max(1);
    let zone = |node: usize| {
        let mut rest = node % all;
        let zone = shares.iter().position(|share| {
            let inside = rest < *share;
            rest = rest.saturating_sub(*share);
            inside
        });
        zone.filter(|zone| *zone > 0).map(|zone| format!("zone-{zone}"))
    };
    (0..count).map(|node| (format!("node-{salt}-{node}"), zone(node))).collect()
}

fn sizes(nodes: &Nodes) -> BTreeMap<&str, usize> {
    let mut sizes = BTreeMap::new();
    for zone in nodes.iter().filter_map(|(_, zone)| zone.as_deref()) {
        *sizes.entry(zone).or_default() += 1;
    }
    sizes
}

type Degrees<'a> = BTreeMap<&'a str, usize>;

/// How many each node probes, and by how many it is probed.
fn degrees<'a>(nodes: &'a Nodes, topology: &'a Topology) -> (Degrees<'a>, Degrees<'a>) {
    let none: Degrees<'_> = nodes.iter().map(|(name, _)| (name.as_str(), 0)).collect();
    let (mut out, mut into) = (none.clone(), none);
    for (from, to) in topology.edges() {
        *out.get_mut(from).expect("a node") += 1;
        *into.get_mut(to).expect("a node") += 1;
    }
    (out, into)
}

/// Everything that holds for any nodes.
fn check(nodes: &Nodes, full: usize, k: usize) -> Result<(), TestCaseError> {
    let topology = topology(nodes, full, k);
    let edges: Vec<_> = topology.edges().collect();
    let distinct: BTreeSet<_> = edges.iter().copied().collect();
    prop_assert_eq!(edges.len(), distinct.len(), "an edge stands twice");
    prop_assert!(edges.iter().all(|(from, to)| from != to), "a node probes itself");

    let others = nodes.len().saturating_sub(1);
    let whole = nodes.len() <= full || k >= others;
    let expected = if whole { others } else { k };
    let (out, into) = degrees(nodes, &topology);
    let sizes = sizes(nodes);
    // As many pairs as there are zones can need the last edges of one zone.
    let roomy = sizes.len() > MOST_ZONES || sizes.values().all(|size| *size >= sizes.len());
    if roomy {
        prop_assert!(out.values().all(|degree| *degree == expected));
        let (least, most) = if whole { (others, others) } else { (k.saturating_sub(1), k + 1) };
        prop_assert!(into.values().all(|degree| (least..=most).contains(degree)));
    } else {
        let zone: BTreeMap<&str, _> =
            nodes.iter().map(|(name, zone)| (name.as_str(), zone.as_deref())).collect();
        for (name, degree) in &out {
            let more = zone[name].map_or(0, |zone| sizes.len().div_ceil(sizes[zone]));
            prop_assert!((expected..=expected + more).contains(degree));
            prop_assert!((expected.saturating_sub(1)..=expected + more + 1).contains(&into[name]));
        }
    }
    if topology.turned() == 0 {
        prop_assert!(into.values().all(|degree| *degree == expected));
    }
    if k > 0 && sizes.len() <= MOST_ZONES {
        covers_every_pair(nodes, &topology, &sizes)?;
    }
    Ok(())
}

fn covers_every_pair(
    nodes: &Nodes,
    topology: &Topology,
    sizes: &BTreeMap<&str, usize>,
) -> Result<(), TestCaseError> {
    let zone: BTreeMap<&str, Option<&str>> =
        nodes.iter().map(|(name, zone)| (name.as_str(), zone.as_deref())).collect();
    let covered: BTreeSet<_> =
        topology.edges().filter_map(|(from, to)| Some((zone[from]?, zone[to]?))).collect();
    for (from, size) in sizes {
        for to in sizes.keys().filter(|to| *to != from || *size > 1) {
            prop_assert!(covered.contains(&(from, to)), "no edge from {} to {}", from, to);
        }
    }
    Ok(())
}

/// Edges that one of the two has and the other has not.
fn moved(before: &Topology, after: &Topology) -> usize {
    let before: BTreeSet<_> = before.edges().collect();
    let after: BTreeSet<_> = after.edges().collect();
    before.symmetric_difference(&after).count()
}

fn check_churn(nodes: &Nodes, gone: usize, k: usize) -> Result<(), TestCaseError> {
    let mut fewer = nodes.clone();
    fewer.remove(gone % nodes.len());
    let (with, without) = (topology(nodes, 0, k), topology(&fewer, 0, k));
    // A turned edge stands in for the last edge of its node.
    let turned = 2 * (with.turned() + without.turned());
    let moved = moved(&with, &without);
    prop_assert!(moved <= 3 * k + turned, "{} moved, k {}, {} turned", moved, k, turned);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn small_clusters_keep_every_promise(
        count in 0usize..150, shares in vec(0usize..6, 1..8), salt: u32,
        full in 0usize..40, k in 0usize..14,
    ) {
        check(&nodes(count, &shares, salt), full, k)?;
    }

    #[test]
    fn zones_of_few_nodes_keep_every_promise(
        count in 2usize..60, zones in 1usize..45, salt: u32, k in 1usize..6,
    ) {
        let mut shares = vec![1; zones + 1];
        shares[0] = 0;
        check(&nodes(count, &shares, salt), 0, k)?;
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter(
        (given, shuffled) in (2usize..60, vec(0usize..4, 1..5), any::<u32>()).prop_flat_map(
            |(count, shares, salt)| {
                let nodes = nodes(count, &shares, salt);
                (Just(nodes.clone()), Just(nodes).prop_shuffle())
            },
        ),
        k in 0usize..8,
    ) {
        prop_assert_eq!(topology(&given, 10, k), topology(&shuffled, 10, k));
    }

    #[test]
    fn one_node_more_or_less_moves_few_edges(
        count in 2usize..200, shares in vec(0usize..6, 1..6), salt: u32, gone: usize, k in 0usize..12,
    ) {
        check_churn(&nodes(count, &shares, salt), gone, k)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn large_clusters_keep_every_promise(
        count in 5_000usize..=10_000, zones in 1usize..8, salt: u32, gone: usize, k in 6usize..14,
    ) {
        let mut shares = vec![20; zones];
        shares.push(1);
        let nodes = nodes(count, &shares, salt);
        check(&nodes, 50, k)?;
        check_churn(&nodes, gone, k)?;
    }
}

#[test]
fn ten_thousand_nodes_in_three_zones_need_no_turned_edge_and_move_three_k() {
    let nodes = nodes(10_000, &[0, 1, 1, 1], 1);
    let whole = topology(&nodes, 50, 10);
    assert_eq!(whole.turned(), 0);
    let fewer = topology(&nodes[1..].to_vec(), 50, 10);
    assert_eq!(moved(&whole, &fewer), 30);
}

#[test]
fn a_zone_of_one_node_is_reached_from_every_zone_and_reaches_each() {
    let mut nodes = nodes(3_000, &[0, 1, 1, 1, 1, 1], 7);
    nodes.push(("alone".to_owned(), Some("zone-alone".to_owned())));
    let topology = topology(&nodes, 0, 3);
    let zone: BTreeMap<&str, Option<&str>> =
        nodes.iter().map(|(name, zone)| (name.as_str(), zone.as_deref())).collect();
    let reached: BTreeSet<_> = topology.peers("alone").map(|peer| zone[peer]).collect();
    assert_eq!(reached.len(), 5);
    let reaching: BTreeSet<_> =
        topology.edges().filter(|(_, to)| *to == "alone").map(|(from, _)| zone[from]).collect();
    assert_eq!(reaching.len(), 5);
}

#[test]
fn an_unknown_node_has_no_peers() {
    assert_eq!(topology(&nodes(9, &[1], 1), 0, 3).peers("elsewhere").count(), 0);
}

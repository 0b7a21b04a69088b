//! What is shown side by side, and what is folded.

use time::OffsetDateTime;

use super::*;
use crate::evidence::Newest;
use crate::observation::{Expected, Verdicts};
use crate::page::state::State;
use crate::target::Vantage;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn peer() -> RowKey {
    RowKey { vantage: Vantage::Ambient, name: "peer".to_owned() }
}

/// Everybody asks the next `peers`; those who ask `broken` see it fail.
fn mesh(
    nodes: usize,
    zones: usize,
    peers: usize,
    broken: usize,
) -> (Paths, BTreeMap<String, Node>) {
    let name = |node: usize| format!("node-{}.example.internal", node % nodes);
    let mut paths = Paths::default();
    for node in 0..nodes {
        for peer in 1..=peers {
            let to = name(node + peer);
            let violated = u64::from((node + peer) % nodes == broken);
            let newest = Newest {
                name: &format!("peer/{to}"),
                target: "peer",
                destination_node: Some(&to),
                expect: Expected::Reply,
                verdicts: Verdicts { met: 1 - violated, violated, inconclusive: 0 },
                ended_at: NOW,
                rhythm: None,
            };
            paths.add((&name(node), Vantage::Ambient), &newest, true, NOW);
        }
    }
    let zone = |node: usize| (zones > 0).then(|| format!("zone-{}", node % zones));
    let node = |it| (name(it), Node { zone: zone(it), ..Node::default() });
    (paths, (0..nodes).map(node).collect())
}

fn shown(nodes: usize, zones: usize, opened: &Opened) -> Matrix {
    let (paths, nodes) = mesh(nodes, zones, 2, 2);
    Matrix::of(&paths, &peer(), &nodes, opened).expect("the row")
}

fn open(from: &[&str], to: &[&str]) -> Opened {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Opened { from: set(from), to: set(to) }
}

#[test]
fn a_small_cluster_is_shown_node_by_node_in_the_order_of_numbers() {
    let matrix = shown(11, 2, &Opened::default());
    assert!(!matrix.is_folded);
    let names: Vec<&str> = matrix.from.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!((names[2], names[10]), ("node-2.example.internal", "node-10.example.internal"));
    assert_eq!(matrix.cell(1, 2).overall(), Some(State::Violated));
    assert_eq!(matrix.cell(1, 3).overall(), Some(State::Met));
    assert_eq!(matrix.cell(1, 1).overall(), None, "nobody asks itself");
}

#[test]
fn a_large_cluster_is_shown_zone_by_zone_and_every_path_counts_once() {
    let matrix = shown(90, 3, &Opened::default());
    assert_eq!((matrix.from.len(), matrix.to.len()), (3, 3));
    let cells = (0..9).map(|at| matrix.cell(at / 3, at % 3));
    assert_eq!(cells.map(Counts::total).sum::<u32>(), 180);
    let failing: Vec<u32> = (0..3).map(|from| matrix.cell(from, 2).failing()).collect();
    assert_eq!(failing, [1, 1, 0], "nodes 0 and 1 ask node 2");
}

#[test]
fn an_open_zone_shows_its_worst_nodes_and_the_rest_as_one() {
    let matrix = shown(150, 3, &open(&[], &["zone-2"]));
    let kinds: Vec<Kind> = matrix.to.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds[2], Kind::Zone { nodes: 50, is_open: true });
    assert_eq!(kinds[3..43], [Kind::Node; 40]);
    assert_eq!(kinds[43..], [Kind::Rest { count: 10 }]);
    assert_eq!(matrix.to[3].name, "node-2.example.internal", "the worst is among them");
    let (zone, nodes) = (matrix.to[2].counts, &matrix.to[3..]);
    assert_eq!(nodes.iter().map(|node| node.counts.total()).sum::<u32>(), zone.total());
    assert_eq!(matrix.cell(0, 3).failing(), 1);
}

#[test]
fn nodes_without_a_zone_are_one_that_can_be_opened() {
    assert_eq!(shown(60, 0, &Opened::default()).from.len(), 1);
    assert_eq!(shown(60, 0, &open(&[""], &[])).from.len(), 1 + 40 + 1);
}

#[test]
fn many_zones_are_bounded_too() {
    let matrix = shown(400, 200, &Opened::default());
    assert_eq!(matrix.from.len(), 41);
    assert_eq!(matrix.from[40].kind, Kind::Rest { count: 320 });
    assert!(matrix.to.iter().any(|entry| entry.name == "zone-2"), "the worst is shown");
}

#[test]
fn a_node_that_nobody_probes_and_that_probes_nobody_is_there_all_the_same() {
    let (paths, mut nodes) = mesh(3, 1, 2, 9);
    nodes.insert("blind".to_owned(), Node::default());
    let matrix = Matrix::of(&paths, &peer(), &nodes, &Opened::default()).expect("the row");
    assert_eq!((matrix.from.len(), matrix.from[0].name.as_str()), (4, "blind"));
    assert_eq!(matrix.from[0].counts.total(), 0);
}

#[test]
fn the_worst_row_is_shown_first() {
    let (mut paths, _) = mesh(3, 1, 2, 9);
    assert_eq!(worst(&paths), Some(peer()));
    let canary = Newest {
        name: "canary/node-1",
        target: "peer-strict",
        destination_node: Some("node-1"),
        expect: Expected::Denied,
        verdicts: Verdicts { violated: 1, ..Verdicts::default() },
        ended_at: NOW,
        rhythm: None,
    };
    paths.add(("node-0", Vantage::Plain), &canary, true, NOW);
    assert_eq!(choices(&paths)[0].key, peer(), "the order is that of the truth table");
    assert_eq!(worst(&paths).map(|key| key.to_word()).as_deref(), Some("plain.canary"));
    assert_eq!(choices(&paths)[1].expect, "denied");
    assert_eq!(worst(&Paths::default()), None);
}

#[test]
fn a_domain_that_all_names_share_is_not_shown_in_each() {
    assert_eq!(short(["a.x.y", "b.x.y"].into_iter()), ".x.y");
    assert_eq!(short(["a.z.y", "b.x.y"].into_iter()), ".y");
    assert_eq!(short(["node-1", "node-2"].into_iter()), "");
    assert_eq!(short(["a.x"].into_iter()), "", "one name shares with none");
    assert_eq!(short(["a.x", "b"].into_iter()), "");
}

//! A row of the truth table as a matrix of who asks by who is asked: nodes side by side in a small
//! cluster, zones in a large one, of which each can be opened. Pure.

mod axis;

use std::collections::{BTreeMap, BTreeSet};

use crate::page::known::Node;
use crate::page::paths::{Far, Paths, RowKey};
use crate::page::state::Counts;
use axis::Axis;
pub(super) use axis::{Entry, Kind, short};

/// Which zones are open, by name; the empty name is that of nodes without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// Of those who ask.
    pub(super) from: BTreeSet<String>,
    /// Of those who are asked.
    pub(super) to: BTreeSet<String>,
}

/// A row of the truth table, as it is shown.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    /// Which.
    pub(super) key: RowKey,
    /// What must come back: `reply`, `denied`, or either.
    pub(super) expect: &'static str,
    /// Who asks.
    pub(super) from: Vec<Entry>,
    /// Who is asked.
    pub(super) to: Vec<Entry>,
    /// Whether nodes are folded into zones.
    pub(super) is_folded: bool,
    cells: Vec<Counts>,
}

/// A row of the truth table among the others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// Which.
    pub(super) key: RowKey,
    /// What must come back.
    pub(super) expect: &'static str,
    /// Its paths by state.
    pub(super) counts: Counts,
}

/// Every row that there is, in the order of the truth table.
pub(super) fn choices(paths: &Paths) -> Vec<Choice> {
    let choice = |(key, row): (&RowKey, &super::paths::Row)| Choice {
        key: key.clone(),
        expect: expect(row.denied as usize, row.paths.len()),
        counts: row.counts,
    };
    let mut choices: Vec<Choice> = paths.rows.iter().map(choice).collect();
    choices.sort_by_key(|choice| choice.key.rank());
    choices
}

/// The row that is shown unless another one is asked for: from peer to peer in the mesh while that
/// is where it fails, or nothing does between nodes; else the worst between nodes.
pub(super) fn worst(paths: &Paths) -> Option<RowKey> {
    let rank = |(key, row): &(&RowKey, &super::paths::Row)| {
        let between = row.paths.iter().any(|path| matches!(path.to, Far::Node(_)));
        let failing = if between { row.counts.failing() } else { 0 };
        let first = key.rank() == 0;
        (first && failing > 0, failing, first, std::cmp::Reverse(key.rank()))
    };
    paths.rows.iter().max_by_key(rank).map(|(key, _)| key.clone())
}

fn expect(denied: usize, all: usize) -> &'static str {
    match denied {
        0 => "reply",
        denied if denied == all => "denied",
        _ => "reply or denied",
    }
}

impl Matrix {
    /// The row `key` of `paths` between `nodes`; `None` when there is none.
    pub(super) fn of(
        paths: &Paths,
        key: &RowKey,
        nodes: &BTreeMap<String, Node>,
        opened: &Opened,
    ) -> Option<Self> {
        let row = paths.rows.get(key)?;
        let (mut asking, mut asked) = (Axis::new(&opened.from), Axis::new(&opened.to));
        let between = row.paths.iter().any(|path| matches!(path.to, Far::Node(_)));
        for (name, node) in nodes {
            asking.node(name, node.zone.as_deref());
            if between {
                asked.node(name, node.zone.as_deref());
            }
        }
        for path in &row.paths {
            let from = paths.name(path.from);
            asking.count(from, path.state);
            match path.to {
                Far::Node(to) => asked.count(paths.name(to), path.state),
                Far::Other(to) => asked.other(paths.name(to), path.state),
                Far::Alone => asked.other("", path.state),
            }
        }
        let (asking, asked) = (asking.done(), asked.done());
        let mut cells = vec![Counts::default(); asking.entries.len() * asked.entries.len()];
        for path in &row.paths {
            let to = match path.to {
                Far::Node(to) | Far::Other(to) => paths.name(to),
                Far::Alone => "",
            };
            for from in asking.places(paths.name(path.from)) {
                for to in asked.places(to) {
                    cells[from * asked.entries.len() + to].add(path.state);
                }
            }
        }
        Some(Self {
            key: key.clone(),
            expect: expect(row.denied as usize, row.paths.len()),
            is_folded: asking.is_folded || asked.is_folded,
            from: asking.entries,
            to: asked.entries,
            cells,
        })
    }

    /// The paths from entry `from` to entry `to`; none when that is not probed.
    pub(super) fn cell(&self, from: usize, to: usize) -> &Counts {
        &self.cells[from * self.to.len() + to]
    }
}

#[cfg(test)]
mod tests;

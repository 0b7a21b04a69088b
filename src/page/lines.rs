//! The last windows of single paths, one line each: what the pages of a node and of a target show.
//! Pure.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::failure::Reason;
use crate::observation::{Expected, Latency, Observation};
use crate::page::known::{Known, Node};
use crate::page::state::{State, is_fresh};
use crate::target::{ProbeKind, Vantage};

/// Windows of a path that are shown.
pub const MOST_WINDOWS: usize = 12;

/// A path and its last windows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Node of the agent that asks.
    pub(super) source: String,
    /// Its side of the mesh.
    pub(super) vantage: Vantage,
    /// The target's name within its plan.
    pub(super) name: String,
    /// What is asked.
    pub(super) probe: ProbeKind,
    /// What must come back.
    pub(super) expect: Expected,
    /// How it stands now.
    pub(super) state: State,
    /// Its last windows with attempts, oldest first.
    pub(super) windows: Vec<State>,
    /// Attempts in them.
    pub(super) attempts: u64,
    /// Of those, violated ones.
    pub(super) violated: u64,
    /// The most frequent reason of failure in the newest window that has one.
    pub(super) reason: Option<Reason>,
    /// Of the newest window with attempts that succeeded.
    pub(super) latency: Option<Latency>,
    /// When the newest window with attempts ended, or will; `None` when none has.
    pub(super) ended_at: Option<OffsetDateTime>,
}

/// Whether the agent on that side of `node` is heard.
pub(super) fn is_heard(node: Option<&Node>, vantage: Vantage) -> bool {
    let agents = node.into_iter().flat_map(|node| &node.agents);
    agents.filter(|agent| agent.vantage == vantage).any(|agent| agent.linked)
}

/// The paths of `windows` (oldest first of each path), as of the moment of `known`: the worst
/// first.
pub(super) fn lines(windows: &[Observation], known: &Known) -> Vec<Line> {
    let mut paths: BTreeMap<(Vantage, &str, &str), Vec<&Observation>> = BTreeMap::new();
    for window in windows {
        let Some(vantage) = window.vantage else { continue };
        paths.entry((vantage, window.name(), &window.source_node)).or_default().push(window);
    }
    let mut lines: Vec<Line> = paths.into_values().map(|windows| line(&windows, known)).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.state));
    lines
}

fn line(windows: &[&Observation], known: &Known) -> Line {
    let first = windows[0];
    let vantage = first.vantage.expect("those without one are left out");
    let attempted: Vec<&&Observation> =
        windows.iter().filter(|window| window.verdicts.total() > 0).collect();
    let attempted = &attempted[attempted.len().saturating_sub(MOST_WINDOWS)..];
    let (newest, before) = match attempted {
        [.., before, newest] => (Some(*newest), Some(*before)),
        [newest] => (Some(*newest), None),
        [] => (None, None),
    };
    let rhythm = newest.zip(before).map(|(newest, before)| {
        (newest.window_start - before.window_start).try_into().unwrap_or_default()
    });
    let heard = is_heard(known.nodes.get(&first.source_node), vantage);
    let state = match newest {
        Some(newest) if heard && is_fresh(newest.window_end(), rhythm, known.at) => {
            State::of(newest.verdicts)
        }
        _ => State::Unknown,
    };
    let sum = |of: fn(&Observation) -> u64| attempted.iter().map(|it| of(it)).sum();
    Line {
        source: first.source_node.clone(),
        vantage,
        name: first.name().to_owned(),
        probe: first.probe,
        expect: first.expect,
        state,
        windows: attempted.iter().map(|window| State::of(window.verdicts)).collect(),
        attempts: sum(|window| window.verdicts.total()),
        violated: sum(|window| window.verdicts.violated),
        reason: attempted.iter().rev().find_map(|window| window.reason()),
        latency: attempted.iter().rev().find_map(|window| window.latency_seconds),
        ended_at: newest.map(|newest| newest.window_end()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gate::Standing;
    use crate::observation::Verdicts;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn window(name: &str, start: u64, met: u64, violated: u64) -> Observation {
        Observation {
            source_node: "node-1".to_owned(),
            vantage: Some(Vantage::Plain),
            probe: ProbeKind::Http,
            target: "peer".to_owned(),
            name: Some(name.to_owned()),
            destination_node: Some("node-2".to_owned()),
            via: None,
            expect: Expected::Reply,
            window_start: EPOCH + Duration::from_secs(start),
            window_seconds: 10,
            attempts: met + violated,
            verdicts: Verdicts { met, violated, inconclusive: 0 },
            reasons: [(Reason::Reset, violated)].into_iter().filter(|(_, n)| *n > 0).collect(),
            latency_seconds: None,
            digest: None,
        }
    }

    fn known(linked: bool, at: u64) -> Known {
        let agent =
            Standing { node: "node-1".to_owned(), vantage: Vantage::Plain, linked, age: None };
        let node = Node { agents: vec![agent], ..Node::default() };
        Known {
            blind: None,
            nodes: [("node-1".to_owned(), node)].into(),
            ..Known::blind("", EPOCH + Duration::from_secs(at))
        }
    }

    #[test]
    fn the_worst_path_comes_first_with_its_windows_and_its_reason() {
        let windows = [
            window("a", 0, 2, 0),
            window("b", 0, 2, 0),
            window("b", 10, 0, 2),
            window("b", 20, 0, 0),
        ];
        let lines = lines(&windows, &known(true, 25));
        assert_eq!((lines[0].name.as_str(), lines[0].state), ("b", State::Violated));
        assert_eq!(lines[0].windows, [State::Met, State::Violated]);
        assert_eq!((lines[0].attempts, lines[0].reason), (4, Some(Reason::Reset)));
        assert_eq!(lines[1].state, State::Met);
    }

    #[test]
    fn what_a_silent_agent_saw_is_unknown_now_and_still_told() {
        let seen = lines(&[window("a", 0, 2, 0)], &known(false, 5));
        assert_eq!((seen[0].state, &seen[0].windows[..]), (State::Unknown, &[State::Met][..]));
        let old = lines(&[window("a", 0, 2, 0)], &known(true, 500));
        assert_eq!(old[0].state, State::Unknown);
    }
}

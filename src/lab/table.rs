//! What the lab shows: the truth table, one line per row, a mark per cell. Pure text.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use crate::diagnosis::{Diagnosis, Report};
use crate::expectation::Verdict;
use crate::failure::Failure;
use crate::flow::FlowPair;
use crate::incident;
use crate::lab::board::{Board, Finding, State};
use crate::lab::cell::{Cell, Node, Row, To};
use crate::lab::signature::Sight;

/// More nodes than this are counted instead of shown side by side.
const MOST_COLUMNS: usize = 8;
/// Cells that a finding names before it only counts.
const MOST_NAMED: usize = 12;

/// What is broken, the surest first.
pub(super) fn diagnoses(report: &Report) -> String {
    let one = |it: &Diagnosis| {
        format!("{} is {} ({:.0} % sure)", it.component, it.fault, it.confidence * 100.0)
    };
    report.diagnoses.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// An incident that opened or ended.
pub(super) fn incident(change: &incident::Change) -> String {
    match change {
        incident::Change::Opened(it) => format!(
            "! diagnosis: {} is {} ({:.0} % sure): {}",
            it.component,
            it.fault,
            it.confidence * 100.0,
            it.summary
        ),
        incident::Change::Closed(it) => format!("√ diagnosis: {} is whole again", it.component),
    }
}

/// The whole table, headline first, one line each, cut to `width` columns.
pub(super) fn lines(board: &Board, width: usize) -> Vec<String> {
    let nodes: BTreeSet<Node> = board.cells().map(|(cell, _)| cell.from).collect();
    let widest = Row::ALL.iter().map(|row| row.what().len()).max().unwrap_or(0);
    let groups = group_width(board);
    let mut header = format!("{:8} {:widest$} {:12}", "from", "to", "expect");
    if nodes.len() <= MOST_COLUMNS {
        for node in &nodes {
            let _ = write!(header, " {:groups$}", node.to_string());
        }
    } else {
        let _ = write!(header, " {:>5} {:>5} {:>5}", "√", "×", "‼");
    }
    let _ = write!(header, " {:>9} {:>9}  last failure", "p50", "p99");
    let mut lines = vec![board.headline(), String::new(), header];
    for row in Row::ALL {
        let cells: Vec<_> = board.cells().filter(|(cell, _)| cell.row == *row).collect();
        if !cells.is_empty() {
            lines.push(line(*row, &cells, &nodes, widest, groups));
        }
    }
    for line in &mut lines {
        if let Some((cut, _)) = line.char_indices().nth(width) {
            line.truncate(cut);
        }
        line.truncate(line.trim_end().len());
    }
    lines
}

/// Room for the marks of one node, and for its name.
fn group_width(board: &Board) -> usize {
    let most = |row: &Row| {
        let far: BTreeSet<To> =
            board.cells().filter(|(cell, _)| cell.row == *row).map(|(cell, _)| cell.to).collect();
        far.len()
    };
    Row::ALL.iter().map(most).max().unwrap_or(0).max("node-1".len())
}

fn line(
    row: Row,
    cells: &[(&Cell, &State)],
    nodes: &BTreeSet<Node>,
    widest: usize,
    groups: usize,
) -> String {
    let mut line = format!("{:8} {:widest$} {:12}", row.from(), row.what(), row.expect());
    if nodes.len() <= MOST_COLUMNS {
        for node in nodes {
            let marks: String =
                cells.iter().filter(|(cell, _)| cell.from == *node).map(|(_, s)| mark(s)).collect();
            let _ = write!(line, " {marks:groups$}");
        }
    } else {
        let count = |verdict| cells.iter().filter(|(_, s)| s.last == Some(verdict)).count();
        for verdict in Verdict::ALL {
            let _ = write!(line, " {:>5}", count(verdict));
        }
    }
    let mut latencies: Vec<Duration> =
        cells.iter().flat_map(|(_, state)| state.latencies()).copied().collect();
    latencies.sort_unstable();
    let _ = write!(line, " {:>9} {:>9}", quantile(&latencies, 0.5), quantile(&latencies, 0.99));
    let worst = |verdict| cells.iter().find(move |(_, s)| s.last == Some(verdict));
    let worst = worst(Verdict::Violated).or_else(|| worst(Verdict::Inconclusive));
    if let Some((cell, State { failure: Some(failure), .. })) = worst {
        let _ = write!(line, "  {}: {failure}", way(cell));
    }
    line
}

fn mark(state: &State) -> char {
    state.last.map_or('.', Verdict::mark)
}

fn way(cell: &Cell) -> String {
    match cell.to {
        To::Alone => cell.from.to_string(),
        To::Node(node) => format!("{}→{node}", cell.from),
        To::Replica(replica) => format!("{}→{replica}", cell.from),
    }
}

/// Nearest-rank quantile of sorted latencies; a dash without any.
fn quantile(sorted: &[Duration], q: f64) -> String {
    let rank = ((q * sorted.len() as f64).ceil() as usize).saturating_sub(1);
    sorted.get(rank).map_or("-".to_owned(), |at| format!("{:.2}ms", at.as_secs_f64() * 1e3))
}

/// What a fault did, in words.
pub(super) fn finding(board: &Board, finding: &Finding) -> String {
    let Finding { fault, as_stated, unmoved, otherwise } = finding;
    let all = as_stated.len() + unmoved.len() + otherwise.len();
    let mark = match (unmoved.len(), otherwise.len()) {
        (0, 0) => Verdict::Met,
        (_, 0) => Verdict::Inconclusive,
        (_, _) => Verdict::Violated,
    };
    let mut text = format!(
        "{} {fault}: {} of {all} cells turned as the signature table says",
        mark.mark(),
        as_stated.len()
    );
    named(&mut text, "did not turn", unmoved.iter().map(ToString::to_string));
    let wrong = otherwise.iter().map(|(cell, seen)| {
        let stated = board.stated(&fault.clone(), cell).map_or(String::new(), |effect| {
            let sights = effect.failures.iter().map(|(p, r)| (effect.verdict, *p, *r));
            told(&sights.collect::<Vec<_>>())
        });
        format!("{cell}: {}; the table says {stated}", told(seen))
    });
    named(&mut text, "turned otherwise", wrong);
    text
}

/// Cells that no fault accounts for.
pub(super) fn strays(strays: &[(Cell, Vec<Sight>)]) -> String {
    let mut text = format!("{} {} cells turned without a cause", '×', strays.len());
    let each = strays.iter().map(|(cell, seen)| format!("{cell}: {}", told(seen)));
    named(&mut text, "they are", each);
    text
}

/// Who would break under STRICT.
pub(super) fn caller(pair: &FlowPair) -> String {
    let nodes: Vec<&str> = pair.nodes.iter().map(String::as_str).collect();
    let (opened, rate) = (pair.total(), pair.rate_per_second);
    format!(
        "in plaintext, and in the way of STRICT: {pair}, {opened} connections, {rate:.1} a second, \
         counted on {}",
        nodes.join(" ")
    )
}

fn named(text: &mut String, what: &str, cells: impl ExactSizeIterator<Item = String>) {
    let more = cells.len().saturating_sub(MOST_NAMED);
    for cell in cells.take(MOST_NAMED) {
        let _ = write!(text, "\n    {what}: {cell}");
    }
    if more > 0 {
        let _ = write!(text, "\n    and {more} more");
    }
}

fn told(sights: &[Sight]) -> String {
    let told =
        sights.iter().map(|(verdict, phase, reason)| format!("{verdict}, {reason} in {phase}"));
    told.collect::<Vec<_>>().join(" or ")
}

/// One cell and its new verdict.
pub(super) fn change(
    cell: &Cell,
    from: Option<Verdict>,
    to: Verdict,
    why: Option<&Failure>,
) -> String {
    let was = from.map(|from| format!(" (was {from})")).unwrap_or_default();
    let why = why.map(|failure| format!(": {failure}")).unwrap_or_default();
    format!("{} {cell}: {to}{was}{why}", to.mark())
}

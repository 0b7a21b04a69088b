//! A node: its agents, what they see, and what others see of it.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::target::windows;
use super::{moment, told};
use crate::failure::Reason;
use crate::gate::Standing;
use crate::page::known::{Known, Node};
use crate::page::lines::Line;
use crate::page::paths::{Far, RowKey};
use crate::page::query::Query;
use crate::page::state::{Counts, State};
use crate::page::words::{counted, latency, span};
use crate::target::Vantage;

/// Nodes that are named when there is none of a name.
const MOST_ALIKE: usize = 20;
/// Those who fail to reach a node that are named.
const MOST_FAILING: usize = 8;

pub(super) fn about(name: &str, known: &Known, query: &Query) -> Markup {
    html! {
        section #node .card aria-labelledby="node-title" {
            h2 #node-title { "Node " (name) }
            @match known.nodes.get(name) {
                Some(node) => (there(node)),
                None => (missing(name, known, query)),
            }
        }
    }
}

fn there(node: &Node) -> Markup {
    html! {
        p .quiet {
            @match &node.zone { Some(zone) => { "Zone " (zone) }, None => "No zone" }
            " · "
            @match node.ready {
                Some(true) => "Ready by its kubelet",
                Some(false) => "Not ready by its kubelet",
                None => "readiness unknown",
            }
        }
        @for vantage in Vantage::ALL {
            @let agents: Vec<&Standing> = node.agents.iter().filter(|it| it.vantage == vantage).collect();
            @if agents.is_empty() {
                p {
                    span .state .u aria-hidden="true" { "?" }
                    " No " (vantage) " agent is here: a blind spot."
                }
            }
            @for agent in agents {
                p {
                    @let (class, sign) = if agent.linked { ("m", "√") } else { ("u", "?") };
                    span .state .(class) aria-hidden="true" { (sign) }
                    " The " (vantage) " agent "
                    @match (agent.linked, agent.age) {
                        (true, Some(age)) => { "was heard " (span(age)) " ago." },
                        (true, None) => "is heard.",
                        (false, Some(age)) => { "is silent; it was heard " (span(age)) " ago." },
                        (false, None) => "was never heard.",
                    }
                }
            }
        }
    }
}

fn missing(name: &str, known: &Known, query: &Query) -> Markup {
    let alike: Vec<&String> =
        known.nodes.keys().filter(|node| node.contains(name)).take(MOST_ALIKE).collect();
    html! {
        p { "No node is called so, of " (counted(known.nodes.len() as u64, "node")) "." }
        @if !alike.is_empty() {
            p { "Some have it in their names:" }
            ul { @for node in alike { li { a href=(query.node(node).link()) { (node) } } } }
        }
    }
}

/// What its agents see.
pub(super) fn targets(lines: &[Line], known: &Known, query: &Query) -> Markup {
    html! {
        section #targets .card aria-labelledby="targets-title" {
            h2 #targets-title { "What its agents see" }
            @if lines.is_empty() { p { "They told nothing yet." } }
            @for vantage in Vantage::ALL {
                @let lines: Vec<&Line> = lines.iter().filter(|it| it.vantage == vantage).collect();
                @if !lines.is_empty() {
                    div .scroll tabindex="0" role="group" aria-label=(format!("Targets of the {vantage} agent")) {
                        (table(vantage, &lines, known, query))
                    }
                    (hints(lines.iter().copied()))
                }
            }
        }
    }
}

fn table(vantage: Vantage, lines: &[&Line], known: &Known, query: &Query) -> Markup {
    html! {
        table .lines {
            caption { strong { "from " (vantage) } ", the worst first" }
            thead {
                tr {
                    th scope="col" { "Target" } th scope="col" { "Must come back" }
                    th scope="col" { "Now" } th scope="col" { "Last windows" }
                    th scope="col" { "Reason" } th scope="col" { "p50 / p99" } th scope="col" { "Up to" }
                }
            }
            tbody {
                @for line in lines {
                    tr {
                        th scope="row" {
                            a href=(query.target(vantage, &line.name).link()) { (line.name) }
                            span .quiet { " " (line.probe) }
                        }
                        td { (line.expect.as_str()) }
                        (cells(line, known))
                    }
                }
            }
        }
    }
}

/// What is told of a path whoever asks whom: state, windows, reason, latency, time.
pub(super) fn cells(line: &Line, known: &Known) -> Markup {
    html! {
        td { (told(line.state)) }
        td { (windows(line)) }
        td { @if let Some(reason) = line.reason { (reason.as_str()) } }
        td .number { @if let Some(it) = line.latency { (latency(it.p50)) " / " (latency(it.p99)) } }
        td { @match line.ended_at {
            Some(at) => (moment(at.min(known.at), known)),
            None => "never asked",
        } }
    }
}

/// Where to look first, by reason of what is not met now.
pub(super) fn hints<'a>(lines: impl Iterator<Item = &'a Line>) -> Markup {
    let unmet = lines.filter(|line| line.state != State::Met);
    let reasons: BTreeSet<Reason> = unmet.filter_map(|line| line.reason).collect();
    html! {
        @if !reasons.is_empty() {
            ul .hints { @for reason in reasons { li { strong { (reason.as_str()) } ": " (reason.hint()) } } }
        }
    }
}

/// What others see of it.
pub(super) fn seen(name: &str, known: &Known, query: &Query) -> Markup {
    let rows: Vec<(&RowKey, Counts, Vec<&str>)> =
        known.paths.rows.keys().filter_map(|key| row(key, name, known)).collect();
    html! {
        section #seen .card aria-labelledby="seen-title" {
            h2 #seen-title { "What others see of it" }
            @if rows.is_empty() {
                p { "Nobody probes it, as far as is known." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="seen-title" {
                    table .lines {
                        caption .sr { "Paths to this node by row of the truth table" }
                        thead { tr { th scope="col" { "Row" } th scope="col" { "Now" }
                            th scope="col" { "Paths" } th scope="col" { "Failing from" } } }
                        tbody { @for (key, counts, failing) in &rows { (others(key, counts, failing, name, query)) } }
                    }
                }
            }
        }
    }
}

fn row<'a>(
    key: &'a RowKey,
    name: &str,
    known: &'a Known,
) -> Option<(&'a RowKey, Counts, Vec<&'a str>)> {
    let paths = &known.paths;
    let (mut counts, mut failing) = (Counts::default(), Vec::new());
    for path in &paths.rows[key].paths {
        if matches!(path.to, Far::Node(to) if paths.name(to) == name) {
            counts.add(path.state);
            if path.state >= State::Partly {
                failing.push(paths.name(path.from));
            }
        }
    }
    (counts.total() > 0).then_some((key, counts, failing))
}

fn others(key: &RowKey, counts: &Counts, failing: &[&str], name: &str, query: &Query) -> Markup {
    let link = query.asked(key, name).map(|asked| asked.link());
    html! {
        tr {
            th scope="row" {
                a href=[link] { (key.words().unwrap_or(&key.name)) }
                span .quiet { " from " (key.vantage) }
            }
            td { (told(counts.overall().unwrap_or(State::Unknown))) }
            td { (counts) }
            td {
                @for (at, node) in failing.iter().take(MOST_FAILING).enumerate() {
                    @if at > 0 { ", " }
                    a href=(query.node(node).link()) { (node) }
                }
                @if failing.len() > MOST_FAILING { " and " (failing.len() - MOST_FAILING) " more" }
            }
        }
    }
}

//! A target: who asks it, and what came of it.

use maud::{Markup, html};

use super::node::{cells, hints};
use super::{class, mark};
use crate::page::known::Known;
use crate::page::lines::Line;
use crate::page::query::Query;
use crate::page::state::{Counts, State};
use crate::page::words::counted;

/// Those who ask that are shown, the worst of them.
const MOST: usize = 200;

pub(super) fn of(lines: &[Line], known: &Known, query: &Query) -> Markup {
    let name = query.name.as_deref().unwrap_or_default();
    let vantage = query.vantage.map_or("any", |vantage| vantage.as_str());
    let mut counts = Counts::default();
    lines.iter().for_each(|line| counts.add(line.state));
    html! {
        section #target .card aria-labelledby="target-title" {
            h2 #target-title { "Target " (name) span .quiet { " from " (vantage) } }
            @match lines.first() {
                None => p { "Nobody asks a target of that name, as far as is known." },
                Some(first) => {
                    p .quiet {
                        "A " (first.probe) " probe; must come back: " (first.expect.as_str()) ". "
                        (counted(lines.len() as u64, "agent")) " ask: " (counts) "."
                    }
                    div .scroll tabindex="0" role="group" aria-labelledby="target-title" {
                        (table(lines, known, query))
                    }
                    (hints(lines.iter()))
                    @if lines.len() > MOST { p .quiet { "and " (lines.len() - MOST) " others, none worse" } }
                }
            }
        }
    }
}

fn table(lines: &[Line], known: &Known, query: &Query) -> Markup {
    html! {
        table .lines {
            caption .sr { "Who asks it, the worst first" }
            thead {
                tr {
                    th scope="col" { "From" } th scope="col" { "Now" }
                    th scope="col" { "Last windows" } th scope="col" { "Reason" }
                    th scope="col" { "p50 / p99" } th scope="col" { "Up to" }
                }
            }
            tbody {
                @for line in lines.iter().take(MOST) {
                    tr {
                        th scope="row" { a href=(query.node(&line.source).link()) { (line.source) } }
                        (cells(line, known))
                    }
                }
            }
        }
    }
}

/// The last windows as a strip of marks, oldest first.
pub(super) fn windows(line: &Line) -> Markup {
    let count = |state| line.windows.iter().filter(|window| **window == state).count();
    let there = State::ALL.into_iter().rev().filter(|state| count(*state) > 0);
    let told: Vec<String> = there.map(|it| format!("{} {}", count(it), it.word())).collect();
    html! {
        span .strip aria-hidden="true" {
            @for state in &line.windows { i .(class(*state)) { (mark(*state)) } }
        }
        span .sr { (told.join(", ")) ", oldest first; " }
        span .quiet { (line.violated) " of " (line.attempts) " failed" }
    }
}

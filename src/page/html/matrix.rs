//! The rows of the truth table, and one of them as a matrix.

use maud::{Markup, html};

use super::{class, mark};
use crate::page::matrix::{Choice, Entry, Kind, Matrix, short};
use crate::page::paths::RowKey;
use crate::page::query::Query;
use crate::page::state::{Counts, State};
use crate::page::words::counted;
use crate::target::Vantage;

pub(super) fn of(matrix: Option<&Matrix>, rows: &[Choice], query: &Query) -> Markup {
    html! {
        section #paths .card aria-labelledby="paths-title" {
            h2 #paths-title { "Who reaches whom" }
            @match matrix {
                None => p { "Nothing was heard of any path yet: all are unknown." },
                Some(matrix) => {
                    div .paths {
                        (choices(matrix, rows, query))
                        div .shown { (table(matrix, query)) (legend(matrix)) }
                    }
                }
            }
        }
    }
}

fn choices(matrix: &Matrix, rows: &[Choice], query: &Query) -> Markup {
    html! {
        nav aria-label="Rows of the truth table" {
            @for vantage in Vantage::ALL.into_iter().filter(|it| rows.iter().any(|row| row.key.vantage == *it)) {
                h3 { "From " (vantage) span .count { "not met / paths" } }
                ul {
                    @for row in rows.iter().filter(|row| row.key.vantage == vantage) {
                        li { (choice(row, row.key == matrix.key, query)) }
                    }
                }
            }
        }
    }
}

fn choice(row: &Choice, is_shown: bool, query: &Query) -> Markup {
    let state = row.counts.overall().unwrap_or(State::Unknown);
    html! {
        a id=(format!("row-{}", row.key.to_word())) href=(query.with_row(&row.key).link())
            aria-current=[is_shown.then_some("true")] {
            span .state .(class(state)) aria-hidden="true" { (mark(state)) }
            span { (what(&row.key)) }
            @if row.expect == "denied" { span .quiet { " denied" } }
            span .count .quiet { (few(&row.counts)) span .sr { ": " (row.counts) } }
        }
    }
}

/// What a row asks, in words where there are some.
fn what(key: &RowKey) -> String {
    key.words().map_or_else(|| key.name.clone(), str::to_owned)
}

/// How many are not met of how many, or just how many.
fn few(counts: &Counts) -> Markup {
    let unmet = counts.total() - counts.count(State::Met);
    html! {
        span aria-hidden="true" {
            @if unmet > 0 { (unmet) "/" (counts.total()) } @else { (counts.total()) }
        }
    }
}

fn table(matrix: &Matrix, query: &Query) -> Markup {
    let names = matrix.from.iter().chain(&matrix.to).filter(|entry| entry.kind == Kind::Node);
    let common = short(names.map(|entry| entry.name.as_str()));
    let vantage = matrix.key.vantage;
    html! {
        p #matrix-title .title {
            strong { "From " (vantage) ": " (what(&matrix.key)) }
            span .quiet {
                " · must come back: " (matrix.expect)
                @if !common.is_empty() { " · names end in " code { (common) } }
            }
        }
        div .scroll tabindex="0" role="group" aria-labelledby="matrix-title" {
            table .matrix .folded[matrix.is_folded] aria-labelledby="matrix-title" {
                thead {
                    tr {
                        th scope="col" .corner { "from \\ to" }
                        @for (at, entry) in matrix.to.iter().enumerate() {
                            th scope="col" .(kind(entry)) {
                                div { (head(entry, at, false, &common, matrix, query)) }
                            }
                        }
                    }
                }
                tbody {
                    @for (from, entry) in matrix.from.iter().enumerate() {
                        tr .(kind(entry)) {
                            th scope="row" { (head(entry, from, true, &common, matrix, query)) }
                            @for to in 0..matrix.to.len() { (cell(matrix, from, to, query)) }
                        }
                    }
                }
            }
        }
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Node => "node",
        Kind::Zone { .. } => "zone",
        Kind::Rest { .. } => "rest",
        Kind::Other => "other",
    }
}

fn head(
    entry: &Entry,
    at: usize,
    asks: bool,
    common: &str,
    matrix: &Matrix,
    query: &Query,
) -> Markup {
    let id = format!("{}-{at}", if asks { "from" } else { "to" });
    match entry.kind {
        Kind::Node => {
            let shown = entry.name.strip_suffix(common).unwrap_or(&entry.name);
            html! { a id=(id) href=(query.node(&entry.name).link()) title=(entry.name) { (shown) } }
        }
        Kind::Zone { nodes, is_open } => html! {
            a id=(id) href=(query.toggled(asks, &entry.name).with_row(&matrix.key).link()) {
                span aria-hidden="true" { @if is_open { "▾ " } @else { "▸ " } }
                span .sr { @if is_open { "close " } @else { "open " } }
                (zone(&entry.name))
            }
            span .quiet { " " (counted(nodes as u64, "node")) }
        },
        Kind::Rest { count } => html! { span .quiet { (count) " others" } },
        Kind::Other if entry.name.is_empty() => html! { (what(&matrix.key)) },
        Kind::Other => {
            let link = query.asked(&matrix.key, &entry.name).map(|asked| asked.link());
            html! { a id=(id) href=[link] title=(entry.name) { (entry.name) } }
        }
    }
}

fn zone(name: &str) -> &str {
    if name.is_empty() { "no zone" } else { name }
}

fn cell(matrix: &Matrix, from: usize, to: usize, query: &Query) -> Markup {
    let counts = matrix.cell(from, to);
    let Some(state) = counts.overall() else { return html! { td {} } };
    let sign = html! {
        (mark(state))
        @if counts.total() > 1 && state != State::Met {
            small { (counts.total() - counts.count(State::Met)) "/" (counts.total()) }
        }
    };
    let told = counts.to_string();
    if state == State::Met || state == State::Unknown {
        return html! { td .(class(state)) aria-label=(told) { (sign) } };
    }
    let (asks, asked) = (&matrix.from[from], &matrix.to[to]);
    let link = leads(matrix, asks, asked, query).map(|query| query.link());
    html! {
        td .(class(state)) {
            a id=(format!("cell-{from}-{to}")) href=[link] {
                span aria-hidden="true" { (sign) }
                span .sr { (told) }
            }
        }
    }
}

/// Where a failing cell leads: to its target, or to the nodes of its zones.
fn leads(matrix: &Matrix, asks: &Entry, asked: &Entry, query: &Query) -> Option<Query> {
    let RowKey { vantage, name } = &matrix.key;
    let mut open = query.with_row(&matrix.key);
    match (asks.kind, asked.kind) {
        (_, Kind::Node | Kind::Other) if asked.name.is_empty() => {
            return Some(query.target(*vantage, name));
        }
        (_, Kind::Node | Kind::Other) => {
            return query.asked(&matrix.key, &asked.name);
        }
        (Kind::Node, _) => return Some(query.node(&asks.name)),
        _ => {}
    }
    if let Kind::Zone { .. } = asks.kind {
        open.opened.from.insert(asks.name.clone());
    }
    if let Kind::Zone { .. } = asked.kind {
        open.opened.to.insert(asked.name.clone());
    }
    Some(open)
}

fn legend(matrix: &Matrix) -> Markup {
    html! {
        p .legend {
            @for state in State::ALL.into_iter().rev() { (super::told(state)) " " }
            span .state { "blank: not probed" }
            @if matrix.is_folded {
                span .quiet { " Open a zone to see its nodes, the worst first." }
            }
        }
    }
}

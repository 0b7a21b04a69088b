//! The page as HTML: a document around sections, each with an id by which the script finds it.
//!
//! What is shown was written by others (names, annotations, messages): `maud` escapes all of it,
//! and what would change the direction or place of text around it is replaced.

mod gate;
mod matrix;
mod node;
mod target;
mod timeline;
mod verdict;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::OffsetDateTime;

use crate::gate::Report;
use crate::inert;
use crate::observation::rfc3339;
use crate::page::known::Known;
use crate::page::lines::Line;
use crate::page::matrix::{Matrix, choices, worst};
use crate::page::query::{Query, View};
use crate::page::state::State;
use crate::page::timeline::Timeline;
use crate::page::verdict::Headline;
use crate::page::words::clock;

/// A part of the page that changes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Its id.
    pub(super) id: &'static str,
    /// The element, whole.
    pub(super) html: String,
}

/// A page without its frame.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    /// What the window is called.
    pub(super) title: String,
    /// Its parts, in order.
    pub(super) sections: Vec<Section>,
}

/// What a page is made from.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// What is known.
    pub(super) known: &'a Known,
    /// Whether STRICT is safe, for the overview.
    pub(super) gate: Option<&'a Result<Report, String>>,
    /// The last windows, for the pages of nodes and targets.
    pub(super) lines: &'a [Line],
}

/// The page that `query` asks for.
pub(super) fn render(facts: &Facts<'_>, query: &Query) -> Rendered {
    let Facts { known, gate: answer, lines } = facts;
    let headline = Headline::of(known);
    let mut sections = vec![
        section("asof", as_of(known, query)),
        section("verdict", verdict::of(&headline, known)),
    ];
    match query.view {
        View::Overview => {
            if let Some(answer) = answer {
                sections.push(section("strict", gate::of(answer, known, query)));
            }
            let key = query.row.clone().filter(|key| known.paths.rows.contains_key(key));
            let key = key.or_else(|| worst(&known.paths));
            let matrix =
                key.and_then(|key| Matrix::of(&known.paths, &key, &known.nodes, &query.opened));
            let rows = choices(&known.paths);
            sections.push(section("paths", matrix::of(matrix.as_ref(), &rows, query)));
            sections.push(section("incidents", timeline::of(&Timeline::of(known), known)));
        }
        View::Node => {
            let name = query.name.as_deref().unwrap_or_default();
            sections.push(section("node", node::about(name, known, query)));
            if known.nodes.contains_key(name) {
                sections.push(section("targets", node::targets(lines, known, query)));
                sections.push(section("seen", node::seen(name, known, query)));
            }
        }
        View::Target => sections.push(section("target", target::of(lines, known, query))),
    }
    let title = inert::replaced(&format!("{} · meshprobe", headline.text));
    Rendered { title, sections }
}

/// The whole document around `rendered`; `live` pages follow the events.
pub(super) fn document(rendered: &Rendered, query: &Query, live: bool) -> String {
    let Rendered { title, sections } = rendered;
    let part = |id: &str| sections.iter().find(|section| section.id == id);
    let events = live.then(|| query.events());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="icon.svg";
                link rel="stylesheet" href="page.css";
                script src="page.js" defer {}
            }
            body data-events=[events] {
                a .skip href="#verdict" { "Skip to the verdict" }
                header {
                    a .home href=(Query { at: query.at, ..Query::default() }.link()) { "meshprobe" }
                    form .find action="node" method="get" role="search" {
                        label for="find" { "Node" }
                        input #find name="name" type="search" autocomplete="off" spellcheck="false";
                        @if let Some(at) = query.at { input type="hidden" name="at" value=(rfc3339::seconds(at)); }
                        button { "Show" }
                    }
                    div .clock {
                        @if let Some(section) = part("asof") { (whole(section)) }
                        p #live { @if live { "Reload to see anew." } }
                    }
                }
                main {
                    @if !query.mistakes.is_empty() {
                        section .notes aria-label="Mistakes in the address" {
                            @for mistake in &query.mistakes { p { "In the address: " (inert::replaced(mistake)) } }
                        }
                    }
                    @for section in sections.iter().filter(|section| section.id != "asof") {
                        (whole(section))
                    }
                }
                footer {
                    p {
                        "Read-only. What is not known is shown as unknown. "
                        a href="v1" { "The same for machines" }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A part that says why there is no page.
pub(super) fn problem(why: &str) -> Section {
    let html = html! {
        section #verdict .card .tone .u aria-label="Verdict" {
            p .sign aria-hidden="true" { "?" }
            div { h1 { "unknown: that instant cannot be told" } p { (why) } }
        }
    };
    section("verdict", html)
}

fn section(id: &'static str, html: Markup) -> Section {
    Section { id, html: inert::replaced(&html.into_string()) }
}

fn whole(section: &Section) -> Markup {
    PreEscaped(section.html.clone())
}

fn as_of(known: &Known, query: &Query) -> Markup {
    html! {
        div #asof {
            @if query.at.is_some() { "Then: " } @else { "As of " }
            (moment(known.at, known)) " "
            form .instant action="./" method="get" {
                label for="at" { "Instant" }
                input #at name="at" size="20" placeholder="RFC 3339" autocomplete="off"
                    spellcheck="false" value=[query.at.map(rfc3339::seconds)];
                button { "Look" }
                @if query.at.is_some() {
                    " " a href=(Query { at: None, ..query.clone() }.link()) { "Now" }
                }
            }
        }
    }
}

/// An instant for people and machines.
fn moment(at: OffsetDateTime, known: &Known) -> Markup {
    html! { time datetime=(rfc3339::seconds(at)) { (clock(at, known.at)) } }
}

/// A share as a percentage, never rounded up to certainty.
fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).min(99.0))
}

/// A state as a mark, for those who see, and a word.
fn told(state: State) -> Markup {
    html! { span .state .(class(state)) { span aria-hidden="true" { (mark(state)) } " " (state.word()) } }
}

fn mark(state: State) -> Markup {
    html! { (state.mark()) }
}

fn class(state: State) -> &'static str {
    match state {
        State::Met => "m",
        State::Unknown => "u",
        State::Partly => "p",
        State::Violated => "v",
    }
}

#[cfg(test)]
mod tests;

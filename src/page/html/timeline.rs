//! Incidents as a table with bars.

use maud::{Markup, html};

use super::{moment, percent};
use crate::page::known::Known;
use crate::page::timeline::{Entry, Timeline};
use crate::page::words::{between, span};

/// The shortest bar that can be seen, of 1000.
const SHORTEST: f64 = 6.0;

pub(super) fn of(timeline: &Timeline, known: &Known) -> Markup {
    html! {
        section #incidents .card aria-labelledby="incidents-title" {
            h2 #incidents-title { "Incidents" }
            @if let Some(why) = &known.unremembered {
                p { (why) }
            } @else if timeline.entries.is_empty() {
                p { "None since this controller started to look." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="incidents-title" {
                    (table(timeline, known))
                }
            }
            @if timeline.more > 0 { p .quiet { "and " (timeline.more) " older" } }
        }
    }
}

fn table(timeline: &Timeline, known: &Known) -> Markup {
    html! {
        table .incidents {
            caption .sr { "Incidents, open ones first" }
            thead {
                tr {
                    th scope="col" { "What" }
                    th scope="col" { "Since" }
                    th scope="col" { "Until" }
                    th scope="col" { "Lasted" }
                    th scope="col" { "Sure" }
                    th scope="col" .bar { "The last " (span(timeline.span)) }
                }
            }
            tbody { @for entry in &timeline.entries { (row(entry, known)) } }
        }
    }
}

fn row(entry: &Entry, known: &Known) -> Markup {
    html! {
        @let (class, sign) = if entry.is_ours { ("u", "?") } else { ("v", "×") };
        tr .open[entry.until.is_none()] .ours[entry.is_ours] {
            th scope="row" { (entry.text) p .quiet { (entry.summary) } }
            td { (moment(entry.since, known)) }
            td { @match entry.until {
                Some(until) => (moment(until, known)),
                None => span .state .(class) { span aria-hidden="true" { (sign) } " open" },
            } }
            td { (between(entry.since, entry.until.unwrap_or(known.at))) }
            td { (percent(entry.confidence)) }
            td .bar { (bar(entry)) }
        }
    }
}

fn bar(entry: &Entry) -> Markup {
    html! {
        svg viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect .rail x="0" y="7" width="1000" height="2" {}
            @if let Some((start, length)) = entry.bar {
                @let width = (length * 1000.0).max(SHORTEST);
                @let x = (start * 1000.0).min(1000.0 - width);
                rect .mark x=(format!("{x:.1}")) y="2" width=(format!("{width:.1}")) height="12" {}
            }
        }
    }
}

//! A report as one file of HTML: nothing is loaded, nothing runs; it reads on paper and in the dark.
//!
//! The first line of each SLO is its result in words. `maud` escapes what others wrote.

mod plots;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::inert;
use crate::observation::rfc3339;
use crate::report::model::{Compared, Report, SloReport, Standing};
use crate::report::sheet::{Sheet, sheets};
use crate::report::words::{budget, burn, exact, length, percent, period, points};

const STYLE: &str = include_str!("html/report.css");
/// Groups that are shown.
const MOST_GROUPS: usize = 100;
/// Rows of a table that are shown before the rest is folded.
const UNFOLDED: usize = 12;

/// `report` as a document.
pub fn html(report: &Report) -> String {
    let met = report.slos.iter().filter(|slo| slo.standing == Standing::Met).count();
    let title = format!("{met} of {} SLOs met", report.slos.len());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Should anything ever want to be loaded: nothing is.
                meta http-equiv="content-security-policy"
                    content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) " · meshprobe" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p .over { "meshprobe · service level objectives" }
                    h1 { (title) }
                    p .quiet { "Made " (rfc3339::seconds(report.at)) " from " (report.source) "." }
                    @for note in &report.notes { p .note { (note) } }
                    ul .results {
                        @for (at, slo) in report.slos.iter().enumerate() {
                            li {
                                (standing(slo.standing))
                                div { a href={ "#slo-" (at) } { (slo.name) } p { (slo.sentence) } }
                            }
                        }
                    }
                }
                main { @for (at, slo) in report.slos.iter().enumerate() { (one(at, slo)) } }
                footer { (words()) }
            }
        }
    };
    inert::replaced(&page.into_string())
}

fn standing(standing: Standing) -> Markup {
    let (class, mark) = match standing {
        Standing::Met => ("met", "✓"),
        Standing::Missed => ("missed", "✕"),
        Standing::TooLittleData | Standing::NoData => ("unknown", "?"),
    };
    html! { span .standing .(class) { span aria-hidden="true" { (mark) " " } (standing.as_str()) } }
}

fn one(at: usize, slo: &SloReport) -> Markup {
    html! {
        section id={ "slo-" (at) } {
            h2 { (slo.name) " " (standing(slo.standing)) }
            p .sentence { (slo.sentence) }
            @if let Some(description) = &slo.description { p { (description) } }
            p .quiet {
                (exact(slo.objective)) " over " (window(&slo.window)) ": " (slo.sli) ". "
                (period(&slo.period)) " (" (length(&slo.period)) ")"
                @if let Some(before) = &slo.before { ", compared with " (period(before)) }
                "."
            }
            @if slo.whole.attained.is_some() {
                (figures(slo))
                (plots::burn_down(slo))
                div .pair { (plots::nodes(slo)) (plots::heat_map(slo)) }
            }
            @for sheet in sheets(slo, MOST_GROUPS) { (table(&slo.name, &sheet)) }
            @if !slo.notes.is_empty() {
                div .notes { h3 { "What to know" } ul { @for note in &slo.notes { li { (note) } } } }
            }
        }
    }
}

fn window(window: &str) -> &str {
    if window == "calendar_month" { "a month of the calendar" } else { window }
}

fn figures(slo: &SloReport) -> Markup {
    let whole = &slo.whole;
    let tile = |name: &str, value: String, more: &str| {
        html! { div { dt { (name) } dd { (value) } @if !more.is_empty() { dd .quiet { (more) } } } }
    };
    let promised = format!("{} is promised", exact(slo.objective));
    let unknown = || "–".to_owned();
    let before = whole.change.map(|change: Compared| {
        let word = match change.clear {
            true if change.difference > 0.0 => "better",
            true => "worse",
            false => "no clear change",
        };
        let Compared { low, high, .. } = change;
        let more = format!("points: {word} (95 %: {} to {})", points(low), points(high));
        (points(change.difference), more)
    });
    html! {
        dl .figures {
            (tile("attained", whole.attained.map_or_else(unknown, percent), &promised))
            (tile("error budget left", whole.budget_left.map_or_else(unknown, budget), ""))
            (tile("burn rate, last hour", whole.burn_rate_1h.map_or_else(unknown, burn),
                  "at 1× it lasts just one window"))
            @if let Some((value, more)) = before { (tile("against before", value, &more)) }
            (tile("could not tell", whole.inconclusive_share.map_or_else(unknown, percent),
                  "counts neither way"))
            (tile("time known", budget(whole.covered), ""))
        }
    }
}

fn table(slo: &str, sheet: &Sheet) -> Markup {
    let (shown, folded) = sheet.rows.split_at(sheet.rows.len().min(UNFOLDED));
    let rows = |rows: &[Vec<String>]| {
        html! {
            @for row in rows {
                tr { @for (at, cell) in row.iter().enumerate() {
                    @if at == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                } }
            }
        }
    };
    let head = html! { thead { tr { @for name in &sheet.head { th scope="col" { (name) } } } } };
    html! {
        div .sheet {
            h3 { (sheet.title) }
            div .wide tabindex="0" role="region" aria-label={ (slo) ": " (sheet.title) } {
                table { (head) tbody { (rows(shown)) } }
            }
            @if !folded.is_empty() {
                details {
                    summary { (folded.len()) " more" }
                    div .wide tabindex="0" role="region" aria-label={ (slo) ": " (sheet.title) ", further rows" } {
                        table { (head) tbody { (rows(folded)) } }
                    }
                }
            }
            @if sheet.more > 0 { p .quiet { "and " (sheet.more) " more, which the JSON has" } }
        }
    }
}

/// What the words mean.
fn words() -> Markup {
    html! {
        h2 { "Words" }
        dl {
            dt { "Error budget" }
            dd { "How many attempts may fail before the promise is broken: all of them less the promised share." }
            dt { "Burn rate" }
            dd { "How fast the budget is spent. At 1 it is gone just when the window ends, at 2 after half of it." }
            dt { "Could not tell" }
            dd { "Attempts that began too late or lacked something on our side. They count neither for nor against." }
            dt { "Cold, warm" }
            dd { "On a fresh connection, on a kept one. p99: 99 of 100 took no longer." }
            dt { "95 % interval" }
            dd {
                "By Newcombe's hybrid score. It takes attempts for independent; those that fail together because \
                 one thing broke say less, so a change can be less sure than it looks."
            }
        }
    }
}

//! The gate: whether STRICT is safe, and the nine checks.

use maud::{Markup, html};

use super::moment;
use crate::gate::report::{Caller, CheckReport, Mode};
use crate::gate::{CheckResult, GateResult, Report};
use crate::page::known::Known;
use crate::page::query::Query;
use crate::page::words::counted;

/// Callers that are shown.
const MOST_CALLERS: usize = 20;

pub(super) fn of(answer: &Result<Report, String>, known: &Known, query: &Query) -> Markup {
    let result = answer.as_ref().map(|report| report.result);
    let (class, sign, said) = match result {
        Ok(GateResult::Ready) => ("m", "√", "STRICT is safe"),
        Ok(GateResult::NotReady) => ("v", "×", "STRICT is not safe"),
        Ok(GateResult::NotEnoughEvidence) => ("u", "?", "STRICT: not enough evidence"),
        Err(_) => ("u", "?", "STRICT: unknown"),
    };
    let place = match &query.namespace {
        Some(namespace) => format!(" in {namespace}"),
        None => " in the mesh".to_owned(),
    };
    html! {
        section #strict .card aria-labelledby="strict-title" {
            div .tone .(class) .line {
                p .sign aria-hidden="true" { (sign) }
                h2 #strict-title { (said) span .quiet { (place) } }
            }
            @if query.at.is_none() { (scope(known, query)) }
            @match answer {
                Err(why) => p { (why) },
                Ok(report) => (judged(report, known)),
            }
        }
    }
}

/// Whose gate it is.
fn scope(known: &Known, query: &Query) -> Markup {
    let kept = query.overview();
    html! {
        form .scope action="./" method="get" {
            @if let Some(row) = &kept.row { input type="hidden" name="row" value=(row.to_word()); }
            @for zone in &kept.opened.from { input type="hidden" name="from" value=(zone); }
            @for zone in &kept.opened.to { input type="hidden" name="to" value=(zone); }
            label for="namespace" { "Scope" }
            select #namespace name="namespace" {
                option value="" selected[query.namespace.is_none()] { "the mesh" }
                @for name in &known.namespaces {
                    option value=(name) selected[query.namespace.as_ref() == Some(name)] { (name) }
                }
                @if let Some(name) = query.namespace.as_ref().filter(|name| !known.namespaces.contains(name)) {
                    option value=(name) selected { (name) }
                }
            }
            button { "Ask" }
        }
    }
}

fn judged(report: &Report, known: &Known) -> Markup {
    let mode = match report.mode {
        Some(Mode::Strict) => "STRICT",
        Some(Mode::Permissive) => "PERMISSIVE",
        None => "not known",
    };
    html! {
        p .quiet { "In force: " (mode) ". Judged " (moment(report.evaluated_at, known))
            ", attempts counted since " (moment(report.counting_since, known)) " at most." }
        @if let Some(change) = &report.change { p .caveat { (change.summary) } }
        table .checks {
            caption .sr { "The nine checks of the gate" }
            thead { tr { th scope="col" { "Check" } th scope="col" { "Result" } th scope="col" { "Why" } } }
            tbody { @for check in &report.checks { (row(check)) } }
        }
        (callers(&report.callers, known))
        @if let Some(commands) = &report.commands {
            details #commands {
                summary { "How STRICT is applied and taken back" }
                p { "Apply" @if !report.ok { ", once the checks above pass" } ":" }
                pre tabindex="0" { (commands.apply) }
                p { "Take it back:" }
                pre tabindex="0" { (commands.revert) }
                p .quiet { (commands.limit) }
            }
        }
    }
}

fn row(check: &CheckReport) -> Markup {
    let (class, sign, word) = sign(check.result);
    let id = format!("check-{}", check.check.as_str());
    html! {
        tr {
            th scope="row" { (check.title) }
            td { span .state .(class) { span aria-hidden="true" { (sign) } " " (word) } }
            td {
                @if check.details.len() > 1 || check.hint.is_some() {
                    details id=(id) { summary { (check.summary) } (findings(check)) }
                } @else { (check.summary) }
            }
        }
    }
}

fn findings(check: &CheckReport) -> Markup {
    html! {
        ul {
            @for detail in &check.details {
                @let (class, sign, word) = sign(detail.result);
                li {
                    span .state .(class) { span aria-hidden="true" { (sign) } span .sr { (word) } }
                    " " (detail.text)
                }
            }
        }
        @if let Some(hint) = &check.hint { p .quiet { "Look at: " (hint) } }
    }
}

fn sign(result: CheckResult) -> (&'static str, char, &'static str) {
    match result {
        CheckResult::Pass => ("m", '√', "pass"),
        CheckResult::Warn => ("p", '‼', "warn"),
        CheckResult::NotEnoughEvidence => ("u", '?', "unknown"),
        CheckResult::Fail => ("v", '×', "fail"),
    }
}

fn callers(callers: &[Caller], known: &Known) -> Markup {
    html! {
        @if !callers.is_empty() {
            details #callers {
                summary { (counted(callers.len() as u64, "caller")) " without mTLS" }
                table {
                    caption .sr { "Who calls without mTLS" }
                    thead { tr { th scope="col" { "Caller" } th scope="col" { "Calls" }
                        th scope="col" { "Per second" } th scope="col" { "Last seen" } } }
                    tbody {
                        @for caller in callers.iter().take(MOST_CALLERS) {
                            tr {
                                th scope="row" { (caller.source) }
                                td { (caller.destination) }
                                td { (format!("{:.2}", caller.rate_per_second)) }
                                td { @match caller.last_seen {
                                    Some(at) => (moment(at, known)),
                                    None => "unknown",
                                } }
                            }
                        }
                    }
                }
                @if callers.len() > MOST_CALLERS {
                    p .quiet { "and " (callers.len() - MOST_CALLERS) " more" }
                }
            }
        }
    }
}

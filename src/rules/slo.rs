//! What is recorded for each SLO, and when its budget is spent too fast.
//!
//! Every attempt is looked at once, for the rates of 5 minutes; everything longer is made of those:
//! windows below a day of the rates themselves, longer ones of one count an hour. So a query over 30
//! days reads 720 samples a group, and none of the agents' own series.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rules::{Group, Rule, annotations};
use crate::slo::{
    Burn, Detail, Function, GroupKey, MOST_INCONCLUSIVE, Severity, Slo, Window, burns,
    promql_duration,
};

/// How often the rates are made; what is made of them counts on it.
const INTERVAL: &str = "1m";
const INTERVAL_SECONDS: u64 = 60;
/// How often what is left of a budget is made.
const BUDGET_INTERVAL: &str = "5m";
/// How often the details of a report are counted, each time of just that time.
const REPORT_INTERVAL: &str = "1h";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What one bad attempt alone comes to at most, as it is counted, and two come to at least.
const LONE: f64 = 1.5;

/// The groups of all SLOs.
pub(super) fn groups(slos: &[Slo], runbooks: &str) -> Vec<Group> {
    let monthly = slos.iter().any(|slo| slo.window == Window::CalendarMonth);
    let calendar = monthly.then(calendar);
    calendar.into_iter().chain(slos.iter().flat_map(|slo| of(slo, runbooks))).collect()
}

/// Which month it was half an hour ago, so that a count of the hour before a month began, made just
/// when it begins, is none of its own.
fn calendar() -> Group {
    let then = "vector(time() - 1800)";
    Group {
        name: "meshprobe-calendar".to_owned(),
        interval: Some(INTERVAL.to_owned()),
        rules: vec![Rule::Record {
            record: "meshprobe:calendar:month".to_owned(),
            expr: format!("year({then}) * 100 + month({then})"),
            labels: Vec::new(),
        }],
    }
}

fn of(slo: &Slo, runbooks: &str) -> [Group; 3] {
    let group = |name: String, interval: &str, rules| Group {
        name,
        interval: Some(interval.to_owned()),
        rules,
    };
    let mut rules = rates(slo);
    rules.extend(windows(slo));
    rules.extend(alerts(slo, runbooks));
    [
        group(format!("meshprobe-slo-{}", slo.name), INTERVAL, rules),
        group(format!("meshprobe-slo-{}-window", slo.name), BUDGET_INTERVAL, window(slo)),
        group(format!("meshprobe-slo-{}-report", slo.name), REPORT_INTERVAL, details(slo)),
    ]
}

/// What reports read besides budgets.
fn details(slo: &Slo) -> Vec<Rule> {
    let rule = |detail: Detail| record(slo, detail.recorded(), slo.detail(detail, REPORT_INTERVAL));
    Detail::ALL.map(rule).into()
}

fn record(slo: &Slo, name: impl std::fmt::Display, expr: String) -> Rule {
    let labels = vec![("slo".to_owned(), slo.name.to_string())];
    Rule::Record { record: format!("meshprobe:slo_{name}"), expr, labels }
}

fn rates(slo: &Slo) -> Vec<Rule> {
    let counted = slo.expressions(Function::Rate, "5m", &slo.group_by);
    let ratio = format!("{} / ({} > 0)", slo.recorded("bad:rate5m"), slo.recorded("total:rate5m"));
    vec![
        record(slo, "bad:rate5m", counted.bad),
        record(slo, "total:rate5m", counted.total),
        record(slo, "inconclusive:rate5m", counted.inconclusive),
        record(slo, "errors:ratio5m", ratio),
    ]
}

/// The sum of what `name` (`bad`, `total`, `inconclusive`) counted over `window`.
fn sum(slo: &Slo, name: &str, window: Duration) -> String {
    let range = promql_duration(window);
    match window < DAY {
        true => {
            let rates = slo.recorded(&format!("{name}:rate5m"));
            format!("sum_over_time({rates}[{range}]) * {INTERVAL_SECONDS}")
        }
        false => {
            let hourly = slo.recorded(&format!("{name}:increase1h"));
            format!("sum_over_time({hourly}[{range}:1h])")
        }
    }
}

/// Counts of an hour, and shares of bad attempts over every window that alerts look at.
fn windows(slo: &Slo) -> Vec<Rule> {
    let mut rules: Vec<Rule> = ["bad", "total", "inconclusive"]
        .map(|name| record(slo, format!("{name}:increase1h"), sum(slo, name, HOUR)))
        .into();
    let burns = reachable(slo);
    let long: BTreeSet<Duration> = burns.iter().map(|burn| burn.long).collect();
    for window in long.iter().filter(|window| **window != HOUR) {
        let name = format!("total:increase{}", promql_duration(*window));
        rules.push(record(slo, name, sum(slo, "total", *window)));
    }
    let short = burns.iter().map(|burn| burn.short);
    let all: BTreeSet<Duration> = long.iter().copied().chain(short).collect();
    for window in all.into_iter().filter(|window| window.as_secs() != 300) {
        let (bad, total) = (sum(slo, "bad", window), sum(slo, "total", window));
        let name = format!("errors:ratio{}", promql_duration(window));
        rules.push(record(slo, name, format!("({bad}) / (({total}) > 0)")));
    }
    rules
}

/// The conditions that some outage can meet.
fn reachable(slo: &Slo) -> Vec<Burn> {
    let burns = burns(slo.window).into_iter();
    burns.filter(|burn| burn.is_reachable(slo.objective)).collect()
}

/// What is spent and left of the budget of the whole window.
fn window(slo: &Slo) -> Vec<Rule> {
    let count = |name: &str| {
        let hourly = slo.recorded(&format!("{name}:increase1h"));
        match slo.window {
            Window::Rolling(_) => format!("sum_over_time({hourly}[{}:1h])", slo.window),
            Window::CalendarMonth => {
                let month = "meshprobe:calendar:month";
                format!("sum_over_time(({hourly} and on () ({month} == {month} @ end()))[31d:1h])")
            }
        }
    };
    let (bad, total) = (slo.recorded("bad:window"), slo.recorded("total:window"));
    let (budget, fewest) = (slo.objective.budget(), slo.objective.fewest_attempts());
    let mut rules: Vec<Rule> = ["bad", "total", "inconclusive"]
        .map(|name| record(slo, format!("{name}:window"), count(name)))
        .into();
    rules.push(record(slo, "objective:ratio", format!("vector({})", slo.objective.share())));
    // Nothing is said with too little data.
    let left = format!("1 - {bad} / ({total} >= {fewest}) / {budget}");
    rules.push(record(slo, "budget_left:ratio", left));
    rules
}

/// `burning`: of severity critical and warning; silent and unsure SLOs.
fn alerts(slo: &Slo, runbooks: &str) -> Vec<Rule> {
    let burns = reachable(slo);
    let of = |severity| burns.iter().filter(move |burn| burn.severity == severity);
    let severities = [Severity::Critical, Severity::Warning];
    let mut rules: Vec<Rule> = severities
        .into_iter()
        .filter(|severity| of(*severity).next().is_some())
        .map(|severity| burning(slo, severity, of(severity), runbooks))
        .collect();
    rules.push(without_data(slo, runbooks));
    rules.push(unsure(slo, runbooks));
    rules
}

fn burning<'a>(
    slo: &Slo,
    severity: Severity,
    burns: impl Iterator<Item = &'a Burn>,
    runbooks: &str,
) -> Rule {
    let mut conditions = Vec::new();
    let mut spent = Vec::new();
    for burn in burns {
        let [long, short] = [burn.long, burn.short].map(promql_duration);
        let threshold = burn.threshold(slo.objective);
        let share = |window: &str| slo.recorded(&format!("errors:ratio{window}"));
        let total = slo.recorded(&format!("total:increase{long}"));
        let (share, still) = (share(&long), share(&short));
        conditions.push(format!(
            "(\n{share} > {threshold}\nand {still} > {threshold}\nand {share} * {total} > {LONE}\n)",
        ));
        spent.push(format!("{} times its even rate over {long}", burn.factor));
    }
    let (name, objective, window) = (&slo.name, slo.objective, slo.window);
    let alert = "MeshprobeSloBudgetBurn";
    let summary = format!("SLO {name}{} spends its error budget too fast", places(&slo.group_by));
    let description = format!(
        "{{{{ $value | humanizePercentage }}}} of its attempts were bad, and {objective} over {window} must be \
         good. The error budget is spent at more than {}.",
        spent.join(", or ")
    );
    Rule::Alert {
        alert: alert.to_owned(),
        expr: conditions.join("\nor\n"),
        lasting: "0s".to_owned(),
        labels: labels(slo, severity.as_str()),
        annotations: annotations(alert, &summary, &description, runbooks),
    }
}

fn labels(slo: &Slo, severity: &str) -> Vec<(String, String)> {
    let pairs = [("severity", severity.to_owned()), ("slo", slo.name.to_string())];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// ` (node n1, zone a)` of an alert's labels, empty without any.
fn places(group_by: &[GroupKey]) -> String {
    let place = |key: &GroupKey| {
        let key = key.as_str();
        format!("{key} {{{{ $labels.{key} }}}}")
    };
    match group_by {
        [] => String::new(),
        keys => format!(" ({})", keys.iter().map(place).collect::<Vec<_>>().join(", ")),
    }
}

fn without_data(slo: &Slo, runbooks: &str) -> Rule {
    let alert = "MeshprobeSloNoData";
    let summary = format!("Nothing is known of SLO {}", slo.name);
    let description = "No attempt counted for it: its selectors match nothing, agents are silent, or their \
                       histograms have no bound on its threshold yet.";
    Rule::Alert {
        alert: alert.to_owned(),
        expr: format!("absent({} > 0)", slo.recorded("total:rate5m")),
        lasting: "30m".to_owned(),
        labels: labels(slo, "warning"),
        annotations: annotations(alert, &summary, description, runbooks),
    }
}

fn unsure(slo: &Slo, runbooks: &str) -> Rule {
    let alert = "MeshprobeSloInconclusive";
    let summary = format!("SLO {}{} says little", slo.name, places(&slo.group_by));
    let description = "{{ $value | humanizePercentage }} of its attempts of the last hour could not tell. \
                       They count neither for nor against, and what is left is no fair sample.";
    let (unsure, total) =
        (slo.recorded("inconclusive:increase1h"), slo.recorded("total:increase1h"));
    Rule::Alert {
        alert: alert.to_owned(),
        expr: format!("{unsure} / ({unsure} + {total} > 0) > {MOST_INCONCLUSIVE}"),
        lasting: "15m".to_owned(),
        labels: labels(slo, "warning"),
        annotations: annotations(alert, &summary, description, runbooks),
    }
}

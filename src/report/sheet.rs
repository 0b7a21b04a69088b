//! The tables of a report, whatever they are written as.

use crate::observation::rfc3339;
use crate::report::model::{Compared, Figures, Group, Latency, Place, SloReport};
use crate::report::words::{
    budget, burn, count, length, name, percent, period, points, quantile, seconds,
};

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sheet {
    /// What it is of.
    pub(super) title: &'static str,
    /// Its columns.
    pub(super) head: Vec<String>,
    /// Its rows, as wide as the head.
    pub(super) rows: Vec<Vec<String>>,
    /// Rows that are not shown.
    pub(super) more: usize,
}

/// Where something is not known.
const UNKNOWN: &str = "–";
/// Nodes, zones and phases that are shown.
const MOST_PLACES: usize = 10;

/// Every table of `slo`, with at most so many groups.
pub(super) fn sheets(slo: &SloReport, groups: usize) -> Vec<Sheet> {
    let all = [
        figures(slo, groups),
        latencies(slo, groups),
        changes(slo, groups),
        places("Worst nodes", "node", &slo.nodes),
        places("Worst zones", "zone", &slo.zones),
        phases(slo),
        spells(slo),
        incidents(slo),
    ];
    all.into_iter().filter(|sheet| !sheet.rows.is_empty()).collect()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn or_unknown<T>(value: Option<T>, tell: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), tell)
}

/// A row for all, and one for each group, whose cells `tell` makes of figures.
fn by_group(
    slo: &SloReport,
    title: &'static str,
    head: &[&str],
    groups: usize,
    tell: impl Fn(&Figures) -> Option<Vec<String>>,
) -> Sheet {
    let first = match slo.group_by.is_empty() {
        true => "of".to_owned(),
        false => slo.group_by.join(" · "),
    };
    let row = |name: String, figures: &Figures| {
        Some(std::iter::once(name).chain(tell(figures)?).collect::<Vec<_>>())
    };
    let of_group = |group: &Group| row(name(&group.labels), &group.figures);
    let shown = slo.groups.iter().take(groups).filter_map(of_group);
    let rows: Vec<Vec<String>> =
        row("all".to_owned(), &slo.whole).into_iter().chain(shown).collect();
    let more = if rows.len() > 1 { slo.groups.len().saturating_sub(groups) } else { 0 };
    let head = std::iter::once(first).chain(words(head)).collect();
    Sheet { title, head, rows, more }
}

fn figures(slo: &SloReport, groups: usize) -> Sheet {
    let head = [
        "result",
        "attained",
        "budget left",
        "burn, last hour",
        "bad",
        "attempts",
        "could not tell",
        "time known",
    ];
    by_group(slo, "Result", &head, groups, |figures| {
        Some(vec![
            figures.standing.as_str().to_owned(),
            or_unknown(figures.attained, percent),
            or_unknown(figures.budget_left, budget),
            or_unknown(figures.burn_rate_1h, burn),
            count(figures.bad),
            count(figures.total),
            or_unknown(figures.inconclusive_share, percent),
            budget(figures.covered),
        ])
    })
}

fn latencies(slo: &SloReport, groups: usize) -> Sheet {
    let title = "Latency of successful attempts";
    let three = |latency: &Option<Latency>| match latency {
        Some(Latency { p50, p90, p99 }) => [p50, p90, p99].map(quantile),
        None => [UNKNOWN; 3].map(str::to_owned),
    };
    if slo.whole.either.is_some() {
        return by_group(slo, title, &["p50", "p90", "p99"], groups, |figures| {
            figures.either.is_some().then(|| three(&figures.either).into())
        });
    }
    let head =
        ["cold p50", "cold p90", "cold p99", "warm p50", "warm p90", "warm p99", "slowest phase"];
    by_group(slo, title, &head, groups, |figures| {
        let Figures { cold, warm, slowest_phase, .. } = figures;
        if cold.is_none() && warm.is_none() && slowest_phase.is_none() {
            return None;
        }
        let slowest = or_unknown(slowest_phase.as_ref(), |it| {
            format!("{} ({} on average)", it.phase, seconds(it.mean_seconds))
        });
        Some([&three(cold)[..], &three(warm)[..], &[slowest]].concat())
    })
}

fn changes(slo: &SloReport, groups: usize) -> Sheet {
    let head = ["before", "now", "points", "95 % interval (Newcombe)", "change"];
    by_group(slo, "Against the time before", &head, groups, |figures| {
        let Compared { attained_before, difference, low, high, clear } = figures.change?;
        let change = match clear {
            true if difference > 0.0 => "better",
            true => "worse",
            false => "no clear change",
        };
        Some(vec![
            percent(attained_before),
            or_unknown(figures.attained, percent),
            points(difference),
            format!("{} to {}", points(low), points(high)),
            change.to_owned(),
        ])
    })
}

fn places(title: &'static str, noun: &str, places: &[Place]) -> Sheet {
    let zoned = places.iter().any(|place| place.zone.is_some());
    let mut head = vec![noun.to_owned()];
    head.extend(zoned.then(|| "zone".to_owned()));
    head.extend(words(&["attained", "bad", "attempts"]));
    let row = |place: &Place| {
        let mut row = vec![place.name.clone()];
        row.extend(zoned.then(|| or_unknown(place.zone.clone(), |zone| zone)));
        row.extend([or_unknown(place.attained, percent), count(place.bad), count(place.total)]);
        row
    };
    let rows = places.iter().take(MOST_PLACES).map(row).collect();
    Sheet { title, head, rows, more: places.len().saturating_sub(MOST_PLACES) }
}

fn phases(slo: &SloReport) -> Sheet {
    let rows = slo.phases.iter();
    let rows = rows.map(|it| vec![it.phase.clone(), seconds(it.mean_seconds), count(it.count)]);
    let head = words(&["phase", "on average", "ran"]);
    Sheet { title: "Phases, slowest first", head, rows: rows.collect(), more: 0 }
}

fn spells(slo: &SloReport) -> Sheet {
    let rows = slo.spells.iter().map(|it| {
        let spent = or_unknown(it.budget_spent, budget);
        vec![period(&it.period), length(&it.period), count(it.bad), spent]
    });
    let head = words(&["when", "for", "bad", "of the budget"]);
    Sheet { title: "When the budget was spent fastest", head, rows: rows.collect(), more: 0 }
}

fn incidents(slo: &SloReport) -> Sheet {
    let rows = slo.incidents.iter().flatten().map(|it| {
        let until = or_unknown(it.until, rfc3339::seconds);
        vec![
            format!("{} {}", it.component, it.fault),
            rfc3339::seconds(it.since),
            if it.until.is_none() { "goes on".to_owned() } else { until },
            or_unknown(it.bad, count),
            or_unknown(it.budget_spent, budget),
            it.summary.clone(),
        ]
    });
    let head = words(&["diagnosis", "since", "until", "bad", "of the budget", "in words"]);
    Sheet { title: "Incidents, costliest first", head, rows: rows.collect(), more: 0 }
}

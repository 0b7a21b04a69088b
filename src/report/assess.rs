//! What counts come to: holes, spells, standings, and what incidents cost.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::report::LEAST_COVERED;
use crate::report::ask::Asker;
use crate::report::count::{Counted, Counting, From, Key};
use crate::report::model::{
    Figures, Group, Incident, Period, Place, SloReport, Spell, Standing, Step,
};
use crate::report::span::Span;
use crate::slo::{Counts, Slo};

/// Spells and incidents that are told.
const MOST_TOLD: usize = 10;
/// Incidents whose cost is asked for, the latest first.
const MOST_ASKED: usize = 50;
/// Recorded rates look back this long: what an incident cost is counted for so much longer.
const LAG: time::Duration = time::Duration::minutes(5);

/// Puts steps, holes and spells into `report`, and how much of the time is known.
pub(super) fn time(
    report: &mut SloReport,
    slo: &Slo,
    span: Span,
    counted: &Counted,
    known: &[(Period, f64)],
) {
    let all = |at: usize| {
        let mut told = counted.groups.values().filter_map(|row| row[at].as_ref()).peekable();
        told.peek()?;
        Some(told.fold(Counts::default(), |sum, counts| sum.and(counts)))
    };
    let counts: Vec<Option<Counts>> = (0..span.steps().len()).map(all).collect();
    let steps = span.steps().into_iter().zip(&counts);
    report.steps = steps
        .map(|(period, counts)| Step {
            period,
            bad: counts.map(|counts| counts.bad()),
            total: counts.map(|counts| counts.total()),
        })
        .collect();
    let told: Vec<Period> =
        report.steps.iter().filter(|it| it.total.is_some()).map(|it| it.period).collect();
    let known = within(&told, known);
    let holes = known.iter().filter(|(_, share)| *share < 1.0).map(|(period, _)| *period);
    report.holes = joined(holes.collect());
    report.whole.covered = share(span, &known);
    report.spells = spells(slo, &report.steps);
}

/// How much of `span` is known of which `counted` is the sum, 0 to 1.
pub(super) fn covered_sum(
    counting: &Counting<'_>,
    span: Span,
    counted: &Counted,
    known: &[(Period, f64)],
) -> f64 {
    let steps = counting.sum_steps(span).into_iter().enumerate();
    let is_told = |at: usize| counted.groups.values().any(|row| row[at].is_some());
    let told: Vec<Period> = steps.filter(|(at, _)| is_told(*at)).map(|(_, step)| step).collect();
    share(span, &within(&told, known))
}

/// Nothing is known beyond the steps that were told.
fn within(told: &[Period], known: &[(Period, f64)]) -> Vec<(Period, f64)> {
    let is_told = |it: &Period| told.iter().any(|step| step.from <= it.from && it.to <= step.to);
    known.iter().map(|(it, share)| (*it, if is_told(it) { *share } else { 0.0 })).collect()
}

fn share(span: Span, known: &[(Period, f64)]) -> f64 {
    let covered: f64 = known.iter().map(|(period, share)| share * seconds(period)).sum();
    covered / seconds(&span.period())
}

fn seconds(period: &Period) -> f64 {
    (period.to - period.from).as_seconds_f64()
}

/// Periods with those that follow each other joined.
fn joined(periods: Vec<Period>) -> Vec<Period> {
    let mut joined: Vec<Period> = Vec::new();
    for period in periods {
        match joined.last_mut().filter(|last| last.to == period.from) {
            Some(last) => last.to = period.to,
            None => joined.push(period),
        }
    }
    joined
}

fn spells(slo: &Slo, steps: &[Step]) -> Vec<Spell> {
    let all: f64 = steps.iter().filter_map(|step| step.total).sum();
    let allowed = slo.objective.budget() * all;
    let mut spells: Vec<Spell> = Vec::new();
    for step in steps {
        let (Some(bad), Some(total)) = (step.bad, step.total) else { continue };
        if bad <= slo.objective.budget() * total {
            continue;
        }
        match spells.last_mut().filter(|last| last.period.to == step.period.from) {
            Some(last) => {
                last.period.to = step.period.to;
                last.bad += bad;
            }
            None => spells.push(Spell { period: step.period, bad, budget_spent: None }),
        }
    }
    for spell in &mut spells {
        spell.budget_spent = (allowed > 0.0).then(|| spell.bad / allowed);
    }
    spells.sort_by(|a, b| b.bad.total_cmp(&a.bad));
    spells.truncate(MOST_TOLD);
    spells
}

/// The share of the time of `steps` of which `row` knows something.
pub(super) fn covered(steps: &[Step], row: &[Option<Counts>]) -> f64 {
    let all: f64 = steps.iter().map(|step| seconds(&step.period)).sum();
    let told = steps.iter().zip(row).filter(|(_, counts)| counts.is_some());
    let told: f64 = told.map(|(step, _)| seconds(&step.period)).sum();
    if all > 0.0 { told / all } else { 0.0 }
}

/// Groups by the share of bad attempts, the largest first.
pub(super) fn by_error_share(counted: &Counted) -> Vec<&Key> {
    let share = |row: &[Option<Counts>]| {
        let sum = row.iter().flatten().fold(Counts::default(), |sum, counts| sum.and(counts));
        sum.error_share().unwrap_or(-1.0)
    };
    let mut keys: Vec<(f64, &Key)> =
        counted.groups.iter().map(|(key, row)| (share(row), key)).collect();
    keys.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    keys.into_iter().map(|(_, key)| key).collect()
}

/// The smallest budget left first; what has none last.
pub(super) fn worst_first(groups: &mut [Group]) {
    let left = |group: &Group| group.figures.budget_left.unwrap_or(f64::INFINITY);
    groups.sort_by(|a, b| left(a).total_cmp(&left(b)).then_with(|| a.labels.cmp(&b.labels)));
}

/// Nodes and zones by their counts, keyed by node and zone (empty: unknown), the worst first.
pub(super) fn places<'a>(counts: impl Iterator<Item = (&'a Key, Counts)>) -> [Vec<Place>; 2] {
    let (mut nodes, mut zones) = (Vec::new(), BTreeMap::<&str, Counts>::new());
    for (key, counts) in counts {
        let [node, zone] = key.as_slice() else { continue };
        let named = Some(zone.clone()).filter(|zone| !zone.is_empty());
        if named.is_some() {
            let all = zones.entry(zone).or_default();
            *all = all.and(&counts);
        }
        nodes.extend(place(node, named, &counts));
    }
    let zones = zones.into_iter().filter_map(|(zone, counts)| place(zone, None, &counts)).collect();
    let worst_first = |mut places: Vec<Place>| {
        let share = |place: &Place| place.bad / place.total;
        places.sort_by(|a, b| share(b).total_cmp(&share(a)).then_with(|| a.name.cmp(&b.name)));
        places
    };
    [nodes, zones].map(worst_first)
}

fn place(name: &str, zone: Option<String>, counts: &Counts) -> Option<Place> {
    let attained = 1.0 - counts.error_share()?;
    let (bad, total) = (counts.bad(), counts.total());
    let known = !name.is_empty();
    known.then(|| Place { name: name.to_owned(), zone, bad, total, attained: Some(attained) })
}

/// Missed when any budget is; met when all are, and enough of the time is known.
pub(super) fn standing(whole: &Figures, groups: &[Group]) -> Standing {
    let all = || groups.iter().map(|group| group.figures.standing);
    match whole.standing {
        _ if all().any(|standing| standing == Standing::Missed) => Standing::Missed,
        standing if groups.is_empty() => standing,
        Standing::NoData => Standing::NoData,
        _ if whole.covered < LEAST_COVERED => Standing::TooLittleData,
        _ if all().any(|standing| standing != Standing::Met) => Standing::TooLittleData,
        _ => Standing::Met,
    }
}

/// The bad attempts of all groups and steps; `None` when of some step nothing is known.
fn bad(counted: &Counted) -> Option<f64> {
    let rows = || counted.groups.values();
    let steps = rows().next()?.len();
    let whole = (0..steps).all(|at| rows().any(|row| row[at].is_some()));
    let sum = rows().flatten().flatten().map(Counts::bad).sum();
    (whole && counted.unsound == 0).then_some(sum)
}

/// Incidents of the period of `report`, with what each cost, the costliest first.
pub(super) async fn incidents(
    asker: &Asker<'_>,
    counting: &Counting<'_>,
    report: &SloReport,
    incidents: Option<Vec<Incident>>,
) -> Option<Vec<Incident>> {
    let mut told: Vec<Incident> = incidents?;
    let Period { from, to } = report.period;
    told.retain(|it| it.since < to && it.until.is_none_or(|until| until > from));
    told.sort_by_key(|it| Reverse(it.since));
    told.truncate(MOST_ASKED);
    let allowed = counting.slo.objective.budget() * report.whole.total;
    let lag = match counting.from {
        From::Rules => LAG,
        From::Agents => time::Duration::ZERO,
    };
    let cost = |incident: &Incident| {
        let end = incident.until.map_or(to, |until| (until + lag).min(to));
        let span = Span::exact(incident.since.max(from).min(end - lag), end);
        async move { bad(&counting.sum(asker, span?).await) }
    };
    let costs = join_all(told.iter().map(cost)).await;
    for (incident, bad) in told.iter_mut().zip(costs) {
        incident.bad = bad;
        incident.budget_spent = bad.filter(|_| allowed > 0.0).map(|bad| bad / allowed);
    }
    told.sort_by(|a, b| b.bad.unwrap_or(-1.0).total_cmp(&a.bad.unwrap_or(-1.0)));
    told.truncate(MOST_TOLD);
    Some(told)
}

//! A report from a Prometheus.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::promql::{Prometheus, Unanswered};
use crate::report::LEAST_COVERED;
use crate::report::ask::Asker;
use crate::report::count::{Counted, Counting, From, Key};
use crate::report::detail::{Details, Latencies};
use crate::report::model::{
    Compared, Figures, Group, Incident, Period, Report, SloReport, Standing,
};
use crate::report::span::Span;
use crate::report::{assess, doubts, words};
use crate::slo::{Counts, Slo, burn_rate};

/// What a report is to be about.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The begin; `None`: that of each SLO's window.
    pub from: Option<OffsetDateTime>,
    /// The end.
    pub to: OffsetDateTime,
    /// With what it is compared.
    pub compare: Compare,
    /// What was broken meanwhile, when a controller was asked.
    pub incidents: Option<Vec<Incident>>,
}

/// With what a report is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// The window before; with a begin of its own, a time as long.
    Previous,
    /// That time.
    With(Period),
}

/// What became of `slos`, as `prometheus` knows.
///
/// `Err` when it answers nothing at all; a part that it does not answer is noted and missing.
pub async fn of_prometheus(
    prometheus: &Prometheus,
    slos: &[Slo],
    wanted: &Wanted,
    source: String,
) -> Result<Report, Unanswered> {
    // Whether it is one, is there, and lets us in: before many questions each fail by themselves.
    prometheus.instant("vector(1)", wanted.to).await?;
    let asker = Asker::new(prometheus);
    let mut reports = Vec::with_capacity(slos.len());
    for slo in slos {
        reports.push(one(&asker, slo, wanted).await);
    }
    let now = OffsetDateTime::now_utc();
    Ok(Report {
        at: now,
        source,
        slos: reports,
        notes: doubts::of_clock(prometheus, wanted.to, now),
    })
}

async fn one(asker: &Asker<'_>, slo: &Slo, wanted: &Wanted) -> SloReport {
    let from = wanted.from.unwrap_or_else(|| slo.window.start(wanted.to));
    let Some(span) = Span::of(from, wanted.to) else {
        let period = Period { from, to: wanted.to };
        let mut report = empty(slo, period);
        report
            .notes
            .push("That time is too short: nothing is told of less than 5 minutes.".to_owned());
        return report;
    };
    let (counting, counted) = counted(asker, slo, span).await;
    let before = before(slo, wanted);
    let details = Details::of(counting, span);
    let worst = assess::by_error_share(&counted);
    let (known, last_hour, earlier, places, latencies, heat_map) = futures_util::join!(
        counting.known(asker, span),
        counting.last_hour(asker, wanted.to),
        earlier(asker, &counting, before.map(|(_, span)| span)),
        details.places(asker),
        details.latencies(asker, &worst),
        details.heat_map(asker),
    );
    let mut report = empty(slo, span.period());
    report.before = before.map(|(period, _)| period);
    let (earlier, doubts) = earlier;
    let facts = Facts { slo, counted: &counted, last_hour, earlier, latencies };
    assess::time(&mut report, slo, span, &counted, &known);
    facts.figures(&mut report);
    [report.nodes, report.zones] = places;
    report.heat_map = heat_map;
    report.incidents = wanted.incidents.clone();
    let incidents = report.incidents.take();
    report.incidents = assess::incidents(asker, &counting, &report, incidents).await;
    report.notes = doubts::of_slo(asker, &counting, &report, &counted, wanted.to).await;
    report.notes.extend(doubts);
    report.sentence = words::sentence(slo, &report, wanted.from.is_none());
    report
}

/// From the series that rules record, or else from those of agents.
async fn counted<'a>(asker: &Asker<'_>, slo: &'a Slo, span: Span) -> (Counting<'a>, Counted) {
    let counting = Counting { slo, from: From::Rules };
    let counted = counting.count(asker, span).await;
    if !counted.groups.is_empty() || counted.unsound > 0 {
        return (counting, counted);
    }
    let counting = Counting { slo, from: From::Agents };
    let counted = counting.count(asker, span).await;
    (counting, counted)
}

/// What was counted in the time before, if enough of it is known to compare with; and what a reader
/// must know of that.
async fn earlier(
    asker: &Asker<'_>,
    counting: &Counting<'_>,
    span: Option<Span>,
) -> (Counted, Vec<String>) {
    let Some(span) = span else { return (Counted::default(), Vec::new()) };
    let (counted, known) =
        futures_util::join!(counting.sum(asker, span), counting.known(asker, span));
    let covered = assess::covered_sum(counting, span, &counted, &known);
    let notes = doubts::of_earlier(&counted, covered);
    match covered < LEAST_COVERED {
        true => (Counted::default(), notes),
        false => (counted, notes),
    }
}

fn before(slo: &Slo, wanted: &Wanted) -> Option<(Period, Span)> {
    let (from, to) = match (wanted.compare, wanted.from) {
        (Compare::With(period), _) => (period.from, period.to),
        (Compare::Previous, Some(from)) => (from - (wanted.to - from), from),
        (Compare::Previous, None) => slo.window.previous(wanted.to),
    };
    let span = Span::of(from, to)?;
    Some((span.period(), span))
}

struct Facts<'a> {
    slo: &'a Slo,
    counted: &'a Counted,
    last_hour: BTreeMap<Key, Counts>,
    earlier: Counted,
    latencies: Latencies,
}

impl Facts<'_> {
    /// Puts figures of the whole and of groups into `report`, whose holes are known.
    fn figures(self, report: &mut SloReport) {
        let Self { slo, counted, last_hour, earlier, latencies } = self;
        let sum = |row: &Vec<Option<Counts>>| {
            let known = row.iter().flatten();
            known.fold(Counts::default(), |sum, counts| sum.and(counts))
        };
        let fill =
            |figures: &mut Figures, now: &Counts, then: Option<&Counts>, hour: Option<&Counts>| {
                figures.burn_rate_1h = hour.and_then(|hour| burn_rate(slo.objective, hour));
                figures.change = then.and_then(|then| Compared::of(now, then));
            };
        let all = |groups: &BTreeMap<Key, Counts>| {
            (!groups.is_empty())
                .then(|| groups.values().fold(Counts::default(), |sum, it| sum.and(it)))
        };
        let sums: BTreeMap<Key, Counts> =
            counted.groups.iter().map(|(key, row)| (key.clone(), sum(row))).collect();
        let earlier: BTreeMap<Key, Counts> =
            earlier.groups.iter().map(|(key, row)| (key.clone(), sum(row))).collect();
        let now = all(&sums).unwrap_or_default();
        let mut whole = Figures::of(slo.objective, &now, report.whole.covered);
        fill(&mut whole, &now, all(&earlier).as_ref(), all(&last_hour).as_ref());
        [whole.cold, whole.warm] = latencies.whole;
        whole.slowest_phase = latencies.phases.first().cloned();
        report.whole = whole;
        report.phases = latencies.phases;
        if !slo.group_by.is_empty() {
            let steps = &report.steps;
            let group = |(key, now): (&Key, &Counts)| {
                let covered = assess::covered(steps, &counted.groups[key]);
                let mut figures =
                    Figures::of(slo.objective, now, covered.min(report.whole.covered));
                fill(&mut figures, now, earlier.get(key), last_hour.get(key));
                [figures.cold, figures.warm] =
                    latencies.groups.get(key).copied().unwrap_or_default();
                figures.slowest_phase = latencies.slowest.get(key).cloned();
                Group { labels: key.clone(), figures }
            };
            report.groups = sums.iter().map(group).collect();
            assess::worst_first(&mut report.groups);
        }
        report.standing = assess::standing(&report.whole, &report.groups);
    }
}

/// A report that knows nothing.
pub(super) fn empty(slo: &Slo, period: Period) -> SloReport {
    let whole = Figures::of(slo.objective, &Counts::default(), 0.0);
    let mut report = SloReport {
        name: slo.name.to_string(),
        description: slo.description.clone(),
        objective: slo.objective.share(),
        window: slo.window.to_string(),
        sli: words::sli(slo),
        period,
        before: None,
        standing: Standing::NoData,
        sentence: String::new(),
        whole,
        group_by: slo.group_by.iter().map(|key| key.as_str().to_owned()).collect(),
        groups: Vec::new(),
        nodes: Vec::new(),
        zones: Vec::new(),
        phases: Vec::new(),
        steps: Vec::new(),
        heat_map: None,
        holes: Vec::new(),
        spells: Vec::new(),
        incidents: None,
        notes: Vec::new(),
    };
    report.sentence = words::sentence(slo, &report, true);
    report
}

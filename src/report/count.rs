//! Counts of one SLO over time, group by group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::OffsetDateTime;

use crate::promql::Track;
use crate::report::ask::Asker;
use crate::report::model::Period;
use crate::report::span::{Piece, Span};
use crate::slo::{Counts, Function, GroupKey, Slo, promql_duration};

/// No question about recorded series is about more.
pub(super) const LONGEST: Duration = Duration::from_secs(31 * 86_400);
/// No question about the series of agents is about more: it reads every scrape of it.
const LONGEST_RAW: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
/// Samples an hour of what the rules make every 5 minutes.
const WINDOWS_AN_HOUR: f64 = 12.0;

/// The values of what budgets are divided by.
pub(super) type Key = Vec<String>;

/// From what series it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Those that the rules of the SLO record.
    Rules,
    /// The counters of agents.
    Agents,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Bad,
    Total,
    Inconclusive,
}

/// Counts the attempts of one SLO.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counting<'a> {
    pub(super) slo: &'a Slo,
    pub(super) from: From,
}

/// What was counted, step by step; `None` where it is not known.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) groups: BTreeMap<Key, Vec<Option<Counts>>>,
    /// Steps whose numbers cannot be: no count of bad ones beside one of all, negative, not finite, or
    /// more bad ones than there are.
    pub(super) unsound: usize,
}

/// What was answered of each piece.
type Answers = Vec<(Piece, Vec<Track>)>;

/// The three numbers of a step on their way.
type Parts = [Option<f64>; 3];

impl Counting<'_> {
    pub(super) fn pieces(&self, span: Span) -> Vec<Piece> {
        span.pieces(self.longest())
    }

    pub(super) fn longest(&self) -> Duration {
        match self.from {
            From::Rules => LONGEST,
            From::Agents => LONGEST_RAW,
        }
    }

    fn expression(&self, what: What, window: Duration, coarse: bool) -> String {
        let name = match what {
            What::Bad => "bad",
            What::Total => "total",
            What::Inconclusive => "inconclusive",
        };
        match self.from {
            From::Rules if coarse => {
                let hourly = self.slo.recorded(&format!("{name}:increase1h"));
                // Both ends of a window are within it: half an hour less leaves one of them out.
                let window = window.as_secs() / 60 - 30;
                format!("sum_over_time({hourly}[{window}m:1h])")
            }
            From::Rules => {
                let rates = self.slo.recorded(&format!("{name}:rate5m"));
                format!("sum_over_time({rates}[{}]) * 60", open(window))
            }
            From::Agents => {
                let range = promql_duration(window);
                let by = &self.slo.group_by;
                let counted = self.slo.expressions(Function::Increase, &range, by);
                match what {
                    What::Bad => counted.bad,
                    What::Total => counted.total,
                    What::Inconclusive => counted.inconclusive,
                }
            }
        }
    }

    /// What was counted in the steps of `span`.
    pub(super) async fn count(&self, asker: &Asker<'_>, span: Span) -> Counted {
        let (pieces, coarse) = (self.pieces(span), span.is_coarse());
        let ask = |what| asker.pieces(&pieces, move |it| self.expression(what, it, coarse));
        let (bad, total, inconclusive) =
            futures_util::join!(ask(What::Bad), ask(What::Total), ask(What::Inconclusive));
        self.counted([bad, total, inconclusive], span.steps().len(), |end| span.index(end))
    }

    /// What was counted in all of `span`, by group and in steps as long as one question may be about,
    /// but what could not tell.
    pub(super) async fn sum(&self, asker: &Asker<'_>, span: Span) -> Counted {
        let span = span.by_long(self.longest());
        let (pieces, coarse) = (self.pieces(span), span.is_coarse());
        let ask = |what| asker.pieces(&pieces, move |it| self.expression(what, it, coarse));
        let (bad, total) = futures_util::join!(ask(What::Bad), ask(What::Total));
        self.counted([bad, total, Vec::new()], span.steps().len(), |end| span.index(end))
    }

    /// The steps of what [`Self::sum`] counts.
    pub(super) fn sum_steps(&self, span: Span) -> Vec<Period> {
        span.by_long(self.longest()).steps()
    }

    /// What `answers` (bad, total, inconclusive) come to in so many steps.
    fn counted(
        &self,
        answers: [Answers; 3],
        steps: usize,
        index: impl Fn(i64) -> Option<usize>,
    ) -> Counted {
        let mut parts: BTreeMap<Key, Vec<Parts>> = BTreeMap::new();
        for (part, answers) in answers.iter().enumerate() {
            for track in answers.iter().flat_map(|(_, tracks)| tracks) {
                let key = key(&self.slo.group_by, track);
                let row = parts.entry(key).or_insert_with(|| vec![Parts::default(); steps]);
                for (end, value) in &track.points {
                    if let Some(at) = index(*end) {
                        *row[at][part].get_or_insert(0.0) += value;
                    }
                }
            }
        }
        let mut counted = Counted::default();
        for (key, row) in parts {
            let counts: Vec<Option<Counts>> = row
                .iter()
                .map(|[bad, total, inconclusive]| {
                    let total = (*total)?;
                    let bad = bad.unwrap_or(f64::NAN);
                    let counts = Counts::new(bad, total, inconclusive.unwrap_or(0.0));
                    counted.unsound += usize::from(counts.is_none());
                    counts.filter(|counts| counts.total() + counts.inconclusive() > 0.0)
                })
                .collect();
            if counts.iter().any(Option::is_some) {
                counted.groups.insert(key, counts);
            }
        }
        counted
    }

    /// The share of bad attempts in the hour before `at`, by group.
    pub(super) async fn last_hour(
        &self,
        asker: &Asker<'_>,
        at: OffsetDateTime,
    ) -> BTreeMap<Key, Counts> {
        let [bad, total] = match self.from {
            From::Rules => {
                ["bad", "total"].map(|it| self.slo.recorded(&format!("{it}:increase1h")))
            }
            From::Agents => [What::Bad, What::Total].map(|what| self.expression(what, HOUR, false)),
        };
        let (bad, total) = futures_util::join!(asker.instant(&bad, at), asker.instant(&total, at));
        // Who keeps several clusters, or twins, may have several series of one key.
        let [bad, total] = [bad, total].map(|samples| {
            let mut sums: BTreeMap<Key, f64> = BTreeMap::new();
            for sample in samples {
                *sums.entry(labels(&self.slo.group_by, &sample.labels)).or_default() +=
                    sample.value;
            }
            sums
        });
        let counts = total.into_iter().filter_map(|(key, total)| {
            let counts = Counts::new(*bad.get(&key)?, total, 0.0)?;
            Some((key, counts))
        });
        counts.collect()
    }

    /// How much of each hour (of a day or longer) or 5 minutes of `span` is known, 0 to 1.
    pub(super) async fn known(&self, asker: &Asker<'_>, span: Span) -> Vec<(Period, f64)> {
        let units = span.by_units();
        let pieces = self.pieces(units);
        let coarse = span.is_coarse();
        let counting = |unit: Duration| match self.from {
            From::Rules if coarse => {
                format!("count({} > 0)", self.slo.recorded("total:increase1h"))
            }
            From::Rules => format!("count({} > 0)", self.slo.recorded("total:rate5m")),
            From::Agents => format!("count({} > 0)", self.expression(What::Total, unit, coarse)),
        };
        let evaluated = |unit| {
            format!("count_over_time({}[{}])", self.slo.recorded("objective:ratio"), open(unit))
        };
        let wanted = coarse && self.from == From::Rules;
        let evaluated = async {
            match wanted {
                true => Some(asker.pieces(&pieces, evaluated).await),
                false => None,
            }
        };
        let (counted, evaluated) = futures_util::join!(asker.pieces(&pieces, counting), evaluated);
        let ends = |answers: &[(Piece, Vec<Track>)]| -> BTreeMap<i64, f64> {
            let tracks = answers.iter().flat_map(|(_, tracks)| tracks);
            tracks.flat_map(|track| track.points.iter().copied()).collect()
        };
        let counted: BTreeSet<i64> = ends(&counted).into_keys().collect();
        let evaluated = evaluated.map(|answers| ends(&answers)).filter(|ends| !ends.is_empty());
        let share = |period: &Period| {
            let end = period.to.unix_timestamp();
            let evaluated = evaluated
                .as_ref()
                .map_or(WINDOWS_AN_HOUR, |ends| ends.get(&end).copied().unwrap_or(0.0));
            // One less is how evaluations fall.
            let whole = evaluated >= WINDOWS_AN_HOUR - 1.0;
            let share = if whole { 1.0 } else { evaluated / WINDOWS_AN_HOUR };
            if counted.contains(&end) { share } else { 0.0 }
        };
        units.steps().into_iter().map(|period| (period, share(&period))).collect()
    }
}

/// The window as a range without its begin, at which one more sample may be.
pub(super) fn open(window: Duration) -> String {
    format!("{}ms", window.as_millis() - 1)
}

fn key(by: &[GroupKey], track: &Track) -> Key {
    labels(by, &track.labels)
}

/// The values of `by`; an unknown one is empty.
pub(super) fn labels(by: &[GroupKey], labels: &BTreeMap<String, String>) -> Key {
    by.iter().map(|key| labels.get(key.as_str()).cloned().unwrap_or_default()).collect()
}

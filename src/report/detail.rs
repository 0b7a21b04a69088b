//! Nodes, zones, phases and latencies of one SLO.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::promql::Track;
use crate::report::ask::Asker;
use crate::report::assess;
use crate::report::count::{Counting, From, Key, labels, open};
use crate::report::histogram::Histogram;
use crate::report::model::{Column, HeatMap, Latency, PhaseTime, Place};
use crate::report::span::{Piece, Span};
use crate::slo::{Connection, Counts, Detail, GroupKey, Slo, literal, promql_duration, quoted};

/// Groups whose latencies and phases are told, the worst first: each has some 50 series.
pub(super) const MOST_DETAILED: usize = 200;

/// What is known of latencies and phases.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    /// Cold and warm, of all groups together.
    pub(super) whole: [Option<Latency>; 2],
    /// The same of each group.
    pub(super) groups: BTreeMap<Key, [Option<Latency>; 2]>,
    /// Phases, the longest first.
    pub(super) phases: Vec<PhaseTime>,
    /// The longest of each group.
    pub(super) slowest: BTreeMap<Key, PhaseTime>,
}

/// Asks for details of one SLO.
#[derive(Debug, Clone, Copy)]
pub(super) struct Details<'a> {
    counting: Counting<'a>,
    span: Span,
}

impl<'a> Details<'a> {
    /// Of `span`; times of less than some hours are read from the series of agents, as rules count
    /// details by the hour.
    pub(super) fn of(counting: Counting<'a>, span: Span) -> Self {
        let from = if span.has_hours() { counting.from } else { From::Agents };
        Self { counting: Counting { from, ..counting }, span }
    }

    fn slo(&self) -> &Slo {
        self.counting.slo
    }

    /// `detail` over a window, of series that also have these `matchers`.
    fn expression(&self, detail: Detail, window: Duration, matchers: &[String]) -> String {
        match self.counting.from {
            From::Rules => {
                let series = self.slo().recorded(detail.recorded());
                let series = series.strip_suffix('}').expect("it ends its matchers");
                let more: String = matchers.iter().map(|it| format!(",{it}")).collect();
                format!("sum_over_time({series}{more}}}[{}])", open(window))
            }
            From::Agents => self.slo().detail(detail, &promql_duration(window)),
        }
    }

    async fn tracks(&self, asker: &Asker<'_>, detail: Detail, matchers: &[String]) -> Vec<Track> {
        let labels = detail.labels(&self.slo().group_by).join(", ");
        self.summed(asker, detail, &labels, matchers).await
    }

    /// The sum of all of the span, by these labels.
    async fn summed(
        &self,
        asker: &Asker<'_>,
        detail: Detail,
        labels: &str,
        matchers: &[String],
    ) -> Vec<Track> {
        let pieces = self.span.long_pieces(self.counting.longest());
        let expression =
            |it| format!("sum by ({labels}) ({})", self.expression(detail, it, matchers));
        let answers = asker.pieces(&pieces, expression).await;
        answers.into_iter().flat_map(|(_, tracks)| tracks).collect()
    }

    /// Nodes and zones, the worst first.
    pub(super) async fn places(&self, asker: &Asker<'_>) -> [Vec<Place>; 2] {
        let (bad, total) = futures_util::join!(
            self.tracks(asker, Detail::NodeBad, &[]),
            self.tracks(asker, Detail::NodeTotal, &[]),
        );
        let by = [GroupKey::Node, GroupKey::Zone];
        let nodes = both(bad.iter(), total.iter(), |track| labels(&by, &track.labels));
        let counts = nodes
            .iter()
            .filter_map(|(key, [bad, total])| Some((key, Counts::new(*bad, *total, 0.0)?)));
        assess::places(counts)
    }

    /// Latencies and phases; of `worst` groups alone when there are more of them than are detailed.
    pub(super) async fn latencies(&self, asker: &Asker<'_>, worst: &[&Key]) -> Latencies {
        let by = &self.slo().group_by;
        let matchers = if worst.len() > MOST_DETAILED {
            only(by, &worst[..MOST_DETAILED])
        } else {
            Vec::new()
        };
        let (buckets, seconds, counts) = futures_util::join!(
            self.tracks(asker, Detail::Buckets, &matchers),
            self.tracks(asker, Detail::PhaseSeconds, &matchers),
            self.tracks(asker, Detail::PhaseCount, &matchers),
        );
        let whole = match matchers.is_empty() {
            true => cold_and_warm(buckets.iter()),
            false => cold_and_warm(self.all_buckets(asker).await.iter()),
        };
        let mut told = Latencies { whole, ..Latencies::default() };
        for (key, tracks) in grouped(by, &buckets) {
            told.groups.insert(key, cold_and_warm(tracks.into_iter()));
        }
        told.phases = match matchers.is_empty() {
            true => phases(seconds.iter(), counts.iter()),
            false => self.all_phases(asker).await,
        };
        let mut counts = grouped(by, &counts);
        for (key, seconds) in grouped(by, &seconds) {
            let counts = counts.remove(&key).unwrap_or_default();
            let longest = phases(seconds.into_iter(), counts.into_iter()).into_iter().next();
            told.slowest.extend(longest.map(|longest| (key, longest)));
        }
        told
    }

    async fn all_buckets(&self, asker: &Asker<'_>) -> Vec<Track> {
        self.summed(asker, Detail::Buckets, "connection, le", &[]).await
    }

    async fn all_phases(&self, asker: &Asker<'_>) -> Vec<PhaseTime> {
        let (seconds, counts) = futures_util::join!(
            self.summed(asker, Detail::PhaseSeconds, "phase", &[]),
            self.summed(asker, Detail::PhaseCount, "phase", &[]),
        );
        phases(seconds.iter(), counts.iter())
    }

    /// How long attempts took over time.
    pub(super) async fn heat_map(&self, asker: &Asker<'_>) -> Option<HeatMap> {
        let span = if self.counting.from == From::Rules { self.span.by_hours() } else { self.span };
        let pieces = span.pieces(self.counting.longest());
        let expression =
            |it| format!("sum by (le) ({})", self.expression(Detail::Buckets, it, &[]));
        let answers = asker.pieces(&pieces, expression).await;
        heat_map(span, &answers)
    }
}

fn heat_map(span: Span, answers: &[(Piece, Vec<Track>)]) -> Option<HeatMap> {
    let steps = span.steps();
    let mut columns = vec![Histogram::default(); steps.len()];
    for track in answers.iter().flat_map(|(_, tracks)| tracks) {
        let Some(le) = track.labels.get("le") else { continue };
        for (end, value) in &track.points {
            if let Some(at) = span.index(*end) {
                columns[at].add(le, *value);
            }
        }
    }
    let mut bounds: Vec<f64> = columns.iter().flat_map(Histogram::bounds).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    // Bounds that not all of the time had cannot be rows of one map.
    let told: Vec<&Histogram> = columns.iter().filter(|it| it.total().is_some()).collect();
    bounds.retain(|bound| told.iter().all(|it| it.bounds().any(|known| known == *bound)));
    if told.is_empty() || bounds.is_empty() {
        return None;
    }
    let rows = |it: &Histogram| it.total().and_then(|_| it.rows(&bounds)).unwrap_or_default();
    let columns = steps.into_iter().zip(&columns);
    let columns = columns.map(|(period, it)| Column { period, counts: rows(it) }).collect();
    Some(HeatMap { bounds, columns })
}

/// Matchers that select no group but these, and maybe some more: each label by itself.
fn only(by: &[GroupKey], keys: &[&Key]) -> Vec<String> {
    let label = |(at, key): (usize, &GroupKey)| {
        let mut values: Vec<String> = keys.iter().map(|values| literal(&values[at])).collect();
        values.sort();
        values.dedup();
        format!("{}=~{}", key.as_str(), quoted(&values.join("|")))
    };
    by.iter().enumerate().map(label).collect()
}

fn grouped<'a>(by: &[GroupKey], tracks: &'a [Track]) -> BTreeMap<Key, Vec<&'a Track>> {
    let mut groups: BTreeMap<Key, Vec<&Track>> = BTreeMap::new();
    for track in tracks {
        groups.entry(labels(by, &track.labels)).or_default().push(track);
    }
    groups
}

fn cold_and_warm<'a>(tracks: impl Iterator<Item = &'a Track>) -> [Option<Latency>; 2] {
    let mut both = [Histogram::default(), Histogram::default()];
    for track in tracks {
        let label = |name| track.labels.get(name).map(String::as_str).unwrap_or_default();
        let warm = usize::from(label("connection") == Connection::Warm.as_str());
        both[warm].add(label("le"), sum(track));
    }
    both.map(|histogram| histogram.latency())
}

fn phases<'a>(
    seconds: impl Iterator<Item = &'a Track>,
    counts: impl Iterator<Item = &'a Track>,
) -> Vec<PhaseTime> {
    let phase =
        |track: &'a Track| track.labels.get("phase").map(String::as_str).unwrap_or_default();
    let sums = both(seconds, counts, phase);
    let mut phases: Vec<PhaseTime> = sums
        .into_iter()
        .filter(|(phase, [_, count])| !phase.is_empty() && *count > 0.0)
        .map(|(phase, [seconds, count])| PhaseTime {
            phase: phase.to_owned(),
            mean_seconds: seconds / count,
            count,
        })
        .filter(|it| it.mean_seconds.is_finite())
        .collect();
    phases.sort_by(|a, b| b.mean_seconds.total_cmp(&a.mean_seconds));
    phases
}

/// Two sums for each `key`, of the series and times of which both sides were told: one side that was
/// not answered is not 0.
fn both<'a, K: Ord>(
    left: impl Iterator<Item = &'a Track>,
    right: impl Iterator<Item = &'a Track>,
    key: impl Fn(&'a Track) -> K,
) -> BTreeMap<K, [f64; 2]> {
    let point = |it: &'a Track| it.points.iter().map(|(end, value)| ((&it.labels, *end), *value));
    let right: BTreeMap<(&BTreeMap<String, String>, i64), f64> = right.flat_map(point).collect();
    let mut sums: BTreeMap<K, [f64; 2]> = BTreeMap::new();
    for track in left {
        for (end, value) in &track.points {
            if let Some(other) = right.get(&(&track.labels, *end)) {
                let [left, right] = sums.entry(key(track)).or_default();
                *left += value;
                *right += other;
            }
        }
    }
    sums
}

/// What all points of a track are together.
fn sum(track: &Track) -> f64 {
    track.points.iter().map(|(_, value)| value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(phase: &str, points: &[(i64, f64)]) -> Track {
        let labels = BTreeMap::from([("phase".to_owned(), phase.to_owned())]);
        Track { labels, points: points.to_vec() }
    }

    #[test]
    fn a_phase_is_told_of_times_of_which_seconds_and_counts_are_known() {
        let seconds = [track("tls", &[(1, 2.0)]), track("tls", &[(3, 4.0)])];
        let counts = [
            track("tls", &[(1, 10.0), (2, 1000.0)]),
            track("tls", &[(3, 10.0)]),
            track("connect", &[(1, 5.0)]),
        ];
        let told = phases(seconds.iter(), counts.iter());
        let tls = PhaseTime { phase: "tls".to_owned(), mean_seconds: 0.3, count: 20.0 };
        assert_eq!(told, [tls]);
        assert!(phases(seconds.iter(), [].iter()).is_empty());
        assert!(phases([].iter(), counts.iter()).is_empty());
    }
}

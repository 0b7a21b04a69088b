//! What was broken, from when to when: incidents as a table and as bars on a line of time. Pure.

use std::time::Duration;

use time::OffsetDateTime;

use crate::incident::Incident;
use crate::page::known::Known;
use crate::page::words::{is_ours, sentence};

/// Incidents that are shown.
const MOST: usize = 50;
/// The shortest line of time, and the longest.
const SPANS: [Duration; 2] = [Duration::from_secs(15 * 60), Duration::from_secs(24 * 3600)];

/// Incidents, the newest first, open ones before those that are over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    /// Those that are shown.
    pub(super) entries: Vec<Entry>,
    /// How many there are beside.
    pub(super) more: usize,
    /// What the bars are on, up to the moment of the page.
    pub(super) span: Duration,
}

/// An incident.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Its number.
    pub(super) id: u64,
    /// What is broken, in words.
    pub(super) text: String,
    /// Whether it is an agent of our own, which says nothing of the mesh.
    pub(super) is_ours: bool,
    /// One line more.
    pub(super) summary: String,
    /// Since when.
    pub(super) since: OffsetDateTime,
    /// When it was over; `None` while it is open.
    pub(super) until: Option<OffsetDateTime>,
    /// The highest confidence, 0 to 1.
    pub(super) confidence: f64,
    /// Where its bar begins and how long it is, as shares of the line; `None` when it was over
    /// before the line begins.
    pub(super) bar: Option<(f64, f64)>,
}

impl Timeline {
    /// The incidents of `known`.
    pub(super) fn of(known: &Known) -> Self {
        let all = known.open.iter().rev().chain(&known.closed);
        let (shown, count) = (all.clone().take(MOST), all.count());
        let ages = shown.clone().map(|it| age(it.since, known.at));
        let span = ages.max().unwrap_or_default().clamp(SPANS[0], SPANS[1]);
        let entries = shown.map(|it| entry(it, known.at, span)).collect();
        Self { entries, more: count.saturating_sub(MOST), span }
    }
}

fn age(at: OffsetDateTime, now: OffsetDateTime) -> Duration {
    (now - at).try_into().unwrap_or_default()
}

fn entry(incident: &Incident, now: OffsetDateTime, span: Duration) -> Entry {
    let place = |at| 1.0 - (age(at, now).as_secs_f64() / span.as_secs_f64()).min(1.0);
    let (since, until) = (incident.since, incident.closed_at);
    let bar = (place(since), place(until.unwrap_or(now)));
    Entry {
        id: incident.id,
        text: sentence(&incident.component, &incident.fault),
        is_ours: is_ours(&incident.component),
        summary: incident.summary.clone(),
        since,
        until,
        confidence: incident.confidence,
        bar: (bar.1 > 0.0).then_some((bar.0, bar.1 - bar.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second)
    }

    fn incident(id: u64, since: u64, closed: Option<u64>) -> Incident {
        Incident {
            id,
            component: "ztunnel/node-2".to_owned(),
            fault: "dead".to_owned(),
            since: at(since),
            opened_at: at(since + 1),
            seen_at: at(closed.unwrap_or(since + 2)),
            closed_at: closed.map(at),
            confidence: 0.9,
            summary: "it is gone".to_owned(),
        }
    }

    fn timeline(open: Vec<Incident>, closed: Vec<Incident>, now: u64) -> Timeline {
        Timeline::of(&Known { blind: None, open, closed, ..Known::blind("", at(now)) })
    }

    #[test]
    fn open_incidents_come_first_and_of_each_kind_the_newest() {
        let open = vec![incident(3, 30, None), incident(4, 40, None)];
        let closed = vec![incident(2, 20, Some(25)), incident(1, 10, Some(15))];
        let told = timeline(open, closed, 900);
        let ids: Vec<u64> = told.entries.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [4, 3, 2, 1]);
        assert_eq!(told.entries[0].text, "ztunnel on node-2 is dead");
    }

    #[test]
    fn bars_lie_on_the_line_and_open_ones_reach_its_end() {
        let told = timeline(vec![incident(2, 450, None)], vec![incident(1, 0, Some(225))], 900);
        assert_eq!(told.span, Duration::from_secs(900));
        assert_eq!(told.entries[0].bar, Some((0.5, 0.5)));
        assert_eq!(told.entries[1].bar, Some((0.0, 0.25)));
    }

    #[test]
    fn what_was_over_before_the_line_begins_has_no_bar() {
        let told = timeline(Vec::new(), vec![incident(1, 0, Some(9))], 86_400 * 2);
        assert_eq!((told.span, told.entries[0].bar), (SPANS[1], None));
    }

    #[test]
    fn only_the_last_incidents_are_shown() {
        let closed = (0..60).map(|id| incident(id, 0, Some(1))).collect();
        let told = timeline(Vec::new(), closed, 2);
        assert_eq!((told.entries.len(), told.more), (50, 10));
    }
}

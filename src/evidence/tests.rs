//! What is remembered, and what is not.

use std::time::Duration as Patience;

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::digest::Digest;
use crate::failure::Reason;
use crate::observation::{Expected, Observation, Verdicts};
use crate::target::ProbeKind;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(100) + Duration::seconds(seconds)
}

fn source(node: &str) -> Source {
    Source { node: node.to_owned(), vantage: Vantage::Plain }
}

/// A window of `name` from `start` on in which so many attempts were met and violated.
fn window(name: &str, start: i64, met: u64, violated: u64) -> Observation {
    let mut digest = Digest::default();
    (0..met).for_each(|_| digest.add(Patience::from_millis(7)));
    Observation {
        source_node: "whoever it says".to_owned(),
        vantage: None,
        probe: ProbeKind::Http,
        target: "peer".to_owned(),
        name: Some(name.to_owned()),
        destination_node: Some("node-2".to_owned()),
        via: None,
        expect: Expected::Reply,
        window_start: at(start),
        window_seconds: 10,
        attempts: met + violated,
        verdicts: Verdicts { met, violated, inconclusive: 0 },
        reasons: [(Reason::Reset, violated)].into_iter().filter(|(_, n)| *n > 0).collect(),
        latency_seconds: None,
        digest: Some(digest),
    }
}

fn all(observations: &[Observation]) -> Telling<'_> {
    Telling { observations, whole: true, as_of: None }
}

fn grown(observations: &[Observation]) -> Telling<'_> {
    Telling { whole: false, ..all(observations) }
}

fn counts(told: &[Observation]) -> Vec<(i64, u64, u64)> {
    let one = |it: &Observation| {
        ((it.window_start - at(0)).whole_seconds(), it.verdicts.met, it.verdicts.violated)
    };
    told.iter().map(one).collect()
}

#[test]
fn a_window_that_is_told_again_counts_once() {
    let evidence = Evidence::default();
    let here = source("node-1");
    evidence.hear(&here, all(&[window("peer/a", 0, 1, 0)]), at(4));
    let more = [window("peer/a", 0, 1, 1), window("peer/a", 10, 2, 0)];
    let heard = evidence.hear(&here, grown(&more), at(14));
    assert_eq!(heard, Heard { kept: 2, refused: 0 });
    let told = evidence.observations(at(0));
    assert_eq!(counts(&told), [(0, 1, 1), (10, 2, 0)]);
    assert_eq!((told[0].source_node.as_str(), told[0].vantage), ("node-1", Some(Vantage::Plain)));
    assert_eq!((told[0].target.as_str(), told[0].name()), ("peer", "peer/a"));
    assert_eq!(told[0].destination_node.as_deref(), Some("node-2"));
    let total = evidence.totals(at(0));
    assert_eq!((counts(&total), total[0].window_seconds), (vec![(0, 3, 1)], 20));
    assert_eq!((total[0].attempts, &total[0].reasons[&Reason::Reset]), (4, &1));
    assert_eq!(total[0].digest.as_ref().map(Digest::count), Some(3));
    assert!((total[0].latency_seconds.expect("met").p99 - 0.007).abs() < 0.000_071);
}

#[test]
fn only_what_ended_since_then_is_told() {
    let evidence = Evidence::default();
    let told = [window("a", 0, 1, 0), window("a", 10, 2, 0), window("a", 20, 3, 0)];
    evidence.hear(&source("n"), all(&told), at(30));
    assert_eq!(counts(&evidence.of(&source("n"), at(20))), [(10, 2, 0), (20, 3, 0)]);
    assert_eq!(counts(&evidence.of(&source("n"), at(21))), [(20, 3, 0)]);
    assert_eq!(evidence.of(&source("other"), at(0)), []);
}

#[test]
fn paths_and_agents_that_are_told_no_more_are_forgotten() {
    let evidence = Evidence::new(3);
    let (here, there) = (source("node-1"), source("node-2"));
    evidence.hear(&here, all(&[window("left", 0, 1, 0), window("stays", 0, 1, 0)]), at(5));
    evidence.hear(&there, all(&[window("stays", 0, 1, 0)]), at(5));
    assert_eq!((evidence.held().paths, evidence.held().different), (3, 2));
    for start in [10, 20, 30, 40] {
        evidence.hear(&here, all(&[window("stays", start, 1, 0)]), at(start + 9));
    }
    assert_eq!(evidence.of(&here, at(0)).len(), 4, "what left was seen all the same");
    assert_eq!(counts(&evidence.latest(&here)), [(40, 1, 0)], "and is asked no more");
    evidence.retain(|source| *source == here, at(49));
    let held = evidence.held();
    assert_eq!((held.sources, held.paths, held.different), (1, 1, 1));
    assert_eq!(counts(&evidence.observations(at(0))), [(20, 1, 0), (30, 1, 0), (40, 1, 0)]);
    // What is asked so seldom that it has not grown is there for a day.
    evidence.hear(&here, grown(&[]), at(200));
    evidence.retain(|_| true, at(2000));
    assert_eq!(evidence.latest(&here).len(), 1);
    evidence.retain(|_| true, at(90_000));
    assert_eq!((evidence.held().sources, evidence.held().paths), (1, 0), "an idle agent is there");
}

#[test]
fn a_target_that_asks_something_else_is_another_path() {
    let evidence = Evidence::default();
    let moved =
        Observation { destination_node: Some("node-3".to_owned()), ..window("peer/a", 10, 5, 0) };
    evidence.hear(&source("n"), all(&[window("peer/a", 0, 1, 0), moved]), at(19));
    assert_eq!(counts(&evidence.observations(at(0))), [(10, 5, 0)]);
}

#[test]
fn silence_begins_when_an_agent_was_last_heard() {
    let evidence = Evidence::default();
    evidence.hear(&source("quiet"), all(&[]), at(0));
    evidence.hear(&source("loud"), all(&[]), at(100));
    let expected = ["never", "quiet", "loud"].map(source);
    let silent = evidence.silent(expected, Patience::from_secs(30), at(110));
    assert_eq!(
        silent,
        [
            Silence { source: source("never"), since: None },
            Silence { source: source("quiet"), since: Some(at(0)) }
        ]
    );
}

#[test]
fn an_agent_whose_clock_is_off_is_heard_by_ours() {
    let evidence = Evidence::new(3);
    let day = Duration::days(1);
    let fast = |start| Observation { window_start: at(start) + day, ..window("a", 0, 1, 0) };
    let (one, two) = ([fast(0)], [fast(0), fast(10)]);
    let as_of = |at| Some(at + day);
    let first = Telling { as_of: as_of(at(8)), ..all(&one) };
    assert_eq!(evidence.hear(&source("n"), first, at(8)).kept, 1);
    // An answer takes now more, now less of a second.
    let later = at(18) - Duration::milliseconds(1200);
    let second = Telling { as_of: as_of(later), ..all(&two) };
    evidence.hear(&source("n"), second, at(18));
    assert_eq!(counts(&evidence.observations(at(0))), [(0, 1, 0), (10, 1, 0)]);
    assert_eq!(counts(&evidence.observations(at(11))), [(10, 1, 0)]);
}

#[test]
fn what_has_no_place_is_refused_and_counted() {
    let evidence = Evidence::new(3);
    let long = window(&"x".repeat(129), 0, 1, 0);
    let endless = Observation { window_seconds: u64::MAX, ..window("endless", 0, 1, 0) };
    let told = [window("old", -90_000, 1, 0), window("future", 100, 1, 0), long, endless];
    let heard = evidence.hear(&source("n"), all(&told), at(5));
    assert_eq!((heard, evidence.held().paths), (Heard { kept: 0, refused: 4 }, 0));
}

#[test]
fn one_agent_fills_its_own_share_at_most() {
    let evidence = Evidence::default();
    let many: Vec<_> = (0..12_000).map(|n| window(&format!("t{n}"), 0, 1, 0)).collect();
    assert_eq!(evidence.hear(&source("n"), all(&many), at(5)).kept, 10_000);
    // Latencies that no agent of ours tells in one window: all there are.
    let every = Digest::of((-690..=569).map(|bin| (bin, u32::MAX))).expect("good");
    let huge = |n| Observation { digest: Some(every.clone()), ..window(&format!("t{n}"), 0, 1, 0) };
    let many: Vec<_> = (0..10_000).map(huge).collect();
    let before = evidence.held().bytes;
    let heard = evidence.hear(&source("m"), all(&many), at(5));
    assert!(heard.refused > 0, "{heard:?}");
    let share = evidence.held().bytes - before;
    assert!((8 << 20..9 << 20).contains(&share), "{share} {heard:?}");
    assert_eq!(evidence.hear(&source("else"), all(&[huge(0)]), at(5)).kept, 1);
}

proptest! {
    #[test]
    fn however_pulls_overlap_each_attempt_counts_once(
        attempts in prop::collection::vec((0i64..200, any::<bool>()), 0..80),
        pulls in prop::collection::btree_set(0i64..200, 0..20),
    ) {
        let evidence = Evidence::default();
        let told = |until: i64| {
            (0..20).map(|number| number * 10).filter_map(|start| {
                let within = attempts.iter().filter(|(time, _)| *time <= until)
                    .filter(|(time, _)| (start..start + 10).contains(time));
                let met = within.clone().filter(|(_, met)| *met).count() as u64;
                let all = within.count() as u64;
                (all > 0).then(|| window("a", start, met, all - met))
            }).collect::<Vec<_>>()
        };
        for now in pulls.into_iter().chain([200]) {
            evidence.hear(&source("n"), all(&told(now)), at(now));
        }
        let total: u64 = evidence.totals(at(-10)).iter().map(|it| it.attempts).sum();
        prop_assert_eq!(total, attempts.len() as u64);
        prop_assert_eq!(counts(&evidence.observations(at(-10))), counts(&told(200)));
    }
}

#[test]
fn the_newest_window_is_the_last_in_which_an_attempt_ended() {
    let evidence = Evidence::default();
    let told = [window("a", 0, 2, 0), window("a", 60, 0, 1), window("a", 120, 0, 0)];
    evidence.hear(&source("n"), all(&told), at(121));
    let mut seen = Vec::new();
    evidence.newest(|from, it| {
        seen.push((from.node.clone(), it.name.to_owned(), it.verdicts.violated, it.rhythm));
    });
    let rhythm = Some(Patience::from_secs(60));
    assert_eq!(seen, [("n".to_owned(), "a".to_owned(), 1, rhythm)]);
}

#[test]
fn a_path_whose_attempts_stopped_is_told_without_any_and_stays() {
    let evidence = Evidence::default();
    let empty = [10, 20, 30].map(|start| window("a", start, 0, 0));
    let told = [&[window("a", 0, 2, 0)], &empty[..], &[window("b", 30, 0, 0)]].concat();
    evidence.hear(&source("n"), all(&told), at(31));
    let mut seen = Vec::new();
    evidence.newest(|_, it| seen.push((it.name.to_owned(), it.verdicts.total(), it.ended_at)));
    assert_eq!(seen, ["a", "b"].map(|name| (name.to_owned(), 0, at(40))));
}

#[test]
fn when_somebody_was_last_heard_is_known_of_those_who_were() {
    let evidence = Evidence::default();
    evidence.hear(&source("n"), all(&[]), at(7));
    assert_eq!(evidence.heard(&source("n")), Some(at(7)));
    assert_eq!(evidence.heard(&source("m")), None);
}

#[test]
fn the_last_windows_of_one_target_are_told_oldest_first_and_no_others() {
    let evidence = Evidence::default();
    let told = [window("a", 0, 1, 0), window("a", 10, 2, 0), window("a", 20, 3, 0)];
    evidence.hear(&source("n"), all(&[&told[..], &[window("b", 0, 9, 0)]].concat()), at(21));
    let lately = evidence.lately(&source("n"), Some("a"), 2);
    assert_eq!(counts(&lately), [(10, 2, 0), (20, 3, 0)]);
    assert_eq!(evidence.lately(&source("n"), None, 1).len(), 2);
    assert_eq!(evidence.lately(&source("m"), None, 1), []);
}

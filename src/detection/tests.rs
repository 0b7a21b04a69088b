//! Facts of alarms, and of what is shown of a path.

use time::macros::datetime;

use super::*;
use crate::observation::Latency;

const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);

pub(super) fn told(target: &str, second: i64, met: u64, violated: u64) -> Observation {
    let verdicts = Verdicts { met, violated, inconclusive: 0 };
    Observation {
        source_node: "node-1".to_owned(),
        vantage: Some(Vantage::Ambient),
        probe: ProbeKind::Http,
        target: target.to_owned(),
        name: None,
        destination_node: None,
        via: None,
        expect: Expected::Reply,
        window_start: START + time::Duration::seconds(second - second % 10),
        window_seconds: 10,
        attempts: verdicts.total(),
        verdicts,
        reasons: BTreeMap::new(),
        latency_seconds: None,
        digest: None,
    }
}

fn at(second: i64) -> OffsetDateTime {
    START + time::Duration::seconds(second)
}

#[test]
fn a_path_that_fails_three_times_is_broken_and_heals_after_six_successes() {
    let mut detector = Detector::default();
    assert_eq!(detector.take(&told("a", 0, 2, 0), at(9)).failing, None);
    assert_eq!(detector.take(&told("a", 10, 0, 1), at(15)).failing, None);
    assert_eq!(detector.take(&told("a", 10, 0, 2), at(19)).failing, None);
    assert_eq!(detector.take(&told("a", 20, 0, 1), at(25)).failing, Some(Change::Opened));
    let alarm = detector.alarms().next().expect("an alarm");
    assert_eq!((alarm.since, alarm.attempts, alarm.events), (at(10), 3, 3));
    assert_eq!(detector.take(&told("a", 30, 5, 0), at(39)).failing, None);
    assert_eq!(detector.take(&told("a", 40, 1, 0), at(49)).failing, Some(Change::Closed));
    assert_eq!(detector.alarms().count(), 0);
}

#[test]
fn an_alarm_tells_how_much_fails_and_how_sure_that_is() {
    let mut detector = Detector::default();
    for second in [10, 20, 30, 40, 50] {
        detector.take(&told("a", second, 0, 4), at(second + 9));
    }
    let alarm = detector.alarms().next().expect("an alarm");
    assert_eq!((alarm.rate(), alarm.symptom), (1.0, Symptom::Failing { usual: 1e-4 }));
    let (low, high) = alarm.interval();
    assert!((0.83..0.85).contains(&low) && high > 0.999, "{low} {high}");
}

#[test]
fn a_path_that_always_loses_a_little_neither_alarms_for_ever_nor_hides_a_fault() {
    let mut detector = Detector::default();
    let mut second = 0;
    let mut tell = |detector: &mut Detector, met, violated| {
        second += 500;
        detector.take(&told("a", second, met, violated), at(second + 9)).failing
    };
    // 1 %: four failures close together in each 400 attempts.
    let mut cycles = |detector: &mut Detector, cycles: usize| -> Vec<Change> {
        let one = [(9, 1), (9, 1), (9, 1), (9, 1), (360, 0)];
        let told = std::iter::repeat_n(one, cycles).flatten();
        told.filter_map(|(met, violated)| tell(detector, met, violated)).collect()
    };
    let changes = cycles(&mut detector, 1);
    let fault = [Change::Opened, Change::Closed];
    assert_eq!(changes, fault, "it is a fault of a path of which nothing is known");
    let changes = cycles(&mut detector, 100);
    assert!(changes.len() <= 20 && changes.ends_with(&[Change::Closed]), "{changes:?}");
    assert_eq!(cycles(&mut detector, 500), [], "later it is what the path is like");
    let seen = (1..).find(|_| tell(&mut detector, 0, 1) == Some(Change::Opened));
    assert!(seen.is_some_and(|attempts| attempts <= 7), "{seen:?}");
}

/// One attempt that took so many milliseconds.
fn replied(second: i64, milliseconds: f64) -> Observation {
    let seconds = milliseconds / 1000.0;
    Observation {
        window_start: at(second),
        window_seconds: 0,
        latency_seconds: Some(Latency { p50: seconds, p99: seconds }),
        ..told("a", second, 1, 0)
    }
}

#[test]
fn replies_that_take_three_times_as_long_are_slow_until_they_do_not() {
    let mut detector = Detector::default();
    let mut second = 0;
    let mut tell = |detector: &mut Detector, times: f64| {
        second += 5;
        let milliseconds = 2.0 + (second % 97) as f64 / 10.0;
        detector.take(&replied(second, times * milliseconds), at(second)).slow
    };
    assert!((0..3000).all(|_| tell(&mut detector, 1.0).is_none()));
    let seen = (1..).find(|_| tell(&mut detector, 3.0) == Some(Change::Opened));
    assert!(seen.is_some_and(|attempts| attempts < 30), "{seen:?}");
    let alarm = detector.alarms().next().expect("an alarm");
    let Symptom::Slow { usual_seconds } = alarm.symptom else { panic!("{alarm:?}") };
    assert!((0.0110..0.0118).contains(&usual_seconds), "{usual_seconds}");
    assert!(alarm.rate() > 0.5);
    let healed = (1..).find(|_| tell(&mut detector, 1.0) == Some(Change::Closed));
    assert!(healed.is_some_and(|attempts| attempts < 60), "{healed:?}");
}

#[test]
fn a_shift_that_lasts_a_day_is_what_the_path_is_like() {
    let mut detector = Detector::default();
    let mut second = 0;
    let mut tell = |detector: &mut Detector, milliseconds: f64| {
        second += 5;
        detector.take(&replied(second, milliseconds), at(second)).slow
    };
    (0..3000).for_each(|_| assert_eq!(tell(&mut detector, 2.0), None));
    let changes: Vec<_> = (0..40_000).filter_map(|_| tell(&mut detector, 6.0)).collect();
    assert_eq!(changes, [Change::Opened, Change::Closed]);
}

#[test]
fn nothing_is_slow_before_a_path_is_known_or_by_less_than_half_a_millisecond() {
    let mut detector = Detector::default();
    for second in 0..500 {
        let milliseconds = if second < 400 { 0.2 } else { 50.0 };
        assert_eq!(detector.take(&replied(second, milliseconds), at(second)).slow, None);
    }
    let mut detector = Detector::default();
    for second in 0..3000 {
        let milliseconds = if second < 2000 { 0.1 } else { 0.55 };
        assert_eq!(detector.take(&replied(second, milliseconds), at(second)).slow, None);
    }
}

#[test]
fn a_window_that_is_told_again_counts_once() {
    let mut detector = Detector::default();
    for second in 12..19 {
        assert_eq!(detector.take(&told("a", 10, 0, 2), at(second)).failing, None);
    }
}

#[test]
fn inconclusive_attempts_neither_open_nor_heal() {
    let mut detector = Detector::default();
    let mut unsure = told("a", 0, 0, 0);
    unsure.verdicts.inconclusive = 1000;
    assert_eq!(detector.take(&unsure, at(9)).failing, None);
    for second in [10, 20, 30] {
        detector.take(&told("a", second, 0, 1), at(second + 5));
    }
    unsure.window_start = at(40);
    assert_eq!(detector.take(&unsure, at(49)).failing, None);
    assert_eq!(detector.alarms().count(), 1);
}

#[test]
fn another_question_by_the_same_name_begins_anew() {
    let mut detector = Detector::default();
    for second in [10, 20, 30] {
        detector.take(&told("a", second, 0, 1), at(second + 5));
    }
    let denied = Observation { expect: Expected::Denied, ..told("a", 40, 1, 0) };
    detector.take(&denied, at(45));
    assert_eq!((detector.alarms().count(), detector.paths()), (0, 1));
}

#[test]
fn what_is_told_no_more_is_forgotten() {
    let mut detector = Detector::default();
    detector.take(&told("a", 0, 0, 5), at(9));
    detector.retain(at(100));
    assert_eq!((detector.paths(), detector.alarms().count()), (1, 1));
    detector.retain(at(9) + FORGOTTEN + Duration::from_secs(1));
    assert_eq!((detector.paths(), detector.known.len()), (0, 0));
}

#[test]
fn the_present_of_a_broken_path_is_what_came_since_it_broke() {
    let mut detector = Detector::default();
    for path in ["broken", "whole"] {
        detector.take(&told(path, 0, 2, 0), at(9));
    }
    for second in [10, 20, 30] {
        detector.take(&told("broken", second, 0, 1), at(second + 5));
        detector.take(&told("whole", second, 1, 0), at(second + 5));
    }
    let present = detector.present(at(20), at(40), true);
    let of = |target: &str| {
        let found = present.iter().find(|it| it.target == target).expect("it is shown");
        (found.verdicts.met, found.verdicts.violated)
    };
    assert_eq!(of("broken"), (0, 3));
    assert_eq!(of("whole"), (2, 0), "what came before does not speak of now");
}

#[test]
fn failures_without_an_alarm_are_shown_to_who_asks_for_suspects() {
    let mut detector = Detector::default();
    detector.take(&told("a", 10, 0, 1), at(15));
    assert_eq!(detector.present(at(0), at(20), true)[0].verdicts.violated, 1);
    assert_eq!(detector.present(at(0), at(20), false), []);
}

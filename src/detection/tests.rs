use time::macros::datetime;

use super::*;

const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);

fn told(target: &str, second: i64, met: u64, violated: u64) -> Observation {
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
fn a_path_that_fails_three_times_is_broken_and_heals_after_three_successes() {
    let mut detector = Detector::default();
    assert_eq!(detector.take(&told("a", 0, 2, 0), at(9)), None);
    assert_eq!(detector.take(&told("a", 10, 0, 1), at(15)), None);
    assert_eq!(detector.take(&told("a", 10, 0, 2), at(19)), None);
    assert_eq!(detector.take(&told("a", 20, 0, 1), at(25)), Some(Change::Opened));
    let alarm = detector.alarms().next().expect("an alarm");
    assert_eq!((alarm.since, alarm.attempts, alarm.failures), (at(10), 3, 3));
    assert_eq!(detector.take(&told("a", 30, 2, 0), at(39)), None);
    assert_eq!(detector.take(&told("a", 40, 1, 0), at(49)), Some(Change::Closed));
    assert_eq!(detector.alarms().count(), 0);
}

#[test]
fn a_window_that_is_told_again_counts_once() {
    let mut detector = Detector::default();
    for second in 12..19 {
        assert_eq!(detector.take(&told("a", 10, 0, 2), at(second)), None);
    }
}

#[test]
fn inconclusive_attempts_neither_open_nor_heal() {
    let mut detector = Detector::default();
    let mut unsure = told("a", 0, 0, 0);
    unsure.verdicts.inconclusive = 1000;
    assert_eq!(detector.take(&unsure, at(9)), None);
    for second in [10, 20, 30] {
        detector.take(&told("a", second, 0, 1), at(second + 5));
    }
    unsure.window_start = at(40);
    assert_eq!(detector.take(&unsure, at(49)), None);
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

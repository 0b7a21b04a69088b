//! What holds whatever is told, however often and in which pieces.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::digest::Digest;

const START: OffsetDateTime = datetime!(2026-01-01 00:00:00 UTC);

fn at(second: i64) -> OffsetDateTime {
    START + time::Duration::seconds(second)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Attempt {
    Met,
    Violated,
    Inconclusive,
}

fn window(number: usize, attempts: &[Attempt]) -> Observation {
    let count = |kind| attempts.iter().filter(|attempt| **attempt == kind).count() as u64;
    let verdicts = Verdicts {
        met: count(Attempt::Met),
        violated: count(Attempt::Violated),
        inconclusive: count(Attempt::Inconclusive),
    };
    let mut digest = Digest::default();
    (0..verdicts.met).for_each(|_| digest.add(Duration::from_millis(10)));
    Observation {
        source_node: "node-1".to_owned(),
        vantage: Some(Vantage::Plain),
        probe: ProbeKind::Tcp,
        target: "peer".to_owned(),
        name: Some("peer/node-2".to_owned()),
        destination_node: Some("node-2".to_owned()),
        via: None,
        expect: Expected::Reply,
        window_start: at(10 * number as i64),
        window_seconds: 10,
        attempts: verdicts.total(),
        verdicts,
        reasons: BTreeMap::new(),
        latency_seconds: None,
        digest: (verdicts.met > 0).then_some(digest),
    }
}

fn attempts(most: usize) -> impl Strategy<Value = Vec<Attempt>> {
    let one = prop_oneof![
        6 => Just(Attempt::Met),
        3 => Just(Attempt::Violated),
        1 => Just(Attempt::Inconclusive),
    ];
    prop::collection::vec(one, 0..most)
}

fn windows() -> impl Strategy<Value = Vec<Vec<Attempt>>> {
    prop::collection::vec(attempts(4), 1..40)
}

/// Everything that a reader sees of a path.
fn seen(detector: &Detector) -> (Vec<Alarm>, Vec<Observation>) {
    (detector.alarms().collect(), detector.present(at(0), at(1000), true))
}

proptest! {
    #[test]
    fn what_is_told_again_changes_nothing(told in windows(), again in 0usize..4) {
        let (mut once, mut often) = (Detector::default(), Detector::default());
        for (number, attempts) in told.iter().enumerate() {
            let now = at(10 * number as i64 + 9);
            let changes = once.take(&window(number, attempts), now);
            prop_assert_eq!(often.take(&window(number, attempts), now), changes);
            let earlier = told.iter().enumerate().take(number + 1);
            for (earlier, attempts) in earlier.skip(number.saturating_sub(again)) {
                let repeated = often.take(&window(earlier, attempts), now);
                prop_assert_eq!(repeated, Changes::default());
            }
        }
        prop_assert_eq!(seen(&often), seen(&once));
    }

    #[test]
    fn an_older_telling_that_comes_late_changes_nothing(told in windows()) {
        let (mut once, mut late) = (Detector::default(), Detector::default());
        for (number, attempts) in told.iter().enumerate() {
            let now = at(10 * number as i64 + 9);
            once.take(&window(number, attempts), now);
            late.take(&window(number, attempts), now);
            let older = &attempts[..attempts.len() / 2];
            prop_assert_eq!(late.take(&window(number, older), now), Changes::default());
        }
        prop_assert_eq!(seen(&late), seen(&once));
    }

    #[test]
    fn a_window_that_grows_is_told_as_attempt_by_attempt(told in windows()) {
        let (mut growing, mut single) = (Detector::default(), Detector::default());
        for (number, attempts) in told.iter().enumerate() {
            for upto in 1..=attempts.len() {
                let now = at(10 * number as i64 + upto as i64);
                let changes = growing.take(&window(number, &attempts[..upto]), now);
                let one = Observation {
                    window_start: now,
                    window_seconds: 0,
                    ..window(number, &attempts[upto - 1..upto])
                };
                prop_assert_eq!(single.take(&one, now).failing, changes.failing);
            }
        }
        let counts = |detector: &Detector| {
            detector.alarms().map(|alarm| (alarm.attempts, alarm.events)).collect::<Vec<_>>()
        };
        prop_assert_eq!(counts(&growing), counts(&single));
    }

    #[test]
    fn inconclusive_attempts_are_as_if_they_had_not_been(told in windows()) {
        let (mut with, mut without) = (Detector::default(), Detector::default());
        for (number, attempts) in told.iter().enumerate() {
            let now = at(10 * number as i64 + 9);
            let mut conclusive = attempts.clone();
            conclusive.retain(|attempt| *attempt != Attempt::Inconclusive);
            let changes = with.take(&window(number, attempts), now);
            prop_assert_eq!(without.take(&window(number, &conclusive), now), changes);
        }
        let alarms = |detector: &Detector| {
            let told = detector.alarms().map(|alarm| (alarm.attempts, alarm.events));
            told.collect::<Vec<_>>()
        };
        prop_assert_eq!(alarms(&with), alarms(&without));
    }

    #[test]
    fn slow_replies_count_once_however_they_are_told(
        slow in prop::collection::vec(prop::bool::weighted(0.3), 1..200),
        again in 1usize..4,
    ) {
        let start = 10_000;
        let usual = |detector: &mut Detector| {
            for second in 0..621 {
                let one = Observation { window_start: at(second), ..window(0, &[Attempt::Met]) };
                detector.take(&Observation { window_seconds: 0, ..one }, at(second));
            }
        };
        let (mut single, mut growing) = (Detector::default(), Detector::default());
        usual(&mut single);
        usual(&mut growing);
        for (number, pair) in slow.chunks(2).enumerate() {
            let mut digest = Digest::default();
            for (place, is_slow) in pair.iter().enumerate() {
                let mut one = Digest::default();
                one.add(Duration::from_millis(if *is_slow { 100 } else { 10 }));
                digest.merge(&one);
                let window = window(start + number, &[Attempt::Met].repeat(place + 1));
                let grown = Observation { digest: Some(digest.clone()), ..window.clone() };
                let alone = Observation {
                    window_seconds: 0,
                    verdicts: Verdicts { met: 1, ..Verdicts::default() },
                    digest: Some(one),
                    ..window
                };
                let now = grown.window_start + time::Duration::seconds(5);
                let changes = single.take(&alone, now);
                prop_assert_eq!(growing.take(&grown, now), changes);
                for _ in 0..again {
                    prop_assert_eq!(growing.take(&grown, now), Changes::default());
                }
            }
        }
        let counts = |detector: &Detector| {
            detector.alarms().map(|alarm| (alarm.attempts, alarm.events)).collect::<Vec<_>>()
        };
        prop_assert_eq!(counts(&growing), counts(&single));
    }

    #[test]
    fn more_failures_never_open_an_alarm_later(told in windows(), worse in 0usize..40) {
        let opens = |told: &[Vec<Attempt>]| {
            let mut detector = Detector::default();
            told.iter().enumerate().position(|(number, attempts)| {
                let now = at(10 * number as i64 + 9);
                detector.take(&window(number, attempts), now).failing == Some(Change::Opened)
            })
        };
        let mut worsened = told.clone();
        if let Some(attempts) = worsened.get_mut(worse) {
            attempts.iter_mut().for_each(|attempt| *attempt = Attempt::Violated);
        }
        let (before, after) = (opens(&told), opens(&worsened));
        prop_assert!(before.is_none_or(|before| after.is_some_and(|after| after <= before)));
    }

    #[test]
    fn opening_and_closing_take_turns_and_closing_takes_three_successes(told in windows()) {
        let mut detector = Detector::default();
        let (mut open, mut successes) = (false, 0);
        for (number, attempts) in told.iter().enumerate() {
            for (place, attempt) in attempts.iter().enumerate() {
                let now = at(10 * number as i64 + place as i64);
                let one = Observation {
                    window_start: now,
                    window_seconds: 0,
                    ..window(number, &[*attempt])
                };
                successes += u32::from(*attempt == Attempt::Met);
                match detector.take(&one, now).failing {
                    Some(Change::Opened) => {
                        prop_assert!(!open && *attempt == Attempt::Violated);
                        (open, successes) = (true, 0);
                    }
                    Some(Change::Closed) => {
                        prop_assert!(open && *attempt == Attempt::Met && successes >= 3);
                        open = false;
                    }
                    None => {}
                }
            }
        }
        prop_assert_eq!(detector.alarms().count(), usize::from(open));
    }

    #[test]
    fn an_alarm_tells_no_more_than_was_told(told in windows()) {
        let mut detector = Detector::default();
        let mut all = (0u64, 0u64);
        for (number, attempts) in told.iter().enumerate() {
            let now = at(10 * number as i64 + 9);
            let observation = window(number, attempts);
            all.0 += observation.verdicts.conclusive();
            all.1 += observation.verdicts.violated;
            detector.take(&observation, now);
            for alarm in detector.alarms() {
                let (attempts, events) = (u64::from(alarm.attempts), u64::from(alarm.events));
                prop_assert!(attempts <= all.0 && events <= all.1 && events <= attempts);
                prop_assert!(events >= 3 && alarm.since <= now && alarm.since >= START);
                let (low, high) = alarm.interval();
                prop_assert!(low <= alarm.rate() && alarm.rate() <= high);
            }
        }
    }

    #[test]
    fn paths_are_found_by_name_in_whatever_order_they_are_told(
        names in prop::collection::vec(0u8..30, 1..200),
    ) {
        let mut detector = Detector::default();
        let mut failures: BTreeMap<u8, u32> = BTreeMap::new();
        for (second, name) in names.iter().enumerate() {
            let one = Observation {
                name: Some(format!("peer/{name}")),
                window_start: at(second as i64),
                window_seconds: 0,
                ..window(0, &[Attempt::Violated])
            };
            detector.take(&one, at(second as i64));
            *failures.entry(*name).or_default() += 1;
        }
        prop_assert_eq!(detector.paths(), failures.len());
        let expected = failures.iter().filter(|(_, count)| **count >= 3);
        let mut expected: Vec<(String, u32)> =
            expected.map(|(name, count)| (format!("peer/{name}"), *count)).collect();
        let mut told: Vec<(String, u32)> =
            detector.alarms().map(|it| (it.asked.name.to_string(), it.events)).collect();
        expected.sort();
        told.sort();
        prop_assert_eq!(told, expected);
        detector.retain(at(1000));
        prop_assert_eq!(detector.paths(), 0);
    }
}

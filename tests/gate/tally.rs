//! Evidence that grows for hours, and counts nothing twice.

use std::sync::LazyLock;

use meshprobe::gate::tally::{GENERATION, Tally};
use meshprobe::gate::{Check, Scope};
use meshprobe::observation::{Expected, Observation};
use proptest::prelude::*;

use super::support::{Fleet, at};

fn scope() -> Scope {
    Scope::of("default")
}

fn window(start: i64, met: u64) -> Observation {
    static PEER: LazyLock<Observation> = LazyLock::new(|| {
        let mut observations = Fleet::ready().observations.into_iter();
        observations.find(|it| it.target == "peer").expect("one")
    });
    let mut window = PEER.clone();
    window.window_start = at(start);
    window.verdicts.met = met;
    window
}

fn met(tally: &Tally) -> u64 {
    let nodes = tally.nodes(Check::Connectivity, Expected::Reply, &scope());
    nodes.values().map(|count| count.verdicts.met).sum()
}

#[test]
fn a_window_counts_once_and_only_when_it_has_settled() {
    let mut tally = Tally::new(at(0));
    tally.take("a", &[window(0, 3), window(10, 4)], at(20));
    assert_eq!(met(&tally), 0, "they may grow");
    let later = [window(0, 5), window(10, 5), window(20, 5), window(30, 5), window(40, 1)];
    tally.take("a", &later, at(45));
    assert_eq!(met(&tally), 10, "those of 0 and 10");
    tally.take("a", &later, at(46));
    assert_eq!(met(&tally), 10);
    tally.take("b", &later, at(46));
    assert_eq!(met(&tally), 20, "another agent's windows are others");
}

#[test]
fn a_clock_that_was_set_back_goes_on_counting() {
    let mut tally = Tally::new(at(0));
    tally.take("a", &[window(100_000, 1), window(100_060, 1)], at(0));
    tally.take("a", &[window(0, 1), window(60, 1)], at(60));
    assert_eq!(met(&tally), 2);
}

#[test]
fn what_is_old_goes_after_two_generations() {
    let seconds = GENERATION.as_secs() as i64;
    let mut tally = Tally::new(at(0));
    for (generation, expected) in [(0, 1), (1, 2), (2, 2), (3, 2)] {
        let start = generation * seconds;
        tally.take("a", &[window(start, 1), window(start + 60, 1)], at(start + 60));
        assert_eq!(met(&tally), expected, "generation {generation}");
    }
}

#[test]
fn expectations_that_changed_make_what_was_counted_worthless() {
    let mut service = window(0, 7);
    service.target = "service/default/web".to_owned();
    let told = [service.clone(), window(0, 7), window(60, 1)];
    let mut tally = Tally::new(at(0));
    tally.take("a", &told, at(60));
    assert_eq!(met(&tally), 14);
    tally.forget(Some("other"), at(60));
    assert_eq!(met(&tally), 14);
    tally.forget(Some("default"), at(60));
    assert_eq!(met(&tally), 7, "peers are not of default");
    service.window_start = at(55);
    tally.take("b", &[service.clone(), window(200, 1)], at(200));
    assert_eq!(met(&tally), 7, "from before the change");
    service.window_start = at(65);
    tally.take("c", &[service, window(200, 1)], at(200));
    assert_eq!(met(&tally), 14);
    tally.forget(None, at(300));
    assert_eq!(met(&tally), 7);
}

proptest! {
    /// However often and in whatever overlap windows are told.
    #[test]
    fn nothing_is_counted_twice(steps in prop::collection::vec(1i64..7, 1..60)) {
        let mut tally = Tally::new(at(0));
        let mut now = 0;
        for step in steps {
            now += step;
            // The last minute of windows, as agents tell it.
            let told: Vec<_> = ((now - 6).max(0)..=now).map(|at| window(at * 10, 1)).collect();
            tally.take("a", &told, at(now * 10));
        }
        // Settled are those of up to three windows ago; gaps of up to three lose none.
        prop_assert!(met(&tally) <= (now - 2).max(0) as u64);
    }

    #[test]
    fn nothing_is_lost_while_an_agent_is_asked_every_thirty_seconds(
        steps in prop::collection::vec(1i64..=3, 1..60),
    ) {
        let mut tally = Tally::new(at(0));
        let mut now = 0;
        for step in steps {
            now += step;
            let told: Vec<_> = ((now - 6).max(0)..=now).map(|at| window(at * 10, 1)).collect();
            tally.take("a", &told, at(now * 10));
        }
        prop_assert_eq!(met(&tally), (now - 2).max(0) as u64);
    }
}

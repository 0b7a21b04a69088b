//! Random promises, within the histograms that there are.

use std::time::Duration;

use meshprobe::failure::Phase;
use meshprobe::slo::{
    Connection, GroupKey, Latency, Objective, Pattern, Selectors, Sli, Slo, Window,
};
use meshprobe::target::{ProbeKind, Vantage};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// SLOs of different names whose thresholds are within `buckets`.
pub(super) fn slos(buckets: &[f64]) -> BoxedStrategy<Vec<Slo>> {
    let first = buckets.first().map_or(1.0, |bound| (bound * 1000.0).ceil()) as u64;
    let last = buckets.last().map_or(0.0, |bound| (bound * 1000.0).floor()) as u64;
    let sli = if first.max(1) <= last {
        prop_oneof![Just(Sli::Availability), latency(first.max(1)..=last)].boxed()
    } else {
        Just(Sli::Availability).boxed()
    };
    let names = btree_set("[a-z]([a-z0-9-]{0,9}[a-z0-9])?", 0..4);
    names
        .prop_flat_map(move |names| {
            let rest = vec(slo(sli.clone()), names.len());
            (Just(names), rest)
        })
        .prop_map(|(names, slos)| {
            let named =
                |(name, slo): (String, Slo)| Slo { name: name.parse().expect("one"), ..slo };
            names.into_iter().zip(slos).map(named).collect()
        })
        .boxed()
}

fn slo(sli: BoxedStrategy<Sli>) -> impl Strategy<Value = Slo> {
    let window = prop_oneof![
        Just(Window::CalendarMonth),
        (1u16..=366).prop_map(|days| Window::rolling(days).expect("in range")),
    ];
    let group_by = subsequence(GroupKey::ALL.to_vec(), 0..=6).prop_shuffle();
    (option::of("\\PC{1,40}"), 1u32..1_000_000, window, sli, selectors(), group_by).prop_map(
        |(description, millionths, window, sli, select, group_by)| Slo {
            name: "unnamed".parse().expect("a name"),
            description,
            objective: Objective::of_millionths(millionths).expect("in range"),
            window,
            sli,
            select,
            group_by,
        },
    )
}

fn latency(millis: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Sli> {
    let phase = option::of(select(Phase::ALL.to_vec()));
    let connection = option::of(select(vec![Connection::Cold, Connection::Warm]));
    (millis, phase, connection).prop_map(|(millis, phase, connection)| {
        Sli::Latency(Latency { threshold: Duration::from_millis(millis), phase, connection })
    })
}

fn selectors() -> impl Strategy<Value = Selectors> {
    let patterns = || {
        let texts = btree_set("[!-~]{1,9}", 0..3);
        texts.prop_map(|texts| -> Vec<Pattern> {
            texts.iter().map(|text| text.parse().expect("a pattern")).collect()
        })
    };
    let probe = subsequence(ProbeKind::ALL.to_vec(), 0..=3);
    let vantage = subsequence(Vantage::ALL.to_vec(), 0..=2);
    (probe, vantage, patterns(), patterns(), patterns(), patterns()).prop_map(
        |(probe, vantage, target, node, zone, namespace)| Selectors {
            probe,
            target,
            vantage,
            node,
            zone,
            namespace,
        },
    )
}

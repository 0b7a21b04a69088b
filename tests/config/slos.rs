//! The list `slos`: what is read, what is refused, and what histograms make of it.

use std::collections::BTreeMap;

use meshprobe::config::{DEFAULT_BUCKETS, parse, parse_controller};
use meshprobe::slo::{Connection, GroupKey, Sli, Window};
use meshprobe::target::{ProbeKind, Vantage};

use super::bad::refused;
use super::good;

const SLOS: &str = "slos:
- name: frontend
  description: what users wait for
  objective: 99.95%
  window: 7d
  sli: { latency: { threshold: 300ms, phase: processing, connection: warm } }
  select: { probe: [http, hbone], vantage: ambient, target: service/*, node: [n1, n2], zone: eu-*, namespace: shop }
  group_by: [zone, namespace]
- { name: all, objective: 0.9, window: calendar_month, sli: availability }
";

#[test]
fn slos_are_read_and_printed_back() {
    let config = good(SLOS);
    let [frontend, all] = config.slos.as_slice() else { panic!("{:?}", config.slos) };
    assert_eq!(frontend.objective.to_string(), "99.95%");
    assert_eq!(frontend.window, Window::rolling(7).expect("a window"));
    let Sli::Latency(latency) = frontend.sli else { panic!("{frontend:?}") };
    assert_eq!((latency.seconds(), latency.connection), (0.3, Some(Connection::Warm)));
    assert_eq!(frontend.select.probe, [ProbeKind::Http, ProbeKind::Hbone]);
    assert_eq!(frontend.select.vantage, [Vantage::Ambient]);
    assert_eq!(frontend.group_by, [GroupKey::Zone, GroupKey::Namespace]);
    assert_eq!((all.sli, all.window), (Sli::Availability, Window::CalendarMonth));
    assert_eq!(good(&config.to_yaml()), config);
    let controller = parse_controller(SLOS, &BTreeMap::new()).expect("good");
    assert_eq!(controller.slos, config.slos);
}

#[test]
fn a_bound_of_the_histograms_is_exactly_on_each_threshold() {
    let config = good(SLOS);
    assert_eq!(config.buckets, DEFAULT_BUCKETS);
    let bounds = config.bounds();
    assert_eq!(bounds.len(), DEFAULT_BUCKETS.len() + 1);
    assert!(bounds.contains(&0.3) && bounds.is_sorted(), "{bounds:?}");
    assert_eq!(good("slos: []").bounds(), DEFAULT_BUCKETS);
    let own = "slos: [{name: a, objective: 0.9, window: 1d, sli: {latency: {threshold: 100ms}}}]";
    assert_eq!(good(own).bounds(), DEFAULT_BUCKETS, "one is there already");
}

#[test]
fn each_mistake_is_told_once_with_its_mend() {
    refused(
        "slos:
- { name: a, objective: 100%, window: 30d, sli: availability }
- { name: a, objective: 0, window: 30, sli: uptime }
- { name: B, objective: 99.9, window: 400d, sli: { latency: {} } }
- { objective: 99.9%, window: 7d, sli: { latency: { threshold: 11s, phase: dns, connection: hot } } }
- { name: c, objective: 99.9%, window: 7d, sli: availability, select: { pod: a, probe: https, vantage: [], node: [n, n] }, group_by: [node, pod] }
",
        &[
            r#"2:25: slos[0].objective: "100%" is not an objective; it must leave a budget: 100 % allows no single bad attempt; write e.g. 99.9%"#,
            r#"3:11: slos[1].name: "a" is the name of slos[0] already; give each SLO a name of its own"#,
            "3:25: slos[1].objective: 0 is not an objective; it must promise something: 0 % is kept by an outage; write e.g. 99.9%",
            "3:36: slos[1].window: 30 is not a window; it must be whole days from 1d to 366d, e.g. 30d, or calendar_month",
            r#"3:45: slos[1].sli: "uptime" is not an SLI; write availability, or latency: {threshold: 250ms}"#,
            r#"4:11: slos[2].name: "B" is not an SLO's name; it must be 1 to 63 of a-z 0-9 -, beginning with a letter and not ending with -"#,
            "4:25: slos[2].objective: 99.9 is not an objective; it must be a percentage with its sign or a share below 1; did you mean 99.9%?",
            r#"4:39: slos[2].window: "400d" is not a window; it must be whole days from 1d to 366d, e.g. 30d, or calendar_month"#,
            "4:61: slos[2].sli.latency.threshold: is missing; write a duration, e.g. 250ms",
            "5:3: slos[3].name: is missing; write a name that is unique among the SLOs",
            r#"5:64: slos[3].sli.latency.threshold: "11s" is outside of the histograms' range; write 0.0005 s to 10s, or extend buckets"#,
            r#"5:76: slos[3].sli.latency.phase: "dns" is not a known word; write resolve, connect, tls, tunnel, processing or transfer"#,
            r#"5:93: slos[3].sli.latency.connection: "hot" is not a known word; write cold or warm"#,
            "6:73: slos[4].select.pod: is not a known key; did you mean node?",
            r#"6:88: slos[4].select.probe: "https" is not a known word; did you mean http? write dns, tcp, tls, http, hold, hbone, istiod, capture, mtu or ztunnel"#,
            "6:104: slos[4].select.vantage: has 0 values; write 1 to 100 of them, or leave the key out",
            r#"6:118: slos[4].select.node[1]: "n" is listed twice; leave one of the two out"#,
            r#"6:141: slos[4].group_by[1]: "pod" is not a known word; did you mean node? write node, zone, vantage, probe, target or namespace"#,
        ],
    );
}

#[test]
fn wrong_buckets_are_no_mistake_of_a_threshold() {
    let slo = "{name: a, objective: 0.9, window: 1d, sli: {latency: {threshold: 5s}}}";
    refused(
        &format!("buckets: [1, 0.1]\nslos: [{slo}]"),
        &[
            "1:14: buckets[1]: 0.1 is not above the bound before it; write bounds in ascending order",
        ],
    );
    let told = parse(&format!("buckets: [0.1, 1]\nslos: [{slo}]"), &BTreeMap::new());
    let told = told.expect_err("5 s are beyond 1 s")[0].to_string();
    assert!(told.contains("write 100ms to 1s, or extend buckets"), "{told}");
    assert!(good(&format!("buckets: [0.1, 5]\nslos: [{slo}]")).bounds() == [0.1, 5.0]);
}

#[test]
fn a_controller_takes_the_range_from_the_agents_buckets() {
    let slo = "slos: [{name: a, objective: 0.9, window: 1d, sli: {latency: {threshold: 20s}}}]";
    let read = |text: &str| parse_controller(text, &BTreeMap::new());
    assert!(read(slo).is_err());
    assert!(read(&format!("buckets: [0.1, 30]\n{slo}")).is_ok());
}

//! Connections of one page summed by who called whom. Pure.
//!
//! Bounded whatever the page says, and the same whatever its order is: of too many, those are kept
//! whose names come first, each with its whole sum.

use std::collections::BTreeMap;

use crate::flow::{FlowDestination, FlowSecurity, FlowSource};
use crate::outcome::{FlowCounter, UnkeptFlows};
use crate::probe::ztunnel::exposition::Sample;

/// Flows that are kept, of plaintext and of mTLS each: many times what calls one node's pods.
pub(super) const FLOWS_LIMIT: usize = 1000;
/// A longer name is no workload's or Service's, characters (RFC 1123).
const NAME_LIMIT: usize = 253;
/// A longer SPIFFE ID is none that Kubernetes names can make, characters.
const PRINCIPAL_LIMIT: usize = 512;
/// What ztunnel writes where it knows nothing.
const UNKNOWN: &str = "unknown";

/// What was counted of flows so far.
#[derive(Debug, Default)]
pub(super) struct Flows {
    plaintext: Sums,
    mutual_tls: Sums,
}

#[derive(Debug, Default)]
struct Sums {
    kept: BTreeMap<Key, Sum>,
    /// Series of `opened` that are in no sum.
    unkept: u64,
}

type Key = (FlowDestination, FlowSource);

#[derive(Debug, Default)]
struct Sum {
    opened: u64,
    denied: u64,
    /// Series of `opened` in it.
    series: u64,
}

/// What a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Opened,
    Denied,
}

impl Flows {
    /// Takes a series of `istio_tcp_connections_<event>_total`; most are none of a flow's.
    pub(super) fn take(&mut self, event: &str, sample: &Sample<'_>, count: u64) {
        if sample.label("reporter") != "destination" {
            return;
        }
        let event = match (event, sample.label("response_flags")) {
            ("opened", _) => Event::Opened,
            ("closed", "DENY") => Event::Denied,
            _ => return,
        };
        let mutual_tls = sample.label("connection_security_policy") == "mutual_tls";
        let sums = if mutual_tls { &mut self.mutual_tls } else { &mut self.plaintext };
        match key(sample, mutual_tls) {
            Some(key) => sums.add(key, event, count),
            None if event == Event::Opened => sums.unkept += 1,
            None => {}
        }
    }

    /// All of them, plaintext first, and what is missing.
    pub(super) fn finish(self) -> (Vec<FlowCounter>, UnkeptFlows) {
        let unkept =
            UnkeptFlows { plaintext: self.plaintext.unkept, mutual_tls: self.mutual_tls.unkept };
        let counters = |sums: Sums, security| {
            sums.kept.into_iter().map(move |((destination, source), sum)| FlowCounter {
                source,
                destination,
                security,
                opened: sum.opened,
                denied: sum.denied,
            })
        };
        let plaintext = counters(self.plaintext, FlowSecurity::Plaintext);
        let mutual_tls = counters(self.mutual_tls, FlowSecurity::MutualTls);
        (plaintext.chain(mutual_tls).collect(), unkept)
    }
}

impl Sums {
    fn add(&mut self, key: Key, event: Event, count: u64) {
        if self.kept.len() >= FLOWS_LIMIT && !self.kept.contains_key(&key) {
            let last = self.kept.last_key_value().map(|(last, _)| last);
            if last.is_none_or(|last| *last < key) {
                self.unkept += u64::from(event == Event::Opened);
                return;
            }
            if let Some((_, put_out)) = self.kept.pop_last() {
                self.unkept += put_out.series;
            }
        }
        let sum = self.kept.entry(key).or_default();
        match event {
            Event::Opened => {
                sum.opened = sum.opened.saturating_add(count);
                sum.series += 1;
            }
            Event::Denied => sum.denied = sum.denied.saturating_add(count),
        }
    }
}

/// Who called whom; `None` when these are no names. All callers of mTLS are one.
fn key(sample: &Sample<'_>, mutual_tls: bool) -> Option<Key> {
    let name = |label| named(sample.label(label), NAME_LIMIT);
    let destination = FlowDestination {
        workload: name("destination_workload")?,
        namespace: name("destination_workload_namespace")?,
        service: name("destination_service_name")?,
        service_namespace: name("destination_service_namespace")?,
        canonical_service: name("destination_canonical_service")?,
    };
    if mutual_tls {
        return Some((destination, FlowSource::default()));
    }
    let source = FlowSource {
        workload: name("source_workload")?,
        namespace: name("source_workload_namespace")?,
        principal: named(sample.label("source_principal"), PRINCIPAL_LIMIT)?,
    };
    Some((destination, source))
}

/// A name, nothing where ztunnel knows none; `None` when it is too long, or of characters that no
/// name has.
fn named(value: &str, limit: usize) -> Option<Option<String>> {
    if value.is_empty() || value == UNKNOWN {
        return Some(None);
    }
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (value.len() <= limit && value.bytes().all(fits)).then(|| Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::ztunnel::exposition;

    fn series(source: &str, destination: &str, policy: &str) -> String {
        format!(
            "m{{reporter=\"destination\",source_workload=\"{source}\",\
             source_workload_namespace=\"ingress\",source_principal=\"unknown\",\
             destination_workload=\"{destination}\",destination_workload_namespace=\"default\",\
             response_flags=\"-\",connection_security_policy=\"{policy}\"}} 1"
        )
    }

    fn read(lines: &[(&str, String)]) -> (Vec<FlowCounter>, UnkeptFlows) {
        let mut flows = Flows::default();
        for (event, line) in lines {
            let sample = exposition::sample(line.as_bytes()).expect("a sample");
            flows.take(event, &sample, sample.value as u64);
        }
        flows.finish()
    }

    fn sources(flows: &[FlowCounter]) -> Vec<Option<&str>> {
        flows.iter().map(|flow| flow.source.workload.as_deref()).collect()
    }

    #[test]
    fn plaintext_is_told_by_source_and_mtls_in_sum() {
        let (flows, unkept) = read(&[
            ("opened", series("a", "web", "mutual_tls")),
            ("opened", series("b", "web", "mutual_tls")),
            ("opened", series("b", "web", "unknown")),
            ("opened", series("unknown", "web", "unknown")),
            ("opened", series("b", "web", "unknown")),
        ]);
        assert_eq!(sources(&flows), [None, Some("b"), None]);
        let counts: Vec<_> = flows.iter().map(|flow| (flow.security, flow.opened)).collect();
        let (plaintext, mutual_tls) = (FlowSecurity::Plaintext, FlowSecurity::MutualTls);
        assert_eq!(counts, [(plaintext, 1), (plaintext, 2), (mutual_tls, 2)]);
        assert_eq!(flows[0].source.namespace.as_deref(), Some("ingress"));
        assert!(unkept.is_none());
    }

    #[test]
    fn the_source_reporter_and_what_was_not_denied_are_no_flows() {
        let sent = series("a", "web", "unknown").replace("\"destination\"", "\"source\"");
        let denied = series("a", "web", "unknown").replace("\"-\"", "\"DENY\"");
        let (flows, _) = read(&[
            ("opened", sent),
            ("closed", series("b", "web", "unknown")),
            ("failed", denied.clone()),
            ("closed", denied),
        ]);
        assert_eq!(sources(&flows), [Some("a")]);
        assert_eq!((flows[0].opened, flows[0].denied), (0, 1));
    }

    #[test]
    fn what_is_no_name_is_counted_and_not_told() {
        for name in ["x".repeat(NAME_LIMIT + 1).as_str(), "a b", r"a\nb", "\u{e9}"] {
            for (policy, lost) in [("unknown", (1, 0)), ("mutual_tls", (0, 1))] {
                let (flows, unkept) = read(&[("opened", series("a", name, policy))]);
                assert_eq!((flows.len(), (unkept.plaintext, unkept.mutual_tls)), (0, lost));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_same_flows_are_kept_whatever_the_order(
            mut names in prop::collection::vec(0..FLOWS_LIMIT * 2, FLOWS_LIMIT..FLOWS_LIMIT * 2),
        ) {
            let line = |n: &usize| ("opened", series(&format!("{n:05}"), "web", "unknown"));
            let lines: Vec<_> = names.iter().map(line).collect();
            let forwards = read(&lines);
            names.sort_unstable_by_key(|n| (n % 7, *n));
            let shuffled = read(&names.iter().map(line).collect::<Vec<_>>());
            prop_assert_eq!(&forwards, &shuffled);
            let (flows, unkept) = forwards;
            let told: u64 = flows.iter().map(|flow| flow.opened).sum();
            prop_assert!(flows.len() <= FLOWS_LIMIT);
            prop_assert_eq!(told + unkept.plaintext, names.len() as u64);
        }
    }
}

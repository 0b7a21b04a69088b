//! A ztunnel's counters, summed line by line while its page comes. Pure.
//!
//! Only what tells mTLS from plaintext and who called whom, the links to istiod and DNS, and which
//! ztunnel it is; every other line is passed over unread. What is kept has bounds that no page can
//! exceed.

use std::collections::BTreeMap;

use crate::failure::{Fault, Reason};
use crate::outcome::{ConnectionCounter, ZtunnelFacts};
use crate::probe::ztunnel::exposition::{self, Malformed, Sample};
use crate::probe::ztunnel::flows::Flows;

/// A longer line is no sample, bytes.
const LINE_LIMIT: usize = 1024 * 1024;
/// Sums that are kept, of connections and of terminations each: several times what a ztunnel has.
const SUMS_LIMIT: usize = 256;
/// A longer label value is none of a ztunnel's closed sets, characters.
const LABEL_LIMIT: usize = 64;

/// What was read of a page so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    lines: u64,
    connections: BTreeMap<Connections, u64>,
    xds_terminations: BTreeMap<String, u64>,
    dns_requests: Option<u64>,
    dns_upstream_failures: Option<u64>,
    version: Option<String>,
    process_start: Option<f64>,
    flows: Flows,
}

/// What connections are told apart by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Connections {
    event: &'static str,
    reporter: String,
    policy: String,
    flags: String,
}

/// A metric of a ztunnel that is of interest.
#[derive(Debug, Clone, Copy)]
enum Counter {
    Connections(&'static str),
    XdsTerminations,
    DnsRequests,
    DnsUpstreamFailures,
    Build,
    ProcessStart,
}

impl Counter {
    fn named(metric: &[u8]) -> Option<Self> {
        const TABLE: &[(&str, Counter)] = &[
            ("istio_tcp_connections_opened_total", Counter::Connections("opened")),
            ("istio_tcp_connections_closed_total", Counter::Connections("closed")),
            ("istio_tcp_connections_failed_total", Counter::Connections("failed")),
            ("istio_xds_connection_terminations_total", Counter::XdsTerminations),
            ("istio_dns_requests_total", Counter::DnsRequests),
            ("istio_dns_upstream_failures_total", Counter::DnsUpstreamFailures),
            ("istio_build", Counter::Build),
            ("process_start_time_seconds", Counter::ProcessStart),
        ];
        let known = TABLE.iter().find(|(name, _)| name.as_bytes() == metric);
        known.map(|(_, counter)| *counter)
    }
}

impl Counters {
    /// Takes the next bytes of the page.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            if self.line.is_empty() {
                self.read(head)?;
            } else {
                self.hold(head)?;
                let line = std::mem::take(&mut self.line);
                self.read(&line)?;
            }
        }
        self.hold(rest)
    }

    /// Ends the page, and writes what it said into `facts`.
    pub(super) fn finish(mut self, facts: &mut ZtunnelFacts) -> Result<(), Fault> {
        let last = std::mem::take(&mut self.line);
        self.read(&last)?;
        let counter = |(key, count): (Connections, u64)| ConnectionCounter {
            event: key.event,
            reporter: key.reporter,
            connection_security_policy: key.policy,
            response_flags: key.flags,
            count,
        };
        facts.connections = self.connections.into_iter().map(counter).collect();
        facts.xds_terminations = self.xds_terminations;
        facts.dns_requests = self.dns_requests;
        facts.dns_upstream_failures = self.dns_upstream_failures;
        facts.version = self.version;
        facts.process_start_seconds = self.process_start;
        (facts.flows, facts.unkept_flows) = self.flows.finish();
        facts.scraped = true;
        Ok(())
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), Fault> {
        if self.line.len() + part.len() > LINE_LIMIT {
            let detail = format!("line {} is longer than {LINE_LIMIT} bytes", self.lines + 1);
            return Err(Fault::new(Reason::BodyTooLarge, detail));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn read(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.lines += 1;
        let Some(counter) = Counter::named(exposition::metric(line)) else {
            return Ok(());
        };
        let sample = exposition::sample(line).map_err(|wrong| self.malformed(wrong))?;
        // What is no count (NaN, infinite, below zero) counts nothing.
        if !(sample.value.is_finite() && sample.value >= 0.0) {
            return Ok(());
        }
        let count = sample.value as u64;
        match counter {
            Counter::Connections(event) => {
                self.flows.take(event, &sample, count);
                let key = Connections {
                    event,
                    reporter: label(&sample, "reporter"),
                    policy: label(&sample, "connection_security_policy"),
                    flags: label(&sample, "response_flags"),
                };
                add_to(&mut self.connections, key, count)
            }
            Counter::XdsTerminations => {
                add_to(&mut self.xds_terminations, label(&sample, "reason"), count)
            }
            Counter::DnsRequests => {
                add(&mut self.dns_requests, count);
                Ok(())
            }
            Counter::DnsUpstreamFailures => {
                add(&mut self.dns_upstream_failures, count);
                Ok(())
            }
            Counter::Build => {
                self.version = Some(label(&sample, "tag")).filter(|tag| !tag.is_empty());
                Ok(())
            }
            Counter::ProcessStart => {
                self.process_start = Some(sample.value);
                Ok(())
            }
        }
    }

    fn malformed(&self, wrong: Malformed) -> Fault {
        Fault::new(Reason::BodyMismatch, format!("line {} of the counters: {wrong}", self.lines))
    }
}

/// A label value as a fact: printable and bounded.
fn label(sample: &Sample<'_>, name: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    sample.label(name).chars().map(printable).take(LABEL_LIMIT).collect()
}

fn add(sum: &mut Option<u64>, count: u64) {
    *sum = Some(sum.unwrap_or(0).saturating_add(count));
}

fn add_to<K: Ord>(sums: &mut BTreeMap<K, u64>, key: K, count: u64) -> Result<(), Fault> {
    if sums.len() >= SUMS_LIMIT && !sums.contains_key(&key) {
        let detail = format!("more than {SUMS_LIMIT} kinds of what a ztunnel has a few of");
        return Err(Fault::new(Reason::BodyMismatch, detail));
    }
    let sum = sums.entry(key).or_insert(0);
    *sum = sum.saturating_add(count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = concat!(
        "# HELP istio_tcp_connections_opened The total number of TCP connections opened.\n",
        "# TYPE istio_tcp_connections_opened counter\n",
        "istio_tcp_connections_opened_total{reporter=\"destination\",source_workload=\"a\",",
        "connection_security_policy=\"mutual_tls\",response_flags=\"-\"} 3\n",
        "istio_tcp_connections_opened_total{reporter=\"destination\",source_workload=\"b\\\"\",",
        "connection_security_policy=\"mutual_tls\",response_flags=\"-\"} 1e3 # {t=\"1\"} 1\n",
        "istio_tcp_connections_failed_total{reporter=\"source\",response_flags=\"CONNECT\",",
        "connection_security_policy=\"unknown\"} 2\n",
        "istio_tcp_connections_failed_total{reporter=\"source\"} NaN\n",
        "istio_tcp_sent_bytes_total{this is no sample, and nobody reads it\n",
        "istio_xds_connection_terminations_total{reason=\"Reconnect\"} 4\n",
        "istio_dns_requests_total{a=\"1\"} 5\n",
        "istio_dns_requests_total{a=\"2\"} 6\n",
        "# EOF",
    );

    fn read(chunks: &[&[u8]]) -> Result<ZtunnelFacts, Fault> {
        let mut counters = Counters::default();
        let mut facts = ZtunnelFacts::default();
        chunks.iter().try_for_each(|chunk| counters.take(chunk))?;
        counters.finish(&mut facts)?;
        Ok(facts)
    }

    #[test]
    fn counters_are_summed_over_the_labels_that_nobody_asked_for() {
        let facts = read(&[PAGE.as_bytes()]).expect("a good page");
        let counter = |event, reporter: &str, policy: &str, flags: &str, count| ConnectionCounter {
            event,
            reporter: reporter.to_owned(),
            connection_security_policy: policy.to_owned(),
            response_flags: flags.to_owned(),
            count,
        };
        let failed = counter("failed", "source", "unknown", "CONNECT", 2);
        let opened = counter("opened", "destination", "mutual_tls", "-", 1003);
        assert_eq!(facts.connections, [failed, opened]);
        assert_eq!(facts.xds_terminations, BTreeMap::from([("Reconnect".to_owned(), 4)]));
        assert_eq!(facts.dns_requests, Some(11));
        assert_eq!(facts.dns_upstream_failures, None, "it was not there");
    }

    #[test]
    fn a_page_that_is_none_of_a_ztunnels_is_told() {
        let reason = |page: &str| read(&[page.as_bytes()]).map_err(|fault| fault.reason);
        assert_eq!(reason("istio_dns_requests_total x\n"), Err(Reason::BodyMismatch));
        let kind = |n| format!("istio_xds_connection_terminations_total{{reason=\"{n}\"}} 1\n");
        let many: String = (0..=SUMS_LIMIT).map(kind).collect();
        assert_eq!(reason(&many), Err(Reason::BodyMismatch));
        let many: String = (0..SUMS_LIMIT * 3).map(|n| kind(n % SUMS_LIMIT)).collect();
        assert!(reason(&many).is_ok());
    }

    #[test]
    fn lines_and_labels_are_bounded() {
        let mut counters = Counters::default();
        let part = vec![b'x'; LINE_LIMIT / 4];
        let taken = (0..5).try_for_each(|_| counters.take(&part));
        assert_eq!(taken.map_err(|fault| fault.reason), Err(Reason::BodyTooLarge));
        let long = "é\u{7}".repeat(LABEL_LIMIT);
        let line = format!("istio_xds_connection_terminations_total{{reason=\"{long}\"}} 1");
        let facts = read(&[line.as_bytes()]).expect("a good page");
        let (reason, _) = facts.xds_terminations.first_key_value().expect("a sum");
        assert_eq!(*reason, "é ".repeat(LABEL_LIMIT / 2));
    }

    #[test]
    fn sums_do_not_overflow() {
        let line = "istio_dns_requests_total 1e300\n";
        let facts = read(&[line.as_bytes(), line.as_bytes()]).expect("a good page");
        assert_eq!(facts.dns_requests, Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_page_may_come_in_any_pieces(mut cuts in prop::collection::vec(0..=PAGE.len(), 0..8)) {
            cuts.extend([0, PAGE.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|w| &PAGE.as_bytes()[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&chunks), read(&[PAGE.as_bytes()]));
        }
    }
}

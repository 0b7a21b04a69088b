//! An attempt in the words of blackbox_exporter: names, labels and zeros are its own.
//!
//! Dashboards and alerts made for it keep working; `probe_failure_info` adds the phase and the
//! reason that it has no word for. Knows nothing of requests.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::attempt::Attempt;
use crate::expectation::Verdict;
use crate::failure::{Phase, Reason};
use crate::outcome::{CertificateFacts, HttpFacts, TlsFacts};
use crate::target::ProbeKind;

/// Lines of the text format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(String::new(), value)]);
    }

    fn flag(&mut self, name: &str, help: &str, value: bool) {
        self.gauge(name, help, f64::from(u8::from(value)));
    }

    fn gauges(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (String, f64)>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in rows {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

/// `{name="value",…}`; values come from peers.
fn labels(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        format!("{name}=\"{value}\"")
    };
    format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// The page of `attempt`, whose name was resolved beforehand in `lookup`.
pub(super) fn page(attempt: &Attempt, lookup: Option<Duration>) -> String {
    let mut page = Page::default();
    let met = attempt.verdict == Verdict::Met;
    page.flag("probe_success", "Whether the expectation was met", met);
    let took = attempt.duration + lookup.unwrap_or_default();
    page.gauge("probe_duration_seconds", "How long the attempt took", took.as_secs_f64());
    if let Some(failure) = &attempt.failure {
        let (phase, reason) = (failure.phase.as_str(), failure.reason.as_str());
        let labels = labels(&[("phase", phase), ("reason", reason)]);
        page.gauges("probe_failure_info", "What kept the attempt from success", [(labels, 1.0)]);
    }
    let resolve = lookup.or(attempt.phases.of(Phase::Resolve)).unwrap_or_default();
    let help = "How long the target's own name took to resolve";
    page.gauge("probe_dns_lookup_time_seconds", help, resolve.as_secs_f64());
    let address = attempt.facts.remote_address.map(|address| address.ip().to_canonical());
    let version = address.map_or(0.0, |address| if address.is_ipv4() { 4.0 } else { 6.0 });
    page.gauge("probe_ip_protocol", "Whether IPv4 or IPv6 was used", version);
    let help = "Hash of the address that was used, to tell when it changes";
    page.gauge("probe_ip_addr_hash", help, address.map_or(0.0, |address| hash(address).into()));
    match attempt.probe {
        ProbeKind::Http | ProbeKind::Hold => http(&mut page, attempt, resolve),
        ProbeKind::Dns => dns(&mut page, attempt, resolve),
        ProbeKind::Tcp | ProbeKind::Tls => mismatch(&mut page, attempt),
        ProbeKind::Hbone => hbone(&mut page, attempt),
        ProbeKind::Istiod => istiod(&mut page, attempt),
        ProbeKind::Capture | ProbeKind::Mtu | ProbeKind::Ztunnel => {}
    }
    if let Some(facts) = attempt.facts.tls.as_ref().filter(|_| shaken(attempt)) {
        tls(&mut page, facts, attempt.started_at);
    }
    page.0
}

/// FNV-1a.
fn hash(address: IpAddr) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let all = |bytes: &[u8]| bytes.iter().fold(0x811c_9dc5, step);
    match address {
        IpAddr::V4(address) => all(&address.octets()),
        IpAddr::V6(address) => all(&address.octets()),
    }
}

/// Whether a TLS handshake was completed; a certificate that is short-lived comes after that.
fn shaken(attempt: &Attempt) -> bool {
    attempt.failure.as_ref().is_none_or(|failure| match failure.phase {
        Phase::Resolve | Phase::Connect | Phase::Tls => failure.reason == Reason::CertExpiring,
        Phase::Tunnel | Phase::Processing | Phase::Transfer => true,
    })
}

fn mismatch(page: &mut Page, attempt: &Attempt) {
    let mismatch = attempt.failure.as_ref().is_some_and(|f| f.reason == Reason::BodyMismatch);
    page.flag("probe_failed_due_to_regex", "Whether the reply did not match", mismatch);
}

/// A phase that did not run is zero here: a sum over phases is not to have gaps.
fn phase(name: &str, duration: Duration) -> (String, f64) {
    (labels(&[("phase", name)]), duration.as_secs_f64())
}

fn http(page: &mut Page, attempt: &Attempt, resolve: Duration) {
    let phases = Phase::ALL.into_iter().filter(|of| *of != Phase::Tunnel);
    let rows = phases.map(|of| match of {
        Phase::Resolve => phase(of.as_str(), resolve),
        of => phase(of.as_str(), attempt.phases.of(of).unwrap_or_default()),
    });
    let help = "How long each phase of the request took, redirects added up";
    page.gauges("probe_http_duration_seconds", help, rows);
    mismatch(page, attempt);
    let answered = attempt.facts.http.is_some();
    let ssl = answered && attempt.facts.tls.is_some();
    page.flag("probe_http_ssl", "Whether the last response came over TLS", ssl);
    let none = HttpFacts { content_length: Some(0), ..HttpFacts::default() };
    let http = attempt.facts.http.as_ref().unwrap_or(&none);
    page.gauge("probe_http_status_code", "Status of the last response", http.status.into());
    let version: f64 = http.version.trim_start_matches("HTTP/").parse().unwrap_or_default();
    page.gauge("probe_http_version", "HTTP version of the last response", version);
    page.gauge("probe_http_redirects", "Redirects followed", http.redirects.into());
    let length = http.content_length.map_or(-1.0, |length| length as f64);
    page.gauge("probe_http_content_length", "Content-Length, or -1", length);
    let body = http.decompressed_bytes.unwrap_or(http.body_bytes);
    let help = "Length of the body after decompression";
    page.gauge("probe_http_uncompressed_body_length", help, body as f64);
}

/// Words of our own: blackbox_exporter has none for tunnels.
fn hbone(page: &mut Page, attempt: &Attempt) {
    let rows = Phase::ALL.map(|of| phase(of.as_str(), attempt.phases.of(of).unwrap_or_default()));
    page.gauges("probe_hbone_duration_seconds", "How long each phase took", rows);
    mismatch(page, attempt);
    let status = attempt.facts.hbone.as_ref().and_then(|hbone| hbone.status);
    let help = "Status of the answer to CONNECT, or 0";
    page.gauge("probe_hbone_connect_status_code", help, status.unwrap_or_default().into());
    let status = attempt.facts.http.as_ref().map(|http| http.status);
    let help = "Status of the response through the tunnel, or 0";
    page.gauge("probe_http_status_code", help, status.unwrap_or_default().into());
}

fn istiod(page: &mut Page, attempt: &Attempt) {
    let tried = attempt.facts.istiod.iter().flat_map(|istiod| &istiod.rungs);
    let row = |name: &str, value| (labels(&[("rung", name)]), value);
    let rows: Vec<_> = tried
        .clone()
        .map(|rung| row(rung.rung.as_str(), f64::from(u8::from(rung.failure.is_none()))))
        .collect();
    page.gauges("probe_istiod_rung_success", "Whether each rung that was tried held", rows);
    let rows = tried.map(|rung| row(rung.rung.as_str(), rung.duration.as_secs_f64()));
    let help = "How long each rung that was tried took";
    page.gauges("probe_istiod_rung_duration_seconds", help, rows.collect::<Vec<_>>());
}

fn dns(page: &mut Page, attempt: &Attempt, resolve: Duration) {
    let of = |phase| attempt.phases.of(phase).unwrap_or_default();
    let rows = [
        phase("resolve", resolve),
        phase("connect", of(Phase::Connect)),
        phase("request", of(Phase::Processing) + of(Phase::Transfer)),
    ];
    page.gauges("probe_dns_duration_seconds", "How long each phase of the query took", rows);
    let answered = attempt.facts.dns.as_ref().filter(|dns| dns.rcode.is_some());
    let help = "Whether a reply came, of whatever RCODE";
    page.flag("probe_dns_query_succeeded", help, answered.is_some());
    let [answers, authorities, additionals] =
        answered.and_then(|dns| dns.sections).unwrap_or_default();
    page.gauge("probe_dns_answer_rrs", "Records in the answer section", answers.into());
    page.gauge("probe_dns_authority_rrs", "Records in the authority section", authorities.into());
    let help = "Records in the additional section";
    page.gauge("probe_dns_additional_rrs", help, additionals.into());
}

fn tls(page: &mut Page, tls: &TlsFacts, now: SystemTime) {
    if let Some(earliest) = tls.not_after {
        let help = "Earliest notAfter of all certificates shown";
        page.gauge("probe_ssl_earliest_cert_expiry", help, unix(earliest));
    }
    if let Some(leaf) = tls.chain.first() {
        let help = "Earliest notAfter on the path from the leaf";
        let earliest = unix(path_end(leaf, &tls.chain, now));
        page.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", help, earliest);
        let dns = |name: &&String| name.parse::<IpAddr>().is_err();
        let names: Vec<&str> = tls.peer_names.iter().filter(dns).map(String::as_str).collect();
        let labels = labels(&[
            ("fingerprint_sha256", &leaf.sha256),
            ("issuer", &leaf.issuer),
            ("subject", &leaf.subject),
            ("subjectalternative", &names.join(",")),
        ]);
        page.gauges("probe_ssl_last_chain_info", "The leaf", [(labels, 1.0)]);
    }
    if let Some(version) = tls.version {
        let version = version.replace("TLSv", "TLS ");
        let labels = labels(&[("version", &version)]);
        page.gauges("probe_tls_version_info", "The TLS version", [(labels, 1.0)]);
    }
}

/// The earliest notAfter from `leaf` upwards, issuer by issuer as far as they are shown.
///
/// A certificate that is shown but not on the path, or past its time (an old cross-signature),
/// is none that the verification needed.
fn path_end(leaf: &CertificateFacts, shown: &[CertificateFacts], now: SystemTime) -> SystemTime {
    let (mut at, mut end) = (leaf, leaf.not_after);
    // A path is no longer than what is shown; names may lead in a circle.
    for _ in shown {
        let issues = |it: &&CertificateFacts| it.subject == at.issuer && it.not_after >= now;
        let above = shown.iter().filter(issues).max_by_key(|it| it.not_after);
        let Some(above) = above.filter(|_| at.issuer != at.subject) else { break };
        (at, end) = (above, end.min(above.not_after));
    }
    end
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Subject;
    use crate::expectation::Expectation;
    use crate::failure::{Failure, Fault};
    use crate::outcome::{Facts, HboneFacts, IstiodFacts, Outcome, Rung, RungFacts};

    fn told(probe: ProbeKind, failure: Option<Failure>, facts: Facts) -> String {
        let fault = Fault::new(Reason::Closed, "");
        let spoiled = Outcome::spoiled(UNIX_EPOCH, Duration::from_secs(1), fault);
        let outcome = Outcome { failure, facts, ..spoiled };
        let target = &"t".parse().expect("a name");
        let expect = &Expectation::Reply;
        let subject = Subject { probe, target, vantage: None, via: None, expect };
        page(&Attempt::judged(subject, outcome, None, Duration::ZERO), None)
    }

    fn certificate() -> TlsFacts {
        TlsFacts {
            version: Some("TLSv1.3"),
            not_after: Some(UNIX_EPOCH + Duration::from_secs(7)),
            ..TlsFacts::default()
        }
    }

    #[test]
    fn a_denied_tunnel_shows_its_status_and_the_peers_certificate() {
        let hbone = HboneFacts { status: Some(401), ..HboneFacts::default() };
        let facts = Facts { hbone: Some(hbone), tls: Some(certificate()), ..Facts::default() };
        let denied = Fault::new(Reason::HboneDenied, "").during(Phase::Tunnel);
        let page = told(ProbeKind::Hbone, Some(denied), facts);
        for line in [
            "probe_success 0\n",
            "probe_failure_info{phase=\"tunnel\",reason=\"hbone_denied\"} 1\n",
            "probe_hbone_connect_status_code 401\n",
            "probe_hbone_duration_seconds{phase=\"tunnel\"} 0\n",
            "probe_ssl_earliest_cert_expiry 7\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
    }

    #[test]
    fn each_rung_that_was_tried_has_a_row() {
        let tried = |rung, failure| RungFacts { rung, duration: Duration::from_millis(5), failure };
        let broken = Fault::new(Reason::GrpcStatus, "").during(Phase::Processing);
        let istiod = IstiodFacts {
            rungs: vec![tried(Rung::Http2, None), tried(Rung::Xds, Some(broken.clone()))],
            due: vec![Rung::Http2, Rung::Xds, Rung::Csr],
            ..IstiodFacts::default()
        };
        let facts = Facts { istiod: Some(istiod), tls: Some(certificate()), ..Facts::default() };
        let page = told(ProbeKind::Istiod, Some(broken), facts);
        for line in [
            "probe_istiod_rung_success{rung=\"http2\"} 1\n",
            "probe_istiod_rung_success{rung=\"xds\"} 0\n",
            "probe_istiod_rung_duration_seconds{rung=\"xds\"} 0.005\n",
            "probe_ssl_earliest_cert_expiry 7\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
        assert!(!page.contains("rung=\"csr\""), "{page}");
    }
}

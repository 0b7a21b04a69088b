//! `ztunnel`: whether a ztunnel calls itself ready, and what its counters say.
//!
//! Two requests over fresh HTTP/1.1 connections to one address: readiness first, with at most half
//! of the attempt's time, then the counters, also of a ztunnel that is not ready. Both add to
//! `connect`, `processing` and `transfer`. Readiness is no evidence of working mTLS; not being
//! ready is a `status` in `processing`.

mod counters;
mod exposition;
mod flows;

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::Resolver;
use crate::outcome::{Facts, HttpFacts, Outcome, ZtunnelFacts};
use crate::probe::http::{Dialer, Line, Prepared, Question, Sink, Taker, version_name};
use crate::probe::journal::Journal;
use crate::probe::{Environment, tcp};
use crate::spec::{HttpUrl, HttpVersion, IpPreference, ProbeSpec, Timeouts, ZtunnelModule};
use crate::target::{Endpoint, Host};
use counters::Counters;

const READINESS: &str = "/healthz/ready";
const METRICS: &str = "/stats/prometheus";

/// A longer answer to a readiness check is none.
const READINESS_LIMIT: u64 = 64 * 1024;
/// Of that, this much is looked at for what is pending, bytes.
const PENDING_BYTES: usize = 1024;
/// And this much of it is told, characters.
const PENDING_CHARS: usize = 256;
/// All counters of a ztunnel, bytes: about a hundred thousand series.
const METRICS_LIMIT: u64 = 64 * 1024 * 1024;

/// A prepared `ztunnel` probe.
#[derive(Debug)]
pub struct ZtunnelProbe {
    readiness: Endpoint,
    metrics_port: Option<u16>,
    ip: IpPreference,
    dialer: Dialer,
    resolver: Arc<Resolver>,
    timeouts: Timeouts,
}

/// What is asked of one of a ztunnel's ports.
struct Page {
    address: SocketAddr,
    path: &'static str,
    limit: u64,
}

impl ZtunnelProbe {
    pub(super) fn new(
        module: &ZtunnelModule,
        host: &Host,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Self {
        let tls = crate::spec::TlsSettings::default();
        let dialer = Dialer::new(environment, module.ip, HttpVersion::Http1, false, &tls);
        Self {
            readiness: Endpoint { host: host.clone(), port: module.readiness_port },
            metrics_port: module.metrics_port,
            ip: module.ip,
            dialer: dialer.expect("without TLS no file is read"),
            resolver: Arc::clone(&environment.resolver),
            timeouts: spec.timeouts,
        }
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let result = self.look(&mut journal).await;
        journal.finish(result)
    }

    async fn look(&self, journal: &mut Journal) -> Result<(), Failure> {
        journal.limit(self.metrics_port.map(|_| self.timeouts.total / 2));
        let address = tcp::locate(journal, &self.resolver, &self.readiness, self.ip).await?;
        let readiness = self.check_readiness(journal, address).await?;
        journal.limit(None);
        let scraped = match self.metrics_port {
            Some(port) => self.scrape(journal, SocketAddr::new(address.ip(), port)).await,
            None => Ok(()),
        };
        readiness.map_err(|fault| fault.during(Phase::Processing))?;
        scraped
    }

    /// Whether it is ready; the failure is that nobody knows.
    async fn check_readiness(
        &self,
        journal: &mut Journal,
        address: SocketAddr,
    ) -> Result<Result<(), Fault>, Failure> {
        let page = Page { address, path: READINESS, limit: READINESS_LIMIT };
        let mut text = Vec::new();
        let mut take = |chunk: &[u8]| {
            let room = PENDING_BYTES - text.len();
            text.extend_from_slice(&chunk[..chunk.len().min(room)]);
            Ok(())
        };
        let noted = |facts: &mut Facts, status: StatusCode| {
            let ready = status == StatusCode::OK;
            facts.ztunnel = Some(ZtunnelFacts { ready: Some(ready), ..ZtunnelFacts::default() });
            Ok(())
        };
        let status = self.get(journal, &page, noted, &mut take).await?;
        if status == StatusCode::OK {
            return Ok(Ok(()));
        }
        let pending = pending(&text);
        let waits = pending.as_deref().map_or(String::new(), |text| format!(", pending: {text}"));
        journal.facts.ztunnel.get_or_insert_default().pending = pending;
        let detail = format!("{READINESS} gives status {}{waits}", status.as_u16());
        Ok(Err(Fault::new(Reason::Status, detail)))
    }

    async fn scrape(&self, journal: &mut Journal, address: SocketAddr) -> Result<(), Failure> {
        let page = Page { address, path: METRICS, limit: METRICS_LIMIT };
        let mut counters = Counters::default();
        let mut take = |chunk: &[u8]| counters.take(chunk);
        let noted = |facts: &mut Facts, status: StatusCode| {
            if status != StatusCode::OK {
                let detail = format!("{METRICS} gives status {}", status.as_u16());
                return Err(Fault::new(Reason::Status, detail));
            }
            facts.ztunnel.get_or_insert_default().metrics_address = Some(address);
            Ok(())
        };
        self.get(journal, &page, noted, &mut take).await?;
        let facts = journal.facts.ztunnel.get_or_insert_default();
        counters.finish(facts).map_err(|fault| fault.during(Phase::Transfer))
    }

    /// One request and its whole response; `noted` sees the status before the body is read.
    async fn get(
        &self,
        journal: &mut Journal,
        page: &Page,
        noted: impl FnOnce(&mut Facts, StatusCode) -> Result<(), Fault>,
        take: Taker<'_>,
    ) -> Result<StatusCode, Failure> {
        let url = HttpUrl::parse(&format!("http://{}{}", page.address, page.path));
        let url = url.expect("an address and a path are a URL");
        let request = Prepared::new(Question::get(), url, true);
        journal.facts.http = None;
        let mut line = self.dialer.dial_at(journal, &request.url, page.address).await?;
        let result = exchange(journal, &mut line, &request, page.limit, noted, take).await;
        line.note(journal);
        let status = result?;
        line.close().await;
        Ok(status)
    }
}

async fn exchange(
    journal: &mut Journal,
    line: &mut Line,
    request: &Prepared,
    limit: u64,
    noted: impl FnOnce(&mut Facts, StatusCode) -> Result<(), Fault>,
    take: Taker<'_>,
) -> Result<StatusCode, Failure> {
    let asking = async {
        let answer = line.ask(request).await?;
        let took = answer.first.saturating_duration_since(answer.asked);
        Ok((answer, took))
    };
    let answer = journal.measured(Phase::Processing, asking).await?;
    let (parts, mut reply) = answer.response.into_parts();
    journal.facts.http = Some(HttpFacts {
        status: parts.status.as_u16(),
        version: version_name(parts.version),
        ..HttpFacts::default()
    });
    noted(&mut journal.facts, parts.status).map_err(|fault| fault.during(Phase::Processing))?;
    let mut sink = Sink::passing(limit, take);
    let reading = async {
        let read = line.read(&mut reply, &mut sink).await?;
        Ok((read.last, read.last.saturating_duration_since(answer.first)))
    };
    let read = journal.measured(Phase::Transfer, reading).await;
    if let Some(http) = &mut journal.facts.http {
        http.body_bytes = sink.received();
    }
    journal.ended_at(read?);
    Ok(parts.status)
}

/// What a ztunnel that is not ready says it waits for: printable, on one line, bounded.
fn pending(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let (_, named) = text.split_once("pending:").unwrap_or(("", &text));
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let bare = named.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let told: String = bare.chars().map(printable).take(PENDING_CHARS).collect();
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_is_told_in_ztunnels_own_words() {
        let told = |text: &str| pending(text.as_bytes());
        assert_eq!(told("not ready, pending: a, b\n"), Some("a, b".to_owned()));
        assert_eq!(told("no healthy upstream"), Some("no healthy upstream".to_owned()));
        assert_eq!(told("pending: \u{1b}[2Ja\nb"), Some("[2Ja b".to_owned()));
        assert_eq!(told(" \r\n"), None);
        assert_eq!(told(&"x".repeat(10_000)).map(|told| told.len()), Some(PENDING_CHARS));
        assert_eq!(pending(b"pending: \xff"), Some("\u{fffd}".to_owned()));
    }
}

//! One request and its whole response, in the phases `processing` and `transfer`.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use regex::bytes::Regex;

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::outcome::HttpFacts;
use crate::probe::http::body::Sink;
use crate::probe::http::connection::Line;
use crate::probe::http::request::Prepared;
use crate::probe::http::version_name;
use crate::probe::journal::Journal;
use crate::spec::HttpModule;

/// What is made of a response.
#[derive(Debug)]
pub(in crate::probe) struct Reading {
    body_regex: Option<Regex>,
    body_limit: u64,
    decompress: bool,
}

/// A response that was received wholly.
pub(in crate::probe) struct Received {
    pub(in crate::probe) status: StatusCode,
    pub(in crate::probe) headers: HeaderMap,
    body: Vec<u8>,
}

impl Reading {
    /// As `module` states.
    pub(in crate::probe) fn new(module: &HttpModule) -> Self {
        Self {
            body_regex: module.body_regex.clone(),
            body_limit: module.body_limit,
            decompress: module.decompress,
        }
    }

    /// Asks `request` on `line`, and fills `facts.http` as far as the response came.
    pub(in crate::probe) async fn receive(
        &self,
        journal: &mut Journal,
        line: &mut Line,
        request: &Prepared,
    ) -> Result<Received, Failure> {
        let asking = async {
            let answer = line.ask(request).await?;
            let took = answer.first.saturating_duration_since(answer.asked);
            Ok((answer, took))
        };
        let answer = journal.measured(Phase::Processing, asking).await?;
        let (parts, mut reply) = answer.response.into_parts();
        let keep = self.body_regex.is_some();
        let mut sink = Sink::new(&parts.headers, self.decompress, self.body_limit, keep);
        let reading = async {
            let read = line.read(&mut reply, &mut sink).await?;
            Ok((read, read.last.saturating_duration_since(answer.first)))
        };
        let read = journal.measured(Phase::Transfer, reading).await;
        let facts = journal.facts.http.insert(HttpFacts {
            status: parts.status.as_u16(),
            version: version_name(parts.version),
            redirects: 0,
            content_length: content_length(&parts.headers),
            body_bytes: sink.received(),
            decompressed_bytes: None,
            trailers: 0,
        });
        let read = read?;
        let taken = sink.finish().map_err(|fault| fault.during(Phase::Transfer))?;
        facts.decompressed_bytes = taken.decompressed;
        facts.trailers = read.trailers;
        journal.ended_at(read.last);
        Ok(Received { status: parts.status, headers: parts.headers, body: taken.kept })
    }

    /// Whether the body of `received` is the stated one.
    pub(in crate::probe) fn check(&self, received: &Received) -> Result<(), Failure> {
        let body = &received.body;
        match &self.body_regex {
            Some(regex) if !regex.is_match(body) => {
                let detail = format!("the body of {} bytes does not match `{regex}`", body.len());
                Err(Fault::new(Reason::BodyMismatch, detail).during(Phase::Transfer))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Content-Length, where it is one number.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

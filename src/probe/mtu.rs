//! `mtu`: a body that fits into one segment is echoed, one of several segments may stall.
//!
//! A path whose MTU is smaller than its ends believe, and that does not say so (RFC 2923), lets
//! handshakes and small requests pass and swallows full segments. Each body gets a connection of
//! its own, to the same address, so that neither is blamed for the other's; both have to come
//! back as they were sent.
//!
//! The small one is timed as `http` does it and has at most half of the attempt's time. The large
//! one gets the rest: sent to echoed it is all in `transfer`, and a timeout there, and only there,
//! makes the MTU suspect. The responder sends the head of an echo as soon as it has the whole
//! body, in a segment of its own: without a head, the way there is the broken one.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::outcome::{HttpFacts, MtuFacts, Outcome, TcpFacts};
use crate::probe::http::{Dialer, Line, Prepared, Question, Sink, version_name};
use crate::probe::journal::Journal;
use crate::probe::{Environment, PrepareError};
use crate::spec::{HttpUrl, HttpVersion, MtuModule, ProbeSpec, Timeouts};

/// A prepared `mtu` probe.
#[derive(Debug)]
pub struct MtuProbe {
    small: Prepared,
    large: Prepared,
    dialer: Dialer,
    timeouts: Timeouts,
}

impl MtuProbe {
    pub(super) fn new(
        module: &MtuModule,
        url: &HttpUrl,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Result<Self, PrepareError> {
        let https = url.is_https();
        let prepared = |bytes| Prepared::new(question(bytes), url.clone(), true);
        Ok(Self {
            small: prepared(module.small),
            large: prepared(module.large),
            dialer: Dialer::new(environment, module.ip, HttpVersion::Http1, https, &module.tls)?,
            timeouts: spec.timeouts,
        })
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let mut facts = MtuFacts {
            small_bytes: body(&self.small).len() as u64,
            large_bytes: body(&self.large).len() as u64,
            small_passed: false,
            large_received: 0,
        };
        let result = self.both(&mut journal, &mut facts).await;
        journal.facts.mtu = Some(facts);
        // The journal may yet say that a timeout was this machine's own doing.
        let mut outcome = journal.finish(result);
        let stalled = |failure: &Failure| {
            facts.small_passed
                && failure.phase == Phase::Transfer
                && failure.reason == Reason::Timeout
        };
        outcome.facts.mtu_suspect = outcome.failure.as_ref().is_some_and(stalled);
        outcome
    }

    async fn both(&self, journal: &mut Journal, facts: &mut MtuFacts) -> Result<(), Failure> {
        journal.limit(Some(self.timeouts.total / 2));
        let mut line = self.dialer.dial(journal, &self.small.url).await?;
        let result = self.echo_small(journal, &mut line).await;
        line.note(journal);
        result?;
        line.close().await;
        facts.small_passed = true;
        journal.limit(None);
        journal.facts.http = None;
        let address = journal.facts.remote_address.expect("the small body went somewhere");
        let mut line = self.dialer.dial_at(journal, &self.large.url, address).await?;
        let result = self.echo_large(journal, &mut line, facts).await;
        line.note(journal);
        result.map_err(|failure| explained(failure, journal, facts))?;
        line.close().await;
        Ok(())
    }

    /// The small body there and back, in the phases `processing` and `transfer`.
    async fn echo_small(&self, journal: &mut Journal, line: &mut Line) -> Result<(), Failure> {
        let asking = async {
            let answer = line.ask(&self.small).await?;
            let took = answer.first.saturating_duration_since(answer.asked);
            Ok((answer, took))
        };
        let answer = journal.measured(Phase::Processing, asking).await?;
        let (parts, mut reply) = answer.response.into_parts();
        journal.facts.http = Some(http_facts(&parts));
        accept(&parts).map_err(|fault| fault.during(Phase::Processing))?;
        let mut echo = Echo::of(&self.small);
        let reading = async {
            let mut take = |chunk: &[u8]| echo.take(chunk);
            let read = line.read(&mut reply, &mut Sink::passing(u64::MAX, &mut take)).await?;
            echo.finish()?;
            Ok(((), read.last.saturating_duration_since(answer.first)))
        };
        let result = journal.measured(Phase::Transfer, reading).await;
        note_body(journal, &echo);
        result
    }

    /// The large body there and back, all of it in `transfer`.
    async fn echo_large(
        &self,
        journal: &mut Journal,
        line: &mut Line,
        facts: &mut MtuFacts,
    ) -> Result<(), Failure> {
        let mut echo = Echo::of(&self.large);
        let mut http = None;
        let exchange = async {
            let answer = line.ask(&self.large).await?;
            let (parts, mut reply) = answer.response.into_parts();
            http = Some(http_facts(&parts));
            accept(&parts)?;
            let mut take = |chunk: &[u8]| echo.take(chunk);
            let read = line.read(&mut reply, &mut Sink::passing(u64::MAX, &mut take)).await?;
            echo.finish()?;
            Ok((read.last, read.last.saturating_duration_since(answer.asked)))
        };
        let result = journal.measured(Phase::Transfer, exchange).await;
        journal.facts.http = http;
        note_body(journal, &echo);
        facts.large_received = echo.came as u64;
        let last = result.map_err(|mut failure| {
            if failure.reason == Reason::Status {
                failure.phase = Phase::Processing;
            }
            failure
        })?;
        journal.ended_at(last);
        Ok(())
    }
}

/// Holds an echo against what was sent, as it comes.
struct Echo<'a> {
    sent: &'a [u8],
    came: usize,
}

impl<'a> Echo<'a> {
    fn of(prepared: &'a Prepared) -> Self {
        Self { sent: body(prepared), came: 0 }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let rest = &self.sent[self.came..];
        let same = chunk.iter().zip(rest).take_while(|(came, sent)| came == sent).count();
        self.came += same;
        if same == chunk.len() {
            return Ok(());
        }
        let (at, all) = (self.came, self.sent.len());
        let detail = if at == all {
            format!("more came back than the {all} bytes that were sent")
        } else {
            format!("byte {at} of {all} came back as another one")
        };
        Err(Fault::new(Reason::BodyMismatch, detail))
    }

    fn finish(&self) -> Result<(), Fault> {
        if self.came == self.sent.len() {
            return Ok(());
        }
        let detail = format!("only {} of {} bytes came back", self.came, self.sent.len());
        Err(Fault::new(Reason::BodyMismatch, detail))
    }
}

fn question(bytes: u32) -> Question {
    let mut question = Question::get();
    question.method = Method::POST;
    let binary = HeaderValue::from_static("application/octet-stream");
    question.headers.insert(CONTENT_TYPE, binary);
    question.body = Some(noise(bytes));
    question
}

/// Bytes that nothing on the way makes shorter (xorshift), the same at each start.
fn noise(bytes: u32) -> Bytes {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..bytes).map(next).collect()
}

fn body(prepared: &Prepared) -> &[u8] {
    prepared.question.body.as_deref().unwrap_or_default()
}

fn http_facts(parts: &Parts) -> HttpFacts {
    HttpFacts {
        status: parts.status.as_u16(),
        version: version_name(parts.version),
        ..HttpFacts::default()
    }
}

fn note_body(journal: &mut Journal, echo: &Echo<'_>) {
    if let Some(http) = &mut journal.facts.http {
        http.body_bytes = echo.came as u64;
    }
}

/// Whether this is the head of an echo.
fn accept(parts: &Parts) -> Result<(), Fault> {
    if parts.status == StatusCode::OK {
        return Ok(());
    }
    let detail = format!("status {}, expected 200 with an echo", parts.status.as_u16());
    Err(Fault::new(Reason::Status, detail))
}

/// Says of a stall of the large body how far it came.
fn explained(mut failure: Failure, journal: &Journal, facts: &MtuFacts) -> Failure {
    if failure.reason != Reason::Timeout || failure.phase != Phase::Transfer {
        return failure;
    }
    let MtuFacts { small_bytes, large_bytes, large_received, .. } = facts;
    let resent = journal.facts.tcp.as_ref().map(|TcpFacts { retransmits, .. }| *retransmits);
    let stall = match (&journal.facts.http, resent) {
        (Some(_), _) => format!("arrived, and {large_received} of them came back"),
        (None, Some(1..)) => "got no answer, and segments had to be sent again".to_owned(),
        (None, Some(0) | None) => "got no answer".to_owned(),
    };
    failure.detail =
        format!("{small_bytes} bytes passed, {large_bytes} bytes {stall}: {}", failure.detail);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_the_same_bytes_and_no_other() {
        let all = noise(64);
        let came = |chunks: &[&[u8]]| {
            let mut echo = Echo { sent: &all, came: 0 };
            let taken = chunks.iter().try_for_each(|chunk| echo.take(chunk));
            (taken.and_then(|()| echo.finish()).map_err(|fault| fault.detail), echo.came)
        };
        assert_eq!(came(&[&all]), (Ok(()), 64));
        assert_eq!(came(&[&all[..1], &[], &all[1..]]), (Ok(()), 64));
        assert_eq!(came(&[&all[..63]]), (Err("only 63 of 64 bytes came back".to_owned()), 63));
        let more = "more came back than the 64 bytes that were sent".to_owned();
        assert_eq!(came(&[&all, b"x"]), (Err(more), 64));
        let mut other = all.to_vec();
        other[40] ^= 1;
        let another = "byte 40 of 64 came back as another one".to_owned();
        assert_eq!(came(&[&other]), (Err(another), 40));
    }
}

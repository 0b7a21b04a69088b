//! `http`: one request, and one complete response of whatever status.
//!
//! `processing` is from the request's first byte given to the kernel to the kernel's receipt of
//! the read that began the response (a 1xx response counts; TLS tickets and HTTP/2 settings do
//! not); `transfer` from there to the last byte. Whether a status is a good one is not known
//! here. No environment variable is read, so no proxy stands between.

mod body;
mod connection;
mod exchange;
mod fault;
mod frames;
mod reading;
mod redirect;
mod request;
mod wire;

use std::sync::{Mutex, MutexGuard};

use http::Version;

pub(super) use body::{Sink, Taker};
pub(super) use connection::{Dialer, Line, Tally};
pub(super) use exchange::Http2;
pub(super) use fault::untransported;
pub(super) use reading::{Reading, Received};
pub(super) use request::{Prepared, Question};
pub(super) use wire::{Watch, Wire};

use crate::failure::{Failure, Fault, Phase};
use crate::outcome::Outcome;
use crate::probe::journal::Journal;
use crate::probe::{Environment, PrepareError};
use crate::spec::{HttpModule, HttpUrl, ProbeSpec, Timeouts, TlsSettings};

/// A prepared `http` probe, with the connection that it keeps if it is to.
#[derive(Debug)]
pub struct HttpProbe {
    first: Prepared,
    reading: Reading,
    redirects: u8,
    keepalive: bool,
    kept: Mutex<Option<Line>>,
    dialer: Dialer,
    /// For origins that a redirect led to: a stated server name is not theirs.
    elsewhere: Option<Dialer>,
    timeouts: Timeouts,
}

impl HttpProbe {
    pub(super) fn new(
        module: &HttpModule,
        url: &HttpUrl,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Result<Self, PrepareError> {
        let dialer = |https: bool, tls: &TlsSettings| {
            Dialer::new(environment, module.ip, module.version, https, tls)
        };
        let follows = module.redirects > 0;
        let elsewhere = if follows && module.tls.server_name.is_some() {
            let tls = TlsSettings { server_name: None, ..module.tls.clone() };
            Some(dialer(true, &tls)?)
        } else {
            None
        };
        Ok(Self {
            first: Prepared::new(Question::new(module), url.clone(), !module.keepalive),
            reading: Reading::new(module),
            redirects: module.redirects,
            keepalive: module.keepalive,
            kept: Mutex::new(None),
            dialer: dialer(follows || url.is_https(), &module.tls)?,
            elsewhere,
            timeouts: spec.timeouts,
        })
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let mut spent = Vec::new();
        let result = self.follow(&mut journal, &mut spent).await;
        for line in spent {
            line.close().await;
        }
        journal.finish(result)
    }

    /// Asks, and follows where the responses lead; what was asked on is left in `spent`.
    async fn follow(&self, journal: &mut Journal, spent: &mut Vec<Line>) -> Result<(), Failure> {
        let mut line = self.line(journal).await?;
        let result = self.exchange(journal, &mut line, &self.first).await;
        let mut received = self.part(line, spent, result).await?;
        let mut hop = self.next(&received, &self.first);
        let mut redirects = 0;
        while let Some(next) = hop {
            let next = next.map_err(|fault| fault.during(Phase::Processing))?;
            if redirects == self.redirects {
                let fault = redirect::too_many(received.status, self.redirects, &next.url);
                return Err(fault.during(Phase::Processing));
            }
            redirects += 1;
            let mut line = self.dialer(&next.url).dial(journal, &next.url).await?;
            let result = self.exchange(journal, &mut line, &next).await;
            if let Some(facts) = &mut journal.facts.http {
                facts.redirects = redirects.into();
            }
            spent.push(line);
            received = result?;
            hop = self.next(&received, &next);
        }
        self.reading.check(&received)
    }

    fn dialer(&self, url: &HttpUrl) -> &Dialer {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.filter(|_| !redirect::same_origin(url, &self.first.url)).unwrap_or(&self.dialer)
    }

    /// The kept connection if it still lives, or a fresh one.
    async fn line(&self, journal: &mut Journal) -> Result<Line, Failure> {
        if self.keepalive {
            let kept = self.kept().take();
            if let Some(mut line) = kept
                && line.resume(journal).await
            {
                journal.facts.warm = Some(true);
                return Ok(line);
            }
            journal.facts.warm = Some(false);
        }
        self.dialer.dial(journal, &self.first.url).await
    }

    /// Keeps a connection for the next attempt if that is wanted and possible.
    async fn part<T>(
        &self,
        mut line: Line,
        spent: &mut Vec<Line>,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let received = result?;
        if self.keepalive && line.is_ready().await {
            self.kept().get_or_insert(line);
        } else {
            spent.push(line);
        }
        Ok(received)
    }

    /// One request and its whole response, in the phases `processing` and `transfer`.
    async fn exchange(
        &self,
        journal: &mut Journal,
        line: &mut Line,
        request: &Prepared,
    ) -> Result<Received, Failure> {
        let result = self.reading.receive(journal, line, request).await;
        line.note(journal);
        result
    }

    /// What to ask next, if the response to `asked` redirects and redirects are followed.
    fn next(&self, received: &Received, asked: &Prepared) -> Option<Result<Prepared, Fault>> {
        if self.redirects == 0 {
            return None;
        }
        let Received { status, headers, .. } = received;
        let target = redirect::target(*status, headers, &asked.url)?;
        Some(target.map(|url| {
            let question = redirect::carry_on(&asked.question, *status, &asked.url, &url);
            Prepared::new(question, url, true)
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Option<Line>> {
        self.kept.lock().expect("no panic while it is held")
    }
}

/// The version in its RFC spelling.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        // `http` names no version beyond these.
        _ => "HTTP/1.1",
    }
}

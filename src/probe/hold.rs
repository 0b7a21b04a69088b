//! `hold`: one HTTP/1.1 connection that has to stay alive under a heartbeat.
//!
//! `processing` is the first heartbeat, from request to first byte; `transfer` is the rest of the
//! connection's life, in which every end is a failure: reset, closed, or stalled, which is a
//! `timeout`. An end between two heartbeats is noticed when it happens.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::outcome::{HoldFacts, HttpFacts, Outcome};
use crate::probe::http::{Dialer, Line, Prepared, Question, Sink, version_name};
use crate::probe::journal::{Journal, bounded};
use crate::probe::{Environment, PrepareError};
use crate::spec::{HoldModule, HttpUrl, HttpVersion, ProbeSpec, Timeouts};

/// A heartbeat with a longer body is a failure.
const BODY_LIMIT: u64 = 1024 * 1024;

/// A prepared `hold` probe.
#[derive(Debug)]
pub struct HoldProbe {
    request: Prepared,
    dialer: Dialer,
    heartbeat: Duration,
    hold: Duration,
    /// Of one heartbeat.
    patience: Duration,
    timeouts: Timeouts,
}

/// One answered heartbeat.
struct Beat {
    /// From the request to its first byte.
    processing: Duration,
    /// When the first byte of the reply reached this machine.
    first: Instant,
    /// From the request to its last byte.
    whole: Duration,
    http: HttpFacts,
}

impl HoldProbe {
    pub(super) fn new(
        module: &HoldModule,
        url: &HttpUrl,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Result<Self, PrepareError> {
        let https = url.is_https();
        let dialer = Dialer::new(environment, module.ip, HttpVersion::Http1, https, &module.tls)?;
        let patience = spec.timeouts.of(Phase::Processing);
        Ok(Self {
            request: Prepared::new(Question::get(), url.clone(), false),
            dialer,
            heartbeat: module.heartbeat,
            hold: module.hold,
            patience: patience.unwrap_or(spec.timeouts.total),
            timeouts: budget(spec.timeouts, module.hold),
        })
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let result = self.live(&mut journal).await;
        journal.finish(result)
    }

    async fn live(&self, journal: &mut Journal) -> Result<(), Failure> {
        let mut line = self.dialer.dial(journal, &self.request.url).await?;
        let established = Instant::now();
        let result = self.first_beat(journal, &mut line).await;
        let result = match result {
            Ok(beat) => {
                let mut life = Life::new(established, beat);
                let lasting = self.beat_on(&mut line, &mut life);
                let result = journal.phase(Phase::Transfer, lasting).await;
                journal.set_phase(Phase::Transfer, life.first.elapsed());
                journal.facts.http = Some(life.http);
                journal.facts.hold = Some(HoldFacts {
                    held: established.elapsed(),
                    heartbeats: life.heartbeats,
                    slowest_heartbeat: life.slowest,
                });
                result
            }
            Err(failure) => Err(failure),
        };
        line.note(journal);
        result
    }

    /// The heartbeat that proves the connection: it is all of `processing`.
    async fn first_beat(&self, journal: &mut Journal, line: &mut Line) -> Result<Beat, Failure> {
        let beat = async {
            let beat = self.beat(line).await?;
            let took = beat.processing;
            Ok((beat, took))
        };
        journal.measured(Phase::Processing, beat).await
    }

    /// Heartbeats until the connection is old enough, or ends.
    async fn beat_on(&self, line: &mut Line, life: &mut Life) -> Result<(), Fault> {
        let end = life.established + self.hold;
        let mut next = life.established + self.heartbeat;
        loop {
            match timeout_at(next.min(end), line.ended()).await {
                Ok(fault) => return Err(fault),
                Err(_) if next >= end => return Ok(()),
                Err(_) => {}
            }
            let began = Instant::now();
            let deadline = began + self.patience;
            let beat = bounded(deadline, began, self.beat(line)).await;
            life.answered(beat.map_err(|fault| self.stalled(fault, life))?);
            // A slow answer delays the beats after it, which are not made up for.
            next = (next + self.heartbeat).max(Instant::now());
        }
    }

    /// Says of a timeout which heartbeat it was.
    fn stalled(&self, mut fault: Fault, life: &Life) -> Fault {
        if fault.reason == Reason::Timeout {
            let (beat, patience) = (life.heartbeats + 1, self.patience);
            fault.detail = format!("stalled: heartbeat {beat} unanswered for {patience:.1?}");
        }
        fault
    }

    async fn beat(&self, line: &mut Line) -> Result<Beat, Fault> {
        let answer = line.ask(&self.request).await?;
        let (parts, mut reply) = answer.response.into_parts();
        let mut sink = Sink::new(&parts.headers, false, BODY_LIMIT, false);
        let read = line.read(&mut reply, &mut sink).await?;
        Ok(Beat {
            processing: answer.first.saturating_duration_since(answer.asked),
            first: answer.first,
            whole: read.last.saturating_duration_since(answer.asked),
            http: HttpFacts {
                status: parts.status.as_u16(),
                version: version_name(parts.version),
                body_bytes: sink.received(),
                trailers: read.trailers,
                ..HttpFacts::default()
            },
        })
    }
}

/// What became of a connection so far.
struct Life {
    established: Instant,
    first: Instant,
    heartbeats: u64,
    slowest: Duration,
    http: HttpFacts,
}

impl Life {
    fn new(established: Instant, first: Beat) -> Self {
        Self {
            established,
            first: first.first,
            heartbeats: 1,
            slowest: first.whole,
            http: first.http,
        }
    }

    fn answered(&mut self, beat: Beat) {
        self.heartbeats += 1;
        self.slowest = self.slowest.max(beat.whole);
        self.http = beat.http;
    }
}

/// The deadlines of a whole attempt: `stated` is about everything but the holding.
fn budget(stated: Timeouts, hold: Duration) -> Timeouts {
    let mut timeouts = Timeouts { total: stated.total + hold, ..stated };
    for phase in [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Processing] {
        timeouts.phases[phase as usize].get_or_insert(stated.total);
    }
    timeouts.phases[Phase::Transfer as usize] = None;
    timeouts
}

//! The record of one attempt while it runs: phases are bounded and timed here and nowhere else.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::Stamps;
use crate::outcome::{Facts, Outcome, Phases};
use crate::spec::Timeouts;

/// A deadline noticed this much too late says that our own machine was starved, not that the
/// network was slow.
const LATE_DEADLINE: Duration = Duration::from_millis(100);

/// Collects phases and facts of one attempt, and keeps its deadlines.
#[derive(Debug)]
pub struct Journal {
    /// What was seen so far.
    pub facts: Facts,
    started_at: SystemTime,
    started: Instant,
    ended: Option<Instant>,
    timeouts: Timeouts,
    limit: Option<Instant>,
    phases: Phases,
    reply_bytes: u64,
    /// Time that passed on this machine after the network had done its part.
    own_delay: Duration,
}

impl Journal {
    /// Starts the attempt's clock.
    pub fn start(timeouts: Timeouts) -> Self {
        Self {
            facts: Facts::default(),
            started_at: SystemTime::now(),
            started: Instant::now(),
            ended: None,
            timeouts,
            limit: None,
            phases: Phases::default(),
            reply_bytes: 0,
            own_delay: Duration::ZERO,
        }
    }

    /// When the whole attempt has to be over.
    pub fn deadline(&self) -> Instant {
        self.started + self.timeouts.total
    }

    /// When `phase` has to be over if it starts now.
    pub fn phase_deadline(&self, phase: Phase) -> Instant {
        let own = self.timeouts.of(phase).map(|timeout| Instant::now() + timeout);
        let whole = self.limit.map_or(self.deadline(), |limit| limit.min(self.deadline()));
        own.map_or(whole, |own| own.min(whole))
    }

    /// From now on every phase has to be over when the attempt is as old as `age`, so that what
    /// comes after finds time; `None` leaves them the whole attempt again.
    pub fn limit(&mut self, age: Option<Duration>) {
        self.limit = age.map(|age| self.started + age);
    }

    /// Runs `work` as `phase`: timed, and ended at the phase's deadline.
    ///
    /// The time is recorded also when the phase fails; repeated phases add up.
    pub async fn phase<T>(
        &mut self,
        phase: Phase,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let result = bounded(self.phase_deadline(phase), began, work).await;
        self.phases.add(phase, began.elapsed());
        result.map_err(|fault| fault.during(phase))
    }

    /// Runs `work` as `phase`, which measures itself: a success comes with the time it took.
    ///
    /// A failure took the time until now; repeated phases add up.
    pub async fn measured<T>(
        &mut self,
        phase: Phase,
        work: impl Future<Output = Result<(T, Duration), Fault>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        match bounded(self.phase_deadline(phase), began, work).await {
            Ok((value, took)) => {
                self.phases.add(phase, took);
                Ok(value)
            }
            Err(fault) => {
                self.phases.add(phase, began.elapsed());
                Err(fault.during(phase))
            }
        }
    }

    /// This machine came `delay` late to look at what had happened: a timeout of what follows may
    /// be its doing.
    pub fn note_own_delay(&mut self, delay: Duration) {
        self.own_delay += delay;
    }

    /// How long `phase` took so far, if it ran.
    pub fn took(&self, phase: Phase) -> Option<Duration> {
        self.phases.of(phase)
    }

    /// Replaces the time of `phase` by a better one, e.g. one from kernel timestamps.
    pub fn set_phase(&mut self, phase: Phase, duration: Duration) {
        self.phases.set(phase, duration);
    }

    /// The attempt ended at `instant`, seen later; without it, it ends at [`Self::finish`].
    pub fn ended_at(&mut self, instant: Instant) {
        self.ended = Some(instant);
    }

    /// Takes from a connection what must be read before it closes: counters and `TCP_INFO`.
    pub fn note_connection(&mut self, stamps: &Stamps) {
        self.reply_bytes = stamps.received();
        self.facts.local_address = stamps.local_addr();
        if let Some(facts) = stamps.tcp_facts() {
            self.facts.tcp = Some(facts);
        }
    }

    /// Bytes of a reply that came without a connection (datagrams).
    pub fn note_reply_bytes(&mut self, bytes: u64) {
        self.reply_bytes += bytes;
    }

    /// Ends the attempt.
    pub fn finish(self, result: Result<(), Failure>) -> Outcome {
        let result = result.map_err(|failure| self.blamed(failure));
        let ended = match (&result, self.ended) {
            (Ok(()), Some(ended)) => ended,
            (Ok(()), None) | (Err(_), _) => Instant::now(),
        };
        Outcome {
            started_at: self.started_at,
            duration: ended.saturating_duration_since(self.started),
            phases: self.phases,
            failure: result.err(),
            reply_bytes: self.reply_bytes,
            facts: self.facts,
        }
    }

    /// A timeout is our own fault when this machine ate the time that the peer should have had.
    fn blamed(&self, failure: Failure) -> Failure {
        if failure.reason != Reason::Timeout || self.own_delay <= LATE_DEADLINE {
            return failure;
        }
        let (delay, told) = (self.own_delay, failure.detail);
        let detail = format!("{told}, of which this machine was busy for {delay:.1?}");
        Fault::new(Reason::ScheduleLag, detail).during(failure.phase)
    }
}

/// Runs `work` until `deadline`; a deadline that we noticed far too late is our own fault.
pub async fn bounded<T>(
    deadline: Instant,
    began: Instant,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match timeout_at(deadline, work).await {
        Ok(result) => result,
        Err(_) => {
            let late = deadline.elapsed();
            if late > LATE_DEADLINE {
                let detail = format!("deadline noticed {late:.1?} late: this machine was busy");
                return Err(Fault::new(Reason::ScheduleLag, detail));
            }
            let allowed = deadline.saturating_duration_since(began);
            Err(Fault::new(Reason::Timeout, format!("nothing within {allowed:.1?}")))
        }
    }
}

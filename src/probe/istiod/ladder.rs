//! The record of the rungs of one attempt.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, Fault, Phase};
use crate::net::{Stamps, Stream};
use crate::outcome::{IstiodFacts, Rung, RungFacts};
use crate::probe::journal::Journal;

/// The rungs so far.
pub(super) struct Ladder {
    pub(super) facts: IstiodFacts,
}

impl Ladder {
    /// A ladder of which the rungs `due` are to be tried.
    pub(super) fn of(due: Vec<Rung>) -> Self {
        Self { facts: IstiodFacts { due, ..IstiodFacts::default() } }
    }

    /// Notes the rungs `resolve` and `tcp` from what the journal has of their phases.
    pub(super) fn opened(&mut self, journal: &Journal, opened: &Result<Stream, Failure>) {
        let broken = opened.as_ref().err();
        for (rung, phase) in [(Rung::Resolve, Phase::Resolve), (Rung::Tcp, Phase::Connect)] {
            let failure = broken.filter(|failure| failure.phase == phase);
            if let Some(took) = journal.took(phase) {
                self.push(rung, took, failure.cloned());
            }
        }
        // A reset that connect(2) saw of a connection which stood already.
        if let Some(failure) = broken.filter(|failure| failure.phase == Phase::Tls) {
            self.push(Rung::Tls, Duration::ZERO, Some(failure.clone()));
        }
    }

    /// Notes `rung`, of which the journal knows how long it `took`.
    pub(super) fn note<T>(
        &mut self,
        rung: Rung,
        took: Option<Duration>,
        result: &Result<T, Failure>,
    ) {
        self.push(rung, took.unwrap_or_default(), result.as_ref().err().cloned());
    }

    /// Runs `work` as `rung`, part of the phase `processing`.
    ///
    /// Its time is from the first byte sent to the last one received, where both moved.
    pub(super) async fn rung<T>(
        &mut self,
        journal: &mut Journal,
        stamps: &Stamps,
        rung: Rung,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Failure> {
        stamps.mark();
        let began = Instant::now();
        let measured = async {
            let value = work.await?;
            let ended = stamps.first_read().and(stamps.last_read()).unwrap_or_else(Instant::now);
            let asked = stamps.first_write().unwrap_or(began);
            let took = ended.saturating_duration_since(asked);
            Ok(((value, took), took))
        };
        let result = journal.measured(Phase::Processing, measured).await;
        let took = result.as_ref().map_or_else(|_| began.elapsed(), |(_, took)| *took);
        self.push(rung, took, result.as_ref().err().cloned());
        result.map(|(value, _)| value)
    }

    fn push(&mut self, rung: Rung, duration: Duration, failure: Option<Failure>) {
        self.facts.rungs.push(RungFacts { rung, duration, failure });
    }
}

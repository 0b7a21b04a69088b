//! Questions to a Prometheus, a few at a time, and what it warned of meanwhile.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use crate::promql::{Prometheus, Sample, Track, Unanswered};
use crate::report::span::Piece;

/// Questions that are under way at once.
const AT_ONCE: usize = 4;

/// Asks one Prometheus.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    prometheus: &'a Prometheus,
    slots: Semaphore,
    told: Mutex<Told>,
}

/// What made answers less than whole.
#[derive(Debug, Default)]
struct Told {
    warnings: BTreeSet<String>,
    failures: BTreeSet<String>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(prometheus: &'a Prometheus) -> Self {
        Self { prometheus, slots: Semaphore::new(AT_ONCE), told: Mutex::default() }
    }

    /// What `expression` is at `at`; empty, and noted, when there is no answer.
    pub(super) async fn instant(&self, expression: &str, at: OffsetDateTime) -> Vec<Sample> {
        let _slot = self.slots.acquire().await.expect("never closed");
        let answer = self.prometheus.instant(expression, at).await;
        self.heard(answer.map(|answer| (answer.samples, answer.warnings)))
    }

    /// What `expression` is over `pieces`, made for how long the steps of each are.
    pub(super) async fn pieces(
        &self,
        pieces: &[Piece],
        expression: impl Fn(Duration) -> String,
    ) -> Vec<(Piece, Vec<Track>)> {
        let expression = &expression;
        join_all(pieces.iter().map(|piece| async move {
            let text = expression(piece.range.step);
            let _slot = self.slots.acquire().await.expect("never closed");
            let answer = self.prometheus.range(&text, piece.range).await;
            (*piece, self.heard(answer.map(|answer| (answer.tracks, answer.warnings))))
        }))
        .await
    }

    fn heard<T>(&self, answer: Result<(Vec<T>, Vec<String>), Unanswered>) -> Vec<T> {
        let mut told = self.told.lock().expect("no panic while held");
        match answer {
            Ok((series, warnings)) => {
                told.warnings.extend(warnings);
                series
            }
            Err(problem) => {
                told.failures.insert(problem.to_string());
                Vec::new()
            }
        }
    }

    /// What was wrong since this was asked last, in sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.told.lock().expect("no panic while held"));
        let warned = told
            .warnings
            .iter()
            .map(|warning| format!("Prometheus warns that this may not be all: {warning}"));
        let failed = told.failures.iter().map(|problem| {
            format!("A part is missing, which Prometheus did not answer: {problem}")
        });
        warned.chain(failed).collect()
    }
}

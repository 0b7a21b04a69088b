//! One attempt from slot to verdict: executed, cut short or spoiled, controlled, judged.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::expectation::Expectation;
use crate::failure::{Blame, Failure, Fault, Reason};
use crate::outcome::Outcome;
use crate::plan::Target;
use crate::probe::Probe;
use crate::runner::stalls::{Stalls, spoil_timeout};

/// An attempt, and that of its control where one was asked.
pub(super) struct Made {
    pub(super) attempt: Attempt,
    /// An attempt of the control's own: what it found stands for a slot of its own.
    pub(super) control: Option<Attempt>,
}

/// Executes `target` once. `lag` is how long after its slot it starts, which may be a stall, as
/// `stalls` tells. Ends as `cancelled` when `stop` comes first.
pub(super) async fn attempt(
    target: &Target,
    lag: Duration,
    stalls: &Stalls,
    stop: &CancellationToken,
) -> Made {
    stalls.note(lag);
    let began = Instant::now();
    let mut outcome = run(&target.probe, stalls, stop).await;
    stalls.spoil_late(&mut outcome, lag);
    let control = match &target.control {
        Some(control) if needs_control(&target.spec.probe.expect, &outcome) => {
            Some((control, controlled(control, lag, stalls, stop).await))
        }
        _ => None,
    };
    let settle = |target: &Target, attempt: Attempt| {
        if target.settles_after(began) { attempt.unsettled() } else { attempt }
    };
    let (control, own) =
        control.map(|(control, seen)| (seen.held, settle(control, seen.attempt))).unzip();
    let attempt = target.judged(outcome, control.as_ref(), lag);
    // One that was cut short with its denial is none of the control's own.
    let cut = |own: &Attempt| {
        own.failure.as_ref().is_some_and(|failure| failure.reason == Reason::Cancelled)
    };
    Made { attempt: settle(target, attempt), control: own.filter(|own| !cut(own)) }
}

/// Silence where a denial is stated says something only beside a control, whatever the silence
/// looks like: the control is asked right after, from here.
fn needs_control(expect: &Expectation, outcome: &Outcome) -> bool {
    let failed = |failure: &Failure| failure.reason.blame() == Blame::Network;
    *expect == Expectation::Denied
        && outcome.answer_bytes() == 0
        && outcome.failure.as_ref().is_some_and(failed)
}

/// What a control gave.
struct Seen {
    /// Held against its own expectation: a gateway's 503 is no sign of life.
    held: Outcome,
    attempt: Attempt,
}

/// Asks `control`, on behalf of an attempt that started `lag` after its slot.
async fn controlled(
    control: &Target,
    lag: Duration,
    stalls: &Stalls,
    stop: &CancellationToken,
) -> Seen {
    control.control_begins();
    let outcome = run(&control.probe, stalls, stop).await;
    let attempt = control.judged(outcome.clone(), None, lag);
    let held = Outcome { failure: attempt.failure.clone(), ..outcome };
    Seen { held, attempt }
}

async fn run(probe: &Probe, stalls: &Stalls, stop: &CancellationToken) -> Outcome {
    let (started_at, started) = (SystemTime::now(), Instant::now());
    let spoiled = |reason, detail: String| {
        Outcome::spoiled(started_at, started.elapsed(), Fault::new(reason, detail))
    };
    let before = stalls.lost();
    let mut outcome = tokio::select! {
        biased;
        outcome = unpanicked(probe.attempt()) => match outcome {
            Ok(outcome) => outcome,
            Err(Panicked) => {
                spoiled(Reason::Unclassified, "the probe panicked: see the log".to_owned())
            }
        },
        () = stop.cancelled() => {
            spoiled(Reason::Cancelled, "the target was removed or the prober stopped".to_owned())
        }
    };
    spoil_timeout(&mut outcome, started.elapsed(), stalls.lost() - before);
    outcome
}

/// The attempt panicked; the panic hook has told the log.
struct Panicked;

/// A panicking probe is a bug of ours: it must not take the agent with it.
async fn unpanicked<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_stays_within_its_attempt() {
        assert!(unpanicked(async { panic!("on purpose") }).await.is_err());
        assert!(unpanicked(async { 1 }).await.is_ok_and(|one| one == 1));
    }
}

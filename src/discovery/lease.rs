//! Who of several controllers writes Events: a Lease (`coordination.k8s.io/v1`).
//!
//! Nothing else hangs on it: every replica watches, plans and serves. No clock of another machine
//! is believed: a holder is given up when its Lease did not change for the whole duration by our
//! own clock, and a holder that cannot renew steps down before anybody else may take over.

mod step;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::discovery::access::Client;
use crate::discovery::fault::ApiFault;
use crate::discovery::pace::random;
use step::{Observed, Step};

/// How long a Lease that nobody renews still holds.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long steps down.
const STEP_DOWN: Duration = Duration::from_secs(10);
/// Between two tries, plus up to a fifth.
const RETRY: Duration = Duration::from_secs(2);
/// One request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is run for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// This candidate: no other one may have the same; a pod's name will do.
    pub identity: String,
}

/// A candidate at work.
#[derive(Debug)]
pub struct Candidate {
    /// Whether it holds the Lease. It turns false 10 s after the last renewal at the latest; the
    /// Lease is anybody's after 15 s.
    pub leads: watch::Receiver<bool>,
    /// Ends after the token was cancelled and the Lease, if held, was given back.
    pub task: JoinHandle<()>,
}

/// Runs for the Lease on the current tokio runtime, until `stop` is cancelled.
pub fn campaign(client: &Client, election: Election, stop: CancellationToken) -> Candidate {
    let (sender, leads) = watch::channel(false);
    let api = Api::namespaced(client.0.clone(), &election.namespace);
    let run = Run { api, election, sender, observed: Observed::default(), renewed: None };
    Candidate { leads, task: tokio::spawn(run.run(stop)) }
}

struct Run {
    api: Api<Lease>,
    election: Election,
    sender: watch::Sender<bool>,
    observed: Observed,
    /// When the last request that renewed the Lease was begun, while it is held.
    renewed: Option<Instant>,
}

impl Run {
    async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let began = Instant::now();
            let answer_by = began + ANSWER_TIMEOUT;
            let deadline = self.renewed.map_or(answer_by, |at| answer_by.min(at + STEP_DOWN));
            let result = tokio::select! {
                () = stop.cancelled() => break,
                result = timeout_at(deadline, self.attempt(began)) => {
                    result.unwrap_or(Err(ApiFault::Timeout(ANSWER_TIMEOUT)))
                }
            };
            if let Err(fault) = &result
                && !failing
            {
                tracing::warn!(lease = self.election.name, %fault, "no Lease");
            }
            failing = result.is_err();
            match result {
                Ok(true) => self.renewed = Some(began),
                Ok(false) => self.renewed = None,
                // Held as long as nobody else may hold it.
                Err(_) => self.renewed = self.renewed.filter(|at| at.elapsed() < STEP_DOWN),
            }
            self.tell();
            let next = Instant::now() + RETRY.mul_f64(1.0 + random() / 5.0);
            let next = self.renewed.map_or(next, |at| next.min(at + STEP_DOWN));
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
            }
        }
        self.release().await;
    }

    fn tell(&self) {
        let leads = self.renewed.is_some();
        let changed = self.sender.send_if_modified(|was| std::mem::replace(was, leads) != leads);
        if changed {
            tracing::info!(lease = self.election.name, leads, "who writes Events has changed");
        }
    }

    /// One try at `now`; whether the Lease is held after it.
    async fn attempt(&mut self, now: Instant) -> Result<bool, ApiFault> {
        let lease = self.api.get_opt(&self.election.name).await?;
        let step = self.observed.step(lease.as_ref(), &self.election.identity, DURATION, now);
        match (step, lease) {
            (Step::Wait, _) => Ok(false),
            (Step::Take | Step::Renew, Some(lease)) => {
                let lease = self.held(lease, step == Step::Take);
                let replaced =
                    self.api.replace(&self.election.name, &PostParams::default(), &lease).await;
                won(replaced)
            }
            (_, None) => {
                let metadata = ObjectMeta {
                    name: Some(self.election.name.clone()),
                    namespace: Some(self.election.namespace.clone()),
                    ..ObjectMeta::default()
                };
                let lease = self.held(Lease { metadata, spec: None }, true);
                won(self.api.create(&PostParams::default(), &lease).await)
            }
        }
    }

    fn held(&self, mut lease: Lease, taken: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        lease.metadata.managed_fields = None;
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            lease_transitions: Some(transitions.saturating_add(i32::from(taken))),
            acquire_time: before.acquire_time.filter(|_| !taken).or(Some(now.clone())),
            renew_time: Some(now),
            ..LeaseSpec::default()
        });
        lease
    }

    /// Gives the Lease back, so that the next one need not wait; best effort.
    async fn release(mut self) {
        if self.renewed.take().is_some() {
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            if !matches!(timeout_at(deadline, self.give_back()).await, Ok(Ok(()))) {
                tracing::debug!(lease = self.election.name, "not given back: it will run out");
            }
        }
        self.tell();
    }

    async fn give_back(&self) -> Result<(), ApiFault> {
        let Some(mut lease) = self.api.get_opt(&self.election.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.election.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        lease.metadata.managed_fields = None;
        self.api.replace(&self.election.name, &PostParams::default(), &lease).await?;
        Ok(())
    }
}

/// Whether a write was ours; another one's was first is no failure.
fn won(written: kube::Result<Lease>) -> Result<bool, ApiFault> {
    match written.map_err(ApiFault::from) {
        Ok(_) => Ok(true),
        Err(ApiFault::Conflict(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

//! Findings as Kubernetes Events (`events.k8s.io/v1`) on the objects that they are about.
//!
//! The same finding is written once an hour at most, as one Event whose series counts, also when
//! another replica or an earlier process began it: the Event's name follows from the finding.

mod ledger;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Finding, FindingReason, ObjectRef};
use crate::discovery::access::Client;
use crate::discovery::fault::ApiFault;
use crate::discovery::follow::Snapshot;
use ledger::Ledger;

/// `reportingController` of every Event.
pub const CONTROLLER: &str = "meshprobe.dev/controller";
/// The same finding is written no more often than this.
pub const EVERY: Duration = Duration::from_secs(3600);
/// One request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often findings that wait for their turn are looked at.
const TICK: Duration = Duration::from_secs(10);
/// The longest part of an object's name in an Event's name.
const MAX_NAME: usize = 200;

/// Writes Events.
#[derive(Debug)]
pub struct Events {
    client: Client,
    /// Whose Events those are that have no object of their own.
    home: ObjectRef,
    ledger: Ledger,
    /// Events that were written.
    written: u64,
    /// Events that could not be written.
    failed: u64,
}

/// How many Events there were since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Written: made, or counted on.
    pub written: u64,
    /// Not written; each is tried again when its next turn comes.
    pub failed: u64,
}

impl Events {
    /// Writes in the name of the pod `home` (with its uid, or `kubectl describe` does not show
    /// them): findings about what does not exist are told there.
    pub fn new(client: &Client, home: ObjectRef) -> Self {
        let ledger = Ledger::new(EVERY, Instant::now());
        Self { client: client.clone(), home, ledger, written: 0, failed: 0 }
    }

    /// Writes what is due of the latest snapshot's findings and of `incidents`, while `leads` and until `stop`.
    /// Counts go to `counts`.
    pub async fn run(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut incidents: watch::Receiver<Arc<Vec<Finding>>>,
        mut leads: watch::Receiver<bool>,
        counts: watch::Sender<Count>,
        stop: CancellationToken,
    ) {
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                changed = snapshots.changed() => if changed.is_err() { return },
                changed = incidents.changed() => if changed.is_err() { return },
                changed = leads.changed() => if changed.is_err() { return },
            }
            if !*leads.borrow_and_update() {
                continue;
            }
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let incidents = Arc::clone(&incidents.borrow_and_update());
            let all: Vec<Finding> =
                incidents.iter().chain(&snapshot.cluster.findings).cloned().collect();
            tokio::select! {
                () = stop.cancelled() => return,
                count = self.tell(&all) => { counts.send_replace(count); }
            }
        }
    }

    /// Writes what is due of `findings`: 20 Events at once at most, and 30 in a minute.
    pub async fn tell(&mut self, findings: &[Finding]) -> Count {
        self.ledger.forget(findings, Instant::now());
        for finding in findings {
            if !self.ledger.take(finding, Instant::now()) {
                continue;
            }
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            let written = timeout_at(deadline, self.write(finding)).await;
            match written.unwrap_or(Err(ApiFault::Timeout(ANSWER_TIMEOUT))) {
                Ok(age) => {
                    self.ledger.told(finding, Instant::now(), age);
                    self.written += u64::from(age.is_zero());
                }
                Err(fault) => {
                    tracing::warn!(reason = finding.reason.as_str(), %fault, "no Event written");
                    self.failed += 1;
                }
            }
        }
        Count { written: self.written, failed: self.failed }
    }

    /// Writes one Event; returns how long ago it was last written, zero if just now.
    async fn write(&self, finding: &Finding) -> Result<Duration, ApiFault> {
        let object = if api_version(&finding.object).is_some() && finding.object.uid.is_some() {
            &finding.object
        } else {
            &self.home
        };
        let event = event(finding, object, &self.home.name, Timestamp::now());
        let namespace = event.metadata.namespace.clone().expect("set by event()");
        let name = event.metadata.name.clone().expect("set by event()");
        let api = Api::<Event>::namespaced(self.client.0.clone(), &namespace);
        match api.create(&PostParams::default(), &event).await.map_err(ApiFault::from) {
            Ok(_) => return Ok(Duration::ZERO),
            Err(ApiFault::Conflict(_)) => {}
            Err(fault) => return Err(fault),
        }
        let earlier = api.get(&name).await?;
        let now = Timestamp::now();
        let (count, last) = match (&earlier.series, &earlier.event_time) {
            (Some(series), _) => (series.count, Some(series.last_observed_time.0)),
            (None, time) => (1, time.as_ref().map(|time| time.0)),
        };
        let age = last.and_then(|last| Duration::try_from(now.duration_since(last)).ok());
        if let Some(age) = age.filter(|age| *age < EVERY && !age.is_zero()) {
            return Ok(age);
        }
        let last = MicroTime(now);
        let series = serde_json::json!({
            "series": {"count": count.saturating_add(1), "lastObservedTime": last},
        });
        api.patch(&name, &PatchParams::default(), &Patch::Merge(series)).await?;
        Ok(Duration::ZERO)
    }
}

/// The Event of a finding on `object`, first seen at `now`.
pub fn event(finding: &Finding, object: &ObjectRef, instance: &str, now: Timestamp) -> Event {
    let mut hasher = DefaultHasher::new();
    (&finding.object, finding.reason, &finding.message).hash(&mut hasher);
    let short: String = object.name.chars().take(MAX_NAME).collect();
    // Events about what has no namespace live in `default`: so the API demands.
    let namespace = match object.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    let over = finding.reason == FindingReason::IncidentClosed;
    let incident = over || finding.reason == FindingReason::IncidentOpened;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:016x}", short.trim_end_matches(['.', '-']), hasher.finish())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(if incident { "Diagnose" } else { "Discover" }.to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(finding.message.clone()),
        reason: Some(finding.reason.as_str().to_owned()),
        regarding: Some(ObjectReference {
            api_version: api_version(object).map(str::to_owned),
            kind: Some(object.kind.clone()),
            name: Some(object.name.clone()),
            namespace: Some(object.namespace.clone()).filter(|name| !name.is_empty()),
            uid: object.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.chars().take(128).collect()),
        type_: Some(if over { "Normal" } else { "Warning" }.to_owned()),
        ..Event::default()
    }
}

/// `None`: not an object of the API.
fn api_version(object: &ObjectRef) -> Option<&'static str> {
    match object.kind.as_str() {
        "Service" | "Pod" | "Namespace" | "Node" => Some("v1"),
        "Deployment" | "DaemonSet" => Some("apps/v1"),
        "PeerAuthentication" => Some("security.istio.io/v1"),
        _ => None,
    }
}

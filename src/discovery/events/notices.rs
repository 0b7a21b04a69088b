//! Notices that wait to be written: a few, oldest first, each tried several times.

use std::collections::VecDeque;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ListParams, PostParams};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::cluster::{Notice, ObjectRef};
use crate::discovery::events::{ANSWER_TIMEOUT, Events, Told, api_version, event_of, hash};
use crate::discovery::fault::ApiFault;

/// Notices that wait at most; the oldest give way.
const MOST: usize = 500;
/// How often a notice is tried; about every ten seconds.
const TRIES: u32 = 30;
/// The longest note that the API takes, bytes.
const LONGEST_NOTE: usize = 1024;

/// Takes notices to be written, if this replica is the one that writes.
#[derive(Debug, Clone)]
pub struct Notices(mpsc::Sender<Notice>);

impl Notices {
    /// Hands in a notice. With more of them than can wait it is lost, and that is logged.
    pub fn hand_in(&self, notice: Notice) {
        if let Err(lost) = self.0.try_send(notice) {
            let (mpsc::error::TrySendError::Full(notice)
            | mpsc::error::TrySendError::Closed(notice)) = lost;
            tracing::warn!(note = notice.note, "too many notices wait: no Event is written of it");
        }
    }
}

/// Notices that were handed in, with how often each was tried.
#[derive(Debug)]
pub(super) struct Waiting {
    entrance: mpsc::Sender<Notice>,
    exit: mpsc::Receiver<Notice>,
    queue: VecDeque<(Notice, u32)>,
}

impl Default for Waiting {
    fn default() -> Self {
        let (entrance, exit) = mpsc::channel(MOST);
        Self { entrance, exit, queue: VecDeque::new() }
    }
}

impl Waiting {
    pub(super) fn entrance(&self) -> Notices {
        Notices(self.entrance.clone())
    }

    /// Waits for a notice and puts it into the queue, others that are there with it.
    pub(super) async fn handed_in(&mut self) {
        let first = self.exit.recv().await.expect("an entrance is held here");
        self.put(first);
        while let Ok(notice) = self.exit.try_recv() {
            self.put(notice);
        }
    }

    fn put(&mut self, notice: Notice) {
        if self.queue.len() == MOST {
            self.queue.pop_front();
        }
        self.queue.push_back((notice, 0));
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        while self.exit.try_recv().is_ok() {}
    }
}

impl Events {
    /// Writes what waits and the rate allows; the rest, and what could not be written, waits on.
    pub(super) async fn note(&mut self) {
        for _ in 0..self.waiting.queue.len() {
            if !self.ledger.grant(Instant::now()) {
                return;
            }
            let Some((notice, tries)) = self.waiting.queue.front().cloned() else { return };
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            let written = timeout_at(deadline, self.write_notice(&notice)).await;
            // Only now: a notice that is under way when leading ends is not lost to a retry.
            self.waiting.queue.pop_front();
            match written.unwrap_or(Err(ApiFault::Timeout(ANSWER_TIMEOUT))) {
                Ok(()) => self.written += 1,
                Err(fault) => {
                    tracing::warn!(reason = notice.reason, %fault, "no Event written");
                    self.failed += 1;
                    if tries + 1 < TRIES {
                        self.waiting.queue.push_back((notice, tries + 1));
                    }
                }
            }
        }
    }

    /// Writes one notice; what was written before is good.
    async fn write_notice(&self, notice: &Notice) -> Result<(), ApiFault> {
        let object = self.regarding(&notice.object).await?;
        let Notice { reason, action, note, bad, .. } = notice;
        let told = Told {
            action,
            reason,
            note: cut(note),
            kind: if *bad { "Warning" } else { "Normal" },
            key: hash(&(&notice.object, reason, note)),
        };
        let event = event_of(told, &object, &self.home.name, Timestamp::now());
        let namespace = event.metadata.namespace.clone().expect("set by event_of()");
        let api = Api::<Event>::namespaced(self.client.0.clone(), &namespace);
        match api.create(&PostParams::default(), &event).await.map_err(ApiFault::from) {
            Ok(_) | Err(ApiFault::Conflict(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// The object, with its uid: without one `kubectl describe` shows no Event. A Service is looked
    /// up; what does not exist is told on the controller's own pod.
    async fn regarding(&self, object: &ObjectRef) -> Result<ObjectRef, ApiFault> {
        match (api_version(object), &object.uid) {
            (Some(_), Some(_)) => return Ok(object.clone()),
            (Some(_), None) if object.kind == "Service" => {}
            _ => return Ok(self.home.clone()),
        }
        let api = Api::<Service>::namespaced(self.client.0.clone(), &object.namespace);
        let one = ListParams::default().fields(&format!("metadata.name={}", object.name));
        let found = api.list(&one).await?.items.into_iter().next();
        let uid = found.and_then(|service| service.metadata.uid);
        Ok(match uid {
            Some(uid) => ObjectRef { uid: Some(uid), ..object.clone() },
            None => self.home.clone(),
        })
    }
}

/// As much of `note` as the API takes, in whole characters.
fn cut(note: &str) -> &str {
    &note[..note.floor_char_boundary(LONGEST_NOTE)]
}

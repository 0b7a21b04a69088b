//! Where the agent's plans come from: connections to controllers, over which it asks for its plan
//! and they ask for its window and its flows.
//!
//! Only fetches. Whether a plan is any good, and what becomes of it, is the agent's business; when
//! nobody can be reached it is not even told.

mod cache;
mod link;
mod links;
mod poll;
mod roster;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::form_urlencoded::Serializer;

use crate::agent::flows::Flows;
use crate::channel::Dialer;
use crate::config::{ControllersConfig, Identity};
use crate::metrics::Metrics;
use crate::net::Resolver;
use crate::window::Window;
use links::Links;

pub(super) use cache::{keep, kept};

/// A plan that a controller offers, unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer(pub(super) String);

/// What fetching needs to know.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) config: ControllersConfig,
    pub(super) identity: Identity,
    /// This pod, when known.
    pub(super) pod: Option<String>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) window: Arc<Window>,
    pub(super) flows: Arc<Flows>,
    pub(super) metrics: Arc<Metrics>,
    /// The entity tag of the plan that is followed, if one is.
    pub(super) runs: Runs,
}

/// An entity tag that changes.
pub(super) type Runs = Arc<Mutex<Option<String>>>;

impl Settings {
    /// Who this agent is, as a query.
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("node", &self.identity.node);
        if let Some(vantage) = self.identity.vantage {
            query.append_pair("vantage", vantage.as_str());
        }
        if let Some(pod) = &self.pod {
            query.append_pair("pod", pod);
        }
        query.finish()
    }
}

/// Asks controllers for plans until it is ended.
#[derive(Debug)]
pub(super) struct Directions {
    offers: mpsc::Receiver<Offer>,
    named: watch::Sender<Vec<SocketAddr>>,
    known: Known,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The entity tag of the plan that was offered last, good or bad: a bad one is not sent again.
type Known = Arc<Mutex<Option<String>>>;

impl Directions {
    /// Begins to look for controllers: where `settings` say, and at the addresses in `named`, by
    /// the last plan. `tag` is that plan's entity tag.
    pub(super) fn begin(
        settings: Settings,
        named: Vec<SocketAddr>,
        tag: Option<String>,
    ) -> anyhow::Result<Self> {
        let dialer = Dialer::new().context("controller: no socket to dial from")?;
        if settings.config.key.is_none() {
            tracing::warn!(
                "controller.key is not set: plans are taken from anybody who answers at these \
                 addresses"
            );
        }
        settings.metrics.plans_expected();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (offering, offers) = mpsc::channel(1);
        let (named, naming) = watch::channel(named);
        let known = Known::new(Mutex::new(tag));
        let links = Links::new(Arc::clone(&settings.metrics));
        let settings = Arc::new(settings);
        let roster = roster::Roster {
            settings: Arc::clone(&settings),
            dialer,
            links: links.clone(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        spawn(&tasks, &stop, roster.run(naming));
        let (known_, named_) = (Arc::clone(&known), named.clone());
        let poll = poll::Poll { settings, links, known: known_, named: named_, offering };
        spawn(&tasks, &stop, poll.run());
        Ok(Self { offers, named, known, stop, tasks })
    }

    /// The next plan that is offered. Cancel safe.
    pub(super) async fn next(&mut self) -> Offer {
        match self.offers.recv().await {
            Some(offer) => offer,
            None => std::future::pending().await,
        }
    }

    /// Controllers are at these addresses too from now on, in the place of those named before.
    pub(super) fn name(&self, controllers: &[SocketAddr]) {
        name(&self.named, controllers);
    }

    /// Has the plan sent again: one that was refused may be good by now.
    pub(super) fn ask_anew(&self) {
        *self.known.lock().expect("no panic while held") = None;
    }

    /// Ends; controllers are told.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn name(named: &watch::Sender<Vec<SocketAddr>>, controllers: &[SocketAddr]) {
    named.send_if_modified(|named| {
        let other = named != controllers;
        controllers.clone_into(named);
        other
    });
}

/// Runs `work` until it is done or `stop`.
fn spawn(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    });
}

/// Between `shortest` and twice that, so that a fleet does not ask in step.
fn scattered(shortest: Duration) -> Duration {
    shortest.mul_f64(1.0 + random())
}

/// From 0 to 1; the standard library seeds its hashers at random.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

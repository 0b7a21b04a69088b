//! Keeps the latest snapshot of a cluster: starts watches, and puts together what they tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::discovery::access::Client;
use crate::discovery::assemble::assemble;
use crate::discovery::seen::{Seen, WatchName};
use crate::discovery::settings::Settings;
use crate::discovery::sources::Sources;
use crate::discovery::watch::Board;
use crate::discovery::watched::Health;

/// Changes within this time make one snapshot.
const SETTLE: Duration = Duration::from_millis(200);
/// The longest that a change waits, when putting a snapshot together takes long.
const LONGEST_SETTLE: Duration = Duration::from_secs(2);
/// At most one part in this many of the time goes into putting snapshots together.
const SHARE: u32 = 10;

/// The cluster as it was last told, and whether all of it was told yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The cluster.
    pub cluster: Cluster,
    /// Whether each watch was listed once, or it is settled that it cannot be. Once true, it stays
    /// so: Services of a namespace that is new are left out until they are known.
    pub synced: bool,
    /// The watches that were not listed yet.
    pub waiting: Vec<WatchName>,
}

/// Discovery at work; it ends when it is told to stop.
#[derive(Debug)]
pub struct Following {
    /// The latest snapshot; another one only when it differs. While the API server is away the
    /// last one stays.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How the watches are doing.
    pub watches: Watches,
    /// Ends after the token was cancelled; panics when a watch did.
    pub task: JoinHandle<()>,
}

/// How the watches are doing, at any time.
#[derive(Debug, Clone)]
pub struct Watches {
    board: Arc<Board>,
    settings: Arc<Settings>,
}

/// How one watch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchReport {
    /// Which.
    pub name: WatchName,
    /// How it is doing.
    pub health: Health,
    /// How many objects of it are kept.
    pub objects: usize,
}

impl Watches {
    /// All of them.
    pub fn report(&self) -> Vec<WatchReport> {
        let seen = self.board.seen.lock().expect("no panic while held");
        let all = seen.healths(&self.settings).into_iter();
        all.map(|(name, health, objects)| WatchReport { name, health: health.clone(), objects })
            .collect()
    }

    /// When the watch that was heard of least lately was last heard of; `None` when one never was.
    /// A healthy watch is heard of about once a minute, and once in 100 seconds at the least.
    pub fn oldest_contact(&self) -> Option<Instant> {
        let seen = self.board.seen.lock().expect("no panic while held");
        let all = seen.healths(&self.settings).into_iter();
        all.map(|(_, health, _)| health.contact).min().flatten()
    }
}

/// Starts discovery on the current tokio runtime, until `stop` is cancelled.
pub fn follow(client: &Client, settings: Settings, stop: CancellationToken) -> Following {
    let settings = Arc::new(settings);
    let board = Arc::new(Board {
        seen: Mutex::new(Seen::new(&settings)),
        changed: Notify::new(),
        page: settings.limits.page,
        retry: settings.limits.retry,
    });
    let (sender, snapshots) = watch::channel(Arc::new(Snapshot {
        waiting: board.seen.lock().expect("no panic while held").waiting(&settings),
        ..Snapshot::default()
    }));
    let watches = Watches { board: Arc::clone(&board), settings: Arc::clone(&settings) };
    let sources = Sources { client: client.clone(), settings, board };
    let hub = Hub { sources, tasks: JoinSet::new(), namespaces: BTreeMap::new(), sender };
    let task = tokio::spawn(hub.run(stop));
    Following { snapshots, watches, task }
}

/// Owns the watches.
struct Hub {
    sources: Sources,
    tasks: JoinSet<()>,
    /// The watches of chosen Services' namespaces.
    namespaces: BTreeMap<String, [AbortHandle; 2]>,
    sender: watch::Sender<Arc<Snapshot>>,
}

impl Hub {
    async fn run(mut self, stop: CancellationToken) {
        self.sources.start(&mut self.tasks);
        let mut settle = SETTLE;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.sources.board.changed.notified() => {}
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    continue;
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(settle) => {}
            }
            let began = Instant::now();
            self.put_together();
            settle = (began.elapsed() * SHARE).clamp(SETTLE, LONGEST_SETTLE);
        }
        self.tasks.shutdown().await;
    }

    /// Makes the snapshot of now, and starts and ends the watches that it calls for.
    fn put_together(&mut self) {
        let settings = Arc::clone(&self.sources.settings);
        let mut seen = self.sources.board.seen.lock().expect("no panic while held");
        let assembled = assemble(&seen, &settings);
        seen.pods.retain(|namespace, _| assembled.namespaces.contains(namespace));
        seen.slices.retain(|namespace, _| assembled.namespaces.contains(namespace));
        for namespace in &assembled.namespaces {
            seen.pods.entry(namespace.clone()).or_default();
            seen.slices.entry(namespace.clone()).or_default();
        }
        let waiting = seen.waiting(&settings);
        drop(seen);
        self.namespaces.retain(|namespace, handles| {
            let stays = assembled.namespaces.contains(namespace);
            if !stays {
                handles.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for namespace in &assembled.namespaces {
            if !self.namespaces.contains_key(namespace) {
                let handles = self.sources.start_in(namespace, &mut self.tasks);
                self.namespaces.insert(namespace.clone(), handles);
            }
        }
        let cluster = assembled.cluster;
        self.sender.send_if_modified(|latest| {
            let synced = latest.synced || waiting.is_empty();
            let next = Snapshot { cluster, synced, waiting };
            let differs = **latest != next;
            if differs {
                *latest = Arc::new(next);
            }
            differs
        });
    }
}

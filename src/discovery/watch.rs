//! One watch: list in pages, then follow changes, for ever.
//!
//! The loop is our own and not kube's `watcher`, for three reasons: that one swallows bookmarks
//! and reconnects in silence, so that nobody could say when the API server was last heard of; it
//! asks again without a pause when a server ends each watch at once; and it never lists again
//! after its kind was removed and came back. Objects are reduced page by page and event by event:
//! no object of the API outlives its page.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::discovery::fault::ApiFault;
use crate::discovery::pace::{Pace, random};
use crate::discovery::reduce::key;
use crate::discovery::seen::Seen;
use crate::discovery::watched::{Standing, Watched};

/// How long one page, or the start of a watch, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What the API server is asked to end a watch after, in seconds, plus up to a quarter.
const WATCH_SECONDS: u32 = 240;
/// A watch that says nothing for so long is given up: bookmarks come about every minute.
const SILENCE: Duration = Duration::from_secs(100);
/// A watch that ends sooner has failed.
const SHORT: Duration = Duration::from_secs(1);
/// After so many failures in a row the objects are listed anew: the server may be another one.
const RELIST_AFTER: u32 = 6;

/// What all watches write to.
#[derive(Debug)]
pub(super) struct Board {
    /// Everything seen.
    pub(super) seen: Mutex<Seen>,
    /// Told after a change of it.
    pub(super) changed: Notify,
    /// Objects in one page.
    pub(super) page: u32,
    /// The longest wait between two tries.
    pub(super) retry: Duration,
}

/// What is watched, and what is kept of it.
pub(super) struct Source<K, T> {
    pub(super) api: Api<K>,
    /// The kind in a Role's words, and where; for logs.
    pub(super) name: String,
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    /// The kind may not exist: then that is known, and not a failure.
    pub(super) optional: bool,
    /// `None`: of no use.
    pub(super) reduce: Box<dyn Fn(K) -> Option<T> + Send + Sync>,
    /// Where it is kept; `None` when nobody wants it any more.
    pub(super) place: Place<T>,
}

/// The part of [`Seen`] that a watch writes to.
pub(super) type Place<T> = Box<dyn Fn(&mut Seen) -> Option<&mut Watched<T>> + Send + Sync>;

/// Follows `source` until the task is dropped.
pub(super) async fn run<K, T>(source: Source<K, T>, board: Arc<Board>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: PartialEq,
{
    let mut pace = Pace::new(board.retry);
    loop {
        let fault = match list(&source, &board).await {
            Ok(version) => follow(&source, &board, version, &mut pace).await,
            Err(fault) => fault,
        };
        rest(&source, &board, &mut pace, fault).await;
    }
}

/// Lists every object; returns the version from which to watch.
async fn list<K, T>(source: &Source<K, T>, board: &Board) -> Result<String, ApiFault>
where
    K: Resource + Clone + DeserializeOwned + Debug,
    T: PartialEq,
{
    let mut parameters = ListParams {
        label_selector: source.labels.clone(),
        field_selector: source.fields.clone(),
        limit: Some(board.page),
        ..ListParams::default()
    };
    let mut objects = BTreeMap::new();
    loop {
        let page = answer(source.api.list(&parameters)).await?;
        for object in page.items {
            let key = key(object.meta());
            if let Some(object) = (source.reduce)(object) {
                objects.insert(key, object);
            }
        }
        parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if parameters.continue_token.is_none() {
            let version = page.metadata.resource_version.filter(|version| !version.is_empty());
            let missing = || ApiFault::Malformed("a list without resourceVersion".to_owned());
            let version = version.ok_or_else(missing)?;
            board.with(source, |watched| watched.replace(objects, Instant::now()));
            return Ok(version);
        }
        // So that a list of many pages does not look like silence.
        board.with(source, |watched| {
            watched.touch(Instant::now());
            false
        });
    }
}

/// Follows changes from `version` on, over as many calls as it takes; returns why the objects must
/// be listed anew.
async fn follow<K, T>(
    source: &Source<K, T>,
    board: &Board,
    mut version: String,
    pace: &mut Pace,
) -> ApiFault
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: PartialEq,
{
    loop {
        let began = Instant::now();
        let parameters = WatchParams {
            label_selector: source.labels.clone(),
            field_selector: source.fields.clone(),
            timeout: Some(WATCH_SECONDS + (f64::from(WATCH_SECONDS / 4) * random()) as u32),
            bookmarks: true,
            send_initial_events: false,
        };
        let fault = match answer(source.api.watch(&parameters, &version)).await {
            Ok(stream) => match changes(source, board, stream, &mut version, pace).await {
                Ok(()) if began.elapsed() > SHORT => {
                    pace.succeeded();
                    continue;
                }
                Ok(()) => ApiFault::Unreachable("the watch ended at once".to_owned()),
                Err(fault) => fault,
            },
            Err(fault) => fault,
        };
        match fault {
            // The last version still stands: a server that was away owes us the changes only.
            ApiFault::Unreachable(_) | ApiFault::Refused { .. }
                if pace.failures() < RELIST_AFTER =>
            {
                rest(source, board, pace, fault).await;
            }
            _ => return fault,
        }
    }
}

/// Takes changes until the watch ends. `version` follows them.
async fn changes<K, T>(
    source: &Source<K, T>,
    board: &Board,
    stream: impl Stream<Item = kube::Result<WatchEvent<K>>>,
    version: &mut String,
    pace: &mut Pace,
) -> Result<(), ApiFault>
where
    K: Resource,
    T: PartialEq,
{
    let mut stream = std::pin::pin!(stream);
    // That the watch began is an answer too.
    board.with(source, |watched| {
        watched.touch(Instant::now());
        false
    });
    loop {
        let deadline = Instant::now() + SILENCE;
        let Ok(event) = timeout_at(deadline, stream.next()).await else {
            return Err(ApiFault::Timeout(SILENCE));
        };
        let Some(event) = event else { return Ok(()) };
        let (key, object, at) = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let (key, at) = (key(object.meta()), object.resource_version());
                (key, (source.reduce)(object), at)
            }
            WatchEvent::Deleted(object) => (key(object.meta()), None, object.resource_version()),
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                pace.succeeded();
                board.with(source, |watched| {
                    watched.touch(Instant::now());
                    false
                });
                continue;
            }
            WatchEvent::Error(status) => return Err(ApiFault::from(&*status)),
        };
        let missing = || ApiFault::Malformed("an event without resourceVersion".to_owned());
        *version = at.filter(|version| !version.is_empty()).ok_or_else(missing)?;
        pace.succeeded();
        board.with(source, |watched| watched.apply(key, object, Instant::now()));
    }
}

async fn answer<A>(call: impl Future<Output = kube::Result<A>>) -> Result<A, ApiFault> {
    match timeout_at(Instant::now() + ANSWER_TIMEOUT, call).await {
        Ok(result) => result.map_err(ApiFault::from),
        Err(_) => Err(ApiFault::Timeout(ANSWER_TIMEOUT)),
    }
}

/// Records a failure and waits as long as it deserves.
async fn rest<K, T: PartialEq>(
    source: &Source<K, T>,
    board: &Board,
    pace: &mut Pace,
    fault: ApiFault,
) {
    let wait = pace.failed(fault.retry_after(), random());
    let standing = match &fault {
        ApiFault::Forbidden(_) => Some(Standing::Forbidden),
        ApiFault::Absent(_) if source.optional => Some(Standing::Absent),
        _ => None,
    };
    let told = standing == Some(Standing::Absent) || matches!(fault, ApiFault::Expired(_));
    if told {
        tracing::debug!(watch = source.name, %fault, next = ?wait, "listing anew");
    } else if pace.failures() == 1 {
        tracing::warn!(watch = source.name, %fault, next = ?wait, "a watch failed");
    }
    board.with(source, |watched| watched.fail(standing, fault.to_string(), Instant::now()));
    sleep(wait).await;
}

impl Board {
    /// Changes what `source` keeps, and tells when that made a difference.
    fn with<K, T>(&self, source: &Source<K, T>, change: impl FnOnce(&mut Watched<T>) -> bool) {
        let changed = {
            let mut seen = self.seen.lock().expect("no panic while held");
            (source.place)(&mut seen).is_some_and(change)
        };
        if changed {
            self.changed.notify_one();
        }
    }
}

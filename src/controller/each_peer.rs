//! Does the same with every agent that connects, as long as it is connected.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::{Peer, Peers};

/// How often new connections are looked for.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Spawns what `follow` does with each connection among `peers`, until `stop`. One that it has
/// ended with is left alone while it lasts. `look` is called before each look for new ones, with
/// their number, counted from 1.
pub(super) async fn each_peer<F>(
    peers: Peers,
    tasks: TaskTracker,
    stop: CancellationToken,
    mut look: impl FnMut(u64),
    follow: impl Fn(Peer) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let followed: Arc<Mutex<HashSet<u64>>> = Arc::default();
    for round in 1.. {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        look(round);
        for peer in peers.all() {
            if !followed.lock().expect("no panic while held").insert(peer.id()) {
                continue;
            }
            let (following, followed) = (follow(peer.clone()), Arc::clone(&followed));
            let stop = stop.clone();
            tasks.spawn(async move {
                following.await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = peer.closed() => {}
                }
                followed.lock().expect("no panic while held").remove(&peer.id());
            });
        }
    }
}

//! Makes plans anew whenever the cluster changes; the last ones stay while it cannot be read.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::roster::Roster;
use crate::discovery::Snapshot;
use crate::fleet::{Fleet, Settings};

/// The plans for one cluster, one agent's at a time.
pub(super) type Planned = Fleet;

/// Turns snapshots into plans.
pub(super) struct Planner {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    settings: Settings,
    /// Whose places end with their pods.
    roster: Arc<Roster>,
    sender: watch::Sender<Option<Arc<Planned>>>,
}

/// A planner that is yet to run, and where its plans come.
pub(super) fn planner(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    settings: Settings,
    roster: Arc<Roster>,
) -> (Planner, watch::Receiver<Option<Arc<Planned>>>) {
    let (sender, planned) = watch::channel(None);
    (Planner { snapshots, settings, roster, sender }, planned)
}

impl Planner {
    /// Plans until `stop`. A cluster of which a part was never read makes no plan: what is not
    /// known yet would look as if it were not there.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            if snapshot.synced {
                let settings = self.settings.clone();
                let work = move || Fleet::new(Arc::new(snapshot.cluster.clone()), settings);
                // Large clusters take a while: nobody else is to wait for it.
                let planned = tokio::task::spawn_blocking(work).await;
                match planned {
                    Ok(planned) => {
                        self.roster.retain(|seat| {
                            planned.agent(&seat.node, seat.vantage, &seat.pod).is_some()
                        });
                        self.sender.send_replace(Some(Arc::new(planned)));
                    }
                    Err(error) => tracing::error!(%error, "no plan: the last one stays"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.snapshots.changed() => if changed.is_err() { return },
            }
        }
    }
}

//! Discovery at work against the control plane, with the chart's own ServiceAccount.

use std::time::Duration;

use meshprobe::cluster::Cluster;
use meshprobe::discovery::{self, Access, Following, Settings, WatchReport};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::control_plane::ControlPlane;

/// How long a change may take from the API server into a snapshot on a busy machine; discovery
/// itself waits seconds at the most.
const PATIENCE: Duration = Duration::from_secs(90);

/// Discovery that ends on drop.
pub(crate) struct Watching {
    following: Following,
    _stop: DropGuard,
}

impl Watching {
    /// As the chart's controller, with the defaults but for short waits after failures.
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        let token = plane.token("meshprobe-plain", "meshprobe-controller").await;
        let files = vec![plane.kubeconfig_of(&token)];
        let access = Access::Kubeconfig { files, context: None };
        let client = discovery::client(&access).await.expect("a good kubeconfig");
        let mut settings = Settings::default();
        settings.limits.retry = Duration::from_secs(1);
        let stop = CancellationToken::new();
        let following = discovery::follow(&client, settings, stop.clone());
        Self { following, _stop: stop.drop_guard() }
    }

    /// The first snapshot, from now on, that is complete and of which `holds` is true.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Cluster) -> bool) -> Cluster {
        let deadline = Instant::now() + PATIENCE;
        let wanted = |snapshot: &std::sync::Arc<discovery::Snapshot>| {
            snapshot.synced && holds(&snapshot.cluster)
        };
        let seen = timeout_at(deadline, self.following.snapshots.wait_for(wanted)).await;
        let seen = seen.map(|snapshot| snapshot.expect("discovery runs").cluster.clone());
        seen.unwrap_or_else(|_| panic!("{what} is not seen after {PATIENCE:?}: {:#?}", self.now()))
    }

    /// The snapshot of now.
    pub(crate) fn now(&self) -> Cluster {
        self.following.snapshots.borrow().cluster.clone()
    }

    /// How the watch of `resource` in the whole cluster is doing.
    pub(crate) fn watch(&self, resource: &str) -> WatchReport {
        let all = self.following.watches.report().into_iter();
        let mut found =
            all.filter(|it| it.name.resource == resource && it.name.namespace.is_none());
        found.next().expect("a watch of it")
    }
}

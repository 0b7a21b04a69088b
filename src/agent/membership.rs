//! The agent's part in the mesh: its identity kept, and told in metrics.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::config::MeshConfig;
use crate::identity::{Identity, Status};
use crate::metrics::Metrics;
use crate::probe::Environment;

/// An identity, when the agent takes part in a mesh.
#[derive(Debug)]
pub(super) struct Membership {
    identity: Option<Identity>,
    metrics: Arc<Metrics>,
}

impl Membership {
    /// Begins to keep trust and certificate as `mesh` says, for the probes of `environment`.
    pub(super) fn begin(
        mesh: Option<&MeshConfig>,
        environment: &Environment,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let start = |mesh| {
            let resolver = Arc::clone(&environment.resolver);
            Identity::start(mesh, resolver, Arc::clone(&environment.mesh))
        };
        let identity = mesh.map(start).transpose().context("mesh")?;
        if let Some(identity) = &identity {
            tokio::spawn(tell(identity.status(), Arc::clone(metrics)));
        }
        Ok(Self { identity, metrics: Arc::clone(metrics) })
    }

    /// Another one, by another configuration.
    pub(super) fn again(
        &self,
        mesh: Option<&MeshConfig>,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        Self::begin(mesh, environment, &self.metrics)
    }

    /// How the agent stands in the mesh; `None` when it takes no part.
    pub(super) fn status(&self) -> Option<watch::Receiver<Status>> {
        self.identity.as_ref().map(Identity::status)
    }

    /// Ends; what was obtained stays with the probes.
    pub(super) async fn end(self) {
        if let Some(identity) = self.identity {
            identity.stop().await;
        }
    }
}

/// Keeps the metrics at what `status` says, until the identity ends.
async fn tell(mut status: watch::Receiver<Status>, metrics: Arc<Metrics>) {
    loop {
        let Status { roots, certificate, renewals, failed_renewals, .. } =
            status.borrow_and_update().clone();
        let validity = certificate
            .map_or([None, None], |certificate| [certificate.not_before, certificate.not_after]);
        metrics.identity(roots, validity, [renewals, failed_renewals]);
        if status.changed().await.is_err() {
            return;
        }
    }
}

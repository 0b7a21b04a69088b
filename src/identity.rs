//! The agent's own mesh identity: trust bundle, token, certificate and its renewal.
//!
//! What it obtains goes into [`tls::Mesh`], where handshakes find it; keys and tokens go nowhere
//! else. Knows no probes and no metrics: it tells how it is by [`Status`].

mod issue;
mod renewal;
mod rhythm;
mod roots;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::{MeshConfig, Watch};
use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::Resolver;
use crate::tls;
use issue::Issuer;

/// How often the trust bundle is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How the agent stands in the mesh.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Roots that are trusted now; 0 while there are none.
    pub roots: usize,
    /// Why the trust bundle cannot be used as it is now; what was trusted before stays.
    pub roots_problem: Option<String>,
    /// The own certificate, the last good one; it may have expired.
    pub certificate: Option<Certificate>,
    /// Certificates obtained.
    pub renewals: u64,
    /// Attempts to obtain one that failed.
    pub failed_renewals: u64,
    /// Why the last attempt failed; `None` after one that did not.
    pub last_failure: Option<Failure>,
}

/// What of the own certificate may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The SPIFFE ID in it.
    pub spiffe_id: Option<String>,
    /// Start of validity: the latest in the chain.
    pub not_before: Option<SystemTime>,
    /// End of validity: the earliest in the chain.
    pub not_after: Option<SystemTime>,
}

impl Certificate {
    fn of(own: &tls::Credential) -> Self {
        let tls::Credential { spiffe_id, not_before, not_after, .. } = own;
        Self { spiffe_id: spiffe_id.clone(), not_before: *not_before, not_after: *not_after }
    }
}

/// Keeps trust and certificate current, until it is dropped or stopped.
#[derive(Debug)]
pub struct Identity {
    status: watch::Receiver<Status>,
    stop: DropGuard,
    tasks: TaskTracker,
}

impl Identity {
    /// Begins to keep `mesh` as `config` states: the trust bundle is read at once, as far as it
    /// can be; the certificate comes when istiod has signed it.
    ///
    /// Names are resolved by `resolver`. Must be called within a runtime.
    pub fn start(
        config: &MeshConfig,
        resolver: Arc<Resolver>,
        mesh: Arc<tls::Mesh>,
    ) -> Result<Self, tls::LoadError> {
        let issuer = Issuer::new(config, resolver, Arc::clone(&mesh))?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        // A certificate from before is kept until there is a new one.
        let certificate = mesh.credential().map(|own| Certificate::of(&own));
        let (status, told) = watch::channel(Status { certificate, ..Status::default() });
        let (status, trusted) = (Arc::new(status), Arc::new(Notify::new()));
        let watch = Watch::new(config.ca.clone(), LOOK);
        roots::take(&mesh, &status, roots::read(&config.ca));
        let following = {
            let (status, trusted) = (Arc::clone(&status), Arc::clone(&trusted));
            roots::follow(watch, mesh, status, trusted)
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(following));
        if config.certificate {
            let renewing = renewal::run(issuer, status, trusted);
            tasks.spawn(stop.clone().run_until_cancelled_owned(renewing));
        }
        tasks.close();
        Ok(Self { status: told, stop: stop.drop_guard(), tasks })
    }

    /// How it is now, and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Ends at once; trust and certificate stay in the mesh.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.wait().await;
    }

    /// Reads the trust bundle and, when `config` wants one, obtains a certificate: once, within
    /// `timeout`.
    pub async fn once(
        config: &MeshConfig,
        resolver: Arc<Resolver>,
        mesh: Arc<tls::Mesh>,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        let ours = |problem| Fault::new(Reason::NoIdentity, problem).during(Phase::Tls);
        let text = roots::read(&config.ca).map_err(|error| error.to_string());
        let trusted = text.and_then(|text| mesh.trust(text.as_bytes()));
        trusted.map_err(|problem| ours(format!("{}: {problem}", config.ca.display())))?;
        if config.certificate {
            let issuer = Issuer::new(config, resolver, mesh);
            issuer.map_err(|error| ours(error.to_string()))?.obtain(deadline).await?;
        }
        Ok(())
    }
}

//! The lab's istiod: a real CA and delta discovery over TLS gRPC, on as many listeners as there
//! are ways to it, each of which can be broken by itself.
//!
//! Reads the [`World`] and an [`Authority`]; knows nothing of ztunnels, agents and probes.

mod condition;
mod connection;
mod discovery;
mod monitoring;
mod signing;
mod tokens;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;

use super::ca::{Authority, Subject};
use super::port::{Gate, Port};
use super::world::{Pod, World};
pub use condition::{Answers, Ca, Certificate, Connection, Http2, IstiodCondition, Stale, Xds};
pub use tokens::{Bearer, Tokens};

/// Names in istiod's certificate.
const NAMES: [&str; 3] =
    ["istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc"];
/// How long istiod's own certificate lasts, seconds.
const LIFETIME: i64 = 365 * 86_400;
/// Certificates in a chain without an end.
const ENDLESS: usize = 4000;
/// How long a minted token is good.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Connections at once; further ones are closed.
const MAX_CONNECTIONS: usize = 2000;

/// Where an istiod listens.
#[derive(Debug, Clone)]
pub struct Setup {
    /// TLS gRPC: :15012 of the Service and of each way to it. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Plaintext `/version`, `/metrics`, `/ready`.
    pub monitoring: Option<SocketAddr>,
}

/// A running istiod; dropping it ends it.
pub struct Istiod {
    shared: Arc<Shared>,
    doors: Vec<Door>,
    monitoring: Option<SocketAddr>,
    conditions: Mutex<Conditions>,
    _ends: tokio_util::sync::DropGuard,
}

struct Shared {
    world: Arc<World>,
    authority: Arc<Authority>,
    /// Signs what should not be trusted.
    stranger: Authority,
    tokens: Arc<Tokens>,
    counts: monitoring::Counts,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A condition with the TLS configuration that it makes.
struct Prepared {
    condition: IstiodCondition,
    tls: Arc<ServerConfig>,
}

struct Conditions {
    general: IstiodCondition,
    own: Vec<Option<IstiodCondition>>,
}

/// One listener.
struct Door {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
}

/// A new condition, and who wants to know that it is in force.
type Order = (Arc<Prepared>, oneshot::Sender<std::io::Result<()>>);

impl Istiod {
    /// Listens and serves; `tokens` are those of every istiod of the mesh.
    pub async fn start(
        setup: Setup,
        world: Arc<World>,
        authority: Arc<Authority>,
        tokens: Arc<Tokens>,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            world,
            authority,
            stranger: Authority::new("stranger")?,
            tokens,
            counts: monitoring::Counts::default(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        });
        let healthy = Arc::new(shared.prepare(IstiodCondition::default())?);
        let mut doors = Vec::new();
        for address in &setup.listen {
            let port = Port::bind(*address).await.with_context(|| format!("istiod: {address}"))?;
            doors.push(door(port, &shared, &healthy));
        }
        let monitoring = match setup.monitoring {
            Some(address) => Some(monitor(address, &shared).await?),
            None => None,
        };
        let own = vec![None; doors.len()];
        let conditions = Conditions { general: IstiodCondition::default(), own };
        Ok(Self {
            shared,
            doors,
            monitoring,
            conditions: Mutex::new(conditions),
            _ends: stop.drop_guard(),
        })
    }

    /// The listeners, in the order of the setup, with the ports that 0 became.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|door| door.address).collect()
    }

    /// Where `/version`, `/metrics` and `/ready` are.
    pub fn monitoring(&self) -> Option<SocketAddr> {
        self.monitoring
    }

    /// A token for `pod`, good for 12 hours.
    pub fn mint(&self, pod: &Pod) -> String {
        self.shared.tokens.mint(pod, TOKEN_LIFETIME)
    }

    /// The root of [`Certificate::WrongRoot`] and [`Ca::OtherRoot`], PEM: who trusts it, too, gets
    /// over a rotation.
    pub fn other_root_pem(&self) -> &str {
        self.shared.stranger.root_pem()
    }

    /// Certificates signed, requests for one rejected, discovery streams opened.
    pub fn totals(&self) -> [u64; 3] {
        self.shared.counts.totals()
    }

    /// Breaks or heals every listener that has no condition of its own; in force on return.
    pub async fn set(&self, condition: IstiodCondition) -> anyhow::Result<()> {
        self.lock().general = condition;
        for index in 0..self.doors.len() {
            self.apply(index).await?;
        }
        Ok(())
    }

    /// Breaks or heals the listener at `index` alone; `None` gives it the general condition again.
    pub async fn set_at(
        &self,
        index: usize,
        condition: Option<IstiodCondition>,
    ) -> anyhow::Result<()> {
        *self.lock().own.get_mut(index).context("no such listener")? = condition;
        self.apply(index).await
    }

    async fn apply(&self, index: usize) -> anyhow::Result<()> {
        let condition = {
            let conditions = self.lock();
            conditions.own[index].clone().unwrap_or_else(|| conditions.general.clone())
        };
        let prepared = Arc::new(self.shared.prepare(condition)?);
        let (done, in_force) = oneshot::channel();
        let door = &self.doors[index];
        door.orders.send((prepared, done)).await.ok().context("istiod has ended")?;
        in_force.await.context("istiod has ended")?.with_context(|| door.address.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Conditions> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Whose token a call carries.
    fn bearer(&self, metadata: &MetadataMap) -> Option<Bearer> {
        let token = metadata.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
        self.tokens.review(token)
    }

    fn prepare(&self, condition: IstiodCondition) -> anyhow::Result<Prepared> {
        let tls = Arc::new(self.tls(condition.certificate)?);
        Ok(Prepared { condition, tls })
    }

    fn tls(&self, certificate: Certificate) -> anyhow::Result<ServerConfig> {
        let mut names = NAMES.map(str::to_owned).to_vec();
        if certificate == Certificate::OtherName {
            names = vec!["webhook.istio-system.svc".to_owned()];
        }
        let ends_in = if certificate == Certificate::Expired { -3600 } else { LIFETIME };
        let wrong = certificate == Certificate::WrongRoot;
        let signer = if wrong { &self.stranger } else { &*self.authority };
        let issued = signer.issue(&Subject { spiffe_id: None, names, ends_in })?;
        let mut chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
                .collect::<Result<_, _>>()?;
        if certificate == Certificate::EndlessChain {
            chain = chain.iter().cycle().take(ENDLESS).cloned().collect();
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Serves `port` in the background.
fn door(port: Port, shared: &Arc<Shared>, healthy: &Arc<Prepared>) -> Door {
    let address = port.address();
    let (orders, inbox) = mpsc::channel(1);
    let (publish, current) = watch::channel(Arc::clone(healthy));
    let serving = accept(port, Arc::clone(shared), inbox, publish, current);
    shared.tasks.spawn(shared.stop.clone().run_until_cancelled_owned(serving));
    Door { address, orders }
}

async fn accept(
    mut port: Port,
    shared: Arc<Shared>,
    mut orders: mpsc::Receiver<Order>,
    publish: watch::Sender<Arc<Prepared>>,
    current: watch::Receiver<Arc<Prepared>>,
) {
    let mut open = shared.stop.child_token();
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => {
                let Some((prepared, done)) = order else { return };
                let connection = prepared.condition.connection;
                if connection == Connection::Refused {
                    open.cancel();
                    open = shared.stop.child_token();
                }
                publish.send_replace(prepared);
                // Who ordered may have gone.
                let _ = done.send(port.set(gate(connection)).await);
            }
            (stream, _) = port.accept() => {
                let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
                    continue;
                };
                let serving = connection::serve(stream, Arc::clone(&shared), current.clone());
                let end = open.clone();
                shared.tasks.spawn(async move {
                    end.run_until_cancelled(serving).await;
                    drop(permit);
                });
            }
        }
    }
}

fn gate(connection: Connection) -> Gate {
    match connection {
        Connection::Serves | Connection::Silent | Connection::Garbage => Gate::Open,
        Connection::Refused => Gate::Refused,
        Connection::Dropped => Gate::Dropped,
    }
}

async fn monitor(address: SocketAddr, shared: &Arc<Shared>) -> anyhow::Result<SocketAddr> {
    let port = Port::bind(address).await.with_context(|| format!("istiod: {address}"))?;
    let address = port.address();
    let shared = Arc::clone(shared);
    let stop = shared.stop.clone();
    let serving = {
        let shared = Arc::clone(&shared);
        async move {
            loop {
                let (stream, _) = port.accept().await;
                let end = shared.stop.clone();
                let serving = monitoring::serve(stream, Arc::clone(&shared));
                shared.tasks.spawn(end.run_until_cancelled_owned(serving));
            }
        }
    };
    shared.tasks.spawn(stop.run_until_cancelled_owned(serving));
    Ok(address)
}

//! The side that is dialled, and whoever dialled it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, ServerConfig, TokioRuntime, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::{ALPN, Bounds, Fault, Key, Peer, Service, bounds};
use crate::net::bind_udp;
use crate::tls::shared_server;

/// Bytes of datagrams that wait for this process: a fleet's packets come in bursts.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that wait for [`Listener::accept`].
const ARRIVALS: usize = 1024;
/// A log line about rejected connections comes no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Takes connections. Dropped, or closed, it ends all that it took.
pub struct Listener {
    endpoint: Endpoint,
    bounds: Bounds,
    arrivals: mpsc::Receiver<Result<Peer, Rejected>>,
    peers: Peers,
    tally: Arc<Tally>,
}

/// A connection that did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Who dialled.
    pub remote: SocketAddr,
    /// Why it is none.
    pub fault: Fault,
}

/// What a listener has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections held now, handshakes included.
    pub open: u64,
    /// Connections that came about.
    pub accepted: u64,
    /// Handshakes that came to nothing.
    pub failed: u64,
    /// Connections refused, or whose first packet was dropped, for [`Bounds`].
    pub refused: u64,
}

/// Tells what a listener has done so far, whoever has the listener.
#[derive(Debug, Clone)]
pub struct Meter {
    endpoint: Endpoint,
    tally: Arc<Tally>,
}

impl Meter {
    /// What was done so far.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            open: self.endpoint.open_connections() as u64,
            accepted: read(&self.tally.accepted),
            failed: read(&self.tally.failed),
            refused: read(&self.tally.refused),
        }
    }
}

/// Changes by which key a listener lets others in, whoever has the listener.
#[derive(Debug, Clone)]
pub struct Lock {
    endpoint: Endpoint,
    bounds: Bounds,
}

impl Lock {
    /// Handshakes from now on go by `key`; connections stay.
    pub fn rekey(&self, key: Option<&Key>) {
        self.endpoint.set_server_config(Some(server_config(key, self.bounds)));
    }
}

#[derive(Debug, Default)]
struct Tally {
    accepted: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens on `address`, UDP; port 0 takes a free one. Who dials must prove to hold `key`;
    /// without one anybody may. Must be called within a tokio runtime. Fails with
    /// [`Fault::Local`] only.
    pub fn bind(address: SocketAddr, key: Option<&Key>, bounds: Bounds) -> Result<Self, Fault> {
        let socket = bind_udp(address, RECEIVE_BUFFER)?;
        let config = Some(server_config(key, bounds));
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(bounds::endpoint(), config, socket, runtime)?;
        let (arrived, arrivals) = mpsc::channel(ARRIVALS);
        let (peers, tally) = (Peers::default(), Arc::<Tally>::default());
        let porter = Porter {
            endpoint: endpoint.clone(),
            bounds,
            arrived,
            peers: peers.clone(),
            tally: Arc::clone(&tally),
        };
        tokio::spawn(porter.run());
        Ok(Self { endpoint, bounds, arrivals, peers, tally })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Result<SocketAddr, Fault> {
        Ok(self.endpoint.local_addr()?)
    }

    /// The next connection, or what kept one from coming about; `None` once it is closed.
    ///
    /// Of rejected ones some are left out when nobody takes them.
    pub async fn accept(&mut self) -> Option<Result<Peer, Rejected>> {
        self.arrivals.recv().await
    }

    /// Answers everybody who dials with `service` until `stop`, then closes.
    pub async fn run<S: Service>(mut self, service: S, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut told: Option<Instant> = None;
        loop {
            let arrival = tokio::select! {
                () = stop.cancelled() => break,
                arrival = self.accept() => arrival,
            };
            match arrival {
                Some(Ok(peer)) => {
                    let (service, stop) = (service.clone(), stop.clone());
                    tasks.spawn(async move { peer.serve(service, stop).await });
                }
                Some(Err(Rejected { remote, fault })) => {
                    if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                        let failed = self.counts().failed;
                        tracing::warn!(%remote, %fault, failed, "a control connection was rejected");
                        told = Some(Instant::now());
                    }
                }
                None => break,
            }
        }
        self.close("the controller ends").await;
        tasks.close();
        tasks.wait().await;
    }

    /// What changes the key while the listener runs.
    pub fn lock(&self) -> Lock {
        Lock { endpoint: self.endpoint.clone(), bounds: self.bounds }
    }

    /// Whoever is connected, for others to look at.
    pub fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.meter().counts()
    }

    /// What tells [`Self::counts`] while the listener runs.
    pub fn meter(&self) -> Meter {
        Meter { endpoint: self.endpoint.clone(), tally: Arc::clone(&self.tally) }
    }

    /// Ends every connection; the other sides are told `why`.
    pub async fn close(&self, why: &str) {
        self.endpoint.close(VarInt::from_u32(0), why.as_bytes());
        let deadline = Instant::now() + Duration::from_secs(1);
        let _ = timeout_at(deadline, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0), b"the listener ends");
    }
}

fn server_config(key: Option<&Key>, bounds: Bounds) -> ServerConfig {
    let crypto = QuicServerConfig::try_from(shared_server(key, ALPN));
    let crypto = crypto.expect("TLS 1.3 with AES-128-GCM");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(bounds::transport(false)).max_incoming(bounds.max_handshakes);
    config
}

/// Whoever is connected to a listener.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<BTreeMap<u64, Peer>>>);

impl Peers {
    /// All of them now, by [`Peer::id`].
    pub fn all(&self) -> Vec<Peer> {
        self.0.lock().expect("no panic while held").values().cloned().collect()
    }

    /// The one with this [`Peer::id`], unless it has left.
    pub fn find(&self, id: u64) -> Option<Peer> {
        self.0.lock().expect("no panic while held").get(&id).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().expect("no panic while held").len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enter(&self, peer: &Peer) {
        self.0.lock().expect("no panic while held").insert(peer.id(), peer.clone());
    }

    fn leave(&self, peer: &Peer) {
        self.0.lock().expect("no panic while held").remove(&peer.id());
    }
}

/// Lets in whoever dials.
struct Porter {
    endpoint: Endpoint,
    bounds: Bounds,
    arrived: mpsc::Sender<Result<Peer, Rejected>>,
    peers: Peers,
    tally: Arc<Tally>,
}

impl Porter {
    async fn run(self) {
        let places = Arc::new(Semaphore::new(self.bounds.max_handshakes));
        while let Some(incoming) = self.endpoint.accept().await {
            self.receive(incoming, &places);
        }
    }

    fn receive(&self, incoming: Incoming, places: &Arc<Semaphore>) {
        if self.endpoint.open_connections() >= self.bounds.max_connections {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return incoming.refuse();
        }
        let busy = places.available_permits() <= self.bounds.max_handshakes * 3 / 4;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // Cannot fail: that was asked just now.
            let _ = incoming.retry();
            return;
        }
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return incoming.ignore();
        };
        let (arrived, peers) = (self.arrived.clone(), self.peers.clone());
        tokio::spawn(welcome(incoming, place, arrived, peers, Arc::clone(&self.tally)));
    }
}

/// One connection from its handshake to its end.
async fn welcome(
    incoming: Incoming,
    place: OwnedSemaphorePermit,
    arrived: mpsc::Sender<Result<Peer, Rejected>>,
    peers: Peers,
    tally: Arc<Tally>,
) {
    let address = incoming.remote_address();
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let shaken = match timeout_at(deadline, incoming).await {
        Ok(shaken) => shaken.map_err(Fault::from),
        Err(_) => Err(Fault::Timeout),
    };
    drop(place);
    match shaken {
        Ok(connection) => {
            let peer = Peer::new(connection);
            tally.accepted.fetch_add(1, Ordering::Relaxed);
            peers.enter(&peer);
            if arrived.send(Ok(peer.clone())).await.is_ok() {
                drop(arrived);
                peer.closed().await;
            }
            peers.leave(&peer);
        }
        Err(fault) => {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            let remote = SocketAddr::new(address.ip().to_canonical(), address.port());
            let _ = arrived.try_send(Err(Rejected { remote, fault }));
        }
    }
}

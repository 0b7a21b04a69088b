//! HBONE connections to other ztunnels, kept for the next request between the same two pods.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{Method, Request, StatusCode, Version};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;

use super::state::{Part, State};
use super::stats::Flag;
use super::tunnel::{self, Tunnel};
use crate::lab::world::{Pod, Service};
use crate::spec::HBONE_PORT;

/// Streams of one connection at once; then another is opened.
const MAX_STREAMS: usize = 100;

/// Connections by source and destination pod.
#[derive(Default)]
pub(super) struct Pool {
    places: Mutex<HashMap<(IpAddr, IpAddr), Arc<Slot>>>,
}

impl Pool {
    /// Keeps nothing any more: connections end with their last stream.
    pub(super) fn clear(&self) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// At most one connection; whoever opens it holds the lock, the others wait for it.
type Slot = tokio::sync::Mutex<Option<Pooled>>;

#[derive(Clone)]
struct Pooled {
    sender: SendRequest<Bytes>,
    used: Instant,
    /// One clone per stream.
    streams: Arc<()>,
}

/// A request through a tunnel that is open; counts as a stream until dropped.
pub(super) struct Opened {
    pub(super) tunnel: Tunnel,
    pub(super) stream: Arc<()>,
}

/// Asks the ztunnel of `destination` for a connection to its `port`, in the name of `source`.
pub(super) async fn connect(
    state: &Arc<State>,
    source: &Pod,
    client: SocketAddr,
    destination: &Pod,
    port: u16,
    service: Option<&Service>,
) -> Result<Opened, Flag> {
    let deadline = Instant::now() + state.timing.stuck;
    let pooled = timeout_at(deadline, pooled(state, source, destination)).await;
    let mut pooled = pooled.unwrap_or(Err(Flag::TlsFailure))?;
    let stream = Arc::clone(&pooled.streams);
    let host = service.map(|it| format!(";host={}", it.hostname())).unwrap_or_default();
    let (namespace, name) = (&source.namespace, &source.name);
    let request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(SocketAddr::new(destination.ip, port).to_string())
        .header("baggage", format!("k8s.namespace.name={namespace},service.name={name}"))
        .header("forwarded", format!("for=\"{client}\"{host}"))
        .body(())
        .map_err(|_| Flag::Connect)?;
    let failed = |_| Flag::H2Handshake;
    let (response, outgoing) = pooled.sender.send_request(request, false).map_err(failed)?;
    let response = response.await.map_err(failed)?;
    match response.status() {
        StatusCode::OK => {
            let tunnel = Tunnel::new(outgoing, response.into_body());
            Ok(Opened { tunnel, stream })
        }
        _ => Err(Flag::Connect),
    }
}

/// A connection that takes another stream: the one that is kept, or a new one.
async fn pooled(state: &Arc<State>, source: &Pod, destination: &Pod) -> Result<Pooled, Flag> {
    let slot = {
        let mut places = state.pool.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry((source.ip, destination.ip)).or_default())
    };
    let mut held = slot.lock().await;
    if let Some(pooled) = held.as_mut()
        && Arc::strong_count(&pooled.streams) <= MAX_STREAMS
        && let Ok(sender) = pooled.sender.clone().ready().await
    {
        pooled.sender = sender;
        pooled.used = Instant::now();
        return Ok(pooled.clone());
    }
    *held = None;
    let opened = open(state, source, destination).await?;
    *held = Some(opened.clone());
    Ok(opened)
}

/// TCP, TLS and HTTP/2 to port 15008 of `destination`.
async fn open(state: &Arc<State>, source: &Pod, destination: &Pod) -> Result<Pooled, Flag> {
    let credential = state.now(|condition| state.credentials.of(source, condition));
    let config = credential.and_then(|it| it.client(destination.spiffe_id()).ok());
    let connector = TlsConnector::from(Arc::new(config.ok_or(Flag::Identity)?));
    if state.now(|condition| condition.gone_pods.contains(&destination.ip)) {
        sleep(state.timing.gone).await;
        return Err(Flag::Connect);
    }
    let peer = SocketAddr::new(destination.ip, HBONE_PORT);
    let stream = state.dial(peer, source.ip).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Flag::NetworkPolicy,
        _ => Flag::Connect,
    })?;
    // Not sent, and not verified: the identity is.
    let nobody = ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into());
    let stream = connector.connect(nobody, stream).await.map_err(|_| Flag::TlsFailure)?;
    let handshake = Builder::new()
        .initial_window_size(tunnel::STREAM_WINDOW)
        .initial_connection_window_size(tunnel::CONNECTION_WINDOW)
        .max_frame_size(tunnel::FRAME)
        .initial_max_send_streams(MAX_STREAMS)
        .max_header_list_size(16 * 1024)
        .max_send_buffer_size(tunnel::STREAM_WINDOW as usize)
        .enable_push(false)
        .handshake(stream)
        .await;
    let (sender, mut connection) = handshake.map_err(|_| Flag::H2Handshake)?;
    let (ping_pong, timing) = (connection.ping_pong(), state.timing);
    state.spawn(Part::Process, async move {
        tokio::select! {
            _ = connection => {}
            () = tunnel::watch_over(ping_pong, timing) => {}
        }
    });
    Ok(Pooled { sender, used: Instant::now(), streams: Arc::default() })
}

/// Gives up connections that were not used for long, until the stand-in stops.
pub(super) async fn sweep(state: Arc<State>) {
    let idle = state.timing.pool_idle;
    loop {
        sleep(idle / 2).await;
        let slots: Vec<_> = {
            let places = state.pool.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.values().cloned().collect()
        };
        for slot in slots {
            // Whoever has the lock uses it.
            let Ok(mut held) = slot.try_lock() else { continue };
            if held.as_ref().is_some_and(|pooled| pooled.used.elapsed() >= idle) {
                *held = None;
            }
        }
    }
}

//! Port 15008: mTLS, HTTP/2 CONNECT, and then the application.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::credentials;
use super::plaintext::{CAPTURE_PORTS, application, close};
use super::relay::relay;
use super::state::{Part, State};
use super::stats::{self, Flag};
use super::tunnel::{self, Tunnel};
use crate::lab::world::{Pod, Service};

/// Who is connected to which pod.
#[derive(Clone)]
struct Caller {
    /// The pod, and how its address was dialled.
    pod: IpAddr,
    dialled: IpAddr,
    address: SocketAddr,
    identity: Option<String>,
    part: Part,
}

/// Serves one connection to port 15008 of the pod at `pod`.
pub(super) async fn serve(
    state: Arc<State>,
    pod: IpAddr,
    part: Part,
    stream: TcpStream,
    client: SocketAddr,
) {
    if state.is_reset() {
        return close(stream).await;
    }
    if state.was_mute().await || !state.knows_itself().await {
        return;
    }
    let Some(workload) = state.world.pod_at(pod) else { return };
    let credential = state.now(|condition| state.credentials.of(workload, condition));
    let (Some(credential), Ok(local)) = (credential, stream.local_addr()) else {
        return close(stream).await;
    };
    let _ = stream.set_nodelay(true);
    let accepted = TlsAcceptor::from(credential.server()).accept(stream);
    let deadline = Instant::now() + state.timing.stuck;
    let Ok(Ok(stream)) = timeout_at(deadline, accepted).await else { return };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let caller = Caller {
        pod,
        dialled: local.ip().to_canonical(),
        address: client,
        identity: leaf.and_then(credentials::spiffe_id),
        part,
    };
    let shaken = Builder::new()
        .initial_window_size(tunnel::STREAM_WINDOW)
        .initial_connection_window_size(tunnel::CONNECTION_WINDOW)
        .max_frame_size(tunnel::FRAME)
        .max_header_list_size(64 * 1024)
        .max_send_buffer_size(400 * 1024)
        .max_concurrent_streams(200)
        .handshake(stream);
    let Ok(Ok(connection)) = timeout_at(deadline, shaken).await else { return };
    streams(&state, &caller, connection).await;
}

/// Serves each stream of a connection until it ends, the peer is gone, or the stand-in drains.
async fn streams<S>(state: &Arc<State>, caller: &Caller, mut connection: Connection<S, Bytes>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let pings = tunnel::watch_over(connection.ping_pong(), state.timing);
    tokio::pin!(pings);
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                // A peer that speaks nonsense is its own business.
                let Some(Ok((request, respond))) = accepted else { return };
                let answered = answer(Arc::clone(state), caller.clone(), request, respond);
                state.spawn(caller.part, answered);
            }
            () = &mut pings => {
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                break;
            }
            () = state.draining.cancelled() => {
                connection.graceful_shutdown();
                break;
            }
        }
    }
    let _ = std::future::poll_fn(|context| connection.poll_closed(context)).await;
}

/// Serves one request.
async fn answer(
    state: Arc<State>,
    caller: Caller,
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let reject = |respond: &mut SendResponse<Bytes>, status| {
        let mut response = Response::new(());
        *response.status_mut() = status;
        // The stream may be over already.
        let _ = respond.send_response(response, true);
    };
    if state.is_reset() {
        return respond.send_reset(h2::Reason::INTERNAL_ERROR);
    }
    if !state.knows_itself().await {
        return reject(&mut respond, StatusCode::SERVICE_UNAVAILABLE);
    }
    let Some(pod) = state.world.pod_at(caller.pod) else { return };
    let (port, service) = match wanted(&state, caller.dialled, pod, &request) {
        Ok(wanted) => wanted,
        Err(status) => return reject(&mut respond, status),
    };
    let mut counted = state.stats.opened(&stats::Connection {
        reporter: "destination",
        mutual_tls: true,
        source: state.world.pod_at(caller.address.ip()),
        source_principal: caller.identity,
        destination: Some(pod),
        service,
    });
    if state.now(|condition| condition.denies) {
        counted.failed(Flag::Deny);
        return reject(&mut respond, StatusCode::UNAUTHORIZED);
    }
    let upstream = match state.now(|now| application(state.place, now, pod, port)) {
        Some(address) => state.dial(address, caller.address.ip()).await.ok(),
        None => None,
    };
    let Some(upstream) = upstream else {
        counted.failed(Flag::Connect);
        return reject(&mut respond, StatusCode::SERVICE_UNAVAILABLE);
    };
    let Ok(outgoing) = respond.send_response(Response::new(()), false) else { return };
    let tunnel = Tunnel::new(outgoing, request.into_body());
    tokio::select! {
        () = relay(upstream, tunnel, state.watch()) => {}
        // A policy that comes later ends what it forbids.
        () = state.until(|condition| condition.denies) => counted.failed(Flag::Deny),
    }
}

/// The port of the pod that a CONNECT leads to, and the Service that it named or that has the port.
fn wanted<'a, B>(
    state: &'a State,
    dialled: IpAddr,
    pod: &Pod,
    request: &Request<B>,
) -> Result<(u16, Option<&'a Service>), StatusCode> {
    if request.method() != Method::CONNECT {
        return Err(StatusCode::BAD_REQUEST);
    }
    let authority = request.uri().authority().ok_or(StatusCode::BAD_REQUEST)?;
    let port = authority.port_u16().ok_or(StatusCode::BAD_REQUEST)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let services = &state.world.services;
    let (port, service) = match host.parse::<IpAddr>() {
        Ok(ip) if ip != dialled => return Err(StatusCode::BAD_REQUEST),
        Ok(_) => {
            let behind = |it: &&Service| {
                it.ports.iter().any(|(_, target)| *target == port)
                    && it.namespace == pod.namespace
                    && it.endpoints.contains(&pod.name)
            };
            (port, services.iter().find(behind))
        }
        Err(_) => {
            let service = services.iter().find(|it| it.hostname() == host);
            let target = service.and_then(|it| it.ports.iter().find(|(number, _)| *number == port));
            (target.ok_or(StatusCode::SERVICE_UNAVAILABLE)?.1, service)
        }
    };
    if CAPTURE_PORTS.contains(&port) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    Ok((port, service))
}

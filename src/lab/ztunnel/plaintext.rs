//! Plaintext to an ambient pod: every port is accepted, then policy and application decide.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Condition;
use super::relay::relay;
use super::state::{Place, State};
use super::stats::{Connection, Flag};
use crate::lab::world::{Pod, Service};
use crate::spec::HBONE_PORT;

/// Where ztunnel listens in each pod's namespace: nothing is forwarded there.
pub(super) const CAPTURE_PORTS: [u16; 3] = [OUTBOUND_PORT, INBOUND_PORT, HBONE_PORT];
/// Takes captured outbound connections.
pub(super) const OUTBOUND_PORT: u16 = 15001;
/// Takes captured plaintext inbound connections.
pub(super) const INBOUND_PORT: u16 = 15006;

/// About as long as the real one takes to look at its policies. A client that speaks first has
/// done so by then, and is reset; one that waits sees an orderly end.
const LOOK: Duration = Duration::from_millis(1);

/// Serves one connection to `port` of the pod at `pod`.
pub(super) async fn serve(
    state: Arc<State>,
    pod: IpAddr,
    port: u16,
    stream: TcpStream,
    client: SocketAddr,
) {
    if state.was_mute().await || state.is_reset() || CAPTURE_PORTS.contains(&port) {
        return close(stream).await;
    }
    let (true, Some(workload)) = (state.knows_itself().await, state.world.pod_at(pod)) else {
        return;
    };
    let mut counted = state.stats.opened(&Connection {
        reporter: "destination",
        mutual_tls: false,
        source: state.world.pod_at(client.ip()),
        source_principal: None,
        destination: Some(workload),
        service: service(&state, workload, port),
    });
    let strict = workload.port(port).is_some_and(|it| it.strict);
    let denied = |condition: &Condition| {
        let strict = strict || condition.strict.contains(&(pod, port));
        condition.denies || strict && !condition.policy_gap
    };
    if state.now(denied) {
        counted.failed(Flag::Deny);
        return close(stream).await;
    }
    let upstream = match state.now(|now| application(state.place, now, workload, port)) {
        Some(address) => state.dial(address, client.ip()).await.ok(),
        None => None,
    };
    let Some(upstream) = upstream else {
        counted.failed(Flag::Connect);
        return close(stream).await;
    };
    let _ = stream.set_nodelay(true);
    tokio::select! {
        () = relay(upstream, stream, state.watch()) => {}
        // A policy that comes later ends what it forbids.
        () = state.until(denied) => counted.failed(Flag::Deny),
    }
}

/// Serves one connection to a pod that is not captured.
pub(super) async fn bypass(
    state: Arc<State>,
    pod: IpAddr,
    port: u16,
    stream: TcpStream,
    client: SocketAddr,
) {
    let Some(workload) = state.world.pod_at(pod) else { return };
    let address = state.now(|now| application(state.place, now, workload, port));
    let Some(address) = address else { return };
    let Ok(upstream) = state.dial(address, client.ip()).await else { return };
    let _ = stream.set_nodelay(true);
    relay(upstream, stream, state.watch()).await;
}

/// Where the application behind `port` of `pod` listens.
pub(super) fn application(
    place: Place,
    condition: &Condition,
    pod: &Pod,
    port: u16,
) -> Option<SocketAddr> {
    if condition.closed_ports.contains(&(pod.ip, port)) {
        return None;
    }
    match (pod.port(port), place) {
        (Some(port), _) => port.application,
        (None, Place::Loopback) => None,
        // Let the kernel say that nobody listens.
        (None, Place::Namespace) => Some(SocketAddr::new(pod.ip, port)),
    }
}

fn service<'a>(state: &'a State, pod: &Pod, port: u16) -> Option<&'a Service> {
    state.world.services.iter().find(|service| {
        service.namespace == pod.namespace
            && service.endpoints.contains(&pod.name)
            && service.ports.iter().any(|(_, target)| *target == port)
    })
}

/// Closes without a byte: RST when bytes of the client are there, FIN when not.
pub(super) async fn close(stream: TcpStream) {
    let _ = timeout_at(Instant::now() + LOOK, stream.readable()).await;
}

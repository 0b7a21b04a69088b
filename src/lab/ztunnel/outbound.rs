//! What leaves a captured pod: accepted at once, then HBONE to ambient pods and passed through to
//! everybody else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::plaintext::close;
use super::pool;
use super::relay::relay;
use super::state::State;
use super::stats::{Connection, Flag};
use crate::lab::world::{Pod, Service};

/// Where a destination leads.
struct Route<'a> {
    /// An endpoint of the Service, or the destination itself.
    address: SocketAddr,
    pod: Option<&'a Pod>,
    service: Option<&'a Service>,
}

/// Serves one connection of the pod at `source` to `destination`.
pub(super) async fn serve(
    state: Arc<State>,
    source: IpAddr,
    destination: SocketAddr,
    stream: TcpStream,
    client: SocketAddr,
) {
    if state.is_reset() {
        return close(stream).await;
    }
    if state.was_mute().await || !state.knows_itself().await {
        return;
    }
    let (Some(source), Some(route)) = (state.world.pod_at(source), route(&state, destination))
    else {
        return close(stream).await;
    };
    let hbone = route.pod.filter(|pod| pod.ambient);
    let mut counted = state.stats.opened(&Connection {
        reporter: "source",
        mutual_tls: hbone.is_some(),
        source: Some(source),
        source_principal: hbone.map(|_| source.spiffe_id()),
        destination: route.pod,
        service: route.service,
    });
    let _ = stream.set_nodelay(true);
    let Some(peer) = hbone else {
        match pass_through(&state, source.ip, route.address).await {
            Some(upstream) => relay(stream, upstream, state.watch()).await,
            None => {
                counted.failed(Flag::Connect);
                close(stream).await;
            }
        }
        return;
    };
    let port = route.address.port();
    match pool::connect(&state, source, client, peer, port, route.service).await {
        Ok(opened) => {
            relay(stream, opened.tunnel, state.watch()).await;
            drop(opened.stream);
        }
        Err(flag) => {
            counted.failed(flag);
            close(stream).await;
        }
    }
}

/// Serves one connection of a pod that is not captured: to the endpoint that kube-proxy would pick.
pub(super) async fn bypass(
    state: Arc<State>,
    source: IpAddr,
    destination: SocketAddr,
    stream: TcpStream,
) {
    let Some(route) = route(&state, destination) else { return };
    if let Some(upstream) = pass_through(&state, source, route.address).await {
        let _ = stream.set_nodelay(true);
        relay(stream, upstream, state.watch()).await;
    }
}

async fn pass_through(state: &State, source: IpAddr, to: SocketAddr) -> Option<TcpStream> {
    if state.now(|condition| condition.gone_pods.contains(&to.ip())) {
        sleep(state.timing.gone).await;
        return None;
    }
    state.dial(to, source).await.ok()
}

/// `None` when the Service has no such port or no endpoint.
fn route(state: &State, destination: SocketAddr) -> Option<Route<'_>> {
    let world = &state.world;
    let Some(service) = world.service_at(destination.ip()) else {
        let pod = world.pod_at(destination.ip());
        return Some(Route { address: destination, pod, service: None });
    };
    let (_, target) = service.ports.iter().find(|(port, _)| *port == destination.port())?;
    let endpoints: Vec<_> = world.endpoints(service).collect();
    let pod = endpoints[state.turn(endpoints.len())?];
    let address = SocketAddr::new(pod.ip, *target);
    Some(Route { address, pod: Some(pod), service: Some(service) })
}

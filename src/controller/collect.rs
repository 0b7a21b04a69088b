//! Pulls the windows of one agent, over the connection that it made, for as long as that lasts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::channel::Peer;
use crate::controller::Shared;
use crate::controller::roster::Seat;
use crate::controller::sighting::sightings;

/// Time between two pulls of one agent: the length of a window.
const EVERY: Duration = Duration::from_secs(10);
/// How long an agent may take to tell its windows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest body of windows, bytes.
const MOST: usize = 8 * 1024 * 1024;

/// Pulls what `seat` sees until its connection or the controller ends.
pub(super) async fn follow(shared: Arc<Shared>, seat: Seat, peer: Peer, stop: CancellationToken) {
    // The first soon, so that a restarted controller knows within seconds; the others spread.
    let mut at = Instant::now() + offset(&seat) / 4;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = peer.closed() => break,
            () = tokio::time::sleep_until(at) => {}
        }
        let told = pull(&peer).await;
        shared.metrics.window_pulled(told.is_ok());
        match told {
            Ok(seen) => shared.roster.saw(&seat, seen),
            Err(problem) => {
                tracing::debug!(node = seat.node, vantage = %seat.vantage, problem, "no windows");
            }
        }
        at = Instant::now() + EVERY;
    }
    shared.roster.lost(&seat, peer.id());
}

async fn pull(peer: &Peer) -> Result<Vec<crate::controller::sighting::Sighting>, String> {
    let request = Request::get("/v1/window").body(Bytes::new()).expect("a valid request");
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let answer = peer.ask(request, deadline, MOST).await.map_err(|fault| fault.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    sightings(answer.body()).map_err(|error| error.to_string())
}

/// When within [`EVERY`] an agent's turn is: all of a fleet that connect at once are spread.
fn offset(seat: &Seat) -> Duration {
    let mut hasher = DefaultHasher::new();
    seat.hash(&mut hasher);
    EVERY.mul_f64((hasher.finish() % 1024) as f64 / 1024.0)
}

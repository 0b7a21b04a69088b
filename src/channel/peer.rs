//! The other side of a connection, whichever of the two dialled.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use quinn::{Connection, VarInt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::channel::{Fault, Service, exchange};

/// The other side of a connection. Clones are the same connection; it ends when it is closed, or
/// with its last clone.
#[derive(Clone)]
pub struct Peer {
    connection: Connection,
    id: u64,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn new(connection: Connection) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { connection, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// A number that no other connection of this process has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the other side is seen from here.
    pub fn remote_address(&self) -> SocketAddr {
        let address = self.connection.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// Asks the other side, whose answer must be complete at `deadline` and have at most
    /// `max_body` bytes of body. Any status is an answer.
    pub async fn ask(
        &self,
        request: Request<Bytes>,
        deadline: Instant,
        max_body: usize,
    ) -> Result<Response<Bytes>, Fault> {
        let exchange = async {
            let streams = self.connection.open_bi().await?;
            exchange::ask(streams, request, max_body).await
        };
        let answer = timeout_at(deadline, exchange).await.unwrap_or(Err(Fault::Timeout));
        // What ended the connection says more than what that did to the exchange.
        answer.map_err(|fault| self.connection.close_reason().map_or(fault, Fault::from))
    }

    /// Answers what the other side asks, up to [`super::STREAMS`] exchanges at once, until `stop`
    /// or the end of the connection, which it gives. Exchanges that are under way end with it.
    pub async fn serve<S: Service>(&self, service: S, stop: CancellationToken) -> Option<Fault> {
        let mut exchanges = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return None,
                Some(_) = exchanges.join_next() => continue,
                accepted = self.connection.accept_bi() => accepted,
            };
            match accepted {
                Ok(streams) => {
                    exchanges.spawn(exchange::answer(streams, self.clone(), service.clone()));
                }
                Err(error) => return Some(error.into()),
            }
        }
    }

    /// Waits for the end of the connection, and gives its cause.
    pub async fn closed(&self) -> Fault {
        self.connection.closed().await.into()
    }

    /// Whether the connection is not known to have ended.
    pub fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Ends the connection; the other side is told `why`.
    pub fn close(&self, why: &str) {
        self.connection.close(VarInt::from_u32(0), why.as_bytes());
    }
}

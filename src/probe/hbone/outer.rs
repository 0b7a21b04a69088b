//! The tunnel's own connection: mTLS and HTTP/2, kept from attempt to attempt if it is to.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::Instant;

use super::Peer;
use super::tunnel::Tunnel;
use crate::failure::{Failure, Fault, Phase};
use crate::net::Stream;
use crate::outcome::{HboneFacts, TlsFacts};
use crate::probe::http::{Http2, Tally, Watch, Wire};
use crate::probe::journal::{Journal, bounded};
use crate::tls;

/// HTTP/2 as a tunnel and its connection share it; both live in one task.
pub(super) type Shared = Arc<Mutex<Http2>>;

/// A connection that takes CONNECT.
pub(super) struct Outer {
    http2: Shared,
    watch: Watch,
    tally: Tally,
    carried_before: u64,
    remote_address: Option<SocketAddr>,
    tls: Option<TlsFacts>,
}

/// The answer to CONNECT.
pub(super) struct Opened {
    /// 200 is a way through.
    pub(super) status: StatusCode,
    /// The stream, whatever the status.
    pub(super) tunnel: Tunnel,
}

pub(super) fn locked(http2: &Shared) -> MutexGuard<'_, Http2> {
    http2.lock().expect("no panic while it is held")
}

impl Outer {
    /// The phases before the tunnel.
    pub(super) async fn dial(peer: &Peer, journal: &mut Journal) -> Result<Self, Failure> {
        let stream = peer.dial(journal).await?;
        let stamps = stream.stamps();
        let begun = Self::begin(peer, journal, stream).await;
        let (http2, watch, tls) = begun.inspect_err(|_| journal.note_connection(&stamps))?;
        Ok(Self {
            http2: Arc::new(Mutex::new(http2)),
            watch,
            tally: Tally::new(stamps),
            carried_before: 0,
            remote_address: journal.facts.remote_address,
            tls: Some(tls),
        })
    }

    /// The handshake; then, as part of no phase, the peer's verdict on our certificate, whose
    /// rejection fails in `tunnel`.
    async fn begin(
        peer: &Peer,
        journal: &mut Journal,
        stream: Stream,
    ) -> Result<(Http2, Watch, TlsFacts), Failure> {
        let (mut stream, facts) = peer.shake(journal, stream).await?;
        let deadline = journal.phase_deadline(Phase::Tunnel);
        let beginning = async {
            tls::settle(&mut stream, &facts).await?;
            let wire = Wire::tls(stream);
            let watch = wire.watch();
            Ok((Http2::begin(wire).await?, watch))
        };
        let begun = bounded(deadline, Instant::now(), beginning).await;
        let (http2, watch) = begun.map_err(|fault| fault.during(Phase::Tunnel))?;
        Ok((http2, watch, facts))
    }

    /// Whether this connection, kept from an earlier attempt, can take another CONNECT; if so, its
    /// facts are the attempt's.
    pub(super) async fn resume(&mut self, journal: &mut Journal) -> bool {
        // Lets the reactor look: what arrived since it last did is not known yet.
        tokio::task::yield_now().await;
        if !self.is_ready().await {
            return false;
        }
        self.tally.restart();
        self.carried_before = self.watch.carried_bytes();
        journal.facts.remote_address = self.remote_address;
        journal.facts.tls = self.tls.clone();
        true
    }

    /// Whether another CONNECT could be sent now. Looks at what arrived meanwhile.
    pub(super) async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            let mut http2 = locked(&self.http2);
            Poll::Ready(!http2.drive(context) && http2.is_ready(context))
        })
        .await
    }

    /// Sends CONNECT and awaits its answer; comes with the time that took.
    pub(super) async fn connect(
        &mut self,
        connect: Request<()>,
    ) -> Result<(Opened, Duration), Fault> {
        self.watch.mark();
        let began = Instant::now();
        let (mut response, send) = locked(&self.http2).send(connect, false)?;
        let answered =
            poll_fn(|context| locked(&self.http2).poll_head(&mut response, context)).await?;
        let asked = self.watch.stamps().first_write().unwrap_or(began);
        let first = self.watch.first_reply().unwrap_or_else(Instant::now);
        let status = answered.status();
        let tunnel = Tunnel::new(Arc::clone(&self.http2), send, answered.into_body());
        Ok((Opened { status, tunnel }, first.saturating_duration_since(asked)))
    }

    /// The bytes of `tunnel` for an HTTP library.
    pub(super) fn wire(&self, tunnel: Tunnel) -> Wire {
        Wire::carried(tunnel, &self.watch)
    }

    /// Writes into the journal what the connection counted in this attempt, and what the peer
    /// opened it with.
    pub(super) fn note(&self, journal: &mut Journal) {
        self.tally.note(journal);
        let facts = journal.facts.hbone.get_or_insert_with(HboneFacts::default);
        facts.settings = self.watch.settings();
        // The body of another answer comes from the peer itself.
        if facts.status == Some(StatusCode::OK.as_u16()) {
            facts.reply_bytes = Some(self.watch.carried_bytes() - self.carried_before);
        }
    }

    /// Ends the connection with GOAWAY.
    pub(super) async fn close(self) {
        let http2 = Arc::into_inner(self.http2).map(Mutex::into_inner);
        if let Some(Ok(http2)) = http2 {
            http2.close().await;
        }
    }
}

impl std::fmt::Debug for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outer").field("watch", &self.watch).finish_non_exhaustive()
    }
}

/// CONNECT as HBONE has it: method and authority, nothing else.
pub(super) fn connect_to(authority: http::uri::Authority) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::CONNECT;
    *request.uri_mut() = authority.into();
    *request.version_mut() = http::Version::HTTP_2;
    request
}

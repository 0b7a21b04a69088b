//! From a URL to a connection that speaks HTTP, through the phases `resolve`, `connect`, `tls`.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;

use crate::failure::{Failure, Fault, Phase};
use crate::net::Resolver;
use crate::outcome::TlsFacts;
use crate::probe::http::body::Sink;
use crate::probe::http::exchange::{Connection, Reply};
use crate::probe::http::request::Question;
use crate::probe::http::wire::{Watch, Wire};
use crate::probe::journal::Journal;
use crate::probe::tcp;
use crate::spec::{HttpUrl, HttpVersion, IpPreference};

/// What fresh connections are made with.
#[derive(Debug)]
pub(in crate::probe) struct Dialer {
    pub(in crate::probe) resolver: Arc<Resolver>,
    pub(in crate::probe) ip: IpPreference,
    pub(in crate::probe) version: HttpVersion,
}

/// A connection with what was learnt of it, and what of its counters is not this attempt's.
pub(in crate::probe) struct Line {
    connection: Connection,
    watch: Watch,
    remote_address: Option<std::net::SocketAddr>,
    tls: Option<TlsFacts>,
    received_before: u64,
    retransmits_before: u32,
}

/// A response whose head has arrived.
pub(in crate::probe) struct Answer {
    /// Status, headers, and the body to be read.
    pub(in crate::probe) response: Response<Reply>,
    /// When the request was handed to the kernel.
    pub(in crate::probe) asked: Instant,
    /// When the first bytes of the response reached this machine.
    pub(in crate::probe) first: Instant,
}

/// A body was read to its end.
#[derive(Debug, Clone, Copy)]
pub(in crate::probe) struct Whole {
    /// Trailer fields.
    pub(in crate::probe) trailers: u32,
    /// When the last bytes reached this machine.
    pub(in crate::probe) last: Instant,
}

impl Dialer {
    /// Opens a fresh connection to the origin of `url`.
    pub(in crate::probe) async fn dial(
        &self,
        journal: &mut Journal,
        url: &HttpUrl,
    ) -> Result<Line, Failure> {
        let stream = tcp::open(journal, &self.resolver, &url.endpoint(), self.ip).await?;
        let wire = Wire::plain(stream);
        let http2 = self.version == HttpVersion::Http2;
        let watch = wire.watch();
        let begun = async {
            if http2 {
                Connection::http2(wire).await
            } else {
                Connection::http1(wire).await
            }
        };
        let begun = begun.await;
        let connection = begun.map_err(|fault| {
            journal.note_connection(watch.stamps());
            fault.during(Phase::Processing)
        })?;
        Ok(Line {
            connection,
            watch,
            remote_address: journal.facts.remote_address,
            tls: journal.facts.tls.clone(),
            received_before: 0,
            retransmits_before: 0,
        })
    }
}

impl Line {
    /// Whether this connection, kept from an earlier attempt, can take a request; if so, its
    /// facts are the attempt's.
    pub(in crate::probe) async fn resume(&mut self, journal: &mut Journal) -> bool {
        if !self.connection.is_ready().await {
            return false;
        }
        let stamps = self.watch.stamps();
        self.received_before = stamps.received();
        self.retransmits_before = stamps.tcp_facts().map_or(0, |facts| facts.retransmits);
        journal.facts.remote_address = self.remote_address;
        journal.facts.tls = self.tls.clone();
        true
    }

    /// The request for `question` in the version that this connection speaks; `http1` is the
    /// one of HTTP/1.1, which is made beforehand.
    pub(in crate::probe) fn request(
        &self,
        question: &Question,
        url: &HttpUrl,
        http1: &Request<Full<Bytes>>,
    ) -> Request<Full<Bytes>> {
        match self.connection {
            Connection::Http1(_) => http1.clone(),
            Connection::Http2(_) => question.http2(url),
        }
    }

    /// Sends a request and awaits the head of the response.
    pub(in crate::probe) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Fault> {
        self.watch.mark();
        let began = Instant::now();
        let response = self.connection.head(request).await?;
        let asked = self.watch.stamps().first_write().unwrap_or(began);
        let first = self.watch.first_reply().unwrap_or_else(Instant::now);
        Ok(Answer {
            response,
            asked,
            first,
        })
    }

    /// Reads a response's body to its end.
    pub(in crate::probe) async fn read(
        &mut self,
        reply: &mut Reply,
        sink: &mut Sink,
    ) -> Result<Whole, Fault> {
        let trailers = self.connection.read(reply, sink).await?;
        Ok(Whole {
            trailers,
            last: self.watch.stamps().last_read().unwrap_or_else(Instant::now),
        })
    }

    /// Writes into the journal what the connection counted in this attempt.
    pub(in crate::probe) fn note(&self, journal: &mut Journal) {
        let stamps = self.watch.stamps();
        journal.note_reply_bytes(stamps.received() - self.received_before);
        journal.facts.tcp = stamps.tcp_facts().map(|mut facts| {
            facts.retransmits = facts.retransmits.saturating_sub(self.retransmits_before);
            facts
        });
    }

    /// Whether another request could be sent now.
    pub(in crate::probe) async fn is_ready(&mut self) -> bool {
        self.connection.is_ready().await
    }

    /// Completes when the peer ends the idle connection, with how it did.
    pub(in crate::probe) async fn ended(&mut self) -> Fault {
        self.connection.ended().await
    }

    /// Ends the connection after its last response.
    pub(in crate::probe) async fn close(self) {
        self.connection.close().await;
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("watch", &self.watch).finish()
    }
}

//! From a URL to a connection that speaks HTTP, through the phases `resolve`, `connect`, `tls`.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;
use tokio::time::Instant;

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::{Resolver, Stamps, Stream};
use crate::outcome::TlsFacts;
use crate::probe::http::body::Sink;
use crate::probe::http::exchange::{Connection, Reply};
use crate::probe::http::request::Prepared;
use crate::probe::http::wire::{Watch, Wire};
use crate::probe::journal::{Journal, bounded};
use crate::probe::{Environment, PrepareError, tcp};
use crate::spec::{HttpUrl, HttpVersion, IpPreference, TlsSettings};
use crate::target::Host;
use crate::tls;

/// What fresh connections are made with.
#[derive(Debug)]
pub(in crate::probe) struct Dialer {
    resolver: Arc<Resolver>,
    ip: IpPreference,
    version: HttpVersion,
    tls: Option<tls::Client>,
}

/// A connection with what was learnt of it, and what of its counters is not this attempt's.
pub(in crate::probe) struct Line {
    connection: Connection,
    watch: Watch,
    remote_address: Option<std::net::SocketAddr>,
    tls: Option<TlsFacts>,
    tally: Tally,
}

/// A connection's counters, and what of them is not this attempt's.
#[derive(Debug)]
pub(in crate::probe) struct Tally {
    stamps: Stamps,
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
    /// With the files of `tls` read, if `https` will be asked.
    pub(in crate::probe) fn new(
        environment: &Environment,
        ip: IpPreference,
        version: HttpVersion,
        https: bool,
        tls: &TlsSettings,
    ) -> Result<Self, PrepareError> {
        let alpn: &[&str] = match version {
            HttpVersion::Auto => &["h2", "http/1.1"],
            HttpVersion::Http1 => &["http/1.1"],
            HttpVersion::Http2 => &["h2"],
        };
        let load = || tls::Client::load(tls, alpn, &environment.mesh);
        Ok(Self {
            resolver: Arc::clone(&environment.resolver),
            ip,
            version,
            tls: https.then(load).transpose()?,
        })
    }

    /// Opens a fresh connection to the origin of `url`.
    pub(in crate::probe) async fn dial(
        &self,
        journal: &mut Journal,
        url: &HttpUrl,
    ) -> Result<Line, Failure> {
        let address = tcp::locate(journal, &self.resolver, &url.endpoint(), self.ip).await?;
        self.dial_at(journal, url, address).await
    }

    /// Opens a fresh connection to `address`, where the origin of `url` is; nothing is resolved.
    pub(in crate::probe) async fn dial_at(
        &self,
        journal: &mut Journal,
        url: &HttpUrl,
        address: SocketAddr,
    ) -> Result<Line, Failure> {
        journal.facts.tls = None;
        journal.facts.remote_address = Some(address);
        let next = if url.is_https() { Phase::Tls } else { Phase::Processing };
        let stream = tcp::connect(journal, address, self.ip.source, next).await?;
        let stamps = stream.stamps();
        let begun = if url.is_https() {
            self.secure(journal, stream, &url.endpoint().host).await
        } else {
            self.begin(Wire::plain(stream), self.version == HttpVersion::Http2).await
        };
        let (connection, watch) = begun.inspect_err(|_| journal.note_connection(&stamps))?;
        Ok(Line {
            connection,
            watch,
            remote_address: journal.facts.remote_address,
            tls: journal.facts.tls.clone(),
            tally: Tally::new(stamps),
        })
    }

    /// The phase `tls`: the handshake and ALPN; then the server's verdict on our certificate.
    async fn secure(
        &self,
        journal: &mut Journal,
        stream: Stream,
        host: &Host,
    ) -> Result<(Connection, Watch), Failure> {
        let client = self.tls.as_ref().expect("loaded when https can be asked");
        let mut facts = None;
        let shaking = async {
            let stream = client.handshake(stream, host, &mut facts).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if self.version == HttpVersion::Http2 && !http2 {
                let detail = "the server did not agree on h2 by ALPN";
                return Err(Fault::new(Reason::TlsProtocol, detail));
            }
            Ok((stream, http2))
        };
        let shaken = journal.phase(Phase::Tls, shaking).await;
        journal.facts.tls.clone_from(&facts);
        let (mut stream, http2) = shaken?;
        // A rejection fails in `processing`, as it does for the tls probe; waiting for an
        // acceptance is part of no phase.
        let settling = tls::settle(&mut stream, facts.as_ref().expect("told by a handshake"));
        let deadline = journal.phase_deadline(Phase::Processing);
        let settled = bounded(deadline, Instant::now(), settling).await;
        settled.map_err(|fault| fault.during(Phase::Processing))?;
        self.begin(Wire::tls(stream), http2).await
    }

    /// Begins HTTP. What little is sent fits into an empty send buffer, so nothing is awaited.
    async fn begin(&self, wire: Wire, http2: bool) -> Result<(Connection, Watch), Failure> {
        let watch = wire.watch();
        let begun =
            if http2 { Connection::http2(wire).await } else { Connection::http1(wire).await };
        let connection = begun.map_err(|fault| fault.during(Phase::Processing))?;
        Ok((connection, watch))
    }
}

impl Tally {
    /// Of a fresh connection: everything is this attempt's.
    pub(in crate::probe) fn new(stamps: Stamps) -> Self {
        Self { stamps, received_before: 0, retransmits_before: 0 }
    }

    /// What was counted until now is not this attempt's.
    pub(in crate::probe) fn restart(&mut self) {
        self.received_before = self.stamps.received();
        self.retransmits_before = self.stamps.tcp_facts().map_or(0, |facts| facts.retransmits);
    }

    /// Writes into the journal what the connection counted in this attempt.
    pub(in crate::probe) fn note(&self, journal: &mut Journal) {
        journal.note_reply_bytes(self.stamps.received() - self.received_before);
        journal.facts.local_address = self.stamps.local_addr();
        journal.facts.tcp = self.stamps.tcp_facts().map(|mut facts| {
            facts.retransmits = facts.retransmits.saturating_sub(self.retransmits_before);
            facts
        });
    }
}

impl Line {
    /// HTTP/1.1 in a tunnel; the tunnel's own connection is not its business.
    pub(in crate::probe) async fn inside(wire: Wire) -> Result<Self, Fault> {
        let watch = wire.watch();
        let tally = Tally::new(watch.stamps().clone());
        let connection = Connection::http1(wire).await?;
        Ok(Self { connection, watch, remote_address: None, tls: None, tally })
    }

    /// Whether this connection, kept from an earlier attempt, can take a request; if so, its
    /// facts are the attempt's.
    pub(in crate::probe) async fn resume(&mut self, journal: &mut Journal) -> bool {
        if !self.connection.is_ready().await {
            return false;
        }
        self.tally.restart();
        journal.facts.remote_address = self.remote_address;
        journal.facts.tls = self.tls.clone();
        true
    }

    /// Sends a request and awaits the head of the response.
    pub(in crate::probe) async fn ask(&mut self, prepared: &Prepared) -> Result<Answer, Fault> {
        let request = match self.connection {
            Connection::Http1(_) => prepared.http1(),
            Connection::Http2(_) => prepared.http2(),
        };
        self.watch.mark();
        let began = Instant::now();
        let response = self.connection.head(request).await?;
        let asked = self.watch.stamps().first_write().unwrap_or(began);
        let first = self.watch.first_reply().unwrap_or_else(Instant::now);
        Ok(Answer { response, asked, first })
    }

    /// Reads a response's body to its end.
    pub(in crate::probe) async fn read(
        &mut self,
        reply: &mut Reply,
        sink: &mut Sink<'_>,
    ) -> Result<Whole, Fault> {
        let trailers = self.connection.read(reply, sink).await?;
        Ok(Whole { trailers, last: self.watch.last_reply().unwrap_or_else(Instant::now) })
    }

    /// Writes into the journal what the connection counted in this attempt.
    pub(in crate::probe) fn note(&self, journal: &mut Journal) {
        self.tally.note(journal);
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

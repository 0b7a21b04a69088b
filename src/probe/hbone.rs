//! `hbone`: the mesh's own port, as a stranger knocks at it and as a member goes through it.
//!
//! Without a certificate, success is the peer's trusted chain and its alert
//! `certificate_required`. With one, it is CONNECT, answered with 200 once the far end is reached,
//! and a request through the tunnel. HBONE is TLS 1.3 with ALPN `h2` and without SNI.
//!
//! A warm connection is moved by attempts alone. ztunnel pings after 10 s and gives up 20 s later,
//! so attempts that are further apart than that find it closed, and are fresh.

mod call;
mod knock;
mod outer;
mod tunnel;

use std::sync::Arc;

use tokio_rustls::client::TlsStream;

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::{Resolver, Stream};
use crate::outcome::{Outcome, TlsFacts};
use crate::probe::journal::Journal;
use crate::probe::tcp::open;
use crate::probe::{Environment, PrepareError};
use crate::spec::{
    HboneModule, HttpUrl, IpPreference, ProbeSpec, Timeouts, TlsSettings, TlsVersion,
};
use crate::target::Endpoint;
use crate::tls;
use call::Call;

/// A prepared `hbone` probe.
#[derive(Debug)]
pub struct HboneProbe {
    peer: Peer,
    /// What goes through the tunnel; `None` knocks only.
    call: Option<Call>,
    timeouts: Timeouts,
}

/// Who terminates the tunnel, and what handshakes with it are made with.
#[derive(Debug)]
struct Peer {
    endpoint: Endpoint,
    ip: IpPreference,
    client: tls::Client,
    resolver: Arc<Resolver>,
}

impl HboneProbe {
    pub(super) fn new(
        module: &HboneModule,
        peer: &Endpoint,
        url: Option<&HttpUrl>,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Result<Self, PrepareError> {
        let url = url.filter(|_| module.credentialed);
        let settings = TlsSettings {
            identity: module.tls.identity.clone().filter(|_| url.is_some()),
            alpn: Vec::new(),
            min_version: Some(TlsVersion::V1_3),
            max_version: None,
            ..module.tls.clone()
        };
        let client = tls::Client::load(&settings, &["h2"], &environment.mesh)?.without_sni();
        Ok(Self {
            peer: Peer {
                endpoint: peer.clone(),
                ip: module.ip,
                client,
                resolver: Arc::clone(&environment.resolver),
            },
            call: url.map(|url| Call::new(module, url)),
            timeouts: spec.timeouts,
        })
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let result = match &self.call {
            Some(call) => call.attempt(&self.peer, &mut journal).await,
            None => knock::attempt(&self.peer, &mut journal).await,
        };
        journal.finish(result)
    }
}

impl Peer {
    /// The phases `resolve` and `connect`, if a handshake is possible at all.
    async fn dial(&self, journal: &mut Journal) -> Result<Stream, Failure> {
        self.client.ready().map_err(|fault| fault.during(Phase::Tls))?;
        open(journal, &self.resolver, &self.endpoint, self.ip, Phase::Tls).await
    }

    /// The phase `tls`: a handshake that agrees on h2. The facts are kept also when it fails.
    async fn shake(
        &self,
        journal: &mut Journal,
        stream: Stream,
    ) -> Result<(TlsStream<Stream>, TlsFacts), Failure> {
        let mut facts = None;
        let shaking = async {
            let stream = self.client.handshake(stream, &self.endpoint.host, &mut facts).await?;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return Ok(stream);
            }
            Err(Fault::new(Reason::TlsProtocol, "the peer did not agree on h2 by ALPN"))
        };
        let shaken = journal.phase(Phase::Tls, shaking).await;
        journal.facts.tls.clone_from(&facts);
        Ok((shaken?, facts.unwrap_or_default()))
    }
}

//! `tls`: a handshake, and a look at everything that the peer shows.

use std::sync::Arc;

use crate::failure::{Failure, Phase};
use crate::net::Resolver;
use crate::outcome::Outcome;
use crate::probe::journal::Journal;
use crate::probe::tcp::open;
use crate::probe::{Environment, PrepareError};
use crate::spec::{IpPreference, ProbeSpec, Timeouts, TlsModule};
use crate::target::Endpoint;
use crate::tls;

/// A prepared `tls` probe.
#[derive(Debug)]
pub struct TlsProbe {
    endpoint: Endpoint,
    client: tls::Client,
    ip: IpPreference,
    timeouts: Timeouts,
    resolver: Arc<Resolver>,
}

impl TlsProbe {
    pub(super) fn new(
        module: &TlsModule,
        endpoint: &Endpoint,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Result<Self, PrepareError> {
        Ok(Self {
            endpoint: endpoint.clone(),
            client: tls::Client::load(&module.tls, &[], &environment.mesh)?,
            ip: module.ip,
            timeouts: spec.timeouts,
            resolver: Arc::clone(&environment.resolver),
        })
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let result = self.exchange(&mut journal).await;
        journal.finish(result)
    }

    async fn exchange(&self, journal: &mut Journal) -> Result<(), Failure> {
        let stream = open(journal, &self.resolver, &self.endpoint, self.ip, Phase::Tls).await?;
        let stamps = stream.stamps();
        let result = self.shake(journal, stream).await;
        journal.note_connection(&stamps);
        result
    }

    async fn shake(
        &self,
        journal: &mut Journal,
        stream: crate::net::Stream,
    ) -> Result<(), Failure> {
        let mut facts = None;
        let handshake = self.client.handshake(stream, &self.endpoint.host, &mut facts);
        let result = journal.phase(Phase::Tls, handshake).await;
        journal.facts.tls.clone_from(&facts);
        let (mut stream, facts) = (result?, facts.unwrap_or_default());
        if facts.client_certificate_requested == Some(true) {
            journal.phase(Phase::Processing, tls::settle(&mut stream, &facts)).await?;
        }
        tls::close(stream).await;
        Ok(())
    }
}

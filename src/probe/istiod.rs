//! `istiod`: the ladder that every ztunnel climbs to get its certificates and its configuration:
//! resolve → tcp → tls → http2 → xds → csr, on one fresh connection.
//!
//! The phases `resolve`, `connect` and `tls` are the rungs of those names; the rungs `http2`,
//! `xds` and `csr` add up in `processing`, and each may take as long as that phase may. A broken
//! rung ends the attempt; those above it are not tried.

mod checks;
mod ladder;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, Fault, Phase};
use crate::istiod::{self, Session, Token};
use crate::net::{Resolver, Stream};
use crate::outcome::{Outcome, Rung};
use crate::probe::journal::Journal;
use crate::probe::{Environment, PrepareError, tcp};
use crate::spec::{IstiodModule, PodIdentity, ProbeSpec, Timeouts};
use crate::target::{Endpoint, Host};
use crate::tls;
use ladder::Ladder;
use turn::{Turn, Turns};

/// Asked for in a certificate that is thrown away.
const THROWAWAY_VALIDITY: Duration = Duration::from_secs(3600);

/// A prepared `istiod` probe.
#[derive(Debug)]
pub struct IstiodProbe {
    module: IstiodModule,
    endpoint: Endpoint,
    client: tls::Client,
    timeouts: Timeouts,
    resolver: Arc<Resolver>,
    /// Whose turn it is to have a certificate signed; `None` when nobody's ever is.
    turns: Option<Turns>,
}

impl IstiodProbe {
    pub(super) fn new(
        module: &IstiodModule,
        endpoint: &Endpoint,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Result<Self, PrepareError> {
        Ok(Self {
            client: tls::Client::load(&module.tls, &["h2"], &environment.mesh)?,
            endpoint: endpoint.clone(),
            timeouts: spec.timeouts,
            resolver: Arc::clone(&environment.resolver),
            turns: module.csr.filter(|_| module.pod.is_some()).map(Turns::every),
            module: module.clone(),
        })
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let turn = self.turns.as_ref().and_then(|turns| turns.take(Instant::now()));
        let mut ladder = Ladder::of(self.due(turn.is_some()));
        let result = self.climb(&mut journal, &mut ladder, turn).await;
        journal.facts.istiod = Some(ladder.facts);
        let mut outcome = journal.finish(result);
        // The journal may have found that this machine is to blame.
        let rungs = outcome.facts.istiod.as_mut().map(|facts| &mut facts.rungs);
        if let Some(last) = rungs.and_then(|rungs| rungs.last_mut()) {
            last.failure.clone_from(&outcome.failure);
        }
        outcome
    }

    fn due(&self, csr: bool) -> Vec<Rung> {
        let asks = |rung: &Rung| match rung {
            Rung::Resolve => matches!(self.endpoint.host, Host::Name(_)),
            Rung::Tcp | Rung::Tls | Rung::Http2 => true,
            Rung::Xds => self.module.xds && self.module.pod.is_some(),
            Rung::Csr => csr,
        };
        Rung::ALL.into_iter().filter(asks).collect()
    }

    async fn climb(
        &self,
        journal: &mut Journal,
        ladder: &mut Ladder,
        turn: Option<Turn<'_>>,
    ) -> Result<(), Failure> {
        let IstiodModule { ip, .. } = self.module;
        let opened = tcp::open(journal, &self.resolver, &self.endpoint, ip, Phase::Tls).await;
        ladder.opened(journal, &opened);
        let stream = opened?;
        let stamps = stream.stamps();
        let result = self.ask(journal, ladder, turn, stream).await;
        journal.note_connection(&stamps);
        result
    }

    async fn ask(
        &self,
        journal: &mut Journal,
        ladder: &mut Ladder,
        turn: Option<Turn<'_>>,
        stream: Stream,
    ) -> Result<(), Failure> {
        let stamps = stream.stamps();
        let mut facts = None;
        let handshake = self.client.handshake(stream, &self.endpoint.host, &mut facts);
        let shaken = journal.phase(Phase::Tls, handshake).await;
        journal.facts.tls = facts;
        ladder.note(Rung::Tls, journal.took(Phase::Tls), &shaken);
        let beginning = Session::begin(shaken?, &self.endpoint);
        let mut session = ladder.rung(journal, &stamps, Rung::Http2, beginning).await?;
        let Some(pod) = &self.module.pod else {
            session.close().await;
            return Ok(());
        };
        if self.module.xds {
            let mut answered = None;
            let asking = self.subscribe(&mut session, pod, &mut answered);
            let asked = ladder.rung(journal, &stamps, Rung::Xds, asking).await;
            ladder.facts.xds = answered;
            asked?;
        }
        if let Some(turn) = turn {
            let mut signed = None;
            let asking = self.sign(&mut session, pod, turn, &mut signed);
            let asked = ladder.rung(journal, &stamps, Rung::Csr, asking).await;
            ladder.facts.csr = signed;
            asked?;
        }
        session.close().await;
        Ok(())
    }

    /// The rung `xds`; what was answered is told also when it is not as stated.
    async fn subscribe(
        &self,
        session: &mut Session,
        pod: &PodIdentity,
        answered: &mut Option<crate::outcome::XdsFacts>,
    ) -> Result<(), Fault> {
        let token = Token::read(&self.module.token).await?;
        let names = vec![istiod::address_name(pod)];
        let answer = session.delta_subscribe(&token, &self.module.cluster_id, pod, names).await?;
        let facts = answered.insert(istiod::describe(&answer, pod)?);
        checks::workload(facts.workload.as_ref(), pod, &self.module.workload)
    }

    /// The rung `csr`, with a key that is thrown away.
    async fn sign(
        &self,
        session: &mut Session,
        pod: &PodIdentity,
        turn: Turn<'_>,
        told: &mut Option<crate::outcome::CsrFacts>,
    ) -> Result<(), Fault> {
        let token = Token::read(&self.module.token).await?;
        let id = checks::spiffe_id(&self.module.trust_domain, pod);
        let request = tls::Request::new(&id)?;
        turn.used(Instant::now());
        let cluster = &self.module.cluster_id;
        let csr = request.csr_pem();
        let signed = session.create_certificate(&token, cluster, csr, THROWAWAY_VALIDITY).await?;
        checks::certificate(&self.client, &request, &signed, &id, told)
    }
}

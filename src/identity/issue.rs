//! One certificate from istiod: resolve → connect → tls → csr, each with its own deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use crate::config::MeshConfig;
use crate::failure::{Failure, Fault, Phase, Reason};
use crate::istiod::{Session, Token};
use crate::net::{self, Resolver};
use crate::spec::{IpPreference, PodIdentity, Roots, TlsSettings};
use crate::target::Host;
use crate::tls::{self, Credential, Mesh, Request};

/// How long each phase may take: istiod signs in milliseconds, and a hang must end.
const PHASE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is asked for; istiod may give less.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// Obtains certificates for one identity.
#[derive(Debug)]
pub(super) struct Issuer {
    config: MeshConfig,
    resolver: Arc<Resolver>,
    client: tls::Client,
    mesh: Arc<Mesh>,
}

impl Issuer {
    pub(super) fn new(
        config: &MeshConfig,
        resolver: Arc<Resolver>,
        mesh: Arc<Mesh>,
    ) -> Result<Self, tls::LoadError> {
        let settings = TlsSettings {
            roots: Roots::Mesh,
            server_name: Some(config.server_name.clone()),
            ..TlsSettings::default()
        };
        let client = tls::Client::load(&settings, &["h2"], &mesh)?;
        Ok(Self { config: config.clone(), resolver, client, mesh })
    }

    /// Obtains a certificate by `deadline` and shows it from then on. A failure changes nothing.
    pub(super) async fn obtain(&self, deadline: Instant) -> Result<Arc<Credential>, Failure> {
        let id = self.spiffe_id().map_err(|fault| fault.during(Phase::Processing))?;
        self.client.ready().map_err(|fault| fault.during(Phase::Tls))?;
        // Without a token the rest would be for nothing; it is read again when it is needed.
        self.phase(deadline, Phase::Processing, Token::read(&self.config.token)).await?;
        let address = match &self.config.istiod.host {
            Host::Ip(ip) => *ip,
            Host::Name(name) => {
                let resolving = self.resolver.resolve(name, IpPreference::default());
                self.phase(deadline, Phase::Resolve, resolving).await?
            }
        };
        let address = SocketAddr::new(address, self.config.istiod.port);
        let stream = self.phase(deadline, Phase::Connect, net::connect(address)).await?;
        let mut shown = None;
        let handshake = self.client.handshake(stream, &self.config.istiod.host, &mut shown);
        let stream = self.phase(deadline, Phase::Tls, handshake).await?;
        let signing = async {
            let session = Session::begin(stream, &self.config.istiod).await?;
            self.sign(session, &id).await
        };
        let credential = self.phase(deadline, Phase::Processing, signing).await?;
        self.mesh.carry(credential);
        Ok(self.mesh.credential().expect("just carried"))
    }

    /// Whether what is shown now still chains to what is trusted now.
    pub(super) fn stands(&self) -> bool {
        let own = self.mesh.credential();
        own.is_some_and(|own| self.client.vouch(&own, SystemTime::now()).is_ok())
    }

    async fn sign(&self, mut session: Session, id: &str) -> Result<Credential, Fault> {
        let token = Token::read(&self.config.token).await?;
        let request = Request::new(id)?;
        let cluster = &self.config.cluster_id;
        let signed =
            session.create_certificate(&token, cluster, request.csr_pem(), VALIDITY).await?;
        session.close().await;
        let credential = request.certified(&signed.chain_pem)?;
        self.client.vouch(&credential, SystemTime::now())?;
        match credential.spiffe_id.as_deref() {
            Some(given) if given == id => Ok(credential),
            given => {
                let given = given.unwrap_or("nobody");
                let detail = format!("istiod signed for {given}, expected {id}");
                Err(Fault::new(Reason::CertNameMismatch, detail))
            }
        }
    }

    fn spiffe_id(&self) -> Result<String, Fault> {
        let missing = || Fault::new(Reason::NoIdentity, "which pod this is, is not stated");
        let PodIdentity { namespace, service_account, .. } =
            self.config.pod.as_ref().ok_or_else(missing)?;
        let domain = &self.config.trust_domain;
        Ok(format!("spiffe://{domain}/ns/{namespace}/sa/{service_account}"))
    }

    async fn phase<T>(
        &self,
        deadline: Instant,
        phase: Phase,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let deadline = deadline.min(began + PHASE_TIMEOUT);
        let result = timeout_at(deadline, work).await.unwrap_or_else(|_| {
            let allowed = deadline.saturating_duration_since(began);
            Err(Fault::new(Reason::Timeout, format!("nothing within {allowed:.1?}")))
        });
        result.map_err(|fault| fault.during(phase))
    }
}

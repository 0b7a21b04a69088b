//! Workload certificates of one node, and how they are shown and verified on HBONE.
//!
//! Written for itself, not on the prober's own TLS: a mistake in one must not hide in the other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio::time::Instant;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::condition::{Condition, LeafDefect, OtherTrust};
use crate::lab::ca::{Authority, Issued, Subject};
use crate::lab::world::{Pod, TRUST_DOMAIN};

/// A certificate of a day is replaced at half its life.
const RENEWAL: Duration = Duration::from_secs(12 * 3600);
/// How long ago what has expired did so.
const EXPIRED: i64 = -60;

/// What a workload certificate depends on.
#[derive(Clone, PartialEq)]
struct Recipe {
    trust: Option<OtherTrust>,
    leaf: LeafDefect,
}

/// The certificates of one node's workloads, issued when first needed.
pub(super) struct Credentials {
    authority: Arc<Authority>,
    issued: Mutex<HashMap<IpAddr, Kept>>,
}

struct Kept {
    recipe: Recipe,
    since: Instant,
    credential: Arc<Credential>,
}

/// One workload's certificate, and whom it trusts.
pub(super) struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    server: Arc<ServerConfig>,
}

impl Credentials {
    pub(super) fn new(authority: Arc<Authority>) -> Self {
        Self { authority, issued: Mutex::default() }
    }

    /// The certificate of `pod` under `condition`; `None` when there is none.
    pub(super) fn of(&self, pod: &Pod, condition: &Condition) -> Option<Arc<Credential>> {
        if condition.no_certificate {
            return None;
        }
        let recipe = Recipe { trust: condition.trust_split.clone(), leaf: condition.leaf.clone() };
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = issued.get(&pod.ip)
            && kept.recipe == recipe
            && kept.since.elapsed() < RENEWAL
        {
            return Some(Arc::clone(&kept.credential));
        }
        match self.issue(pod, &recipe) {
            Ok(credential) => {
                let credential = Arc::new(credential);
                let kept =
                    Kept { recipe, since: Instant::now(), credential: Arc::clone(&credential) };
                issued.insert(pod.ip, kept);
                Some(credential)
            }
            Err(error) => {
                tracing::warn!(pod = pod.name, %error, "no workload certificate");
                None
            }
        }
    }

    fn issue(&self, pod: &Pod, recipe: &Recipe) -> anyhow::Result<Credential> {
        let authority = recipe.trust.as_ref().map_or(&self.authority, |other| &other.0);
        let mut subject = Subject::workload(pod.spiffe_id());
        let issued = match &recipe.leaf {
            LeafDefect::Good => authority.issue(&subject)?,
            LeafDefect::Expired => {
                subject.ends_in = EXPIRED;
                authority.issue(&subject)?
            }
            LeafDefect::SignerExpired => {
                authority.below("expired intermediate", EXPIRED)?.issue(&subject)?
            }
            LeafDefect::OtherIdentity(id) => authority.issue(&Subject::workload(id.as_str()))?,
        };
        Credential::new(&issued, authority.root_pem())
    }
}

impl Credential {
    fn new(issued: &Issued, root_pem: &str) -> anyhow::Result<Self> {
        let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("the chain")?;
        let key =
            PrivateKeyDer::try_from(issued.key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
            roots.add(root.context("the root")?)?;
        }
        let roots = Arc::new(roots);
        let server = Arc::new(server(chain.clone(), key.clone_key(), &roots)?);
        Ok(Self { chain, key, roots, server })
    }

    /// For connections to port 15008.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For a connection to a peer that must be `spiffe_id`.
    pub(super) fn client(&self, spiffe_id: String) -> Result<ClientConfig, rustls::Error> {
        let verifier = PeerIdentity { roots: Arc::clone(&self.roots), spiffe_id };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: &Arc<RootCertStore>,
) -> anyhow::Result<ServerConfig> {
    let chained = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider());
    let verifier = SameTrustDomain { chained: chained.build()? };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// AES-GCM only, as the mesh.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites =
        vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

/// The SPIFFE ID of a certificate.
pub(super) fn spiffe_id(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = &parsed.subject_alternative_name().ok()??.value.general_names;
    names.iter().find_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some((*uri).to_owned()),
        _ => None,
    })
}

/// Takes clients whose chain ends at a root and whose identity is of this trust domain.
#[derive(Debug)]
struct SameTrustDomain {
    chained: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for SameTrustDomain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chained.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chained.verify_client_cert(leaf, intermediates, now)?;
        let ours = |id: String| id.starts_with(&format!("spiffe://{TRUST_DOMAIN}/"));
        if spiffe_id(leaf).is_some_and(ours) { Ok(verified) } else { Err(unwelcome()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chained.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chained.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chained.supported_verify_schemes()
    }
}

/// Takes the one server that the world says is there; names of hosts play no part.
#[derive(Debug)]
struct PeerIdentity {
    roots: Arc<RootCertStore>,
    spiffe_id: String,
}

impl ServerCertVerifier for PeerIdentity {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let provider = default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        let roots = &self.roots;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        match spiffe_id(leaf) {
            Some(id) if id == self.spiffe_id => Ok(ServerCertVerified::assertion()),
            _ => Err(unwelcome()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn unwelcome() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

//! Verification that remembers what it was shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ResolvesClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::spec::{TlsSettings, Verify};
use crate::tls::inspect;
use crate::tls::material::{self, LoadError};

/// More certificates than this are no chain; the rest is not kept.
const MAX_CHAIN: usize = 16;

/// What one handshake showed.
#[derive(Debug, Default)]
pub(super) struct Observed {
    shown: Mutex<Shown>,
    version: OnceLock<&'static str>,
    client_certificate_requested: AtomicBool,
}

/// The chain that the peer showed, trusted or not.
#[derive(Debug, Default, Clone)]
pub(super) struct Shown {
    /// Leaf first, bounded; empty before the peer's certificate came.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// SHA-256 over the whole chain, also over what is not kept.
    pub(super) sha256: Option<String>,
}

impl Observed {
    pub(super) fn take_shown(&self) -> Shown {
        std::mem::take(&mut *self.shown.lock().expect("no panic while held"))
    }

    /// The version, once a handshake message was signed under it.
    pub(super) fn version(&self) -> Option<&'static str> {
        self.version.get().copied()
    }

    pub(super) fn client_certificate_requested(&self) -> bool {
        self.client_certificate_requested.load(Ordering::Relaxed)
    }

    fn note(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        let shown = || std::iter::once(leaf).chain(intermediates);
        let chain = shown().take(MAX_CHAIN).map(|it| it.clone().into_owned()).collect();
        *self.shown.lock().expect("no panic while held") =
            Shown { chain, sha256: Some(inspect::sha256(shown())) };
    }
}

/// Verifies as stated, and notes the chain first.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<RootCertStore>>,
    verify: Verify,
    observed: Arc<Observed>,
}

impl Observer {
    pub(super) fn load(
        settings: &TlsSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        let roots = match settings.verify {
            Verify::Nothing => None,
            Verify::Name | Verify::Spiffe(_) | Verify::Chain => {
                Some(material::root_store(&settings.roots)?)
            }
        };
        Ok(Self {
            provider: Arc::clone(provider),
            roots,
            verify: settings.verify.clone(),
            observed: Arc::default(),
        })
    }

    /// How the peer is verified.
    pub(super) fn verify(&self) -> &Verify {
        &self.verify
    }

    /// The same verification, noting into `observed`.
    pub(super) fn watching(&self, observed: &Arc<Observed>) -> Self {
        Self { observed: Arc::clone(observed), ..self.clone() }
    }
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.observed.note(leaf, intermediates);
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        match &self.verify {
            Verify::Name => verify_server_name(&parsed, name)?,
            Verify::Spiffe(id) if inspect::has_spiffe_id(leaf, id) => {}
            Verify::Spiffe(_) => {
                return Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName));
            }
            Verify::Chain | Verify::Nothing => {}
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.observed.version.get_or_init(|| "TLSv1.2");
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.observed.version.get_or_init(|| "TLSv1.3");
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Gives the own certificate, if there is one, and notes that it was asked for.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    own: Option<Arc<CertifiedKey>>,
    observed: Arc<Observed>,
}

impl OwnCertificate {
    pub(super) fn new(own: Option<Arc<CertifiedKey>>, observed: Arc<Observed>) -> Self {
        Self { own, observed }
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.observed.client_certificate_requested.store(true, Ordering::Relaxed);
        self.own.clone()
    }

    // rustls asks resolve() only of a resolver that says yes here, and resolve() is what notes
    // the request.
    fn has_certs(&self) -> bool {
        true
    }
}

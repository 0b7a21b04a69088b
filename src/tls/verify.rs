//! Verification that remembers what it was shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

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
    chain: Mutex<Vec<CertificateDer<'static>>>,
    client_certificate_requested: AtomicBool,
}

impl Observed {
    /// The chain as shown, leaf first; empty before the server's certificate came.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().expect("no panic while held").clone()
    }

    pub(super) fn client_certificate_requested(&self) -> bool {
        self.client_certificate_requested.load(Ordering::Relaxed)
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
        let shown = std::iter::once(leaf).chain(intermediates).take(MAX_CHAIN);
        *self.observed.chain.lock().expect("no panic while held") =
            shown.map(|certificate| certificate.clone().into_owned()).collect();
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        match &self.verify {
            Verify::Name => verify_server_name(&parsed, name)?,
            Verify::Spiffe(id) if inspect::spiffe_ids(leaf).contains(id) => {}
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
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
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

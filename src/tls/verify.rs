//! Verification that remembers what it was shown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ResolvesClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::failure::{Fault, Reason};
use crate::outcome::TlsFacts;
use crate::spec::{Roots, TlsSettings, Verify};
use crate::tls::fault::tls_fault;
use crate::tls::material::{self, LoadError};
use crate::tls::{Credential, Mesh, inspect};

/// More certificates than this are no chain; the rest is not kept.
pub(super) const MAX_CHAIN: usize = 16;

/// What one handshake showed.
#[derive(Debug, Default)]
pub(super) struct Observed {
    shown: Mutex<Peer>,
    version: OnceLock<&'static str>,
    client_certificate_requested: AtomicBool,
}

/// The chain that the peer showed, trusted or not.
#[derive(Debug, Default, Clone)]
pub(super) struct Peer {
    /// Leaf first, bounded; empty before the peer's certificate came.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// SHA-256 over the whole chain, also over what is not kept.
    pub(super) sha256: Option<String>,
}

impl Observed {
    pub(super) fn take_shown(&self) -> Peer {
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
            Peer { chain, sha256: Some(inspect::sha256(shown())) };
    }
}

/// Whose signatures count.
#[derive(Debug, Clone)]
enum Trust {
    /// Everybody's: nothing is verified.
    Anyone,
    /// Those of a store.
    Roots(Arc<RootCertStore>),
    /// Those of the mesh at the time of the handshake.
    Mesh(Arc<Mesh>),
}

/// Verifies as stated, and notes the chain first.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    verify: Verify,
    observed: Arc<Observed>,
}

impl Observer {
    pub(super) fn load(
        settings: &TlsSettings,
        provider: &Arc<CryptoProvider>,
        mesh: &Arc<Mesh>,
    ) -> Result<Self, LoadError> {
        let trust = match (&settings.verify, &settings.roots) {
            (Verify::Nothing, _) => Trust::Anyone,
            (_, Roots::Mesh) => Trust::Mesh(Arc::clone(mesh)),
            (_, Roots::System) => Trust::Roots(material::system_roots()?),
            (_, Roots::File(path)) => Trust::Roots(material::root_store(path)?),
        };
        Ok(Self {
            provider: Arc::clone(provider),
            trust,
            verify: settings.verify.clone(),
            observed: Arc::default(),
        })
    }

    /// How the peer is verified.
    pub(super) fn verify(&self) -> &Verify {
        &self.verify
    }

    /// The roots that count now; `None` when nothing is verified.
    pub(super) fn current_roots(&self) -> Result<Option<Arc<RootCertStore>>, Fault> {
        match &self.trust {
            Trust::Anyone => Ok(None),
            Trust::Roots(roots) => Ok(Some(Arc::clone(roots))),
            Trust::Mesh(mesh) => mesh.roots().map(Some),
        }
    }

    /// Whether a peer with the same trust would accept `credential` of a client at `now`: chain
    /// and validity, no name.
    pub(super) fn vouch(&self, credential: &Credential, now: SystemTime) -> Result<(), Fault> {
        let Some(roots) = self.current_roots()? else { return Ok(()) };
        let provider = Arc::clone(&self.provider);
        let built = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        let verifier = built.map_err(|error| Fault::new(Reason::NoIdentity, error.to_string()))?;
        let (leaf, above) = credential.chain().split_first().expect("a credential has a leaf");
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match verifier.verify_client_cert(leaf, above, UnixTime::since_unix_epoch(since)) {
            Ok(_) => Ok(()),
            Err(error) => {
                let mut facts = TlsFacts::default();
                inspect::describe(credential.chain(), &mut facts);
                Err(inspect::explain(tls_fault(&error), &facts, &Verify::Chain, now))
            }
        }
    }

    /// The same verification with the roots of now, noting into `observed`.
    pub(super) fn watching(&self, observed: &Arc<Observed>) -> Result<Self, Fault> {
        let trust = self.current_roots()?.map_or(Trust::Anyone, Trust::Roots);
        Ok(Self { observed: Arc::clone(observed), trust, ..self.clone() })
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
        let roots = match &self.trust {
            Trust::Anyone => return Ok(ServerCertVerified::assertion()),
            Trust::Roots(roots) => Arc::clone(roots),
            Trust::Mesh(mesh) => {
                mesh.roots().map_err(|fault| rustls::Error::General(fault.to_string()))?
            }
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
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
pub(super) struct Shown {
    own: Option<Arc<CertifiedKey>>,
    observed: Arc<Observed>,
}

impl Shown {
    pub(super) fn new(own: Option<Arc<CertifiedKey>>, observed: Arc<Observed>) -> Self {
        Self { own, observed }
    }
}

impl ResolvesClientCert for Shown {
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

//! The mesh's trust and the prober's own certificate, replaced while probes run.
//!
//! Whoever obtains them writes here; handshakes read what is current. Keys never leave.

use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::failure::{Fault, Reason};
use crate::outcome::TlsFacts;
use crate::tls::fault::shorten;
use crate::tls::inspect;
use crate::tls::verify::MAX_CHAIN;

/// What handshakes of the mesh are made with.
#[derive(Debug, Default)]
pub struct Mesh {
    roots: RwLock<Option<Arc<RootCertStore>>>,
    credential: RwLock<Option<Arc<Credential>>>,
}

impl Mesh {
    /// Trusts the certificates in `pem` from now on, instead of those before; returns how many.
    ///
    /// When any of them is unusable, the error says why and what was trusted before stays.
    pub fn trust(&self, pem: &[u8]) -> Result<usize, String> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|_| "a certificate is broken PEM".to_owned())?;
        if found.is_empty() {
            return Err("no certificate in PEM".to_owned());
        }
        let mut store = RootCertStore::empty();
        for certificate in found {
            store
                .add(certificate)
                .map_err(|error| format!("a certificate cannot be a root: {error}"))?;
        }
        let count = store.len();
        *self.roots.write().expect("no panic while held") = Some(Arc::new(store));
        Ok(count)
    }

    /// Shows `credential` from now on.
    pub fn carry(&self, credential: Credential) {
        *self.credential.write().expect("no panic while held") = Some(Arc::new(credential));
    }

    /// The own certificate, also when it has expired.
    pub fn credential(&self) -> Option<Arc<Credential>> {
        self.credential.read().expect("no panic while held").clone()
    }

    /// How many roots are trusted; 0 while there are none.
    pub fn roots_count(&self) -> usize {
        self.roots.read().expect("no panic while held").as_ref().map_or(0, |roots| roots.len())
    }

    /// The current trust anchors; `no_identity` while there are none.
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, Fault> {
        let roots = self.roots.read().expect("no panic while held").clone();
        let missing = || Fault::new(Reason::NoIdentity, "the mesh's trusted roots are not known");
        roots.ok_or_else(missing)
    }

    /// The own certificate if it can be shown at `now`; `no_identity` otherwise.
    pub(super) fn valid_credential(&self, now: SystemTime) -> Result<Arc<CertifiedKey>, Fault> {
        let missing = |detail: &str| Fault::new(Reason::NoIdentity, detail);
        let credential = self
            .credential()
            .ok_or_else(|| missing("the prober has no mesh certificate of its own yet"))?;
        if credential.not_after.is_some_and(|end| end <= now) {
            return Err(missing("the prober's own mesh certificate has expired"));
        }
        Ok(Arc::clone(&credential.certified))
    }
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Credential {
    certified: Arc<CertifiedKey>,
    /// The SPIFFE ID in it.
    pub spiffe_id: Option<String>,
    /// Start of validity: the latest in the chain.
    pub not_before: Option<SystemTime>,
    /// End of validity: the earliest in the chain.
    pub not_after: Option<SystemTime>,
}

impl Credential {
    /// From a PEM chain, leaf first, and the PKCS#8 key of the leaf.
    ///
    /// The error says what does not fit, without contents.
    pub fn new(chain_pem: &[u8], pkcs8: &[u8]) -> Result<Self, String> {
        Self::certified(chain_pem, pkcs8).map_err(|fault| fault.detail)
    }

    /// The same, telling what does not fit as a reason.
    pub(super) fn certified(chain_pem: &[u8], pkcs8: &[u8]) -> Result<Self, Fault> {
        let untrusted = |detail: String| Fault::new(Reason::CertUntrusted, detail);
        let found: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(chain_pem).take(MAX_CHAIN + 1).collect();
        let chain = found.map_err(|_| untrusted("a certificate is broken PEM".to_owned()))?;
        if chain.is_empty() {
            return Err(untrusted("no certificate in PEM".to_owned()));
        }
        if chain.len() > MAX_CHAIN {
            return Err(untrusted(format!("a chain of more than {MAX_CHAIN} certificates")));
        }
        let mut facts = TlsFacts::default();
        inspect::describe(&chain, &mut facts);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        let certified = CertifiedKey::from_der(chain, key, &super::provider());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Fault::new(Reason::CertNameMismatch, "the certificate is for another key")
            }
            other => untrusted(shorten(format!("the certificate cannot be used: {other}"))),
        })?;
        Ok(Self {
            certified: Arc::new(certified),
            spiffe_id: facts.peer_spiffe_id,
            not_before: facts.not_before,
            not_after: facts.not_after,
        })
    }
}

impl Credential {
    /// The chain, leaf first.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("spiffe_id", &self.spiffe_id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

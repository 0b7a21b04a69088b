//! A fresh key and the request to have it certified. The key leaves only as a [`Credential`],
//! which does not give it away either.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};

use crate::failure::{Fault, Reason};
use crate::tls::Credential;

/// A key that was made for one certificate, and the signing request for it.
pub struct Request {
    key: KeyPair,
    csr_pem: String,
}

impl Request {
    /// A fresh P-256 key and a request that names `spiffe_id`.
    ///
    /// `no_identity` when that is no URI, `local_resource` when no key can be made.
    pub fn new(spiffe_id: &str) -> Result<Self, Fault> {
        let uri = spiffe_id.try_into().map_err(|_| {
            Fault::new(Reason::NoIdentity, format!("`{spiffe_id}` is no URI: it is not ASCII"))
        })?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names.push(SanType::URI(uri));
        let ours = |error: rcgen::Error| {
            Fault::new(Reason::LocalResource, format!("no key or request can be made: {error}"))
        };
        let key = KeyPair::generate().map_err(ours)?;
        let csr_pem = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(ours)?;
        Ok(Self { key, csr_pem })
    }

    /// The signing request.
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    /// The key with the chain that was signed for it, PEM, leaf first.
    ///
    /// `cert_name_mismatch` when the leaf is for another key, `cert_untrusted` when it is no
    /// chain.
    pub fn certified(&self, chain_pem: &str) -> Result<Credential, Fault> {
        Credential::certified(chain_pem.as_bytes(), self.key.serialized_der())
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

//! Certificates and keys from files. Contents never reach an error or a log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::spec::{ClientIdentity, Roots};

/// A file or setting that TLS cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{problem}", path.display(), if path.as_os_str().is_empty() { "" } else { ": " })]
pub struct LoadError {
    /// The field of the settings, e.g. `tls.ca`.
    pub field: &'static str,
    /// The file; empty when the setting names none.
    pub path: PathBuf,
    /// What is wrong, without contents.
    pub problem: String,
}

impl LoadError {
    pub(super) fn settings(field: &'static str, problem: String) -> Self {
        Self { field, path: PathBuf::new(), problem }
    }

    fn file(field: &'static str, path: &Path, problem: impl Into<String>) -> Self {
        Self { field, path: path.to_owned(), problem: problem.into() }
    }
}

/// The trust anchors that `roots` names.
pub(super) fn root_store(roots: &Roots) -> Result<Arc<RootCertStore>, LoadError> {
    let path = match roots {
        Roots::System => return system_roots(),
        Roots::File(path) => path,
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates("tls.ca", path)? {
        store.add(certificate).map_err(|error| {
            LoadError::file("tls.ca", path, format!("a certificate cannot be a root: {error}"))
        })?;
    }
    Ok(Arc::new(store))
}

/// The machine's roots, read once: they are a few hundred certificates.
fn system_roots() -> Result<Arc<RootCertStore>, LoadError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    Ok(Arc::clone(roots))
}

/// The client certificate with its key, checked to belong together.
pub(super) fn own_certificate(identity: &ClientIdentity) -> Result<Arc<CertifiedKey>, LoadError> {
    let chain = certificates("tls.cert", &identity.certificate)?;
    let bytes = read("tls.key", &identity.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        LoadError::file("tls.key", &identity.key, "no private key in PEM (PKCS#8, PKCS#1 or SEC1)")
    })?;
    let certified = CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| {
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => {
                "the key is not the one of the certificate".to_owned()
            }
            other => format!("cannot be used: {other}"),
        };
        LoadError::file("tls.key", &identity.key, problem)
    })?;
    Ok(Arc::new(certified))
}

fn certificates(
    field: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = read(field, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(LoadError::file(field, path, "no certificate in PEM")),
        Err(_) => Err(LoadError::file(field, path, "a certificate is broken PEM")),
    }
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|error| LoadError::file(field, path, error.to_string()))
}

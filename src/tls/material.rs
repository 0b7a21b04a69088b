//! Certificates and keys from files. Contents never reach an error or a log.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::spec::ClientIdentity;

/// Bundles of all public roots have a few hundred KiB.
const MAX_FILE: u64 = 4 * 1024 * 1024;

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

/// The trust anchors of a PEM file.
pub(super) fn root_store(path: &Path) -> Result<Arc<RootCertStore>, LoadError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("tls.ca", path)? {
        store.add(certificate).map_err(|error| {
            LoadError::file("tls.ca", path, format!("a certificate cannot be a root: {error}"))
        })?;
    }
    Ok(Arc::new(store))
}

/// The machine's roots, read once they are found: they are a few hundred certificates.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, LoadError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        let problem = "this machine has no trusted roots: install ca-certificates, or state a file";
        return Err(LoadError::settings("tls.ca", problem.to_owned()));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(store))))
}

/// The client certificate with its key, checked to belong together.
pub(super) fn own_certificate(identity: &ClientIdentity) -> Result<Arc<CertifiedKey>, LoadError> {
    let chain = certificates("tls.cert", &identity.certificate)?;
    let bytes = read("tls.key", &identity.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        LoadError::file("tls.key", &identity.key, "no private key in PEM (PKCS#8, PKCS#1 or SEC1)")
    })?;
    let certified = CertifiedKey::from_der(chain, key, &super::provider());
    certified.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            LoadError::file("tls.key", &identity.key, "the key is not the one of tls.cert")
        }
        rustls::Error::InvalidCertificate(_) => {
            let problem = "the first certificate cannot be parsed";
            LoadError::file("tls.cert", &identity.certificate, problem)
        }
        other => LoadError::file("tls.key", &identity.key, format!("cannot be used: {other}")),
    })
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
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE => {
            Err(LoadError::file(field, path, "larger than 4 MiB: no PEM file of this kind is"))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(LoadError::file(field, path, error.to_string())),
    }
}

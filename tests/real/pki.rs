//! A certificate authority of a mesh, and files signed by it.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use super::support::{temp_dir, write_file};

/// An authority with its root in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
    /// PEM of the root.
    pub(crate) root: PathBuf,
}

/// A leaf with its key, PEM files in the authority's directory.
pub(crate) struct Leaf {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a root");
        let dir = temp_dir();
        let root = write_file(&dir, "root.pem", issuer.pem());
        Self { issuer, dir, root }
    }

    /// Signs a leaf for DNS names or addresses and a SPIFFE ID.
    pub(crate) fn leaf(&self, file: &str, names: &[&str], spiffe_id: &str) -> Leaf {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        let uri = spiffe_id.try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a leaf");
        Leaf {
            certificate: write_file(&self.dir, &format!("{file}.pem"), certificate.pem()),
            key: write_file(&self.dir, &format!("{file}.key"), key.serialize_pem()),
        }
    }
}

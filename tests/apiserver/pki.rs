//! What a kube-apiserver and its administrator prove themselves with, made anew for each.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use super::support::write_file;

/// PEM files in the control plane's directory.
pub(crate) struct Pki {
    /// Signs the server's and the administrator's certificates.
    pub(crate) root: PathBuf,
    pub(crate) server: Leaf,
    /// Of group `system:masters`, which RBAC never refuses.
    pub(crate) admin: Leaf,
    /// Signs ServiceAccounts' tokens.
    pub(crate) token_key: PathBuf,
    /// Verifies them.
    pub(crate) token_public_key: PathBuf,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    pub(crate) fn create(dir: &TempDir) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a root");

        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut server = CertificateParams::new(names).expect("good names");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let mut admin = CertificateParams::default();
        admin.distinguished_name.push(DnType::CommonName, "test-admin");
        admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
        admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

        let token_key = KeyPair::generate().expect("a key");
        Self {
            root: write_file(dir, "ca.pem", issuer.pem()),
            server: sign(dir, "server", server, &issuer),
            admin: sign(dir, "admin", admin, &issuer),
            token_key: write_file(dir, "token.key", token_key.serialize_pem()),
            token_public_key: write_file(dir, "token.pub", token_key.public_key_pem()),
        }
    }
}

fn sign(
    dir: &TempDir,
    file: &str,
    params: CertificateParams,
    issuer: &CertifiedIssuer<'static, KeyPair>,
) -> Leaf {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a leaf");
    Leaf {
        certificate: write_file(dir, &format!("{file}.pem"), certificate.pem()),
        key: write_file(dir, &format!("{file}.key"), key.serialize_pem()),
    }
}

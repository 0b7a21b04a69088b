//! What a TLS handshake can state: trust, names, own certificate.

use std::path::PathBuf;

use crate::spec::IpPreference;

/// How a TLS handshake is made.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsModule {
    /// Trust, names, own certificate.
    pub tls: TlsSettings,
    /// Which address of a name.
    pub ip: IpPreference,
}

/// Trust, names, own certificate: shared by every probe that speaks TLS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TlsSettings {
    /// Whose signatures count.
    pub roots: Roots,
    /// Server Name Indication, and the name the leaf must carry; the target's host by default.
    pub server_name: Option<String>,
    /// How the peer is verified.
    pub verify: Verify,
    /// Own certificate, when the server asks for one.
    pub identity: Option<OwnCertificate>,
    /// Offered protocols, in order of preference; none by default (http fills in its own).
    pub alpn: Vec<String>,
    /// Lowest version offered.
    pub min_version: Option<TlsVersion>,
    /// Highest version offered.
    pub max_version: Option<TlsVersion>,
    /// Smallest share of a certificate's validity that must be left, for the whole chain
    /// without its root, 0 to 1.
    pub min_remaining: Option<f64>,
}

/// Trust anchors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Those of the machine.
    #[default]
    System,
    /// Those of a PEM file with one or more certificates.
    File(PathBuf),
    /// Those of the mesh, which may change while the prober runs.
    Mesh,
}

/// How a peer's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verify {
    /// Chain, validity, and the server name among the leaf's subjectAltNames.
    #[default]
    Name,
    /// Chain, validity, and this `spiffe://` URI among the leaf's subjectAltNames.
    Spiffe(String),
    /// Chain and validity only.
    Chain,
    /// Nothing; the facts still tell what was shown.
    Nothing,
}

/// The certificate that is shown when a server asks for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnCertificate {
    /// From files, read once.
    Files(ClientIdentity),
    /// The prober's own mesh certificate, which is renewed while it runs.
    Mesh,
}

/// A client certificate and its key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Leaf first, then intermediates.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// A TLS version that rustls speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

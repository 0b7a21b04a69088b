//! TLS between two parties that were given the same secret: both derive one key pair from it, show
//! its public half, and take nobody else's.
//!
//! Raw public keys (RFC 7250) instead of certificates: a name, a date and a chain would say
//! nothing here, and no X.509 of a stranger is ever parsed. Knows nothing of QUIC.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

/// The shortest secret, bytes after trimming.
pub const SHORTEST_SECRET: usize = 32;
/// The longest secret, bytes.
pub const LONGEST_SECRET: usize = 4096;

/// Separates these key pairs from whatever else may be derived from the same secret.
const SALT: &[u8] = b"meshprobe control channel";
const INFO: &[u8] = b"ed25519 1";

/// The key pair that everybody has who was given one secret. The secret itself is not kept.
#[derive(Clone)]
pub struct SharedKey {
    certified: Arc<CertifiedKey>,
}

/// A file that no key can be made of.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("{} cannot be read: {problem}; mount the Secret that holds the key there", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The secret is too short to be one.
    #[error(
        "{} holds {length} bytes without white space around them; write at least {SHORTEST_SECRET} \
         random ones, e.g. those of `head -c 32 /dev/urandom | base64`",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes after trimming.
        length: usize,
    },
    /// The file is no secret.
    #[error(
        "{} holds more than {LONGEST_SECRET} bytes; write {SHORTEST_SECRET} to {LONGEST_SECRET}",
        path.display()
    )]
    Long {
        /// The file.
        path: PathBuf,
    },
}

impl SharedKey {
    /// Derives the key pair from the bytes in the file at `path`, without white space around them:
    /// [`SHORTEST_SECRET`] to [`LONGEST_SECRET`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |problem| KeyError::Unreadable { path: path.to_owned(), problem };
        let mut bytes = Vec::new();
        let mut file = File::open(path).map_err(unreadable)?.take(LONGEST_SECRET as u64 + 1);
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > LONGEST_SECRET {
            return Err(KeyError::Long { path: path.to_owned() });
        }
        let secret = bytes.trim_ascii();
        if secret.len() < SHORTEST_SECRET {
            return Err(KeyError::Short { path: path.to_owned(), length: secret.len() });
        }
        Ok(Self::derive(secret))
    }

    fn derive(secret: &[u8]) -> Self {
        let mut seed = [0; 32];
        Salt::new(HKDF_SHA256, SALT)
            .extract(secret)
            .expand(&[INFO], HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut seed))
            .expect("HKDF gives up to 255 blocks");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
        let pkcs8 = pair.to_pkcs8().expect("a key pair can be encoded");
        Self::of(pkcs8.as_ref())
    }

    /// A key pair that nobody else has: for a channel without a secret.
    fn random() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        Self::of(pkcs8.expect("the system has randomness").as_ref())
    }

    fn of(pkcs8: &[u8]) -> Self {
        let key = PrivatePkcs8KeyDer::from(pkcs8.to_vec()).into();
        let signing = super::provider().key_provider.load_private_key(key);
        let signing = signing.expect("aws-lc-rs reads its own keys");
        let public = signing.public_key().expect("a key pair has a public half");
        let public = CertificateDer::from(public.to_vec());
        Self { certified: Arc::new(CertifiedKey::new(vec![public], signing)) }
    }

    fn public(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }
}

impl PartialEq for SharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedKey").finish_non_exhaustive()
    }
}

/// TLS 1.3 of the side that dials. Without a key the other side may be anybody.
pub fn shared_client(key: Option<&SharedKey>, alpn: &[u8]) -> ClientConfig {
    let own = key.cloned().unwrap_or_else(SharedKey::random);
    let mut config = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SameKey::new(key)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own.certified)));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// TLS 1.3 of the side that is dialled. Without a key whoever dials may be anybody.
pub fn shared_server(key: Option<&SharedKey>, alpn: &[u8]) -> ServerConfig {
    let own = key.cloned().unwrap_or_else(SharedKey::random);
    let mut config = ServerConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_client_cert_verifier(Arc::new(SameKey::new(key)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own.certified)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// Takes whoever proves to have the same key pair; without one, anybody.
#[derive(Debug)]
struct SameKey {
    key: Option<SharedKey>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl SameKey {
    fn new(key: Option<&SharedKey>) -> Self {
        let algorithms = super::provider().signature_verification_algorithms;
        Self { key: key.cloned(), algorithms }
    }

    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        match &self.key {
            Some(key) if key.public().as_ref() != shown.as_ref() => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What both sides say of signatures, in the words of two traits.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            // Only TLS 1.3 is configured.
            Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            shown: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
            verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for SameKey {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(shown).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for SameKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(shown).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(bytes: &[u8]) -> Result<SharedKey, KeyError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("writable");
        SharedKey::load(file.path())
    }

    #[test]
    fn one_secret_gives_one_key_pair_whatever_stands_around_it() {
        let secret = [b'x'; 32];
        let padded = [b"\n ".as_slice(), &secret, b"\r\n"].concat();
        assert_eq!(load(&secret).expect("long enough"), load(&padded).expect("long enough"));
        let other = [b'y'; 32];
        assert_ne!(load(&secret).expect("long enough"), load(&other).expect("long enough"));
    }

    #[test]
    fn a_file_that_is_no_secret_is_told_how_to_mend_it() {
        let told = |bytes: &[u8]| load(bytes).expect_err("no secret").to_string();
        let short = told(&[b" ".repeat(40), b"s3cret".to_vec()].concat());
        assert!(short.contains("holds 6 bytes") && short.contains("/dev/urandom"), "{short}");
        assert!(!short.contains("s3cret"), "{short}");
        assert!(told(&[b'x'; 4097]).contains("more than 4096"));
        let missing = SharedKey::load(Path::new("/nonexistent/key")).expect_err("not there");
        assert!(missing.to_string().contains("mount the Secret"), "{missing}");
    }

    #[test]
    fn debug_output_shows_nothing_of_the_key() {
        let key = load(&[b'x'; 32]).expect("long enough");
        assert_eq!(format!("{key:?}"), "SharedKey { .. }");
    }
}

//! Certificates made at run time: authorities, and leaves that are good or bad in one way each.
#![allow(dead_code, reason = "each test binary needs another part of it")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Validity {
    /// Since an hour, for a day.
    pub(crate) fn current() -> Self {
        let now = SystemTime::now();
        Self { not_before: now - HOUR, not_after: now + DAY }
    }

    /// Until yesterday.
    pub(crate) fn past() -> Self {
        let now = SystemTime::now();
        Self { not_before: now - 2 * DAY, not_after: now - DAY }
    }

    /// From tomorrow on.
    pub(crate) fn future() -> Self {
        let now = SystemTime::now();
        Self { not_before: now + DAY, not_after: now + 2 * DAY }
    }

    /// A validity of 100 days of which this many are left.
    pub(crate) fn days_left(days: u32) -> Self {
        let now = SystemTime::now();
        Self { not_before: now - (100 - days) * DAY, not_after: now + days * DAY }
    }
}

/// What a leaf is for.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// DNS names, addresses and `spiffe://` URIs: its subjectAltNames.
    pub(crate) names: Vec<String>,
    pub(crate) validity: Validity,
    /// Whether it may serve; every leaf may be a client.
    pub(crate) serves: bool,
    /// Bytes of an extension that nobody knows.
    pub(crate) ballast: usize,
}

impl Leaf {
    /// A leaf for servers and clients with these names, currently valid.
    pub(crate) fn named(names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, validity: Validity::current(), serves: true, ballast: 0 }
    }

    pub(crate) fn valid(self, validity: Validity) -> Self {
        Self { validity, ..self }
    }

    fn params(&self) -> CertificateParams {
        let mut params = params(self.names.first().map_or("nameless", String::as_str));
        params.subject_alt_names = self.names.iter().map(|name| alt_name(name)).collect();
        (params.not_before, params.not_after) =
            (self.validity.not_before.into(), self.validity.not_after.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if self.serves {
            params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if self.ballast > 0 {
            let unknown = [1, 3, 6, 1, 4, 1, 99_999, 1];
            let ballast = vec![0; self.ballast];
            params.custom_extensions.push(CustomExtension::from_oid_content(&unknown, ballast));
        }
        params
    }

    /// Signed by its own key.
    pub(crate) fn self_signed(&self) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let leaf = self.params().self_signed(&key).expect("signed");
        Issued { chain: vec![leaf.der().to_vec()], key: key.serialize_der() }
    }
}

/// An authority that issues leaves and further authorities.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What is shown after a leaf: this authority and those above it, without the root.
    above: Vec<Vec<u8>>,
}

impl Authority {
    /// A self-signed root.
    pub(crate) fn root(name: &str) -> Self {
        Self::root_valid(name, Validity::current())
    }

    pub(crate) fn root_valid(name: &str, validity: Validity) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(authority_params(name, validity), key);
        Self { issuer: issuer.expect("signed"), above: Vec::new() }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str, validity: Validity) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params(name, validity);
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).expect("signed");
        let mut above = vec![issuer.der().to_vec()];
        above.extend(self.above.iter().cloned());
        Self { issuer, above }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf.params().signed_by(&key, &self.issuer).expect("signed");
        let mut chain = vec![certificate.der().to_vec()];
        chain.extend(self.above.iter().cloned());
        Issued { chain, key: key.serialize_der() }
    }

    /// DER of the authority's own certificate.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate as `name` in `dir`.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> PathBuf {
        write(dir, name, &self.pem())
    }
}

/// A certificate with its chain and key, DER.
#[derive(Clone)]
pub(crate) struct Issued {
    /// Leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub(crate) key: Vec<u8>,
}

/// The PEM files of an [`Issued`].
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Issued {
    /// The same, showing further certificates.
    pub(crate) fn followed_by(mut self, further: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.chain.extend(further);
        self
    }

    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// Writes `<name>.pem` and `<name>.key` into `dir`.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> Files {
        Files {
            certificate: write(dir, &format!("{name}.pem"), &self.chain_pem()),
            key: write(dir, &format!("{name}.key"), &self.key_pem()),
        }
    }
}

fn authority_params(name: &str, validity: Validity) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (validity.not_before.into(), validity.not_after.into());
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn alt_name(name: &str) -> SanType {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return SanType::IpAddress(ip);
    }
    let ascii = name.try_into().expect("names are ASCII");
    if name.contains("://") { SanType::URI(ascii) } else { SanType::DnsName(ascii) }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("the directory of a test is writable");
    path
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text.push_str(&base64(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place > group.len() { '=' } else { ALPHABET[sextet].into() });
        }
    }
    text
}

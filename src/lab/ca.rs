//! The lab's certificate authority: a root made at run time, and what it signs.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

/// How long before now certificates begin to be valid: clocks of a mesh differ a little.
const BACKDATE: Duration = Duration::from_secs(60);

/// A root that signs workload certificates, as istiod does.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    /// The certificates between a leaf and the root, lowest first.
    above: String,
}

/// What a certificate says.
#[derive(Debug, Clone)]
pub struct Subject {
    /// URI name, if any.
    pub spiffe_id: Option<String>,
    /// DNS names.
    pub names: Vec<String>,
    /// Seconds from now at which it ends; negative is the past.
    pub ends_in: i64,
}

impl Subject {
    /// A workload's certificate of a day.
    pub fn workload(spiffe_id: impl Into<String>) -> Self {
        Self { spiffe_id: Some(spiffe_id.into()), names: Vec::new(), ends_in: 86_400 }
    }
}

/// A chain with its key.
pub struct Issued {
    /// PEM, leaf first, without the root.
    pub chain_pem: String,
    /// The leaf's private key.
    pub key: KeyPair,
}

impl Authority {
    /// A root named `name`, with a fresh key.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let params = authority_params(name, 10 * 365 * 86_400);
        let key = KeyPair::generate()?;
        let root_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root_pem, above: String::new() })
    }

    /// An authority named `name` below this one, which ends `ends_in` seconds from now; negative is
    /// the past.
    pub fn below(&self, name: &str, ends_in: i64) -> Result<Self, rcgen::Error> {
        let params = authority_params(name, ends_in);
        let key = KeyPair::generate()?;
        let above = params.signed_by(&key, &self.issuer)?.pem() + &self.above;
        Ok(Self { issuer: Issuer::new(params, key), root_pem: self.root_pem.clone(), above })
    }

    /// The root, PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate with a fresh key.
    pub fn issue(&self, subject: &Subject) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let chain_pem = params(subject)?.signed_by(&key, &self.issuer)?.pem() + &self.above;
        Ok(Issued { chain_pem, key })
    }

    /// Signs `csr_pem` for `subject`, whatever names the request states, as istiod does.
    pub fn sign(&self, csr_pem: &str, subject: &Subject) -> Result<String, rcgen::Error> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem)?;
        request.params = params(subject)?;
        Ok(request.signed_by(&self.issuer)?.pem() + &self.above)
    }
}

fn authority_params(name: &str, ends_in: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(ends_in);
    params
}

/// From a little before now, or before the end if that is earlier, to `ends_in` seconds from now.
fn validity(ends_in: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    let end = now + time::Duration::seconds(ends_in);
    ((now - BACKDATE).min(end - BACKDATE), end)
}

fn params(subject: &Subject) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(subject.names.clone())?;
    if let Some(id) = &subject.spiffe_id {
        params.subject_alt_names.push(SanType::URI(id.as_str().try_into()?));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = validity(subject.ends_in);
    Ok(params)
}

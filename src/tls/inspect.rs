//! Certificates as facts. A certificate that cannot be parsed hides none of the others.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::failure::{Fault, Reason};
use crate::outcome::{CertificateFacts, TlsFacts};

/// Names of a leaf beyond this are not kept.
const MAX_NAMES: usize = 64;

/// Fills `facts` with everything that `chain` tells, leaf first.
pub(super) fn describe(chain: &[CertificateDer<'_>], facts: &mut TlsFacts) {
    let Some(leaf) = chain.first() else { return };
    facts.chain = chain.iter().filter_map(certificate).collect();
    facts.not_before = facts.chain.iter().map(|certificate| certificate.not_before).max();
    facts.not_after = facts.chain.iter().map(|certificate| certificate.not_after).min();
    facts.chain_sha256 = Some(hex(&chain.concat_der()));
    if let Ok((_, leaf)) = X509Certificate::from_der(leaf) {
        facts.peer_names = names(&leaf).filter_map(host_name).take(MAX_NAMES).collect();
        facts.peer_spiffe_id = names(&leaf).find_map(spiffe_id);
    }
}

/// The `spiffe://` URIs among the subjectAltNames of `certificate`.
pub(super) fn spiffe_ids(certificate: &CertificateDer<'_>) -> Vec<String> {
    match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => names(&certificate).filter_map(spiffe_id).collect(),
        Err(_) => Vec::new(),
    }
}

/// Checks that every certificate but a self-signed root has at least `min` of its validity left.
pub(super) fn check_remaining(
    chain: &[CertificateFacts],
    min: f64,
    now: SystemTime,
) -> Result<(), Fault> {
    for certificate in chain.iter().filter(|certificate| certificate.subject != certificate.issuer)
    {
        let CertificateFacts { subject, not_before, not_after, .. } = certificate;
        let validity = not_after.duration_since(*not_before).unwrap_or_default();
        let left = not_after.duration_since(now).unwrap_or_default();
        let share = if validity.is_zero() { 0.0 } else { left.div_duration_f64(validity) };
        if share < min {
            let detail =
                format!("{share:.3} of the validity of `{subject}` is left, expected {min}");
            return Err(Fault::new(Reason::CertExpiring, detail));
        }
    }
    Ok(())
}

fn certificate(der: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(CertificateFacts {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        not_before: time(parsed.validity().not_before.timestamp()),
        not_after: time(parsed.validity().not_after.timestamp()),
        sha256: hex(der),
    })
}

fn names<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| &extension.value.general_names)
}

fn host_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).ok();
            let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from).ok();
            v4.or_else(v6).map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn spiffe_id(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some((*uri).to_owned()),
        _ => None,
    }
}

/// Seconds since 1970, also before it.
fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    shifted.unwrap_or(UNIX_EPOCH)
}

fn hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The DER of a whole chain in one row.
trait ConcatDer {
    fn concat_der(&self) -> Vec<u8>;
}

impl ConcatDer for [CertificateDer<'_>] {
    fn concat_der(&self) -> Vec<u8> {
        self.iter().flat_map(|certificate| certificate.iter().copied()).collect()
    }
}

//! Certificates as facts. A certificate that cannot be parsed hides none of the others.
//!
//! Whatever a peer puts into its certificates is untrusted input: bounded, and never with control
//! characters that a terminal would obey.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::failure::{Fault, Reason};
use crate::outcome::{CertificateFacts, TlsFacts};
use crate::spec::Verify;
use crate::tls::fault::shorten;

/// Names of a leaf beyond this are not kept.
const MAX_NAMES: usize = 64;

/// Characters of a name beyond this are not kept.
const MAX_NAME: usize = 2048;

/// Fills `facts` with everything that `chain` tells, leaf first; the digest of the whole is the
/// caller's.
pub(super) fn describe(chain: &[CertificateDer<'_>], facts: &mut TlsFacts) {
    let parsed: Vec<_> = chain.iter().map(|der| Some((der, parse(der)?))).collect();
    facts.chain = parsed.iter().flatten().map(|(der, it)| certificate(der, it)).collect();
    facts.not_before = facts.chain.iter().map(|certificate| certificate.not_before).max();
    facts.not_after = facts.chain.iter().map(|certificate| certificate.not_after).min();
    if let Some(Some((_, leaf))) = parsed.first() {
        facts.peer_names = names(leaf).filter_map(host_name).take(MAX_NAMES).collect();
        facts.peer_spiffe_id = names(leaf).find_map(spiffe_id).map(printable);
    }
}

/// SHA-256 over `certificates` in a row, lower-case hex.
pub(super) fn sha256<'a>(certificates: impl Iterator<Item = &'a CertificateDer<'a>>) -> String {
    let mut context = Context::new(&SHA256);
    certificates.for_each(|certificate| context.update(certificate));
    let nibble = |nibble| char::from_digit(u32::from(nibble), 16).expect("below 16");
    let bytes = context.finish();
    bytes.as_ref().iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 15)]).collect()
}

/// SHA-256 of `bytes`, lower-case hex.
pub fn digest(bytes: &[u8]) -> String {
    sha256(std::iter::once(&CertificateDer::from(bytes)))
}

/// Whether `id` is among the URIs of `certificate`'s subjectAltNames.
pub(super) fn has_spiffe_id(certificate: &CertificateDer<'_>, id: &str) -> bool {
    parse(certificate).is_some_and(|it| names(&it).filter_map(spiffe_id).any(|shown| shown == id))
}

/// Checks that the leaf and every certificate above it but a self-signed root have at least
/// `min` of their validity left.
pub(super) fn check_remaining(
    chain: &[CertificateDer<'_>],
    min: f64,
    now: SystemTime,
) -> Result<(), Fault> {
    for (index, der) in chain.iter().enumerate() {
        let Some(parsed) = parse(der) else {
            let detail = format!("certificate {index} of the chain cannot be read, nor its dates");
            return Err(Fault::new(Reason::CertUntrusted, detail));
        };
        if index > 0 && parsed.subject().as_raw() == parsed.issuer().as_raw() {
            continue;
        }
        let (not_before, not_after) = validity(&parsed);
        let validity = not_after.duration_since(not_before).unwrap_or_default();
        let left = not_after.duration_since(now).unwrap_or_default();
        let share = if validity.is_zero() { 0.0 } else { left.div_duration_f64(validity) };
        if share < min {
            let subject = printable(&parsed.subject().to_string());
            let detail =
                format!("{share:.3} of the validity of `{subject}` is left, expected {min}");
            return Err(Fault::new(Reason::CertExpiring, shorten(detail)));
        }
    }
    Ok(())
}

/// Adds to a rejection of the chain which certificate, issuer or name it is about.
pub(super) fn explain(fault: Fault, facts: &TlsFacts, verify: &Verify, now: SystemTime) -> Fault {
    let subjects = |wrong: &dyn Fn(&CertificateFacts) -> bool| {
        let wrong = facts.chain.iter().filter(|certificate| wrong(certificate));
        let quoted: Vec<_> = wrong.map(|it| format!("`{}`", it.subject)).collect();
        (!quoted.is_empty()).then(|| quoted.join(", "))
    };
    let about = match (fault.reason, verify) {
        (Reason::CertExpired, _) => subjects(&|it| it.not_after < now),
        (Reason::CertNotYetValid, _) => subjects(&|it| it.not_before > now),
        (Reason::CertUntrusted, _) => {
            facts.chain.last().map(|last| format!("the chain ends at issuer `{}`", last.issuer))
        }
        (Reason::CertNameMismatch, Verify::Spiffe(expected)) => {
            let shown = facts.peer_spiffe_id.as_deref().unwrap_or("without a SPIFFE ID");
            let detail = format!("the peer is {shown}, expected {expected}");
            return Fault::new(fault.reason, shorten(detail));
        }
        (_, _) => None,
    };
    match about {
        Some(about) => Fault::new(fault.reason, shorten(format!("{}: {about}", fault.detail))),
        None => fault,
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}

fn certificate(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> CertificateFacts {
    let (not_before, not_after) = validity(parsed);
    CertificateFacts {
        subject: printable(&parsed.subject().to_string()),
        issuer: printable(&parsed.issuer().to_string()),
        not_before,
        not_after,
        sha256: sha256(std::iter::once(der)),
    }
}

fn validity(parsed: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = parsed.validity();
    (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()))
}

fn names<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension.into_iter().flat_map(|extension| &extension.value.general_names)
}

fn host_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).ok();
            let v6 = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from).ok();
            v4.or_else(v6).map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn spiffe_id<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some(uri),
        _ => None,
    }
}

/// `text` without control characters, cut to a bounded length.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(MAX_NAME).map(shown).collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A certificate with a name of every kind, and a subject that tries to steer a terminal.
    fn leaf() -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = ["a.test".to_owned(), "10.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).expect("valid names");
        let uri = "spiffe://cluster.local/ns/a/sa/b".try_into().expect("ASCII");
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        params.distinguished_name.push(rcgen::DnType::CommonName, "\u{1b}[31mred\n");
        params.self_signed(&key).expect("signed").der().clone()
    }

    #[test]
    fn control_characters_of_a_subject_are_not_kept() {
        let leaf = leaf();
        let facts = certificate(&leaf, &parse(&leaf).expect("parsable"));
        assert!(facts.subject.contains("red"), "{}", facts.subject);
        assert!(!facts.subject.contains(char::is_control), "{}", facts.subject);
    }

    #[test]
    fn names_of_every_kind_are_told() {
        let mut facts = TlsFacts::default();
        describe(&[leaf()], &mut facts);
        assert_eq!(facts.peer_names, ["a.test", "10.0.0.1", "::1"]);
        assert_eq!(facts.peer_spiffe_id.as_deref(), Some("spiffe://cluster.local/ns/a/sa/b"));
    }

    #[test]
    fn a_self_signed_leaf_is_not_spared_as_a_root() {
        let now = UNIX_EPOCH + Duration::from_secs(200 * 365 * 86_400);
        let half = check_remaining(&[leaf()], 0.99, now).expect_err("much of it has passed");
        assert_eq!(half.reason, Reason::CertExpiring);
    }

    #[test]
    fn a_self_signed_root_above_the_leaf_is_spared() {
        let now = UNIX_EPOCH + Duration::from_secs(200 * 365 * 86_400);
        let mut params = rcgen::CertificateParams::default();
        params.not_after = now.into();
        let root = params.self_signed(&rcgen::KeyPair::generate().expect("a key"));
        let root = root.expect("signed").der().clone();
        assert_eq!(check_remaining(&[leaf(), root.clone()], 0.5, now), Ok(()));
        assert!(check_remaining(&[root], 0.5, now).is_err());
    }

    #[test]
    fn dates_of_an_unreadable_certificate_are_not_assumed() {
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        let fault = check_remaining(&[garbage], 0.1, SystemTime::now()).expect_err("unreadable");
        assert_eq!(fault.reason, Reason::CertUntrusted);
    }

    proptest! {
        #[test]
        fn no_bytes_make_inspection_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..512),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bent = leaf().to_vec();
            for (index, byte) in flips {
                let index = index.index(bent.len());
                bent[index] = byte;
            }
            let chain = [leaf(), CertificateDer::from(bytes), CertificateDer::from(bent.clone())];
            let mut facts = TlsFacts::default();
            describe(&chain, &mut facts);
            prop_assert_eq!(facts.peer_names.len(), 3, "the good leaf is told all the same");
            describe(&[CertificateDer::from(bent)], &mut facts);
        }
    }
}

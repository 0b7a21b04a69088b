//! From a TLS error to a [`Reason`]: the tables of rustls' errors and of alerts.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use crate::failure::{Fault, Reason};
use crate::net;

/// A detail longer than this, in characters, is cut: a certificate may carry thousands of names.
const MAX_DETAIL: usize = 400;

/// Whether `error` carries an error of TLS itself.
pub fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Error>())
}

/// Tells an I/O error of a TLS stream: rustls' own error when it carries one, the socket's
/// otherwise. An end without close_notify is `closed`.
pub fn io_fault(error: &io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.map_or_else(|| net::io_fault(error), tls_fault)
}

/// Tells an error of rustls.
pub(super) fn tls_fault(error: &Error) -> Fault {
    let reason = match error {
        Error::AlertReceived(alert) => {
            let detail = format!("the peer sent alert {}", alert_name(*alert));
            return Fault::new(Reason::TlsAlert, detail);
        }
        // webpki's own words for what rustls has no variant for.
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            let detail = format!("the certificate is not accepted: {}", webpki_words(other));
            return Fault::new(Reason::CertUntrusted, shorten(detail));
        }
        Error::InvalidCertificate(certificate) => certificate_reason(certificate),
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_)
        | Error::DecryptError
        | Error::NoCertificatesPresented
        | Error::UnsupportedNameType
        | Error::PeerIncompatible(_)
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::NoApplicationProtocol
        | Error::InvalidEncryptedClientHello(_) => Reason::TlsProtocol,
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => Reason::LocalResource,
        Error::EncryptError
        | Error::InvalidCertRevocationList(_)
        | Error::General(_)
        | Error::HandshakeNotComplete
        | Error::BadMaxFragmentSize
        | Error::InconsistentKeys(_)
        | Error::Other(_) => Reason::Unclassified,
        // The enum may grow: what is new is counted until it is told here.
        _ => Reason::Unclassified,
    };
    Fault::new(reason, shorten(error.to_string()))
}

/// Says in words what people meet: a certificate made by `openssl req -x509` is a CA.
fn webpki_words(error: &OtherError) -> String {
    match error.to_string().as_str() {
        "CaUsedAsEndEntity" => "the server shows a CA certificate as its own".to_owned(),
        other => other.to_owned(),
    }
}

fn certificate_reason(error: &CertificateError) -> Reason {
    #[allow(deprecated, reason = "webpki still reports the variant without its context")]
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::CertExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Reason::CertNotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Reason::CertNameMismatch
        }
        CertificateError::BadEncoding
        | CertificateError::Revoked
        | CertificateError::UnhandledCriticalExtension
        | CertificateError::UnknownIssuer
        | CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. }
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithm
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. }
        | CertificateError::InvalidOcspResponse
        | CertificateError::ApplicationVerificationFailure
        // What webpki has no word for, such as an end-entity certificate that is a CA.
        | CertificateError::Other(_) => Reason::CertUntrusted,
        // The enum may grow: what is new is counted until it is told here.
        _ => Reason::Unclassified,
    }
}

/// The alert that `error` carries, if it is one of the peer's.
pub(super) fn alert(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(alert_name(*alert)),
        _ => None,
    }
}

/// Cuts `detail` to what a line can hold.
pub(super) fn shorten(mut detail: String) -> String {
    if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

/// The name of an alert as the registry of RFC 8446 writes it, or its number.
fn alert_name(alert: AlertDescription) -> String {
    let code = u8::from(alert);
    let known = ALERTS.iter().find(|(listed, _)| *listed == code);
    known.map_or_else(|| format!("{code}"), |(_, name)| (*name).to_owned())
}

/// The IANA registry "TLS Alerts".
const ALERTS: &[(u8, &str)] = &[
    (0, "close_notify"),
    (10, "unexpected_message"),
    (20, "bad_record_mac"),
    (21, "decryption_failed"),
    (22, "record_overflow"),
    (30, "decompression_failure"),
    (40, "handshake_failure"),
    (41, "no_certificate"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (47, "illegal_parameter"),
    (48, "unknown_ca"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (52, "too_many_cids_requested"),
    (60, "export_restriction"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (90, "user_canceled"),
    (100, "no_renegotiation"),
    (109, "missing_extension"),
    (110, "unsupported_extension"),
    (111, "certificate_unobtainable"),
    (112, "unrecognized_name"),
    (113, "bad_certificate_status_response"),
    (114, "bad_certificate_hash_value"),
    (115, "unknown_psk_identity"),
    (116, "certificate_required"),
    (117, "general_error"),
    (120, "no_application_protocol"),
    (121, "ech_required"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_code_has_a_name_or_its_number() {
        for code in 0..=u8::MAX {
            let name = alert_name(AlertDescription::from(code));
            let known = ALERTS.iter().any(|(listed, _)| *listed == code);
            assert_eq!(name == code.to_string(), !known, "{name}");
        }
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        assert_eq!(shorten("short".to_owned()), "short");
        let cut = shorten("ü".repeat(10_000));
        assert_eq!(cut.chars().count(), MAX_DETAIL + 1);
    }
}

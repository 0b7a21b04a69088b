//! From a TLS error to a [`Reason`]: the table of rustls' errors.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::failure::{Fault, Reason};
use crate::net;

/// Tells an I/O error of a TLS stream: rustls' own error when it carries one, the socket's
/// otherwise. An end without close_notify is `closed`.
pub fn io_fault(error: &io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.map_or_else(|| net::io_fault(error), tls_fault)
}

fn tls_fault(error: &Error) -> Fault {
    let reason = match error {
        Error::AlertReceived(alert) => {
            return Fault::new(
                Reason::TlsAlert,
                format!("the peer sent alert {}", alert_name(*alert)),
            );
        }
        Error::InvalidCertificate(certificate) => certificate_reason(certificate),
        Error::NoCertificatesPresented | Error::UnsupportedNameType => Reason::TlsProtocol,
        Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_)
        | Error::DecryptError
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
    Fault::new(reason, error.to_string())
}

fn certificate_reason(error: &CertificateError) -> Reason {
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

/// The name of an alert as RFC 8446 writes it.
fn alert_name(alert: AlertDescription) -> String {
    let camel = format!("{alert:?}");
    let mut name = String::with_capacity(camel.len());
    for (index, character) in camel.char_indices() {
        let after_lower = camel[..index].ends_with(|c: char| c.is_ascii_lowercase());
        if character.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

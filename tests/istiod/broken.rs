//! An istiod that answers garbage, too much, or nothing.

use std::sync::Arc;

use meshprobe::failure::Reason;
use meshprobe::lab::ca::{Authority, Subject};
use meshprobe::outcome::Rung;
use rustls::pki_types::CertificateDer;

use super::server::{Conduct, Istiod, NAME, SPIFFE_ID, certificates};
use super::support::{Mesh, assert_broken};

async fn broken(conduct: Conduct, rung: Rung, reason: Reason) -> String {
    let mesh = Mesh::start().await;
    mesh.istiod.conduct(conduct);
    let patient = reason != Reason::Timeout;
    let outcome = if patient { mesh.climb().await } else { mesh.climb_briefly().await };
    assert_broken(&outcome, rung, reason).detail.clone()
}

#[tokio::test]
async fn an_istiod_that_accepts_and_never_shakes_hands_is_a_timeout_of_tls() {
    broken(Conduct::NoHandshake, Rung::Tls, Reason::Timeout).await;
}

#[tokio::test]
async fn an_istiod_that_never_sends_settings_is_a_timeout_of_http2() {
    broken(Conduct::NoSettings, Rung::Http2, Reason::Timeout).await;
}

#[tokio::test]
async fn an_istiod_that_never_answers_is_a_timeout_of_xds() {
    broken(Conduct::NoAnswer, Rung::Xds, Reason::Timeout).await;
}

#[tokio::test]
async fn garbage_is_told_at_the_rung_that_it_came_at() {
    broken(Conduct::GarbageForTls, Rung::Tls, Reason::TlsProtocol).await;
    broken(Conduct::GarbageForSettings, Rung::Http2, Reason::HttpMalformed).await;
    let told = broken(Conduct::GarbageForAnswers, Rung::Xds, Reason::HttpMalformed).await;
    assert!(told.starts_with("not gRPC: "), "{told}");
}

#[tokio::test]
async fn a_server_without_h2_is_no_istiod() {
    let told = broken(Conduct::NoAlpn, Rung::Http2, Reason::TlsProtocol).await;
    assert!(told.contains("ALPN"), "{told}");
}

#[tokio::test]
async fn an_end_is_closed_or_reset_as_it_was() {
    broken(Conduct::Hangup, Rung::Http2, Reason::Closed).await;
    let told = broken(Conduct::ResetStreams, Rung::Xds, Reason::Reset).await;
    assert!(told.starts_with("RST_STREAM: INTERNAL_ERROR"), "{told}");
    broken(Conduct::HangupOnCall, Rung::Xds, Reason::Closed).await;
    broken(Conduct::NoMessage, Rung::Xds, Reason::Closed).await;
}

#[tokio::test]
async fn a_refusal_is_told_by_its_grpc_status() {
    let told = broken(Conduct::Unauthenticated, Rung::Xds, Reason::GrpcStatus).await;
    assert!(told.starts_with("Unauthenticated: request authenticate failure"), "{told}");
    let told = broken(Conduct::NoSigning, Rung::Csr, Reason::GrpcStatus).await;
    assert_eq!(told, "Unavailable: the CA is not ready");
    let told = broken(Conduct::Unavailable, Rung::Xds, Reason::GrpcStatus).await;
    assert!(told.starts_with("Unavailable: ") && told.contains("503"), "{told}");
}

#[tokio::test]
async fn a_resource_of_100_mib_is_refused_and_never_held() {
    let mesh = Mesh::start().await;
    mesh.istiod.conduct(Conduct::Huge);
    let outcome = mesh.climb().await;
    assert_broken(&outcome, Rung::Xds, Reason::BodyTooLarge);
    let (sent, received) = (mesh.istiod.seen().bytes_sent, outcome.reply_bytes);
    assert!(sent < 1024 * 1024, "{sent} bytes were taken from the server");
    assert!(received < 1024 * 1024, "{received} bytes were read");
}

#[tokio::test]
async fn a_message_that_never_ends_is_a_timeout() {
    broken(Conduct::Endless, Rung::Xds, Reason::Timeout).await;
}

#[tokio::test]
async fn an_endless_chain_in_the_handshake_is_refused() {
    let authority = Arc::new(Authority::new("root").expect("an authority"));
    let subject = Subject { names: vec![NAME.to_owned()], ..Subject::workload(SPIFFE_ID) };
    let issued = authority.issue(&subject).expect("issued");
    let mut chain = certificates(&issued.chain_pem);
    let root: CertificateDer<'_> = certificates(authority.root_pem()).remove(0);
    chain.extend(std::iter::repeat_n(root, 5000));
    let istiod = Istiod::showing(&authority, chain, issued.key.serialized_der()).await;
    let mesh = Mesh::with(authority, istiod);
    let outcome = mesh.climb().await;
    assert_broken(&outcome, Rung::Tls, Reason::TlsProtocol);
    assert!(outcome.reply_bytes < 1024 * 1024, "{} bytes were read", outcome.reply_bytes);
}

#[tokio::test]
async fn an_istiod_under_another_root_is_untrusted() {
    let mesh = Mesh::start().await;
    let other = Authority::new("other").expect("an authority");
    mesh.environment.mesh.trust(other.root_pem().as_bytes()).expect("a good root");
    assert_broken(&mesh.climb().await, Rung::Tls, Reason::CertUntrusted);
}

#[tokio::test]
async fn without_roots_of_the_mesh_the_ladder_cannot_tell() {
    let mut mesh = Mesh::start().await;
    mesh.environment.mesh = Arc::default();
    let outcome = mesh.climb().await;
    assert_broken(&outcome, Rung::Tls, Reason::NoIdentity);
}

//! What istiod signs must be what was asked for.

use meshprobe::failure::Reason;
use meshprobe::outcome::{CsrFacts, Rung};
use meshprobe::spec::IstiodModule;

use super::server::{Conduct, SPIFFE_ID};
use super::support::{Mesh, PATIENCE, assert_broken, ladder};

async fn signed(conduct: Conduct, reason: Reason) -> (String, CsrFacts) {
    let mesh = Mesh::start().await;
    mesh.istiod.conduct(conduct);
    let outcome = mesh.climb().await;
    let told = assert_broken(&outcome, Rung::Csr, reason).detail.clone();
    (told, ladder(&outcome).csr.clone().unwrap_or_default())
}

#[tokio::test]
async fn a_leaf_under_an_unknown_root_is_untrusted() {
    let (_, facts) = signed(Conduct::WrongRoot, Reason::CertUntrusted).await;
    assert_eq!(facts.spiffe_id.as_deref(), Some(SPIFFE_ID), "what was signed is told");
}

#[tokio::test]
async fn a_leaf_for_another_identity_is_a_mismatch() {
    let (told, _) = signed(Conduct::OtherIdentity, Reason::CertNameMismatch).await;
    assert!(told.contains("ns/default/sa/thief") && told.contains("ns/monitoring"), "{told}");
}

#[tokio::test]
async fn a_leaf_of_another_trust_domain_is_a_mismatch() {
    let mesh = Mesh::start().await;
    let module = IstiodModule { trust_domain: "elsewhere.example".to_owned(), ..mesh.module() };
    let outcome = mesh.prepare(module, PATIENCE).attempt().await;
    let told = &assert_broken(&outcome, Rung::Csr, Reason::CertNameMismatch).detail;
    assert_eq!(
        told,
        &format!(
            "istiod signed for {SPIFFE_ID}, expected {}",
            SPIFFE_ID.replace("cluster.local", "elsewhere.example")
        )
    );
}

#[tokio::test]
async fn a_leaf_for_another_key_is_a_mismatch() {
    let (told, _) = signed(Conduct::OtherKey, Reason::CertNameMismatch).await;
    assert_eq!(told, "the certificate is for another key");
}

#[tokio::test]
async fn a_leaf_whose_time_is_over_is_expired() {
    let (_, facts) = signed(Conduct::Expired, Reason::CertExpired).await;
    assert!(facts.not_after.is_some());
}

#[tokio::test]
async fn an_endless_chain_is_no_chain() {
    let (told, _) = signed(Conduct::EndlessChain, Reason::CertUntrusted).await;
    assert!(told.contains("more than 16"), "{told}");
}

#[tokio::test]
async fn nothing_and_garbage_are_no_chain() {
    signed(Conduct::EmptyChain, Reason::CertUntrusted).await;
    signed(Conduct::GarbageChain, Reason::CertUntrusted).await;
}

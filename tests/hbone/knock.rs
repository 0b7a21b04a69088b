//! Without a certificate: who turns us away, and who does not.

use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::{HboneModule, Timeouts, TlsSettings, Verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::peer::{
    Clients, OWN_ID, PEER_ID, Realm, detail, hbone, knocking, peer, serving, unless_starved,
};
use super::pki::{Authority, Leaf, Validity};
use super::support::{TIMEOUT, assert_failed, refused_address, reset, server};

fn verifying(verify: Verify) -> HboneModule {
    HboneModule { tls: TlsSettings { verify, ..knocking().tls }, ..knocking() }
}

#[tokio::test]
async fn a_stranger_is_shown_the_chain_and_turned_away() {
    let realm = Realm::new();
    let (address, _) = peer(realm.serving(), |_| async {}).await;
    let outcome = realm.knock(address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(hbone(&outcome).alert.as_deref(), Some("certificate_required"));
    assert_eq!(hbone(&outcome).authority, None);
    let ran: Vec<_> = outcome.phases.iter().map(|(phase, _)| phase).collect();
    assert_eq!(ran, [Phase::Connect, Phase::Tls, Phase::Processing]);
    let facts = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(PEER_ID));
    assert_eq!(facts.client_certificate_requested, Some(true));
    assert_eq!((facts.version, facts.alpn.as_deref()), (Some("TLSv1.3"), Some("h2")));
    assert!(facts.not_after.is_some() && facts.chain_sha256.is_some());
    assert_eq!(outcome.facts.remote_address, Some(address));
    assert!(outcome.reply_bytes > 0 && outcome.facts.tcp.is_some());
}

#[tokio::test]
async fn a_prober_without_a_certificate_can_knock() {
    let realm = Realm::without_certificate();
    let (address, _) = peer(realm.serving(), |_| async {}).await;
    assert_eq!(realm.knock(address).await.failure, None);
}

#[tokio::test]
async fn no_name_is_indicated_and_h2_alone_is_offered() {
    let realm = Realm::new();
    let (address, seen) = peer(realm.serving(), |_| async {}).await;
    let by_name = format!("localhost:{}", address.port());
    let outcome = realm.probe(knocking(), &by_name).attempt().await;
    assert_eq!(outcome.failure, None);
    assert!(outcome.phases.of(Phase::Resolve).is_some());
    let seen = seen.lock().expect("no panic while held")[0].clone();
    assert_eq!(seen.server_name, None);
    assert_eq!(seen.alpn, [b"h2"]);
}

#[tokio::test]
async fn another_identity_is_a_mismatch_and_its_chain_is_told() {
    let realm = Realm::new();
    let (address, _) = peer(realm.serving(), |_| async {}).await;
    let module = verifying(Verify::Spiffe(OWN_ID.to_owned()));
    let outcome = realm.probe(module, &address.to_string()).attempt().await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
    assert!(detail(&outcome).contains(PEER_ID) && detail(&outcome).contains(OWN_ID));
    let facts = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(PEER_ID));
    assert_eq!(outcome.facts.hbone, None);
}

#[tokio::test]
async fn any_identity_of_the_mesh_will_do_unless_one_is_stated() {
    let realm = Realm::new();
    let (address, _) = peer(realm.serving(), |_| async {}).await;
    let probe = realm.probe(verifying(Verify::Chain), &address.to_string());
    assert_eq!(probe.attempt().await.failure, None);
}

#[tokio::test]
async fn a_bad_chain_has_its_own_reason_and_is_told() {
    let realm = Realm::new();
    let leaf = || Leaf::named(&[PEER_ID]);
    let stranger = Authority::root("stranger");
    for (issued, reason) in [
        (realm.root.issue(&leaf().valid(Validity::past())), Reason::CertExpired),
        (realm.root.issue(&leaf().valid(Validity::future())), Reason::CertNotYetValid),
        (stranger.issue(&leaf()), Reason::CertUntrusted),
    ] {
        let config = serving(&issued, Clients::Required(&realm.root));
        let (address, _) = peer(config, |_| async {}).await;
        let outcome = realm.knock(address).await;
        assert_failed(&outcome, Phase::Tls, reason);
        let facts = outcome.facts.tls.expect("the chain that was shown");
        assert_eq!(facts.peer_spiffe_id.as_deref(), Some(PEER_ID));
        assert_eq!(facts.chain.len(), 1);
    }
}

#[tokio::test]
async fn a_certificate_near_its_end_is_expiring() {
    let realm = Realm::new();
    let issued = realm.root.issue(&Leaf::named(&[PEER_ID]).valid(Validity::days_left(30)));
    let (address, _) = peer(serving(&issued, Clients::Required(&realm.root)), |_| async {}).await;
    for (min_remaining, reason) in [(0.2, None), (0.5, Some(Reason::CertExpiring))] {
        let tls = TlsSettings { min_remaining: Some(min_remaining), ..knocking().tls };
        let module = HboneModule { tls, ..knocking() };
        let outcome = realm.probe(module, &address.to_string()).attempt().await;
        assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), reason);
        assert!(outcome.facts.tls.expect("a handshake").not_after.is_some());
    }
}

#[tokio::test]
async fn an_older_tls_or_another_protocol_is_none_of_hbone() {
    let realm = Realm::new();
    let issued = realm.peer();
    let mut other = serving(&issued, Clients::Required(&realm.root));
    other.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (address, _) = peer(other, |_| async {}).await;
    assert_failed(&realm.knock(address).await, Phase::Tls, Reason::TlsAlert);
    let mut none = serving(&issued, Clients::Required(&realm.root));
    none.alpn_protocols = Vec::new();
    let (address, _) = peer(none, |_| async {}).await;
    let outcome = realm.knock(address).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
    assert!(detail(&outcome).contains("h2"), "{}", detail(&outcome));
}

#[tokio::test]
async fn bytes_that_are_no_tls_are_told_as_that() {
    let realm = Realm::new();
    let address = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_failed(&realm.knock(address).await, Phase::Tls, Reason::TlsProtocol);
}

#[tokio::test]
async fn a_closed_port_refuses_and_a_frozen_peer_never_speaks() {
    let realm = Realm::new();
    assert_failed(&realm.knock(refused_address().await).await, Phase::Connect, Reason::Refused);
    let address = server(|stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let timeouts = Timeouts::total(TIMEOUT);
    let probe = realm.bounded(knocking(), &address.to_string(), timeouts);
    assert_failed(&unless_starved(&probe).await, Phase::Tls, Reason::Timeout);
}

#[tokio::test]
async fn an_end_in_the_handshake_is_closed_or_reset_in_tls() {
    let realm = Realm::new();
    let address = server(|stream| async move { reset(stream) }).await;
    assert_failed(&realm.knock(address).await, Phase::Tls, Reason::Reset);
    let address = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 5000]).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_failed(&realm.knock(address).await, Phase::Tls, Reason::Closed);
}

#[tokio::test]
async fn without_the_meshs_roots_nobody_is_dialled() {
    let realm = Realm { environment: Default::default(), root: Authority::root("unknown") };
    let outcome = realm.knock(refused_address().await).await;
    assert_failed(&outcome, Phase::Tls, Reason::NoIdentity);
    assert_eq!(outcome.phases.iter().count(), 0);
}

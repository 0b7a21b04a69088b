//! What a peer makes of a client without a certificate, when it is not the alert that is owed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::spec::Timeouts;
use rustls::{ConnectionTrafficSecrets, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::frames::settings;
use super::peer::{
    Clients, PEER_ID, Realm, detail, hbone, knocking, peer, serving, unless_starved,
};
use super::support::{TIMEOUT, assert_failed, reset};

/// A peer that asks for a certificate, takes none all the same, and says nothing of it.
fn lenient(realm: &Realm) -> ServerConfig {
    let mut config = serving(&realm.peer(), Clients::Optional(&realm.root));
    config.send_tls13_tickets = 0;
    config
}

#[track_caller]
fn assert_gap(outcome: &Outcome) {
    assert_failed(outcome, Phase::Processing, Reason::UnexpectedReply);
    let told = "HBONE was accepted without a certificate";
    assert!(detail(outcome).starts_with(told), "{}", detail(outcome));
    let facts = outcome.facts.tls.as_ref().expect("the chain that was shown");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(PEER_ID));
}

#[tokio::test]
async fn a_peer_that_does_not_ask_for_a_certificate_is_a_gap() {
    let realm = Realm::new();
    let config = serving(&realm.peer(), Clients::Anonymous);
    let (address, _) = peer(config, |mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    assert_gap(&realm.knock(address).await);
}

#[tokio::test]
async fn a_ticket_or_settings_are_acceptance() {
    let realm = Realm::new();
    let tickets = serving(&realm.peer(), Clients::Optional(&realm.root));
    let (address, _) = peer(tickets, |mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    assert_gap(&realm.knock(address).await);
    let (address, _) = peer(lenient(&realm), |mut stream| async move {
        let _ = stream.write_all(&settings(&[])).await;
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    assert_gap(&realm.knock(address).await);
}

#[tokio::test]
async fn a_peer_that_waits_for_our_preface_is_heard_accepting_it() {
    let realm = Realm::new();
    let (address, _) = peer(lenient(&realm), |mut stream| async move {
        let mut preface = [0; 24 + 9];
        let _ = stream.read_exact(&mut preface).await;
        assert!(preface.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        let _ = stream.write_all(&settings(&[])).await;
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    assert_gap(&realm.knock(address).await);
}

#[tokio::test]
async fn silence_is_a_timeout_and_no_gap() {
    let realm = Realm::new();
    let (address, _) = peer(lenient(&realm), |stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let timeouts = Timeouts::total(TIMEOUT * 2);
    let probe = realm.bounded(knocking(), &address.to_string(), timeouts);
    let outcome = unless_starved(&probe).await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    let facts = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(PEER_ID));
}

#[tokio::test]
async fn an_end_without_an_alert_is_closed_or_reset() {
    let realm = Realm::new();
    let (address, _) = peer(lenient(&realm), |stream| async move {
        let _ = stream.into_inner().0.shutdown().await;
    })
    .await;
    let outcome = realm.knock(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Closed);
    assert_eq!(outcome.facts.hbone, None);
    let (address, _) = peer(lenient(&realm), |stream| async move {
        reset(stream.into_inner().0);
    })
    .await;
    let outcome = realm.knock(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Reset);
    let facts = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(PEER_ID));
}

#[tokio::test]
async fn another_alert_is_told_by_name() {
    let realm = Realm::new();
    let (address, _) = peer(alerting(&realm), |stream| send_alert(stream, ACCESS_DENIED)).await;
    let outcome = realm.knock(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::TlsAlert);
    assert!(detail(&outcome).contains("access_denied"), "{}", detail(&outcome));
    assert!(detail(&outcome).contains("certificate_required"), "{}", detail(&outcome));
    assert_eq!(hbone(&outcome).alert.as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn settings_that_the_alert_follows_are_no_acceptance() {
    let realm = Realm::new();
    let (address, _) = peer(alerting(&realm), |mut stream| async move {
        let _ = stream.write_all(&settings(&[])).await;
        let _ = stream.flush().await;
        send_alert(stream, CERTIFICATE_REQUIRED).await;
    })
    .await;
    let outcome = realm.knock(address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(hbone(&outcome).alert.as_deref(), Some("certificate_required"));
}

const ACCESS_DENIED: u8 = 49;
const CERTIFICATE_REQUIRED: u8 = 116;

/// A peer whose records the test can go on writing by itself.
fn alerting(realm: &Realm) -> ServerConfig {
    let mut config = lenient(realm);
    config.enable_secret_extraction = true;
    config
}

/// Writes a fatal alert as the next record (RFC 8446, section 5.2).
async fn send_alert(stream: TlsStream<TcpStream>, code: u8) {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    const TAG: usize = 16;
    let (mut tcp, session) = stream.into_inner();
    let (sequence, secrets) = session.dangerous_extract_secrets().expect("enabled").tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("another cipher suite than the client's first");
    };
    let mut nonce = <[u8; 12]>::try_from(iv.as_ref()).expect("12 bytes");
    for (byte, counted) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= counted;
    }
    let mut record = vec![FATAL, code, ALERT];
    let length = u16::try_from(record.len() + TAG).expect("short").to_be_bytes();
    let header = [23, 3, 3, length[0], length[1]];
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("32 bytes"));
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(header), &mut record).expect("sealed");
    let _ = tcp.write_all(&[&header[..], &record].concat()).await;
    let _ = tcp.read_to_end(&mut Vec::new()).await;
}

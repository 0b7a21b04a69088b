//! What the chain of a server says, and that it is told also when it is not trusted.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::spec::{Roots, Timeouts, TlsSettings, Verify};

use super::{
    BOTH, Clients, NAME, PATIENCE, Trust, ask, detail, prepare, serving, showing, tls_facts,
    tls_server,
};
use crate::loopback::pki::{Authority, Issued, Leaf, Validity};
use crate::loopback::support::assert_failed;

const SPIFFE_ID: &str = "spiffe://cluster.local/ns/istio-system/sa/ztunnel";

/// Asserts that the facts hold the whole chain of `issued`.
#[track_caller]
fn assert_shown(outcome: &Outcome, issued: &Issued) {
    let facts = tls_facts(outcome);
    assert_eq!(facts.chain.len(), issued.chain.len());
    assert_eq!(facts.chain_sha256.as_deref(), Some(sha256(&issued.chain.concat()).as_str()));
    let latest = facts.chain.iter().map(|certificate| certificate.not_before).max();
    let earliest = facts.chain.iter().map(|certificate| certificate.not_after).min();
    assert_eq!((facts.not_before, facts.not_after), (latest, earliest));
    for (shown, der) in facts.chain.iter().zip(&issued.chain) {
        assert_eq!(shown.sha256, sha256(der));
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_good_handshake_tells_session_and_chain() {
    let trust = Trust::new();
    let validity = Validity::current();
    let authority = trust.root.intermediate("intermediate", validity);
    let issued = authority.issue(&Leaf::named(&[NAME, "127.0.0.1", SPIFFE_ID]));
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_eq!(outcome.failure, None);
    assert!(outcome.phases.of(Phase::Tls).is_some());
    assert_eq!(outcome.phases.of(Phase::Processing), None, "nothing was awaited");
    let facts = tls_facts(&outcome);
    assert_eq!(facts.version, Some("TLSv1.3"));
    assert_eq!(facts.group.as_deref(), Some("X25519MLKEM768"));
    assert!(facts.cipher.as_ref().is_some_and(|cipher| cipher.starts_with("TLS_")), "{facts:?}");
    assert_eq!(facts.client_certificate_requested, Some(false));
    assert_eq!(facts.peer_names, [NAME, "127.0.0.1"]);
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(SPIFFE_ID));
    assert_eq!(facts.chain[1].subject, "CN=intermediate");
    assert_eq!(facts.chain[1].issuer, "CN=root");
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds(facts.chain[1].not_after), seconds(validity.not_after));
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn every_handshake_is_full_and_ends_with_close_notify() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    for version in BOTH {
        let config = serving(&issued, &[*version], Clients::Anonymous);
        let (address, mut told) = tls_server(config).await;
        let timeouts = Timeouts::total(PATIENCE);
        let probe = prepare(trust.settings(), timeouts, address).expect("good files");
        for _ in 0..2 {
            assert_eq!(probe.attempt().await.failure, None);
            let seen = told.recv().await.expect("a client came");
            assert_ne!(seen.kind, Some(rustls::HandshakeKind::Resumed));
            assert_eq!(seen.server_name.as_deref(), Some(NAME));
            assert!(seen.orderly, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn an_address_is_verified_but_never_sent_as_server_name() {
    let trust = Trust::new();
    let settings = TlsSettings { server_name: None, ..trust.settings() };
    let issued = trust.root.issue(&Leaf::named(&["127.0.0.1"]));
    let (address, mut told) = tls_server(serving(&issued, BOTH, Clients::Anonymous)).await;
    assert_eq!(ask(settings.clone(), address).await.failure, None);
    assert_eq!(told.recv().await.expect("a client came").server_name, None);

    let without = trust.root.issue(&Leaf::named(&[NAME]));
    let outcome = ask(settings, showing(&without).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
}

#[tokio::test]
async fn the_dot_of_the_root_is_no_part_of_a_server_name() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let settings = TlsSettings { server_name: Some(format!("{NAME}.")), ..trust.settings() };
    assert_eq!(ask(settings, showing(&issued).await).await.failure, None);
}

#[tokio::test]
async fn an_expired_leaf_is_told_with_its_chain() {
    let trust = Trust::new();
    let authority = trust.root.intermediate("intermediate", Validity::current());
    let issued = authority.issue(&Leaf::named(&[NAME]).valid(Validity::past()));
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertExpired);
    assert!(detail(&outcome).ends_with(&format!("`CN={NAME}`")), "{}", detail(&outcome));
    assert_eq!(tls_facts(&outcome).peer_names, [NAME]);
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn an_expired_intermediate_is_told_by_its_name() {
    let trust = Trust::new();
    let authority = trust.root.intermediate("old intermediate", Validity::past());
    let issued = authority.issue(&Leaf::named(&[NAME]));
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertExpired);
    assert!(detail(&outcome).ends_with("`CN=old intermediate`"), "{}", detail(&outcome));
    let facts = tls_facts(&outcome);
    assert_eq!(facts.not_after, Some(facts.chain[1].not_after), "the earliest of the chain");
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn a_leaf_of_tomorrow_is_not_yet_valid() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]).valid(Validity::future()));
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNotYetValid);
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn a_chain_of_another_root_is_untrusted_and_says_whose_it_is() {
    let trust = Trust::new();
    let stranger = Authority::root("stranger");
    let authority = stranger.intermediate("intermediate", Validity::current());
    let issued = authority.issue(&Leaf::named(&[NAME]));
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
    assert!(detail(&outcome).ends_with("issuer `CN=stranger`"), "{}", detail(&outcome));
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn a_root_of_the_same_name_with_another_key_is_untrusted() {
    let trust = Trust::new();
    let issued = Authority::root("root").issue(&Leaf::named(&[NAME]));
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
}

#[tokio::test]
async fn a_self_signed_chain_is_untrusted() {
    let trust = Trust::new();
    let issued = Leaf::named(&[NAME]).self_signed();
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
    assert_shown(&outcome, &issued);

    let stranger = Authority::root("stranger");
    let issued = stranger.issue(&Leaf::named(&[NAME])).followed_by([stranger.der()]);
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn a_client_certificate_may_not_serve() {
    let trust = Trust::new();
    let leaf = Leaf { serves: false, ..Leaf::named(&[NAME]) };
    let outcome = ask(trust.settings(), showing(&trust.root.issue(&leaf)).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
}

#[tokio::test]
async fn another_name_is_a_mismatch_that_says_which() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&["other.test"]));
    let address = showing(&issued).await;
    let outcome = ask(trust.settings(), address).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
    assert!(detail(&outcome).contains("other.test"), "{}", detail(&outcome));
    assert_shown(&outcome, &issued);

    let outcome = ask(trust.verifying(Verify::Chain), address).await;
    assert_eq!(outcome.failure, None, "the chain alone is good");
}

#[tokio::test]
async fn a_common_name_is_no_name() {
    let trust = Trust::new();
    let outcome = ask(trust.settings(), showing(&trust.root.issue(&Leaf::named(&[]))).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
}

#[tokio::test]
async fn a_spiffe_id_is_matched_whole() {
    let trust = Trust::new();
    let address = showing(&trust.root.issue(&Leaf::named(&[SPIFFE_ID]))).await;
    let asked = |id: &str| ask(trust.verifying(Verify::Spiffe(id.to_owned())), address);
    assert_eq!(asked(SPIFFE_ID).await.failure, None);
    for other in ["spiffe://cluster.local/ns/istio-system/sa/zt", &format!("{SPIFFE_ID}/x")] {
        let outcome = asked(other).await;
        assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
        assert_eq!(detail(&outcome), format!("the peer is {SPIFFE_ID}, expected {other}"));
        assert_eq!(tls_facts(&outcome).peer_spiffe_id.as_deref(), Some(SPIFFE_ID));
    }
}

#[tokio::test]
async fn a_spiffe_id_from_a_stranger_is_untrusted() {
    let trust = Trust::new();
    let settings = trust.verifying(Verify::Spiffe(SPIFFE_ID.to_owned()));
    let issued = Authority::root("stranger").issue(&Leaf::named(&[SPIFFE_ID]));
    let outcome = ask(settings.clone(), showing(&issued).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);

    let nameless = trust.root.issue(&Leaf::named(&[NAME]));
    let outcome = ask(settings, showing(&nameless).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
}

#[tokio::test]
async fn without_verification_anything_is_shown() {
    let trust = Trust::new();
    let settings = TlsSettings { roots: Roots::System, ..trust.verifying(Verify::Nothing) };
    let issued = Leaf::named(&["other.test"]).valid(Validity::past()).self_signed();
    let outcome = ask(settings, showing(&issued).await).await;
    assert_eq!(outcome.failure, None);
    assert_shown(&outcome, &issued);
}

#[tokio::test]
async fn too_little_of_the_validity_left_is_expiring() {
    let trust = Trust::new();
    let demanding = |min| TlsSettings { min_remaining: Some(min), ..trust.settings() };

    let leaf = Leaf::named(&[NAME]).valid(Validity::days_left(10));
    let issued = trust.root.issue(&leaf);
    let address = showing(&issued).await;
    let outcome = ask(demanding(0.2), address).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertExpiring);
    assert!(detail(&outcome).contains(&format!("`CN={NAME}`")), "{}", detail(&outcome));
    assert!(detail(&outcome).starts_with("0.1"), "{}", detail(&outcome));
    assert_shown(&outcome, &issued);
    assert_eq!(ask(demanding(0.05), address).await.failure, None);

    let authority = trust.root.intermediate("intermediate", Validity::days_left(10));
    let outcome = ask(demanding(0.2), showing(&authority.issue(&Leaf::named(&[NAME]))).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertExpiring);
    assert!(detail(&outcome).contains("`CN=intermediate`"), "{}", detail(&outcome));
}

#[tokio::test]
async fn the_validity_left_of_a_root_does_not_count() {
    let root = Authority::root_valid("old root", Validity::days_left(1));
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let settings = TlsSettings {
        roots: Roots::File(root.write(dir.path(), "root.pem")),
        server_name: Some(NAME.to_owned()),
        min_remaining: Some(0.5),
        ..TlsSettings::default()
    };
    let issued = root.issue(&Leaf::named(&[NAME])).followed_by([root.der()]);
    let outcome = ask(settings, showing(&issued).await).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(tls_facts(&outcome).not_after, Some(tls_facts(&outcome).chain[1].not_after));
}

#[tokio::test]
async fn a_garbage_leaf_is_untrusted_and_hides_nothing() {
    let trust = Trust::new();
    let authority = trust.root.intermediate("intermediate", Validity::current());
    let mut issued = authority.issue(&Leaf::named(&[NAME]));
    issued.chain[0] = b"\x30\x82\x01\x00 no certificate".to_vec();
    for settings in [trust.settings(), trust.verifying(Verify::Nothing)] {
        let outcome = ask(settings, showing(&issued).await).await;
        assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
        let facts = tls_facts(&outcome);
        assert_eq!(facts.chain.len(), 1);
        assert_eq!(facts.chain[0].subject, "CN=intermediate");
        assert_eq!(facts.chain_sha256, Some(sha256(&issued.chain.concat())));
    }
}

#[tokio::test]
async fn garbage_behind_a_good_chain_does_not_matter() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME])).followed_by([vec![0xff; 40]]);
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(tls_facts(&outcome).chain.len(), 1);
}

#[tokio::test]
async fn a_huge_chain_is_bounded_in_the_facts() {
    let trust = Trust::new();
    let names: Vec<_> = (0..200).map(|index| format!("host-{index}.test")).collect();
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.insert(0, NAME);
    let filler = Authority::root("filler").der();
    let issued = trust.root.issue(&Leaf::named(&names)).followed_by(vec![filler; 60]);
    let outcome = ask(trust.settings(), showing(&issued).await).await;
    assert_eq!(outcome.failure, None);
    let facts = tls_facts(&outcome);
    assert_eq!(facts.chain.len(), 16);
    assert_eq!(facts.peer_names.len(), 64);
    assert_eq!(facts.chain_sha256, Some(sha256(&issued.chain.concat())), "of the whole chain");
}

#[tokio::test]
async fn a_certificate_beyond_all_measure_is_no_tls() {
    let trust = Trust::new();
    let leaf = Leaf { ballast: 70_000, ..Leaf::named(&[NAME]) };
    let outcome = ask(trust.settings(), showing(&trust.root.issue(&leaf)).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
}

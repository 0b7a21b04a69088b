//! Servers that want to know who asks.

use std::time::Duration;

use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::{ClientIdentity, OwnCertificate, Timeouts, TlsSettings};

use super::{
    BOTH, Clients, NAME, PATIENCE, Trust, ask, detail, prepare, serving, tls_facts, tls_server,
};
use crate::loopback::pki::{Authority, Leaf};
use crate::loopback::support::assert_failed;

/// The settings of `trust` with a client certificate that `authority` issued.
fn identified(trust: &Trust, authority: &Authority) -> TlsSettings {
    let files = authority.issue(&Leaf::named(&["client.test"])).write(trust.dir.path(), "client");
    let identity = ClientIdentity { certificate: files.certificate, key: files.key };
    TlsSettings { identity: Some(OwnCertificate::Files(identity)), ..trust.settings() }
}

#[tokio::test]
async fn a_missing_client_certificate_in_tls13_is_heard_after_the_handshake() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let config = serving(&issued, BOTH, Clients::Required(&trust.root));
    let outcome = ask(trust.settings(), tls_server(config).await.0).await;
    assert_failed(&outcome, Phase::Processing, Reason::TlsAlert);
    assert!(detail(&outcome).ends_with("alert certificate_required"), "{}", detail(&outcome));
    let facts = tls_facts(&outcome);
    assert_eq!(facts.client_certificate_requested, Some(true));
    assert_eq!(facts.version, Some("TLSv1.3"));
    assert_eq!(facts.peer_names, [NAME], "the chain was valid before the alert came");
}

#[tokio::test]
async fn a_missing_client_certificate_in_tls12_ends_the_handshake() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let versions = [&rustls::version::TLS12];
    let config = serving(&issued, &versions, Clients::Required(&trust.root));
    let outcome = ask(trust.settings(), tls_server(config).await.0).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsAlert);
    let facts = tls_facts(&outcome);
    assert_eq!(facts.client_certificate_requested, Some(true));
    assert_eq!(facts.version, Some("TLSv1.2"));
    assert_eq!(facts.peer_names, [NAME]);
}

#[tokio::test]
async fn a_client_certificate_of_a_stranger_is_rejected_by_alert() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let settings = identified(&trust, &Authority::root("stranger"));
    for (version, phase) in BOTH.iter().zip([Phase::Tls, Phase::Processing]) {
        let config = serving(&issued, &[*version], Clients::Required(&trust.root));
        let outcome = ask(settings.clone(), tls_server(config).await.0).await;
        assert_failed(&outcome, phase, Reason::TlsAlert);
        assert!(detail(&outcome).ends_with("alert unknown_ca"), "{}", detail(&outcome));
    }
}

#[tokio::test]
async fn a_good_client_certificate_is_accepted() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let settings = identified(&trust, &trust.root);
    for version in BOTH {
        let config = serving(&issued, &[*version], Clients::Required(&trust.root));
        let (address, mut told) = tls_server(config).await;
        let outcome = ask(settings.clone(), address).await;
        assert_eq!(outcome.failure, None);
        assert_eq!(tls_facts(&outcome).client_certificate_requested, Some(true));
        assert!(outcome.phases.of(Phase::Processing).is_some());
        assert_eq!(told.recv().await.expect("a client came").client_certificates, 1);
    }
}

#[tokio::test]
async fn an_optional_client_certificate_may_be_missing() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    for version in BOTH {
        let config = serving(&issued, &[*version], Clients::Optional(&trust.root));
        let (address, mut told) = tls_server(config).await;
        let outcome = ask(trust.settings(), address).await;
        assert_eq!(outcome.failure, None);
        assert_eq!(tls_facts(&outcome).client_certificate_requested, Some(true));
        assert_eq!(told.recv().await.expect("a client came").client_certificates, 0);
    }
}

#[tokio::test]
async fn a_server_without_tickets_is_taken_as_accepting() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let mut config = serving(&issued, BOTH, Clients::Required(&trust.root));
    config.send_tls13_tickets = 0;
    let outcome = ask(identified(&trust, &trust.root), tls_server(config).await.0).await;
    assert_eq!(outcome.failure, None);
}

#[tokio::test]
async fn a_ticket_is_acceptance_at_once() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let config = serving(&issued, BOTH, Clients::Required(&trust.root));
    let (address, _told) = tls_server(config).await;
    // Less than the grace for servers without tickets: a probe that waits for it never passes.
    let mut timeouts = Timeouts::total(PATIENCE);
    timeouts.phases[Phase::Processing as usize] = Some(Duration::from_millis(200));
    let probe = prepare(identified(&trust, &trust.root), timeouts, address).expect("good files");
    let mut passed = false;
    for _ in 0..20 {
        passed = passed || probe.attempt().await.failure.is_none();
    }
    assert!(passed);
}

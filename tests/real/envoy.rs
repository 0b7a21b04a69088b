//! Envoy: the server behind every waypoint and gateway of a mesh.

mod fixture;

use std::net::SocketAddr;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::spec::{
    ClientIdentity, IpPreference, ModuleKind, Roots, TcpModule, TlsModule, TlsSettings, TlsVersion,
    Verify,
};

use super::pki::{Authority, Leaf};
use super::support::{assert_failed, attempt, free_port};
use fixture::{Envoy, ServerFiles};

const SERVER_ID: &str = "spiffe://cluster.local/ns/web/sa/waypoint";
const CLIENT_ID: &str = "spiffe://cluster.local/ns/probe/sa/meshprobe";

/// Envoy, the mesh's authority, and a client certificate of it.
struct Mesh {
    envoy: Envoy,
    authority: Authority,
    client: Leaf,
}

async fn mesh() -> Mesh {
    let authority = Authority::new("mesh root");
    let server = authority.leaf("server", &["envoy.test", "127.0.0.1"], SERVER_ID);
    let client = authority.leaf("client", &[], CLIENT_ID);
    let files = ServerFiles {
        certificate: &server.certificate,
        key: &server.key,
        client_ca: &authority.root,
    };
    let nobody = ([127, 0, 0, 1], free_port()).into();
    Mesh { envoy: Envoy::start(&files, nobody).await, authority, client }
}

impl Mesh {
    fn trusting(&self) -> TlsSettings {
        TlsSettings { roots: Roots::File(self.authority.root.clone()), ..TlsSettings::default() }
    }

    fn identified(&self) -> TlsSettings {
        let Leaf { certificate, key } = &self.client;
        let identity = ClientIdentity { certificate: certificate.clone(), key: key.clone() };
        TlsSettings { identity: Some(identity), ..self.trusting() }
    }
}

async fn shake(tls: TlsSettings, address: SocketAddr) -> Outcome {
    let module = TlsModule { tls, ip: IpPreference::default() };
    attempt(ModuleKind::Tls(module), Expectation::Reply, &address.to_string()).await
}

#[tokio::test]
async fn a_trusted_chain_with_the_right_name_is_told_in_full() {
    let mesh = mesh().await;
    let tls = TlsSettings { alpn: vec!["h2".to_owned()], ..mesh.trusting() };
    let outcome = shake(tls, mesh.envoy.tls).await;
    assert_eq!(outcome.failure, None);
    assert!(outcome.phases.of(Phase::Tls).is_some());
    let facts = outcome.facts.tls.expect("a handshake");
    assert_eq!(facts.version, Some("TLSv1.3"));
    assert_eq!(facts.alpn.as_deref(), Some("h2"));
    assert_eq!(facts.client_certificate_requested, Some(false));
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(SERVER_ID));
    assert_eq!(facts.peer_names, ["envoy.test", "127.0.0.1"]);
    assert_eq!(facts.chain.len(), 1);
    assert!(facts.not_before < facts.not_after);
}

#[tokio::test]
async fn tls_1_2_is_spoken_when_it_is_all_that_is_offered() {
    let mesh = mesh().await;
    let tls = TlsSettings { max_version: Some(TlsVersion::V1_2), ..mesh.trusting() };
    let outcome = shake(tls, mesh.envoy.tls).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.facts.tls.expect("a handshake").version, Some("TLSv1.2"));
}

#[tokio::test]
async fn a_chain_of_another_authority_is_untrusted_and_still_told() {
    let mesh = mesh().await;
    let stranger = Authority::new("another root");
    let tls = TlsSettings { roots: Roots::File(stranger.root), ..TlsSettings::default() };
    let outcome = shake(tls, mesh.envoy.tls).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
    let facts = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(SERVER_ID));
}

#[tokio::test]
async fn another_name_or_spiffe_id_is_a_mismatch() {
    let mesh = mesh().await;
    let verify =
        |id: &str| TlsSettings { verify: Verify::Spiffe(id.to_owned()), ..mesh.trusting() };
    let named = |name: &str| TlsSettings { server_name: Some(name.to_owned()), ..mesh.trusting() };
    assert_eq!(shake(named("envoy.test"), mesh.envoy.tls).await.failure, None);
    assert_eq!(shake(verify(SERVER_ID), mesh.envoy.tls).await.failure, None);
    for wrong in [named("other.test"), verify(CLIENT_ID)] {
        let outcome = shake(wrong, mesh.envoy.tls).await;
        assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
    }
}

#[tokio::test]
async fn a_demanded_client_certificate_is_given_and_accepted() {
    let mesh = mesh().await;
    let outcome = shake(mesh.identified(), mesh.envoy.mtls).await;
    assert_eq!(outcome.failure, None, "{}", mesh.envoy.log());
    let facts = outcome.facts.tls.expect("a handshake");
    assert_eq!(facts.client_certificate_requested, Some(true));
}

#[tokio::test]
async fn a_missing_client_certificate_gets_the_alert_that_names_it() {
    let mesh = mesh().await;
    let outcome = shake(mesh.trusting(), mesh.envoy.mtls).await;
    assert_failed(&outcome, Phase::Processing, Reason::TlsAlert);
    let failure = outcome.failure.expect("asserted");
    assert!(failure.detail.contains("certificate_required"), "{failure}");
    let facts = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(facts.client_certificate_requested, Some(true));
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(SERVER_ID));
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_gets_an_alert() {
    let mesh = mesh().await;
    let stranger = Authority::new("another root");
    let Leaf { certificate, key } = stranger.leaf("client", &[], CLIENT_ID);
    let identity = ClientIdentity { certificate, key };
    let tls = TlsSettings { identity: Some(identity), ..mesh.trusting() };
    let outcome = shake(tls, mesh.envoy.mtls).await;
    assert_failed(&outcome, Phase::Processing, Reason::TlsAlert);
}

#[tokio::test]
async fn a_connect_listener_shows_its_chain_and_demands_a_certificate() {
    let mesh = mesh().await;
    let h2 = |tls| TlsSettings {
        alpn: vec!["h2".to_owned()],
        verify: Verify::Spiffe(SERVER_ID.to_owned()),
        ..tls
    };
    let outcome = shake(h2(mesh.identified()), mesh.envoy.connect).await;
    assert_eq!(outcome.failure, None, "{}", mesh.envoy.log());
    assert_eq!(outcome.facts.tls.expect("a handshake").alpn.as_deref(), Some("h2"));
    let outcome = shake(h2(mesh.trusting()), mesh.envoy.connect).await;
    assert_failed(&outcome, Phase::Processing, Reason::TlsAlert);
}

#[tokio::test]
async fn a_gone_upstream_accepts_and_then_ends_without_a_reply_in_one_of_two_ways() {
    let mesh = mesh().await;
    for address in [mesh.envoy.dead_tcp, mesh.envoy.empty_tcp] {
        for send in [None, Some(b"ping\n".to_vec())] {
            let silent = send.is_none();
            let module = TcpModule { send, reply_regex: None, ip: IpPreference::default() };
            let kind = ModuleKind::Tcp(module);
            let outcome = attempt(kind, Expectation::Reply, &address.to_string()).await;
            assert!(outcome.phases.of(Phase::Connect).is_some(), "the connect succeeded");
            let failure = outcome.failure.expect("nobody is behind it");
            assert_eq!(failure.phase, Phase::Processing, "{failure}");
            // Closing on bytes that nobody read resets; which comes first is a race.
            let reset = !silent && failure.reason == Reason::Reset;
            assert!(reset || failure.reason == Reason::Closed, "{failure}");
            assert_eq!(outcome.reply_bytes, 0);
        }
    }
}

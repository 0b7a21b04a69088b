//! Envoy: the server behind every waypoint and gateway of a mesh.

mod fixture;
#[cfg(feature = "lab")]
mod hbone;

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use meshprobe::expectation::{self, Expectation, Verdict};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::spec::{
    ClientIdentity, HttpModule, HttpVersion, IpPreference, ModuleKind, OwnCertificate, Roots,
    TcpModule, TlsModule, TlsSettings, TlsVersion, Verify,
};
use regex::bytes::Regex;

use super::pki::{Authority, Leaf};
use super::support::{assert_failed, attempt, attempt_within, free_port};
use fixture::{Envoy, ServerFiles};

const SERVER_ID: &str = "spiffe://cluster.local/ns/web/sa/waypoint";
const CLIENT_ID: &str = "spiffe://cluster.local/ns/probe/sa/meshprobe";

/// Only a server that never answers meets it.
const FROZEN_LIMIT: Duration = Duration::from_millis(500);

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
        TlsSettings { identity: Some(OwnCertificate::Files(identity)), ..self.trusting() }
    }
}

async fn shake(tls: TlsSettings, address: SocketAddr) -> Outcome {
    let module = TlsModule { tls, ip: IpPreference::default() };
    attempt(ModuleKind::Tls(module), Expectation::Reply, &address.to_string()).await
}

fn http(tls: TlsSettings) -> HttpModule {
    HttpModule {
        method: Method::GET,
        headers: Vec::new(),
        body: None,
        version: HttpVersion::Auto,
        body_regex: None,
        body_limit: 64 * 1024,
        redirects: 0,
        decompress: false,
        keepalive: false,
        tls,
        ip: IpPreference::default(),
    }
}

async fn get(module: HttpModule, expect: Expectation, url: &str) -> Outcome {
    attempt(ModuleKind::Http(module), expect, url).await
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
    let tls = TlsSettings { identity: Some(OwnCertificate::Files(identity)), ..mesh.trusting() };
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
async fn http_is_spoken_in_the_version_that_was_asked_for() {
    let mesh = mesh().await;
    let (plain, tls) = (mesh.envoy.plain, mesh.envoy.tls);
    let body = Regex::new("^envoy answers\\n$").expect("valid");
    for (version, url, spoken) in [
        (HttpVersion::Auto, format!("http://{plain}/"), "HTTP/1.1"),
        (HttpVersion::Http2, format!("http://{plain}/"), "HTTP/2"),
        (HttpVersion::Http1, format!("https://{tls}/"), "HTTP/1.1"),
        (HttpVersion::Http2, format!("https://{tls}/"), "HTTP/2"),
        (HttpVersion::Auto, format!("https://{tls}/"), "HTTP/2"),
    ] {
        let body_regex = Some(body.clone());
        let module = HttpModule { version, body_regex, ..http(mesh.trusting()) };
        let outcome = get(module, Expectation::Reply, &url).await;
        assert_eq!(outcome.failure, None, "{url}");
        let facts = outcome.facts.http.expect("a response");
        assert_eq!((facts.status, facts.version), (200, spoken), "{url}");
        assert_eq!(outcome.phases.of(Phase::Tls).is_some(), url.starts_with("https"));
        assert!(outcome.phases.of(Phase::Transfer).is_some());
    }
}

#[tokio::test]
async fn any_status_is_a_reply_and_a_stated_one_is_judged() {
    let mesh = mesh().await;
    let url = format!("http://{}/teapot", mesh.envoy.plain);
    let outcome = get(http(TlsSettings::default()), Expectation::Reply, &url).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.facts.http.as_ref().expect("a response").status, 418);
    let stated = Expectation::Status("2xx".parse().expect("a set"));
    let judgement = expectation::judge(&stated, &outcome, None);
    assert_eq!(judgement.verdict, Verdict::Violated);
    assert_eq!(judgement.failure.expect("told").reason, Reason::Status);
}

#[tokio::test]
async fn envoy_itself_answers_503_for_an_upstream_that_is_gone() {
    let mesh = mesh().await;
    for path in ["dead", "empty"] {
        let url = format!("http://{}/{path}", mesh.envoy.plain);
        let outcome = get(http(TlsSettings::default()), Expectation::Reply, &url).await;
        assert_eq!(outcome.failure, None, "a complete reply, though not the upstream's");
        assert_eq!(outcome.facts.http.expect("a response").status, 503);
    }
}

#[tokio::test]
async fn a_redirect_is_followed_only_when_told_to() {
    let mesh = mesh().await;
    let url = format!("http://{}/moved", mesh.envoy.plain);
    let outcome = get(http(TlsSettings::default()), Expectation::Reply, &url).await;
    assert_eq!(outcome.facts.http.expect("a response").status, 301);
    let follow = HttpModule { redirects: 1, ..http(TlsSettings::default()) };
    let outcome = get(follow, Expectation::Reply, &url).await;
    let facts = outcome.facts.http.expect("a response");
    assert_eq!((facts.status, facts.redirects), (200, 1));
}

#[tokio::test]
async fn http_over_mtls_needs_the_certificate_too() {
    let mesh = mesh().await;
    let url = format!("https://{}/", mesh.envoy.mtls);
    let outcome = get(http(mesh.identified()), Expectation::Reply, &url).await;
    assert_eq!(outcome.failure, None, "{}", mesh.envoy.log());
    assert_eq!(outcome.facts.http.expect("a response").version, "HTTP/2");
    let outcome = get(http(mesh.trusting()), Expectation::Reply, &url).await;
    let failure = outcome.failure.expect("no certificate was shown");
    assert_eq!(failure.reason, Reason::TlsAlert, "{failure}");
}

#[tokio::test]
async fn plain_http_to_a_tls_listener_is_ended_without_a_reply() {
    let mesh = mesh().await;
    let url = format!("http://{}/", mesh.envoy.tls);
    let outcome = get(http(TlsSettings::default()), Expectation::Reply, &url).await;
    let failure = outcome.failure.expect("no HTTP is spoken there");
    assert_eq!(failure.phase, Phase::Processing, "{failure}");
    assert!(matches!(failure.reason, Reason::Closed | Reason::Reset), "{failure}");
    assert_eq!(outcome.reply_bytes, 0);
}

#[tokio::test]
async fn tls_to_a_plain_listener_is_no_tls() {
    let mesh = mesh().await;
    let outcome = shake(mesh.trusting(), mesh.envoy.plain).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
}

#[tokio::test]
async fn a_frozen_envoy_accepts_and_then_says_nothing() {
    let mesh = mesh().await;
    mesh.envoy.freeze();
    let url = format!("http://{}/", mesh.envoy.plain);
    let kind = ModuleKind::Http(http(TlsSettings::default()));
    let outcome = attempt_within(FROZEN_LIMIT, kind, Expectation::Reply, &url).await;
    mesh.envoy.thaw();
    assert!(outcome.phases.of(Phase::Connect).is_some(), "the kernel accepts for it");
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
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

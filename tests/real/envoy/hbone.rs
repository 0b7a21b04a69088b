//! Envoy as an HBONE peer: mTLS and CONNECT by another hand, certificates of the lab's authority.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::lab::ca::{Authority, Issued, Subject};
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{
    HboneModule, HttpModule, HttpVersion, IpPreference, Module, ModuleKind, OwnCertificate, Roots,
    Timeouts, TlsSettings, Verify,
};
use meshprobe::target::{Endpoint, Host};
use meshprobe::tls::{Credential, Mesh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fixture::{DEAD, Envoy, FORBIDDEN, ServerFiles};
use super::{CLIENT_ID, FROZEN_LIMIT, SERVER_ID};
use crate::real::support::{assert_failed, temp_dir, write_file};

const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npong\n";

/// No live server needs it, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Envoy in front of a responder, and a prober of its mesh.
struct Hbone {
    envoy: Envoy,
    authority: Authority,
    environment: Environment,
}

fn workload(authority: &Authority, id: &str) -> Issued {
    authority.issue(&Subject::workload(id)).expect("a good subject")
}

async fn hbone() -> Hbone {
    let authority = Authority::new("lab root").expect("a root");
    let server = workload(&authority, SERVER_ID);
    let dir = temp_dir();
    let files = ServerFiles {
        certificate: &write_file(&dir, "server.pem", &server.chain_pem),
        key: &write_file(&dir, "server.key", server.key.serialize_pem()),
        client_ca: &write_file(&dir, "root.pem", authority.root_pem()),
    };
    let envoy = Envoy::start(&files, responder().await).await;
    let mesh = Mesh::default();
    mesh.trust(authority.root_pem().as_bytes()).expect("a good root");
    let environment = Environment { mesh: Arc::new(mesh), ..Environment::default() };
    let hbone = Hbone { envoy, authority, environment };
    hbone.carry(&workload(&hbone.authority, CLIENT_ID));
    hbone
}

/// Answers every request with [`REPLY`] and closes.
async fn responder() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let _ = stream.write_all(REPLY.as_bytes()).await;
            });
        }
    });
    address
}

impl Hbone {
    fn carry(&self, issued: &Issued) {
        let credential = Credential::new(issued.chain_pem.as_bytes(), &issued.key.serialize_der());
        self.environment.mesh.carry(credential.expect("a good pair"));
    }

    fn knocking(&self) -> HboneModule {
        HboneModule {
            credentialed: false,
            tls: TlsSettings {
                roots: Roots::Mesh,
                verify: Verify::Spiffe(SERVER_ID.to_owned()),
                ..TlsSettings::default()
            },
            peer: None,
            request: HttpModule {
                method: Method::GET,
                headers: Vec::new(),
                body: None,
                version: HttpVersion::Http1,
                body_regex: None,
                body_limit: 64 * 1024,
                redirects: 0,
                decompress: false,
                keepalive: false,
                tls: TlsSettings::default(),
                ip: IpPreference::default(),
            },
            warm: false,
            ip: IpPreference::default(),
        }
    }

    fn calling(&self) -> HboneModule {
        let module = self.knocking();
        let tls = TlsSettings { identity: Some(OwnCertificate::Mesh), ..module.tls };
        let at = self.envoy.connect;
        let peer = Some(Endpoint { host: Host::Ip(at.ip()), port: at.port() });
        HboneModule { credentialed: true, tls, peer, ..module }
    }

    fn probe(&self, module: HboneModule, address: &str, limit: Duration) -> Probe {
        let kind = ModuleKind::Hbone(Box::new(module));
        let timeouts = Timeouts::total(limit);
        let module = Module { kind, timeouts, expect: Expectation::Reply };
        let spec = module.aim(address).expect("a good address");
        Probe::prepare(&spec, &self.environment).expect("good settings")
    }

    async fn knock(&self) -> Outcome {
        let address = self.envoy.connect.to_string();
        self.probe(self.knocking(), &address, PATIENCE).attempt().await
    }

    async fn call(&self, url: &str) -> Outcome {
        self.probe(self.calling(), url, PATIENCE).attempt().await
    }
}

/// Where the tunnel ends is Envoy's to say.
const FAR: &str = "http://192.0.2.7:8080/ping";

#[tokio::test]
async fn without_a_certificate_the_chain_is_shown_and_the_alert_is_certificate_required() {
    let hbone = hbone().await;
    let outcome = hbone.knock().await;
    assert_eq!(outcome.failure, None, "{}", hbone.envoy.log());
    let facts = outcome.facts.hbone.expect("a verdict");
    assert_eq!(facts.alert.as_deref(), Some("certificate_required"));
    let tls = outcome.facts.tls.expect("a handshake");
    assert_eq!(tls.peer_spiffe_id.as_deref(), Some(SERVER_ID));
    assert!(tls.not_after.is_some());
    assert!(outcome.phases.of(Phase::Processing).is_some());
}

#[tokio::test]
async fn with_one_connect_leads_to_a_reply() {
    let hbone = hbone().await;
    let outcome = hbone.call(FAR).await;
    assert_eq!(outcome.failure, None, "{}", hbone.envoy.log());
    for phase in [Phase::Connect, Phase::Tls, Phase::Tunnel, Phase::Processing, Phase::Transfer] {
        assert!(outcome.phases.of(phase).is_some(), "{phase}");
    }
    let facts = outcome.facts.hbone.expect("an answer");
    assert_eq!((facts.status, facts.authority.as_deref()), (Some(200), Some("192.0.2.7:8080")));
    assert_eq!(facts.reply_bytes, Some(REPLY.len() as u64));
    let settings = facts.settings.expect("told");
    assert_eq!(settings.max_concurrent_streams, Some(100));
    assert_eq!(settings.initial_window_size, Some(4 << 20));
    assert_eq!(settings.connection_window_size, Some(16 << 20));
    let http = outcome.facts.http.expect("a reply");
    assert_eq!((http.status, http.version, http.body_bytes), (200, "HTTP/1.1", 5));
    assert_eq!(outcome.facts.remote_address, Some(hbone.envoy.connect));
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_unavailable() {
    let hbone = hbone().await;
    let outcome = hbone.call(&format!("http://{DEAD}/")).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HboneUnavailable);
    let facts = outcome.facts.hbone.as_ref().expect("an answer");
    assert_eq!((facts.status, facts.authority.as_deref()), (Some(503), Some(DEAD)));
    assert_eq!(outcome.answer_bytes(), 0, "Envoy's own words are no reply");
}

#[tokio::test]
async fn an_answer_that_hbone_does_not_know_is_told_by_its_status() {
    let hbone = hbone().await;
    let outcome = hbone.call(&format!("http://{FORBIDDEN}/")).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::Status);
    assert_eq!(outcome.facts.hbone.expect("an answer").status, Some(403));
}

#[tokio::test]
async fn another_spiffe_id_is_a_mismatch_for_both() {
    let hbone = hbone().await;
    let verify = Verify::Spiffe(CLIENT_ID.to_owned());
    for (module, address) in
        [(hbone.knocking(), hbone.envoy.connect.to_string()), (hbone.calling(), FAR.to_owned())]
    {
        let tls = TlsSettings { verify: verify.clone(), ..module.tls };
        let module = HboneModule { tls, ..module };
        let outcome = hbone.probe(module, &address, PATIENCE).attempt().await;
        assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
        let tls = outcome.facts.tls.expect("the chain that was shown");
        assert_eq!(tls.peer_spiffe_id.as_deref(), Some(SERVER_ID));
    }
}

#[tokio::test]
async fn a_certificate_of_another_root_gets_an_alert() {
    let hbone = hbone().await;
    let stranger = Authority::new("another root").expect("a root");
    hbone.carry(&workload(&stranger, CLIENT_ID));
    let outcome = hbone.call(FAR).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::TlsAlert);
}

#[tokio::test]
async fn a_peer_that_wants_no_certificate_is_a_gap() {
    let hbone = hbone().await;
    let address = hbone.envoy.tls.to_string();
    let outcome = hbone.probe(hbone.knocking(), &address, PATIENCE).attempt().await;
    assert_failed(&outcome, Phase::Processing, Reason::UnexpectedReply);
}

#[tokio::test]
async fn a_warm_call_takes_the_kept_connection_until_it_is_gone() {
    let hbone = hbone().await;
    let module = HboneModule { warm: true, ..hbone.calling() };
    let probe = hbone.probe(module, FAR, PATIENCE);
    for warm in [false, true, true, true] {
        let outcome = probe.attempt().await;
        assert_eq!(outcome.failure, None, "{}", hbone.envoy.log());
        assert_eq!(outcome.facts.warm, Some(warm));
        assert_eq!(outcome.phases.of(Phase::Tls).is_none(), warm);
        assert_eq!(outcome.facts.http.expect("a reply").status, 200);
    }
    drop(hbone.envoy);
    let outcome = probe.attempt().await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(outcome.facts.warm, Some(false));
}

#[tokio::test]
async fn a_frozen_peer_accepts_and_never_speaks_tls() {
    let hbone = hbone().await;
    let address = hbone.envoy.connect.to_string();
    hbone.envoy.freeze();
    let knock = hbone.probe(hbone.knocking(), &address, FROZEN_LIMIT).attempt().await;
    let call = hbone.probe(hbone.calling(), FAR, FROZEN_LIMIT).attempt().await;
    hbone.envoy.thaw();
    for outcome in [knock, call] {
        assert!(outcome.phases.of(Phase::Connect).is_some(), "the kernel accepts for it");
        assert_failed(&outcome, Phase::Tls, Reason::Timeout);
    }
}

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::LOCATION;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::{
    ClientIdentity, HttpModule, HttpVersion, OwnCertificate, Roots, TlsSettings,
};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::http_support::{ask, good, module, probe, serve, serve_http2};
use super::support::{assert_failed, server};

/// Slow enough to tell a response from the session tickets and settings that precede it.
const THINKING: Duration = Duration::from_millis(50);

/// A certificate for 127.0.0.1 that is its own root, as PEM files.
struct Pki {
    folder: TempDir,
    certificate: String,
    key: String,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.self_signed(&key).expect("good parameters").pem();
        let folder = tempfile::tempdir().expect("a writable temporary directory");
        let key = key.serialize_pem();
        std::fs::write(folder.path().join("cert.pem"), &certificate).expect("writable");
        std::fs::write(folder.path().join("key.pem"), &key).expect("writable");
        Self { folder, certificate, key }
    }

    fn settings(&self) -> TlsSettings {
        let roots = Roots::File(self.folder.path().join("cert.pem"));
        TlsSettings { roots, ..TlsSettings::default() }
    }

    fn with_identity(&self) -> TlsSettings {
        let file = |name| self.folder.path().join(name);
        let identity = ClientIdentity { certificate: file("cert.pem"), key: file("key.pem") };
        TlsSettings { identity: Some(OwnCertificate::Files(identity)), ..self.settings() }
    }

    /// A server of this certificate, which takes its time for every answer.
    async fn server(&self, alpn: &[&str], client_certificate: bool) -> SocketAddr {
        let chain = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain.clone()).expect("a certificate");
        let verifier: Arc<dyn ClientCertVerifier> = if client_certificate {
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .expect("a root")
        } else {
            Arc::new(NoClientAuth)
        };
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's own")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![chain], key)
            .expect("a pair");
        // Without tickets, HTTP/2 settings are the first that a client hears after its Finished.
        config.send_tls13_tickets = if client_certificate { 0 } else { 2 };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        server(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let think = |_| async {
                    tokio::time::sleep(THINKING).await;
                    Response::new(Full::new("hello".into()))
                };
                if http2 {
                    // Sends its settings at once, where `serve` awaits the client's preface.
                    serve_http2(TokioIo::new(stream), think).await;
                } else {
                    serve(TokioIo::new(stream), think).await;
                }
            }
        })
        .await
    }
}

fn https(tls: TlsSettings) -> HttpModule {
    HttpModule { tls, ..module() }
}

#[tokio::test]
async fn the_version_is_what_alpn_agrees_on() {
    let pki = Pki::new();
    let cases: [(&[&str], HttpVersion, &str); 5] = [
        (&["h2", "http/1.1"], HttpVersion::Auto, "HTTP/2"),
        (&["http/1.1"], HttpVersion::Auto, "HTTP/1.1"),
        (&[], HttpVersion::Auto, "HTTP/1.1"),
        (&["h2", "http/1.1"], HttpVersion::Http1, "HTTP/1.1"),
        (&["h2", "http/1.1"], HttpVersion::Http2, "HTTP/2"),
    ];
    for (offered, wanted, version) in cases {
        let address = pki.server(offered, false).await;
        let module = HttpModule { version: wanted, ..https(pki.settings()) };
        let outcome = ask(module, format!("https://{address}/")).await;
        assert_eq!(outcome.failure, None, "{offered:?} {wanted:?}");
        assert_eq!(outcome.facts.http.expect("a response").version, version);
        assert!(outcome.phases.of(Phase::Tls).is_some());
        assert_eq!(outcome.facts.tls.expect("a handshake").chain.len(), 1);
        let processing = outcome.phases.of(Phase::Processing).expect("it ran");
        assert!(processing >= THINKING, "{processing:?} is not the response of {version}");
        assert!(outcome.phases.total() <= outcome.duration);
    }
}

#[tokio::test]
async fn a_server_without_h2_fails_in_tls_when_h2_is_stated() {
    let pki = Pki::new();
    let address = pki.server(&[], false).await;
    let module = HttpModule { version: HttpVersion::Http2, ..https(pki.settings()) };
    let outcome = ask(module, format!("https://{address}/")).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
    let address = pki.server(&["http/1.1"], false).await;
    let module = HttpModule { version: HttpVersion::Http2, ..https(pki.settings()) };
    let outcome = ask(module, format!("https://{address}/")).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsAlert);
}

#[tokio::test]
async fn an_untrusted_server_fails_in_tls_with_its_chain_as_a_fact() {
    let (pki, other) = (Pki::new(), Pki::new());
    let address = pki.server(&[], false).await;
    let outcome = ask(https(other.settings()), format!("https://{address}/")).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertUntrusted);
    assert_eq!(outcome.phases.of(Phase::Processing), None);
    assert_eq!(outcome.facts.tls.expect("a chain was shown").chain.len(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_first_after_mutual_tls_is_understood() {
    let pki = Pki::new();
    for alpn in [&["h2"], &["http/1.1"]] {
        let address = pki.server(alpn, true).await;
        let outcome = ask(https(pki.with_identity()), format!("https://{address}/")).await;
        assert_eq!(outcome.failure, None, "{alpn:?}");
        assert_eq!(outcome.facts.http.expect("a response").body_bytes, 5);
    }
}

#[tokio::test]
async fn a_missing_client_certificate_is_an_alert_before_the_request() {
    let pki = Pki::new();
    let address = pki.server(&["h2", "http/1.1"], true).await;
    let outcome = ask(https(pki.settings()), format!("https://{address}/")).await;
    assert_failed(&outcome, Phase::Processing, Reason::TlsAlert);
}

#[tokio::test]
async fn a_warm_request_over_tls_shakes_no_hand() {
    let pki = Pki::new();
    for alpn in [&["h2"], &["http/1.1"]] {
        let address = pki.server(alpn, false).await;
        let kept = HttpModule { keepalive: true, ..https(pki.settings()) };
        let probe = probe(kept, format!("https://{address}/"));
        let cold = probe.attempt().await;
        let warm = probe.attempt().await;
        assert_eq!((&cold.failure, &warm.failure), (&None, &None));
        assert_eq!((cold.facts.warm, warm.facts.warm), (Some(false), Some(true)));
        assert_eq!(warm.phases.of(Phase::Tls), None);
        assert_eq!(warm.facts.tls, cold.facts.tls, "still the session's");
    }
}

#[tokio::test]
async fn a_redirect_may_lead_to_https_where_a_stated_server_name_does_not_count() {
    let pki = Pki::new();
    let secure = pki.server(&[], false).await;
    let address = good(move |_| async move {
        let mut response = Response::new(Full::default());
        *response.status_mut() = http::StatusCode::FOUND;
        let location = format!("https://{secure}/").parse().expect("a value");
        response.headers_mut().insert(LOCATION, location);
        response
    })
    .await;
    let server_name = Some("another.example".to_owned());
    let tls = TlsSettings { server_name, ..pki.settings() };
    let following = HttpModule { redirects: 1, ..https(tls) };
    let outcome = ask(following.clone(), address).await;
    assert_eq!(outcome.failure, None);
    let outcome = ask(following, format!("https://{secure}/")).await;
    assert_failed(&outcome, Phase::Tls, Reason::CertNameMismatch);
}

#[tokio::test]
async fn plain_http_does_not_speak_tls() {
    let address = good(|_| async { Response::new(Full::default()) }).await;
    let outcome = ask(https(Pki::new().settings()), format!("https://{address}/")).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
}

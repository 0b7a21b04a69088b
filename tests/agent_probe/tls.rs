use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::pki::{Authority, Issued, Leaf, Validity};
use super::support::{Web, probe, serve, start};

/// A web server over TLS that shows `issued`.
async fn secure(issued: &Issued) -> SocketAddr {
    let chain = issued.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::try_from(issued.key.clone()).expect("PKCS#8");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("good versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a good certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, &Mutex::default()).await;
                }
            });
        }
    });
    address
}

fn unix(validity: Validity) -> f64 {
    let since = validity.not_after.duration_since(UNIX_EPOCH).expect("later");
    since.as_secs() as f64
}

/// Modules `http`, `strict` (80% of the validity must be left), `tls`, `named`.
fn modules(root: &Authority, folder: &tempfile::TempDir) -> String {
    let ca = root.write(folder.path(), "root.pem");
    let ca = ca.display();
    format!(
        "
modules:
  http: {{ http: {{ tls: {{ ca: \"{ca}\" }} }}, timeout: 30s, expect: status 2xx }}
  strict: {{ http: {{ tls: {{ ca: \"{ca}\", min_remaining: 0.8 }} }}, timeout: 30s }}
  tls: {{ tls: {{ ca: \"{ca}\" }}, timeout: 30s }}
  named: {{ http: {{ tls: {{ ca: \"{ca}\", server_name: web.example }} }}, timeout: 30s }}
"
    )
}

#[tokio::test]
async fn expiries_are_those_of_the_path_and_of_all_that_is_shown() {
    let folder = tempfile::tempdir().expect("writable");
    let [old, short, long] = [Validity::past(), Validity::days_left(5), Validity::days_left(50)];
    let root = Authority::root("root");
    let between = root.intermediate("between", short);
    let stray = Authority::root_valid("stray", old);
    let leaf = Leaf::named(&["127.0.0.1", "web.example", "www.example"]).valid(long);
    let issued = between.issue(&leaf).followed_by([stray.der()]);
    let address = secure(&issued).await;
    let agent = start(&modules(&root, &folder)).await;
    for (module, target) in [("http", format!("https://{address}/")), ("tls", address.to_string())]
    {
        let reply = probe(&agent, module, target).await.passed();
        assert_eq!(reply.value("probe_ssl_earliest_cert_expiry"), Some(unix(old)));
        let path = reply.value("probe_ssl_last_chain_expiry_timestamp_seconds");
        assert_eq!(path, Some(unix(short)), "a stray certificate is not on the path");
        assert_eq!(reply.labels("probe_tls_version_info"), ["{version=\"TLS 1.3\"}"]);
        let info = reply.labels("probe_ssl_last_chain_info");
        assert!(info[0].contains("issuer=\"CN=between\",subject=\"CN=127.0.0.1\""), "{info:?}");
        assert!(info[0].contains("subjectalternative=\"web.example,www.example\""), "{info:?}");
    }
    let reply = probe(&agent, "http", format!("https://{address}/")).await;
    assert_eq!(reply.value("probe_http_ssl"), Some(1.0));
    assert!(reply.value("probe_http_duration_seconds{phase=\"tls\"}") > Some(0.0), "{reply:?}");
}

#[tokio::test]
async fn a_leaf_that_ends_first_is_both_expiries() {
    let folder = tempfile::tempdir().expect("writable");
    let root = Authority::root_valid("root", Validity::days_left(90));
    let between = root.intermediate("between", Validity::days_left(50));
    let leaf = Validity::days_left(5);
    let issued = between.issue(&Leaf::named(&["127.0.0.1"]).valid(leaf));
    let address = secure(&issued).await;
    let agent = start(&modules(&root, &folder)).await;
    let reply = probe(&agent, "tls", address).await.passed();
    for name in ["earliest_cert_expiry", "last_chain_expiry_timestamp_seconds"] {
        assert_eq!(reply.value(&format!("probe_ssl_{name}")), Some(unix(leaf)), "{name}");
    }
}

#[tokio::test]
async fn an_address_needs_an_address_in_the_certificate_or_a_server_name() {
    let folder = tempfile::tempdir().expect("writable");
    let root = Authority::root("root");
    let address = secure(&root.issue(&Leaf::named(&["web.example"]))).await;
    let agent = start(&modules(&root, &folder)).await;
    let target = format!("https://{address}/");
    let reply = probe(&agent, "http", &target).await.failed("tls", "cert_name_mismatch");
    assert!(!reply.body.contains("probe_ssl_"), "no handshake was completed: {reply:?}");
    assert_eq!(reply.value("probe_http_ssl"), Some(0.0));
    probe(&agent, "named", &target).await.passed();
}

#[tokio::test]
async fn a_short_lived_certificate_is_told_though_the_attempt_fails() {
    let folder = tempfile::tempdir().expect("writable");
    let root = Authority::root("root");
    let leaf = Leaf::named(&["127.0.0.1"]).valid(Validity::days_left(5));
    let address = secure(&root.issue(&leaf)).await;
    let agent = start(&modules(&root, &folder)).await;
    let reply = probe(&agent, "strict", format!("https://{address}/")).await;
    let reply = reply.failed("tls", "cert_expiring");
    assert!(reply.value("probe_ssl_earliest_cert_expiry").is_some(), "{reply:?}");
}

#[tokio::test]
async fn https_to_a_plain_port_fails_in_tls() {
    let folder = tempfile::tempdir().expect("writable");
    let (root, web) = (Authority::root("root"), Web::start().await);
    let agent = start(&modules(&root, &folder)).await;
    let reply = probe(&agent, "http", format!("https://{}/", web.address)).await;
    assert_eq!(reply.value("probe_success"), Some(0.0));
    assert!(reply.labels("probe_failure_info")[0].contains("phase=\"tls\""), "{reply:?}");
    assert_eq!(reply.value("probe_http_ssl"), Some(0.0));
}

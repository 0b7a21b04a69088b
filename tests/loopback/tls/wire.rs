//! Peers that spoil a handshake on the wire: versions, alerts, other protocols, RST, FIN, silence.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::{Timeouts, TlsSettings, TlsVersion};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::{
    BOTH, Clients, NAME, Trust, ask, detail, prepare, serving, showing, tls_facts, tls_server,
};
use crate::loopback::pki::Leaf;
use crate::loopback::support::{TIMEOUT, assert_failed, reset, server};

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// Reads a ClientHello, sends `reply` and ends in an orderly way.
async fn replying(reply: Vec<u8>) -> SocketAddr {
    server(move |mut stream| {
        let reply = reply.clone();
        async move {
            client_hello(&mut stream).await;
            let _ = stream.write_all(&reply).await;
            let _ = stream.shutdown().await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    })
    .await
}

/// Reads one whole record, so that closing does not reset.
async fn client_hello(stream: &mut TcpStream) {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await.expect("a record");
    let length = u16::from_be_bytes([header[3], header[4]]);
    let mut body = vec![0; length.into()];
    stream.read_exact(&mut body).await.expect("a whole record");
}

/// How a server ends a handshake that it began.
#[derive(Clone, Copy)]
enum End {
    Reset,
    Close,
    Silence,
}

/// A server that shows its certificate under TLS 1.2, and never finishes the handshake.
async fn stopping(trust: &Trust, end: End) -> SocketAddr {
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let config = Arc::new(serving(&issued, TLS12, Clients::Anonymous));
    server(move |stream| {
        let config = Arc::clone(&config);
        async move {
            let acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
            let mut accept = acceptor.await.expect("a ClientHello").into_stream(config);
            // Its first poll sends the server's flight; the client's next is never read.
            let first = std::future::poll_fn(|context| {
                std::task::Poll::Ready(std::pin::Pin::new(&mut accept).poll(context).is_ready())
            });
            assert!(!first.await, "a handshake takes more than one flight");
            let stream = accept.get_ref().expect("under way");
            stream.readable().await.expect("the client's next flight");
            match end {
                End::Reset => stream.set_zero_linger().expect("a connected socket"),
                End::Close => {
                    let socket = socket2::SockRef::from(stream);
                    socket.shutdown(std::net::Shutdown::Write).expect("a connected socket");
                    std::future::pending().await
                }
                End::Silence => std::future::pending().await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn every_alert_is_told_by_its_name() {
    let alerts = [
        (40, "handshake_failure"),
        (42, "bad_certificate"),
        (45, "certificate_expired"),
        (48, "unknown_ca"),
        (49, "access_denied"),
        (70, "protocol_version"),
        (80, "internal_error"),
        (112, "unrecognized_name"),
        (115, "unknown_psk_identity"),
        (116, "certificate_required"),
        (120, "no_application_protocol"),
        (200, "200"),
    ];
    let trust = Trust::new();
    for (code, name) in alerts {
        let record = vec![0x15, 3, 3, 0, 2, 2, code];
        let outcome = ask(trust.settings(), replying(record).await).await;
        assert_failed(&outcome, Phase::Tls, Reason::TlsAlert);
        assert!(detail(&outcome).ends_with(&format!("alert {name}")), "{}", detail(&outcome));
        assert_eq!(outcome.facts.tls, None, "nothing was shown");
        assert_eq!(outcome.reply_bytes, 7);
    }
}

#[tokio::test]
async fn an_older_version_is_spoken_unless_excluded() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let (address, _told) = tls_server(serving(&issued, TLS12, Clients::Anonymous)).await;
    let outcome = ask(trust.settings(), address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(tls_facts(&outcome).version, Some("TLSv1.2"));

    let settings = TlsSettings { min_version: Some(TlsVersion::V1_3), ..trust.settings() };
    let outcome = ask(settings, address).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsAlert);
    assert!(detail(&outcome).ends_with("alert protocol_version"), "{}", detail(&outcome));
}

#[tokio::test]
async fn a_newer_version_is_not_spoken_when_excluded() {
    let trust = Trust::new();
    let address = showing(&trust.root.issue(&Leaf::named(&[NAME]))).await;
    let settings = TlsSettings { max_version: Some(TlsVersion::V1_2), ..trust.settings() };
    let outcome = ask(settings, address).await;
    assert_eq!(outcome.failure, None);
    let facts = tls_facts(&outcome);
    assert_eq!(facts.version, Some("TLSv1.2"));
    assert_eq!(facts.group.as_deref(), Some("x25519"));
    assert!(facts.cipher.as_ref().is_some_and(|it| it.starts_with("TLS_ECDHE_")), "{facts:?}");
}

#[tokio::test]
async fn a_server_that_insists_on_an_excluded_version_is_tls_protocol() {
    // A ServerHello of TLS 1.2 without extensions, whatever the client offered.
    let mut hello = vec![0x16, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2f, 0]);
    let trust = Trust::new();
    let settings = TlsSettings { min_version: Some(TlsVersion::V1_3), ..trust.settings() };
    let outcome = ask(settings, replying(hello).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
}

#[tokio::test]
async fn a_common_protocol_is_agreed_by_alpn() {
    let trust = Trust::new();
    let issued = trust.root.issue(&Leaf::named(&[NAME]));
    let mut config = serving(&issued, BOTH, Clients::Anonymous);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"istio-peer-exchange".to_vec()];
    let (address, _told) = tls_server(config).await;
    let offering = |names: &[&str]| TlsSettings {
        alpn: names.iter().map(|name| (*name).to_owned()).collect(),
        ..trust.settings()
    };
    let outcome = ask(offering(&["h2", "http/1.1"]), address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(tls_facts(&outcome).alpn.as_deref(), Some("http/1.1"));

    let outcome = ask(offering(&[]), address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(tls_facts(&outcome).alpn, None);

    let outcome = ask(offering(&["h2"]), address).await;
    assert_failed(&outcome, Phase::Tls, Reason::TlsAlert);
    assert!(detail(&outcome).ends_with("alert no_application_protocol"), "{}", detail(&outcome));
}

#[tokio::test]
async fn other_protocols_on_the_port_are_tls_protocol() {
    let trust = Trust::new();
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec();
    let ssh = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec();
    for reply in [http, ssh, vec![0; 100], vec![0x16, 3, 3, 0xff, 0xff, 1]] {
        let outcome = ask(trust.settings(), replying(reply).await).await;
        assert_failed(&outcome, Phase::Tls, Reason::TlsProtocol);
        assert_eq!(outcome.facts.tls, None);
    }
}

#[tokio::test]
async fn reset_in_a_handshake_is_reset() {
    let trust = Trust::new();
    let address = server(|mut stream| async move {
        client_hello(&mut stream).await;
        reset(stream);
    })
    .await;
    let outcome = ask(trust.settings(), address).await;
    assert_failed(&outcome, Phase::Tls, Reason::Reset);
    assert_eq!(outcome.facts.tls, None);
    assert_eq!(outcome.reply_bytes, 0);

    let outcome = ask(trust.settings(), stopping(&trust, End::Reset).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::Reset);
    assert_eq!(tls_facts(&outcome).peer_names, [NAME], "what was shown before is told");
}

#[tokio::test]
async fn an_orderly_end_in_a_handshake_is_closed() {
    let trust = Trust::new();
    let outcome = ask(trust.settings(), replying(Vec::new()).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::Closed);
    assert_eq!(outcome.reply_bytes, 0);

    let half_a_record = vec![0x16, 3, 3, 0, 42, 2];
    let outcome = ask(trust.settings(), replying(half_a_record).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::Closed);

    let close_notify = vec![0x15, 3, 3, 0, 2, 1, 0];
    let outcome = ask(trust.settings(), replying(close_notify).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::Closed);

    let outcome = ask(trust.settings(), stopping(&trust, End::Close).await).await;
    assert_failed(&outcome, Phase::Tls, Reason::Closed);
    assert_eq!(tls_facts(&outcome).peer_names, [NAME], "what was shown before is told");
}

#[tokio::test]
async fn silence_is_a_timeout_in_tls() {
    let trust = Trust::new();
    let address = server(|mut stream| async move {
        client_hello(&mut stream).await;
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await;
    let probe = prepare(trust.settings(), Timeouts::total(TIMEOUT), address).expect("good files");
    let outcome = probe.attempt().await;
    assert_failed(&outcome, Phase::Tls, Reason::Timeout);
    assert_eq!(outcome.facts.tls, None);
}

#[tokio::test]
async fn a_deadline_keeps_what_was_shown_before_it() {
    let trust = Trust::new();
    let address = stopping(&trust, End::Silence).await;
    let timeouts = Timeouts::total(Duration::from_secs(2));
    let probe = prepare(trust.settings(), timeouts, address).expect("good files");
    let outcome = probe.attempt().await;
    assert_failed(&outcome, Phase::Tls, Reason::Timeout);
    let facts = tls_facts(&outcome);
    assert_eq!(facts.peer_names, [NAME]);
    assert_eq!(facts.version, Some("TLSv1.2"));
}

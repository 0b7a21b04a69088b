use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::{MtuFacts, Outcome};
use meshprobe::probe::Probe;
use meshprobe::spec::{IpPreference, ModuleKind, MtuModule, Timeouts, TlsSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http_support::{briefly, good, prepare, read_head};
use super::support::{TIMEOUT, assert_failed, refused_address, reset, server};

const SMALL: usize = 100;
/// More than the kernel takes from a sender whose peer does not read.
const LARGE: usize = 16 * 1024 * 1024;

fn module(large: usize) -> MtuModule {
    MtuModule {
        small: SMALL as u32,
        large: large as u32,
        tls: TlsSettings::default(),
        ip: IpPreference::default(),
    }
}

fn probe(large: usize, address: SocketAddr, timeout: Duration) -> Probe {
    let url = format!("http://{address}/echo");
    prepare(ModuleKind::Mtu(module(large)), &url, Timeouts::total(timeout))
}

/// Asks with deadlines that play no part.
async fn ask(address: SocketAddr) -> Outcome {
    probe(64 * 1024, address, Duration::from_secs(30)).attempt().await
}

/// Asks where a deadline is to be met.
async fn ask_briefly(large: usize, address: SocketAddr) -> Outcome {
    briefly(probe(large, address, TIMEOUT)).await
}

fn facts(outcome: &Outcome) -> MtuFacts {
    outcome.facts.mtu.expect("sizes")
}

/// What becomes of the body of a request.
#[derive(Clone, Copy)]
enum Large {
    /// This much is read, and nothing said.
    Swallowed(usize),
    /// Read wholly; the head and this much of the body come back.
    Begun(usize),
    /// Read wholly; this much of the body comes back, then the connection ends in order.
    Cut(usize),
    /// Read to half and reset.
    Reset,
    /// Read wholly; the last byte comes back as another.
    Changed,
}

/// Echoes what is at most [`SMALL`] bytes, and does `large` to the rest.
async fn echo(large: Large) -> SocketAddr {
    server(move |stream| answer(stream, large)).await
}

async fn answer(mut stream: TcpStream, large: Large) {
    let head = read_head(&mut stream).await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|text| text.parse().ok()).expect("a body");
    let mut body = vec![0; length];
    let wanted = match large {
        _ if length <= SMALL => length,
        Large::Swallowed(bytes) => bytes,
        Large::Reset => length / 2,
        Large::Begun(_) | Large::Cut(_) | Large::Changed => length,
    };
    if stream.read_exact(&mut body[..wanted]).await.is_err() {
        return;
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let come_back = match large {
        _ if length <= SMALL => length,
        Large::Swallowed(_) => return std::future::pending().await,
        Large::Reset => return reset(stream),
        Large::Begun(bytes) | Large::Cut(bytes) => bytes,
        Large::Changed => {
            body[length - 1] ^= 1;
            length
        }
    };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body[..come_back]).await;
    if length > SMALL && matches!(large, Large::Begun(_)) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn what_comes_back_as_it_was_sent_has_passed() {
    let connections = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&connections);
    let address = good(move |request| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(request.method(), "POST");
            let body = request.into_body().collect().await.expect("a whole body");
            Response::new(Full::new(body.to_bytes()))
        }
    })
    .await;
    let outcome = ask(address).await;
    assert_eq!(outcome.failure, None);
    assert!(!outcome.facts.mtu_suspect);
    let passed = MtuFacts {
        small_bytes: SMALL as u64,
        large_bytes: 64 * 1024,
        small_passed: true,
        large_received: 64 * 1024,
    };
    assert_eq!(facts(&outcome), passed);
    assert_eq!(connections.load(Ordering::Relaxed), 2, "a fresh connection each");
    assert_eq!(outcome.facts.remote_address, Some(address));
    assert_eq!(outcome.facts.http.expect("the last response").body_bytes, 64 * 1024);
    assert!(outcome.facts.tcp.is_some());
}

#[tokio::test]
async fn a_large_body_that_stalls_on_its_way_there_makes_the_mtu_suspect() {
    let address = echo(Large::Swallowed(10_000)).await;
    let outcome = ask_briefly(LARGE, address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
    assert!(outcome.facts.mtu_suspect);
    assert!(facts(&outcome).small_passed);
    assert_eq!(facts(&outcome).large_received, 0);
    assert_eq!(outcome.facts.http, None, "the large body has no response");
    let detail = outcome.failure.expect("just seen").detail;
    assert!(detail.starts_with("100 bytes passed, 16777216 bytes got no answer"), "{detail}");
}

#[tokio::test]
async fn a_large_body_that_stalls_on_its_way_back_says_how_far_it_came() {
    let address = echo(Large::Begun(5000)).await;
    let outcome = ask_briefly(64 * 1024, address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
    assert!(outcome.facts.mtu_suspect);
    assert_eq!(facts(&outcome).large_received, 5000);
    assert_eq!(outcome.facts.http.expect("a head").status, 200);
    let detail = outcome.failure.expect("just seen").detail;
    assert!(detail.contains("arrived, and 5000 of them came back"), "{detail}");
}

#[tokio::test]
async fn a_large_body_that_is_reset_or_cut_off_is_no_matter_of_mtu() {
    for (large, reason) in [(Large::Reset, Reason::Reset), (Large::Cut(5000), Reason::Closed)] {
        let outcome = ask(echo(large).await).await;
        assert_failed(&outcome, Phase::Transfer, reason);
        assert!(!outcome.facts.mtu_suspect);
        assert!(facts(&outcome).small_passed);
    }
}

#[tokio::test]
async fn another_body_than_was_sent_is_a_mismatch() {
    let outcome = ask(echo(Large::Changed).await).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyMismatch);
    assert_eq!(facts(&outcome).large_received, 64 * 1024 - 1);
    let outcome = ask(good(|_| async { super::http_support::text("no echo") }).await).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyMismatch);
    assert!(!facts(&outcome).small_passed);
}

#[tokio::test]
async fn a_small_body_that_fails_fails_as_its_own() {
    let address = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let outcome = ask_briefly(1000, address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert!(!outcome.facts.mtu_suspect);
    assert!(!facts(&outcome).small_passed);
    let outcome = ask(refused_address().await).await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert!(!outcome.facts.mtu_suspect);
}

#[tokio::test]
async fn a_small_echo_that_stalls_is_no_matter_of_mtu() {
    let address = server(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let outcome = ask_briefly(1000, address).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
    assert!(!outcome.facts.mtu_suspect);
}

#[tokio::test]
async fn a_server_that_takes_no_such_body_is_told_by_its_status() {
    let address = good(|request| async move {
        let body = request.into_body().collect().await.expect("a whole body").to_bytes();
        if body.len() <= SMALL {
            return Response::new(Full::new(body));
        }
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response
    })
    .await;
    let outcome = ask(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Status);
    assert_eq!(outcome.facts.http.expect("a response").status, 413);
    assert!(!outcome.facts.mtu_suspect);
}

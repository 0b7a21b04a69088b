//! Hostile and broken peers, and what they cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use meshprobe::channel::{Bounds, Fault, HEAD_LIMIT, MAX_REQUEST_BODY, Peer, STREAMS};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use super::support::{bounded, dial, echo, get, key, listener, reply, serve, serving, soon};

const BODY: usize = 1024;

#[tokio::test]
async fn garbage_datagrams_do_no_harm() {
    let (stop, address) = serving(Some(&key('k')), echo);
    let garbage = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let mut bytes: Vec<u8> = (0..1400u32).map(|n| (n * 31 % 251) as u8).collect();
    for first in 0..=255 {
        // Short headers, long headers of all types, and lengths down to nothing.
        bytes[0] = first;
        let length = bytes.len() - usize::from(first) * 5;
        garbage.send_to(&bytes[..length], address).await.expect("sent");
    }
    let peer = dial(address, Some(&key('k'))).await.expect("the same key");
    assert_eq!(peer.ask(get("/a"), soon(), BODY).await.expect("an answer").body(), "/a");
    stop.cancel();
}

#[tokio::test]
async fn a_dialler_whom_nobody_hears_gives_up_at_its_deadline() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = silent.local_addr().expect("bound");
    let dialler = meshprobe::channel::Dialer::new().expect("a socket");
    let deadline = Instant::now() + Duration::from_millis(50);
    let fault = dialler.dial(address, None, deadline).await.expect_err("nobody answers");
    assert_eq!(fault, Fault::Timeout);
}

#[tokio::test]
async fn an_answer_longer_than_allowed_is_not_taken() {
    let service =
        |_: Peer, _: Request<Bytes>| async { reply(StatusCode::OK, vec![b'x'; BODY + 1]) };
    let (_stop, address) = serving(None, service);
    let peer = dial(address, None).await.expect("no key on either side");
    let fault = peer.ask(get("/"), soon(), BODY).await.expect_err("too long");
    assert_eq!(fault, Fault::TooLarge(BODY));
    let whole = peer.ask(get("/"), soon(), BODY + 1).await.expect("not too long");
    assert_eq!(whole.body().len(), BODY + 1);
}

#[tokio::test]
async fn a_request_with_too_long_a_body_or_head_is_refused_alone() {
    let (_stop, address) = serving(None, echo);
    let peer = dial(address, None).await.expect("no key on either side");
    let body = Bytes::from(vec![b'x'; MAX_REQUEST_BODY + 1]);
    let long = Request::post("/").body(body).expect("a request");
    let refused = peer.ask(long, soon(), BODY).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let path = format!("/{}", "x".repeat(HEAD_LIMIT));
    let refused = peer.ask(get(&path), soon(), BODY).await;
    let status = refused.map(|refused| refused.status());
    let no_answer = matches!(&status, Err(Fault::Cut | Fault::Local(_)));
    assert!(no_answer || status.is_ok_and(|status| status.is_client_error()));
    assert_eq!(peer.ask(get("/a"), soon(), BODY).await.expect("an answer").body(), "/a");
}

#[tokio::test]
async fn a_body_of_many_windows_passes_and_a_slow_reader_holds_up_nobody_else() {
    let large = vec![b'x'; 3 * 1024 * 1024];
    let length = large.len();
    let large = Bytes::from(large);
    let service = move |_: Peer, request: Request<Bytes>| {
        let body = if request.uri().path() == "/large" { large.clone() } else { Bytes::new() };
        async move { reply(StatusCode::OK, body) }
    };
    let (_stop, address) = serving(None, service);
    let slow = dial(address, None).await.expect("no key on either side");
    let quick = dial(address, None).await.expect("no key on either side");
    // Polled once: the request goes out, and nobody reads what comes.
    let mut unread = Box::pin(slow.ask(get("/large"), soon(), length));
    assert!(futures_util::FutureExt::now_or_never(&mut unread).is_none());
    let whole = quick.ask(get("/large"), soon(), length).await.expect("an answer");
    assert_eq!(whole.body().len(), length);
    assert!(slow.ask(get("/small"), soon(), BODY).await.is_ok());
    assert_eq!(unread.await.expect("an answer").body().len(), length);
}

#[tokio::test]
async fn exchanges_beyond_the_bound_wait_for_those_under_way() {
    let (open, opened) = watch::channel(false);
    let (count, mut waiting) = watch::channel(0);
    let service = move |_: Peer, _: Request<Bytes>| {
        let mut opened = opened.clone();
        count.send_modify(|count| *count += 1);
        async move {
            opened.wait_for(|open| *open).await.expect("the test opens");
            reply(StatusCode::OK, "done")
        }
    };
    let (_stop, address) = serving(None, service);
    let peer = dial(address, None).await.expect("no key on either side");
    let asks: Vec<_> = (0..=STREAMS)
        .map(|_| {
            let peer = peer.clone();
            tokio::spawn(async move { peer.ask(get("/"), soon(), BODY).await })
        })
        .collect();
    waiting.wait_for(|count| *count == STREAMS).await.expect("all but one are asked");
    let late = Instant::now() + Duration::from_millis(20);
    let fault = peer.ask(get("/"), late, BODY).await.expect_err("there is no room");
    assert_eq!(fault, Fault::Timeout);
    assert_eq!(*waiting.borrow(), STREAMS);
    open.send_replace(true);
    for ask in asks {
        assert_eq!(ask.await.expect("no panic").expect("an answer").body(), "done");
    }
}

/// A dialler that does as it likes with its streams.
async fn raw(address: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let tls = meshprobe::tls::shared_client(None, b"meshprobe/1");
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)));
    let endpoint = endpoint.expect("loopback has ports");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint.connect_with(config, address, "a").expect("an address");
    let connection = connecting.await.expect("no key on either side");
    (endpoint, connection)
}

#[tokio::test]
async fn streams_on_which_nothing_is_said_are_bounded_in_number_and_time() {
    let (_stop, address) = serving(None, echo);
    let (_endpoint, connection) = raw(address).await;
    let mut silent = Vec::new();
    for _ in 0..STREAMS {
        let (mut send, receive) = connection.open_bi().await.expect("within the bound");
        send.write_all(b"G").await.expect("within the window");
        silent.push((send, receive));
    }
    let mut one_more = Box::pin(connection.open_bi());
    assert!(futures_util::FutureExt::now_or_never(&mut one_more).is_none());
    let other = dial(address, None).await.expect("no key on either side");
    assert_eq!(other.ask(get("/a"), soon(), BODY).await.expect("an answer").body(), "/a");
    // The listener waits ten seconds for a head.
    for (_, receive) in &mut silent {
        let _ = receive.read_to_end(HEAD_LIMIT).await;
    }
    drop(silent);
    assert!(one_more.await.is_ok());
}

#[tokio::test]
async fn what_is_no_http_ends_its_own_exchange_only() {
    let (_stop, address) = serving(None, echo);
    let (_endpoint, connection) = raw(address).await;
    let (mut send, mut receive) = connection.open_bi().await.expect("within the bound");
    send.write_all(b"\x16\x03\x01 this is no request\r\n\r\n").await.expect("sent");
    let answer = receive.read_to_end(HEAD_LIMIT).await.unwrap_or_default();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let (mut send, mut receive) = connection.open_bi().await.expect("the connection stays");
    send.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let answer = receive.read_to_end(HEAD_LIMIT).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"/a"), "{answer:?}");
}

#[tokio::test]
async fn connections_beyond_the_bound_are_refused() {
    let bounds = Bounds { max_connections: 1, ..Bounds::default() };
    let (mut listener, address) = bounded(None, bounds);
    let first = dial(address, None).await.expect("there is room");
    let accepted = listener.accept().await.expect("open").expect("there is room");
    let fault = dial(address, None).await.expect_err("there is no room");
    assert_eq!(fault, Fault::Closed("it takes no more connections".to_owned()));
    assert_eq!(listener.counts().refused, 1);
    let _stop = serve(&accepted, echo);
    assert!(first.ask(get("/"), soon(), BODY).await.is_ok());
}

#[tokio::test]
async fn whoever_dials_a_busy_listener_proves_its_address_first() {
    // Two places: one handshake under way makes it busy, and of a third one packets are dropped.
    let bounds = Bounds { max_handshakes: 2, ..Bounds::default() };
    let (stop, address) = {
        let (listener, address) = bounded(Some(&key('k')), bounds);
        let stop = tokio_util::sync::CancellationToken::new();
        tokio::spawn(listener.run(echo, stop.clone()));
        (stop, address)
    };
    let dials = (0..4).map(|_| async {
        let peer = dial(address, Some(&key('k'))).await.expect("it comes again");
        peer.ask(get("/a"), soon(), BODY).await.expect("an answer").into_body()
    });
    let answers = futures_util::future::join_all(dials).await;
    assert!(answers.iter().all(|body| body == "/a"));
    stop.cancel();
}

#[tokio::test]
async fn a_closed_listener_takes_nobody() {
    let (mut listener, _) = listener(None);
    listener.close("over").await;
    assert!(listener.accept().await.is_none());
}

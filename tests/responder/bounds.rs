use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{
    config, connect, exchange, h2c, http1, request, rest, start, until, whole, within,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n";

/// Shorter than the patience of the tests, longer than a pause of a busy machine.
const IDLE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_at_once_and_counted() {
    let mut config = config();
    config.max_connections = 3;
    let running = start(&config);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut peer = http1(running.address).await;
        let response = peer.send_request(request("GET", "/", b"")).await;
        whole(response.expect("an answer")).await;
        held.push(peer);
    }
    for _ in 0..20 {
        let mut stream = connect(running.address).await;
        assert_eq!(rest(&mut stream).await, "");
    }
    let counts = running.stats.read();
    assert_eq!(counts.rejected_connections, 20);
    assert_eq!(counts.open_connections, 3);
    for peer in &mut held {
        let response = peer.send_request(request("GET", "/", b"")).await;
        let (parts, _) = whole(response.expect("held ones are not harmed")).await;
        assert_eq!(parts.status, StatusCode::OK);
    }
    drop(held);
    until("all connections ended", || running.stats.read().open_connections == 0).await;
    let response = exchange(running.address, GET).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn requests_beyond_the_rate_get_429_on_a_connection_that_stays() {
    let mut config = config();
    config.max_requests_per_second = 2;
    let running = start(&config);
    let began = Instant::now();
    let mut peer = http1(running.address).await;
    let (mut served, mut rejected) = (0, 0);
    for _ in 0..200 {
        let response = peer.send_request(request("GET", "/", b"")).await;
        let (parts, _) = whole(response.expect("an answer")).await;
        match parts.status {
            StatusCode::OK => served += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                assert_eq!(parts.headers["x-meshprobe-node"], "node-a");
                assert!(parts.headers.contains_key("retry-after"));
                rejected += 1;
            }
            other => panic!("{other}"),
        }
    }
    let most = 2.0 + 2.0 * began.elapsed().as_secs_f64();
    assert!(served >= 2 && f64::from(served) <= most, "{served} served");
    assert_eq!(running.stats.read().rejected_rate, rejected);
    assert_eq!(running.stats.read().requests, 200);
}

#[tokio::test]
async fn a_body_over_the_bound_gets_413_whether_or_not_it_states_its_length() {
    let running = start(&config());
    let body = "x".repeat(64 * 1024 + 1);
    let stated = format!(
        "POST /echo HTTP/1.1\r\nHost: peer\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for text in [stated, chunked] {
        let response = exchange(running.address, text.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    }
    let mut peer = h2c(running.address).await;
    let response = peer.send_request(request("POST", "/echo", body.as_bytes())).await;
    let (parts, _) = whole(response.expect("an answer")).await;
    assert_eq!(parts.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(running.stats.read().rejected_body, 3);
}

#[tokio::test]
async fn whoever_waits_for_100_continue_is_told_413_before_sending() {
    let running = start(&config());
    let response = exchange(
        running.address,
        b"POST /echo HTTP/1.1\r\nHost: peer\r\nExpect: 100-continue\r\n\
          Content-Length: 999999999\r\n\r\n",
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
}

#[tokio::test]
async fn an_endless_body_is_not_read_for_long() {
    const BLOCK: &[u8] = &[b'x'; 64 * 1024];
    const MOST: usize = 64 * 1024 * 1024;
    let running = start(&config());
    let mut stream = connect(running.address).await;
    let head = b"POST /echo HTTP/1.1\r\nHost: peer\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.expect("an open connection");
    let mut sent = 0;
    within("the responder ends it", async {
        while sent < MOST {
            let chunk = [b"10000\r\n", BLOCK, b"\r\n"].concat();
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
            sent += BLOCK.len();
        }
    })
    .await;
    assert!(sent < MOST, "{sent} bytes were taken");
    until("the connection ended", || running.stats.read().open_connections == 0).await;
    assert_eq!(running.stats.read().rejected_body, 1);
}

#[tokio::test]
async fn bodies_held_at_once_are_bounded_over_all_connections() {
    let running = start(&config());
    let mut half_sent = Vec::new();
    for _ in 0..32 {
        let mut stream = connect(running.address).await;
        let head = b"POST /echo HTTP/1.1\r\nHost: peer\r\nContent-Length: 5\r\n\r\nab";
        stream.write_all(head).await.expect("an open connection");
        half_sent.push(stream);
    }
    until("all are being read", || running.stats.read().requests == 32).await;
    let text =
        b"POST /echo HTTP/1.1\r\nHost: peer\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde";
    let response = exchange(running.address, text).await;
    assert!(response.starts_with("HTTP/1.1 429 "), "{response}");
    for stream in &mut half_sent {
        stream.write_all(b"cde").await.expect("an open connection");
        let mut seen = Vec::new();
        within("the echo", async {
            while !seen.ends_with(b"\r\n\r\nabcde") {
                stream.read_buf(&mut seen).await.expect("an open connection");
            }
        })
        .await;
    }
    let response = exchange(running.address, text).await;
    assert!(response.ends_with("\r\n\r\nabcde"), "{response}");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let mut config = config();
    config.idle_timeout = IDLE;
    let running = start(&config);
    // Silence, half a preface, half a head, a body that never comes.
    for bytes in [
        "",
        "PRI * HT",
        "GET / HTTP/1.1\r\nX-Slow: ",
        "POST /echo HTTP/1.1\r\nHost: peer\r\nContent-Length: 5\r\n\r\nab",
    ] {
        let response = exchange(running.address, bytes.as_bytes()).await;
        assert!(!response.contains(" 200 "), "{response}");
    }
    assert_eq!(running.stats.read().open_connections, 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_last_request() {
    let mut config = config();
    config.idle_timeout = IDLE;
    let running = start(&config);
    let mut stream = connect(running.address).await;
    let keep = b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n";
    stream.write_all(keep).await.expect("an open connection");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
    let mut peer = h2c(running.address).await;
    let response = peer.send_request(request("GET", "/", b"")).await;
    whole(response.expect("an answer")).await;
    until("the h2 connection is closed", || peer.is_closed()).await;
}

#[tokio::test]
async fn a_heartbeat_keeps_a_connection_beyond_the_idle_timeout() {
    let mut config = config();
    config.idle_timeout = 4 * IDLE;
    let running = start(&config);
    let mut peer = http1(running.address).await;
    let began = Instant::now();
    let mut beat = tokio::time::interval(IDLE / 4);
    while began.elapsed() < 8 * IDLE {
        beat.tick().await;
        let response = peer.send_request(request("GET", "/", b"")).await;
        let (parts, _) = whole(response.expect("a held connection")).await;
        assert_eq!(parts.status, StatusCode::OK);
    }
    assert_eq!(running.stats.read().connections, 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_let_go() {
    let mut config = config();
    config.idle_timeout = IDLE;
    // More than the sockets of both sides can take.
    config.max_body = 64 * 1024 * 1024;
    let running = start(&config);
    let mut stream = connect(running.address).await;
    let ask = b"GET /bytes/67108864 HTTP/1.1\r\nHost: peer\r\n\r\n";
    stream.write_all(ask).await.expect("an open connection");
    until("it is served", || running.stats.read().requests == 1).await;
    until("it is let go", || running.stats.read().open_connections == 0).await;
}

#[tokio::test]
async fn streams_of_one_h2_connection_are_bounded() {
    let running = start(&config());
    let (peer, connection) =
        h2::client::handshake(connect(running.address).await).await.expect("an open connection");
    tokio::spawn(connection);
    let mut peer = within("settings", peer.ready()).await.expect("settings");
    let ask = http::Request::get("http://responder/").body(()).expect("a request");
    let (response, _) = peer.send_request(ask, true).expect("a free stream");
    within("an answer", response).await.expect("an answer");
    assert_eq!(peer.current_max_send_streams(), 32);
}

#[tokio::test]
async fn the_end_closes_held_connections_and_finishes_requests_under_way() {
    let running = start(&config());
    let mut idle = connect(running.address).await;
    let keep = b"GET /bytes/0 HTTP/1.1\r\nHost: peer\r\n\r\n";
    idle.write_all(keep).await.expect("an open connection");
    let mut under_way = connect(running.address).await;
    let head = b"POST /echo HTTP/1.1\r\nHost: peer\r\nContent-Length: 5\r\n\r\nab";
    under_way.write_all(head).await.expect("an open connection");
    until("both are served", || running.stats.read().requests == 2).await;
    running.stop.send(()).expect("a running responder");
    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200 "));
    under_way.write_all(b"cde").await.expect("an open connection");
    let response = rest(&mut under_way).await;
    assert!(response.ends_with("\r\n\r\nabcde"), "{response}");
    within("the end", running.serving).await.expect("serve returns");
    assert_eq!(running.stats.read().open_connections, 0);
}

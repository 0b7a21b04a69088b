use std::net::{Ipv4Addr, Ipv6Addr};

use http::StatusCode;
use meshprobe::config::Identity;
use meshprobe::responder::Responder;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::support::{
    config, connect, exchange, h2c, http1, identity, request, rest, start, start_as, whole,
};

fn body_of(response: &str) -> Value {
    let (_, body) = response.split_once("\r\n\r\n").expect("a whole response");
    serde_json::from_str(body).expect("JSON")
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn it_says_who_answered_and_which_source_address_it_saw() {
    let running = start(&config());
    let mut stream = connect(running.address).await;
    stream.write_all(GET).await.expect("an open connection");
    let response = rest(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("x-meshprobe-node: node-a\r\n"), "{response}");
    assert!(response.contains("x-meshprobe-vantage: ambient\r\n"), "{response}");
    let source = stream.stamps().local_addr().expect("a socket");
    assert_eq!(
        body_of(&response),
        json!({
            "node": "node-a",
            "vantage": "ambient",
            "zone": "zone-1",
            "remote_address": source.to_string(),
        })
    );
}

#[tokio::test]
async fn the_source_address_is_seen_over_ipv6() {
    let mut config = config();
    config.listen = vec!["[::1]:0".parse().expect("an address")];
    let running = start(&config);
    let mut stream = connect(running.address).await;
    stream.write_all(GET).await.expect("an open connection");
    let source = stream.stamps().local_addr().expect("a socket");
    assert!(source.is_ipv6());
    let response = rest(&mut stream).await;
    assert_eq!(body_of(&response)["remote_address"], json!(source.to_string()));
}

#[tokio::test]
async fn an_ipv4_peer_of_a_wildcard_ipv6_socket_is_told_its_ipv4_address() {
    let mut config = config();
    config.listen = vec!["[::]:0".parse().expect("an address")];
    let running = start(&config);
    let address = ([127, 0, 0, 1], running.address.port()).into();
    let mut stream = connect(address).await;
    stream.write_all(GET).await.expect("an open connection");
    let source = stream.stamps().local_addr().expect("a socket");
    let response = rest(&mut stream).await;
    assert_eq!(body_of(&response)["remote_address"], json!(source.to_string()));
}

#[tokio::test]
async fn both_wildcards_can_share_a_port() {
    let mut config = config();
    config.listen = vec![(Ipv4Addr::UNSPECIFIED, 0).into()];
    let first = Responder::bind(&config, &identity()).expect("a free port");
    let freed = first.local_addrs()[0].port();
    drop(first);
    // Another test may have taken the freed port: any port that both accept will do.
    let bound = (freed..freed.saturating_add(200)).find_map(|port| {
        config.listen =
            vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        Responder::bind(&config, &identity()).ok()
    });
    assert_eq!(bound.expect("one port of many").local_addrs().len(), 2);
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let running = start(&config());
    let mut config = config();
    config.listen = vec![running.address];
    let error = Responder::bind(&config, &identity()).expect_err("the port is taken");
    assert_eq!(error.address, running.address);
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn facts_that_are_not_known_are_left_out() {
    let identity = Identity { node: "node-a".to_owned(), ..Identity::default() };
    let running = start_as(&config(), &identity);
    let response = exchange(running.address, GET).await;
    let body = body_of(&response);
    let keys: Vec<_> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["node", "remote_address"]);
    assert!(!response.contains("x-meshprobe-vantage"), "{response}");
}

#[tokio::test]
async fn h2c_with_prior_knowledge_gets_the_same_answer() {
    let running = start(&config());
    let mut peer = h2c(running.address).await;
    let response = peer.send_request(request("GET", "/", b"")).await;
    let (parts, body) = whole(response.expect("an answer")).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.version, http::Version::HTTP_2);
    assert_eq!(parts.headers["x-meshprobe-node"], "node-a");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["node"], json!("node-a"));
}

#[tokio::test]
async fn a_body_is_echoed_up_to_the_bound_over_both_versions() {
    let config = config();
    let running = start(&config);
    let sent: Vec<u8> = (0..config.max_body).map(|i| (i % 251) as u8).collect();
    let mut peer = http1(running.address).await;
    let response = peer.send_request(request("POST", "/echo", &sent)).await;
    let (parts, body) = whole(response.expect("an answer")).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["content-type"], "application/octet-stream");
    assert!(body == sent, "{} bytes came back", body.len());
    let mut peer = h2c(running.address).await;
    let response = peer.send_request(request("POST", "/echo", &sent)).await;
    let (_, body) = whole(response.expect("an answer")).await;
    assert!(body == sent, "{} bytes came back", body.len());
}

#[tokio::test]
async fn a_chunked_body_is_echoed_whole() {
    let running = start(&config());
    let response = exchange(
        running.address,
        b"POST /echo HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\
          Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    )
    .await;
    assert!(response.ends_with("\r\n\r\nabcdefg"), "{response}");
}

#[tokio::test]
async fn bytes_gives_as_many_as_asked_up_to_the_bound() {
    let config = config();
    let running = start(&config);
    let mut peer = http1(running.address).await;
    for count in [0, 1, 1500, config.max_body] {
        let path = format!("/bytes/{count}");
        let response = peer.send_request(request("GET", &path, b"")).await;
        let (parts, body) = whole(response.expect("an answer")).await;
        assert_eq!(parts.status, StatusCode::OK);
        assert_eq!(body.len() as u64, count);
    }
    for count in ["65537", "-1", "x", "", "99999999999999999999999"] {
        let path = format!("/bytes/{count}");
        let response = peer.send_request(request("GET", &path, b"")).await;
        let (parts, _) = whole(response.expect("an answer")).await;
        assert_eq!(parts.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn what_it_does_not_serve_is_404_or_405() {
    let running = start(&config());
    let mut peer = http1(running.address).await;
    for (method, path, status, allow) in [
        ("GET", "/metrics", 404, None),
        ("POST", "/nothing", 404, None),
        ("GET", "/echo", 405, Some("POST")),
        ("DELETE", "/", 405, Some("GET, HEAD")),
        ("POST", "/bytes/1", 405, Some("GET, HEAD")),
        ("HEAD", "/", 200, None),
    ] {
        let response = peer.send_request(request(method, path, b"")).await;
        let (parts, _) = whole(response.expect("an answer")).await;
        assert_eq!(parts.status.as_u16(), status, "{method} {path}");
        let allowed = parts.headers.get("allow").map(|value| value.to_str().expect("text"));
        assert_eq!(allowed, allow, "{method} {path}");
    }
}

#[tokio::test]
async fn malformed_requests_get_a_4xx_and_change_nothing() {
    let running = start(&config());
    let long_header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    for bytes in [
        "\x01\x02\x03\x04\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n",
        &long_header,
        &many_headers,
    ] {
        let response = exchange(running.address, bytes.as_bytes()).await;
        let start = &bytes[..bytes.len().min(40)];
        assert!(response.starts_with("HTTP/1.1 4"), "{start:?} got {response:?}");
    }
    let response = exchange(running.address, GET).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn an_h2_preface_with_nonsense_behind_it_ends_that_connection_only() {
    let running = start(&config());
    let response = exchange(
        running.address,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all, not even nearly",
    )
    .await;
    assert!(!response.contains("200"), "{response:?}");
    let response = exchange(running.address, GET).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

use std::time::Duration;

use meshprobe::agent::Agent;
use meshprobe::net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Web, connect, exchange, get, metrics, probe, request, start, within};

const PATHS: [&str; 7] =
    ["/", "/metrics", "/livez", "/readyz", "/v1/window", "/v1/flows", "/probe"];
const YAML: &str = "
admin: { max_connections: 3, max_probes: 1 }
modules:
  http: { http: {}, timeout: 30s }
  patient: { http: {}, timeout: 24h }
";

/// Begins a request whose answer is not awaited.
async fn begin(agent: &Agent, text: &str) -> Stream {
    let mut stream = connect(agent.admin_addr()).await;
    stream.write_all(text.as_bytes()).await.expect("open");
    stream
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    within("it comes about", waiting).await;
}

/// Waits for the end of `stream`; what it still gave.
async fn ended(stream: &mut Stream) -> Vec<u8> {
    let mut seen = Vec::new();
    let reading = async { while !matches!(stream.read_buf(&mut seen).await, Ok(0) | Err(_)) {} };
    within("the server ends the connection", reading).await;
    seen
}

#[tokio::test]
async fn every_endpoint_answers_get_and_head() {
    let agent = start("modules: { http: { http: {} } }").await;
    let web = Web::start().await;
    let target = format!("/probe?module=http&target={}", web.address);
    for path in ["/", "/metrics", "/livez", "/readyz", "/v1/window", "/v1/flows", &target] {
        let got = get(&agent, path).await;
        assert!(got.status == 200 && !got.body.is_empty(), "{path}: {got:?}");
        let head = request(&agent, "HEAD", path, "").await;
        assert!(head.status == 200 && head.body.is_empty(), "{path}: {head:?}");
        let kind = |head: &str| {
            head.lines().find(|line| line.starts_with("content-type:")).map(str::to_owned)
        };
        assert_eq!(kind(&head.head), kind(&got.head), "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_other_paths_are_refused() {
    let agent = start("modules: { http: { http: {} } }").await;
    let before = metrics(&agent).await;
    for path in PATHS {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let reply = request(&agent, method, path, "Content-Length: 0\r\n").await;
            assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
            assert!(reply.head.contains("allow: get, head"), "{reply:?}");
        }
    }
    for path in ["/nothing", "/metrics/", "//metrics", "/probe/a", "/../livez", "/%6Detrics"] {
        assert_eq!(get(&agent, path).await.status, 404, "{path}");
        assert_eq!(request(&agent, "POST", path, "").await.status, 404, "{path}");
    }
    assert_eq!(metrics(&agent).await, before);
}

#[tokio::test]
async fn malformed_and_oversized_requests_change_nothing() {
    let agent = start("modules: { http: { http: {} } }").await;
    let before = metrics(&agent).await;
    let huge = "x".repeat(64 * 1024);
    let many = "A: b\r\n".repeat(1000);
    let chunk = format!("10000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x10000));
    for path in PATHS {
        let line = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        let requests = [
            format!("GET {path}\r\n\r\n"),
            format!("GET {path} HTTP/9.9\r\n\r\n"),
            format!("GET {path} HTTP/1.1 x\r\n\r\n"),
            format!("G\0T {path} HTTP/1.1\r\n\r\n"),
            format!("GET {path}\u{7f}\0 HTTP/1.1\r\n\r\n"),
            format!("GET {path}?{huge} HTTP/1.1\r\n\r\n"),
            format!("{huge} {path} HTTP/1.1\r\n\r\n"),
            format!("{line}no colon\r\n\r\n"),
            format!("{line}A : b\r\n\r\n"),
            format!("{line}A: \0\r\n\r\n"),
            format!("{line}A: {huge}\r\n\r\n"),
            format!("{line}{huge}: b\r\n\r\n"),
            format!("{line}{many}\r\n"),
            format!("{line}Content-Length: -1\r\n\r\n"),
            format!("{line}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            format!("{line}Content-Length: 99999999999999999999999\r\n\r\n"),
            format!("{line}Content-Length: 1000000000\r\n\r\n{huge}"),
            format!("{line}Transfer-Encoding: chunked\r\n\r\n{chunk}"),
            format!("{line}Transfer-Encoding: gzip\r\n\r\n"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n".to_owned(),
        ];
        for text in requests {
            let reply = exchange(agent.admin_addr(), text.as_bytes()).await;
            let shown = &text[..text.len().min(100)];
            let refused = reply.status == 0 || (400..500).contains(&reply.status);
            assert!(refused, "{shown:?}: {} {}", reply.status, reply.head);
        }
    }
    assert_eq!(metrics(&agent).await, before);
    assert_eq!(get(&agent, "/readyz").await.status, 200);
}

#[tokio::test]
async fn one_attempt_too_many_gets_429() {
    let (agent, web) = (start(YAML).await, Web::start().await);
    let path = format!("/probe?module=patient&target={}", web.url("/never"));
    let first = begin(&agent, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    until(|| web.heads().len() == 1).await;
    let reply = probe(&agent, "http", web.address).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert_eq!(web.heads().len(), 1, "the second attempt was not begun");
    // A scraper that gave up takes its attempt with it.
    drop(first);
    let freed = async { while probe(&agent, "http", web.address).await.status != 200 {} };
    within("the place is free again", freed).await;
    let metrics = get(&agent, "/metrics").await.body;
    let refused = metrics.lines().any(|line| {
        line.starts_with("meshprobe_probe_requests_total{") && line.contains("code=\"429\"")
    });
    assert!(refused, "{metrics}");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let agent = start(YAML).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = begin(&agent, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // Its answer says that it has its place.
        assert_ne!(stream.read_u8().await.expect("an answer"), 0);
        held.push(stream);
    }
    let mut extra = connect(agent.admin_addr()).await;
    assert_eq!(ended(&mut extra).await, b"");
    held.pop();
    let freed = async { while get(&agent, "/livez").await.status != 200 {} };
    within("the place is free again", freed).await;
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut() {
    let agent = start(YAML).await;
    let mut stream = begin(&agent, "GET /livez HTTP/1.1\r\nHost: a\r\nA: ").await;
    let mut silent = connect(agent.admin_addr()).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut seen = Vec::new();
    let trickle = async {
        loop {
            tokio::select! {
                read = stream.read_buf(&mut seen) => if !matches!(read, Ok(1..)) { break },
                _ = ticks.tick() => if stream.write_all(b"x").await.is_err() { break },
            }
        }
    };
    within("the server ends the connection", trickle).await;
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.is_empty() || seen.starts_with("HTTP/1.1 408"), "{seen}");
    assert_eq!(ended(&mut silent).await, b"");
}

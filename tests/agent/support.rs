//! An agent in this process, and a client that writes its requests byte by byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use meshprobe::agent::Agent;
use meshprobe::config::{self, Config};
use meshprobe::net::Resolver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Long enough for every attempt that a test starts.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// `yaml` with an admin server on a free port of loopback.
pub(crate) fn config(yaml: &str) -> Config {
    let text = format!("node: node-1\nzone: zone-a\nvantage: plain\n{yaml}");
    let mut config = match config::parse(&text, &BTreeMap::new()) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes:#?}"),
    };
    config.admin.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

/// An agent that knows no nameserver.
pub(crate) async fn agent(yaml: &str) -> Agent {
    Agent::start(config(yaml), Some(Resolver::default())).await.expect("a good configuration")
}

/// A response, taken apart.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[allow(clippy::disallowed_methods, reason = "a client of the agent, not a probe")]
pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Sends `request` as it is and reads until the server closes; `None` when it says nothing.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> Option<Response> {
    let mut stream = connect(address).await.expect("somebody listens");
    // A server that has heard enough may close before it has read all.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Some(Response { status, head: head.to_owned(), body })
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

pub(crate) async fn request(address: SocketAddr, method: &str, path: &str, more: &str) -> Response {
    let text = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{more}\r\n");
    send(address, text.as_bytes()).await.expect("a response")
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, "").await
}

pub(crate) async fn metrics(agent: &Agent) -> String {
    let scrape = get(agent.admin_addr(), "/metrics").await;
    assert_eq!(scrape.status, 200, "{scrape:?}");
    scrape.body
}

/// The value of the first series that starts with `start` and has all of `labels`.
pub(crate) fn value(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = page.lines().find(|line| {
        let rest = line.strip_prefix(name);
        let whole = rest.is_some_and(|rest| rest.starts_with(['{', ' ']));
        whole && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

/// An HTTP server that answers `status` to everything, with `more` header lines.
pub(crate) async fn http(status: &'static str, more: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let reply = format!(
                    "HTTP/1.1 {status}\r\n{more}content-length: 2\r\nconnection: close\r\n\r\nok"
                );
                let _ = stream.write_all(reply.as_bytes()).await;
            });
        }
    });
    address
}

/// Accepts and never answers.
pub(crate) async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

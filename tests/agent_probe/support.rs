//! A running agent, a web server that answers by path, and a client that sends bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use meshprobe::agent::Agent;
use meshprobe::config;
use meshprobe::net::dns::SearchList;
use meshprobe::net::{self, Resolver, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};

/// Nothing that works takes this long, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Bounds a test's own waiting; panics with `what` when it takes too long.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let result = timeout_at(deadline, work).await;
    result.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

/// Starts an agent by `yaml`; its admin server takes a free port.
pub(crate) async fn start(yaml: &str) -> Agent {
    start_with(yaml, Resolver::default()).await
}

/// The same, with names resolved at `nameserver`.
pub(crate) async fn start_resolving(yaml: &str, nameserver: SocketAddr) -> Agent {
    let search = SearchList::default();
    start_with(yaml, Resolver::with_nameservers(vec![nameserver], search)).await
}

async fn start_with(yaml: &str, resolver: Resolver) -> Agent {
    let yaml = if yaml.contains("admin:") {
        yaml.replace("admin: {", "admin: { listen: \"127.0.0.1:0\", ")
    } else {
        format!("admin: {{ listen: \"127.0.0.1:0\" }}\n{yaml}")
    };
    let config = config::parse(&yaml, &BTreeMap::new()).expect("a good configuration");
    Agent::start(config, Some(resolver)).await.expect("loopback has ports")
}

/// What came back on a connection.
#[derive(Debug)]
pub(crate) struct Reply {
    /// 0 when nothing came.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Value of the series `name`, labels included.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        let rest = self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        rest.map(|value| value.parse().expect("a number"))
    }

    /// The label sets of `name`.
    pub(crate) fn labels(&self, name: &str) -> Vec<&str> {
        let lines = self.body.lines();
        lines.filter_map(|line| Some(line.strip_prefix(name)?.rsplit_once(' ')?.0)).collect()
    }

    #[track_caller]
    pub(crate) fn passed(self) -> Self {
        assert_eq!((self.status, self.value("probe_success")), (200, Some(1.0)), "{self:?}");
        assert!(!self.body.contains("probe_failure_info"), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn failed(self, phase: &str, reason: &str) -> Self {
        assert_eq!((self.status, self.value("probe_success")), (200, Some(0.0)), "{self:?}");
        let info = format!("{{phase=\"{phase}\",reason=\"{reason}\"}}");
        assert_eq!(self.labels("probe_failure_info"), [info], "{self:?}");
        self
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Stream {
    net::connect(address).await.expect("it listens")
}

/// Sends `bytes` on a connection of its own, and reads until the server ends it.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = connect(address).await;
    let mut seen = Vec::new();
    let talk = async {
        // Who is told that a request is too large may well be cut while still sending it.
        let _ = stream.write_all(bytes).await;
        while !matches!(stream.read_buf(&mut seen).await, Ok(0) | Err(_)) {}
    };
    within("the server ends the connection", talk).await;
    let text = String::from_utf8_lossy(&seen).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).map_or(0, |status| status.parse().expect("a status"));
    let head = head.to_ascii_lowercase();
    let chunked = head.contains("transfer-encoding: chunked");
    let body = if chunked { joined(body) } else { body.to_owned() };
    Reply { status, head, body }
}

/// The chunks of `body` without their sizes.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").expect("the end of a chunk");
        if size == 0 {
            break;
        }
    }
    whole
}

pub(crate) async fn request(agent: &Agent, method: &str, path: &str, headers: &str) -> Reply {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
    exchange(agent.admin_addr(), text.as_bytes()).await
}

pub(crate) async fn get(agent: &Agent, path: &str) -> Reply {
    request(agent, "GET", path, "").await
}

pub(crate) async fn probe(agent: &Agent, module: &str, target: impl ToString) -> Reply {
    let target = target.to_string();
    get(agent, &format!("/probe?module={module}&target={target}")).await
}

/// All metrics but the count of requests to `/probe`, sorted.
pub(crate) async fn metrics(agent: &Agent) -> String {
    let body = get(agent, "/metrics").await.body;
    let lines = body.lines().filter(|line| !line.contains("meshprobe_probe_requests_total"));
    let mut lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A web server on 127.0.0.1 and what it was asked, head by head.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0").await
    }

    pub(crate) async fn start_on(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("loopback has ports");
        let address = listener.local_addr().expect("bound");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let heads = Arc::clone(&seen);
                tokio::spawn(async move { serve(stream, &heads).await });
            }
        });
        Self { address, heads }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic while held").clone()
    }
}

/// Answers one request by its path and ends; `/never` is not answered, nor what is no HTTP.
pub(crate) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    heads: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) if byte.is_ascii() && byte != 0x16 => head.push(byte),
            Ok(_) | Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("requests are ASCII");
    let path = head.split(' ').nth(1).expect("a request line").to_owned();
    heads.lock().expect("no panic while held").push(head);
    if path == "/never" {
        std::future::pending::<()>().await;
    }
    let _ = stream.write_all(&answer(&path)).await;
    let _ = stream.shutdown().await;
}

fn answer(path: &str) -> Vec<u8> {
    let reply = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    };
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    match first {
        "status" => reply(rest, "", b""),
        "to" => reply("302", &format!("Location: {rest}\r\n"), b""),
        "loop" => reply("302", "Location: /loop\r\n", b""),
        "big" => reply("200", "", &[b'x'; 10_000]),
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            std::io::Write::write_all(&mut encoder, &[b'x'; 10_000]).expect("memory");
            let body = encoder.finish().expect("memory");
            reply("200", "Content-Encoding: gzip\r\n", &body)
        }
        _ => reply("200", "", b"hello"),
    }
}

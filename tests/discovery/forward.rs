//! A port-forward, by a server that stands for API server and kubelet (`v4.channel.k8s.io`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use meshprobe::discovery::forward::{Ask, ForwardFault, get};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Upgrade, Response as Upgraded};

use super::support::{client_of, pod};

const PROTOCOL: &str = "v4.channel.k8s.io";
const PORT: u16 = 9853;

/// What is behind the pods' port, by pod.
#[derive(Debug, Clone, Copy)]
enum Behind {
    /// A server of these bytes.
    Server(&'static str),
    /// Nothing: kubelet says so.
    Nothing,
    /// Something that takes the request and says nothing.
    Silence,
}

/// An API server with these pods, each controllers and ready unless it says otherwise.
async fn api_server(pods: &'static [(&'static str, bool, Behind)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, pods));
        }
    });
    address
}

async fn connection(stream: TcpStream, pods: &'static [(&'static str, bool, Behind)]) {
    let mut head = [0; 512];
    let length = stream.peek(&mut head).await.expect("a request");
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    if let Some((path, _)) = head.split_once("/portforward?") {
        let name = path.rsplit('/').next().expect("split yields one");
        let (_, _, behind) = pods.iter().find(|(pod, ..)| *pod == name).expect("a pod of ours");
        return forward(stream, *behind).await;
    }
    let service =
        hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
            let query = request.uri().query().unwrap_or_default();
            let selects = query.contains("labelSelector=app.kubernetes.io%2Fname%3Dmeshprobe");
            assert!(selects && request.uri().path() == "/api/v1/namespaces/meshprobe-plain/pods");
            let items: Vec<Value> =
                pods.iter().map(|(name, ready, _)| controller(name, *ready)).collect();
            let list = json!({ "metadata": { "resourceVersion": "1" }, "items": items });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(list.to_string()))))
        });
    let mut server = hyper::server::conn::http1::Builder::new();
    // The next request may be an upgrade, and that one is not for this server.
    let _ = server.keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
}

fn controller(name: &str, ready: bool) -> Value {
    let mut pod = pod("meshprobe-plain", name, "node-a", "10.0.0.9");
    pod["status"]["conditions"][0]["status"] = json!(if ready { "True" } else { "False" });
    pod
}

/// kubelet's side: channel 0 carries data, channel 1 errors; each begins with the port.
async fn forward(stream: TcpStream, behind: Behind) {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let choose = |request: &Upgrade, mut response: Upgraded| {
        let name = "sec-websocket-protocol";
        let offered = request.headers()[name].to_str().expect("plain words");
        assert!(offered.split(", ").any(|word| word == PROTOCOL), "{offered}");
        response.headers_mut().insert(name, PROTOCOL.parse().expect("a good value"));
        Ok(response)
    };
    let upgraded = tokio_tungstenite::accept_hdr_async(stream, choose).await;
    let mut socket = upgraded.expect("an upgrade");
    let [low, high] = PORT.to_le_bytes();
    for channel in [0, 1] {
        send(&mut socket, vec![channel, low, high]).await;
    }
    match behind {
        Behind::Nothing => {
            send(&mut socket, b"\x01dial tcp4 127.0.0.1:9853: connection refused".to_vec()).await;
        }
        Behind::Server(text) => {
            let request = request_in(&mut socket).await;
            assert!(request.starts_with("GET /v1/nodes?all=1 HTTP/1.1\r\n"), "{request}");
            let mut frame = vec![0];
            frame.extend_from_slice(text.as_bytes());
            send(&mut socket, frame).await;
        }
        Behind::Silence => {}
    }
    while let Some(Ok(_)) = socket.next().await {}
}

async fn send(socket: &mut WebSocketStream<TcpStream>, frame: Vec<u8>) {
    // The other side may have gone: that is its right.
    let _ = socket.send(Message::Binary(frame.into())).await;
}

async fn request_in(socket: &mut WebSocketStream<TcpStream>) -> String {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        let message = socket.next().await.expect("a request").expect("a frame");
        let data = message.into_data();
        if data.first() == Some(&0) {
            text.push_str(&String::from_utf8_lossy(&data[1..]));
        }
    }
    text
}

fn ask() -> Ask {
    Ask {
        namespace: "meshprobe-plain".to_owned(),
        port: PORT,
        path: "/v1/nodes?all=1".to_owned(),
        timeout: Duration::from_secs(60),
        most: 1000,
    }
}

async fn asked(
    pods: &'static [(&'static str, bool, Behind)],
    ask: Ask,
) -> Result<Response<Bytes>, ForwardFault> {
    let (client, _dir) = client_of(api_server(pods).await).await;
    get(&client, &ask).await
}

const ANSWER: &str = "HTTP/1.1 404 Not Found\r\netag: \"a\"\r\ncontent-length: 5\r\n\r\nnope\n";

#[tokio::test]
async fn a_ready_controller_is_asked_and_its_answer_returned_whatever_its_status() {
    let pods = &[("old", false, Behind::Nothing), ("new", true, Behind::Server(ANSWER))];
    let response = asked(pods, ask()).await.expect("an answer");
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["etag"], "\"a\"");
    assert_eq!(response.body(), "nope\n");
}

#[tokio::test]
async fn another_controller_is_asked_when_the_first_does_not_listen() {
    let pods = &[("one", true, Behind::Nothing), ("two", true, Behind::Server(ANSWER))];
    assert_eq!(asked(pods, ask()).await.expect("an answer").body(), "nope\n");
}

#[tokio::test]
async fn what_kubelet_says_of_a_closed_port_is_told() {
    let fault = asked(&[("one", true, Behind::Nothing)], ask()).await.expect_err("nobody listens");
    assert_eq!(
        fault.to_string(),
        "port-forward to pod one: dial tcp4 127.0.0.1:9853: connection refused"
    );
}

#[tokio::test]
async fn without_a_ready_controller_nobody_is_asked() {
    let fault = asked(&[("one", false, Behind::Nothing)], ask()).await.expect_err("none");
    assert_eq!(fault, ForwardFault::NoController("meshprobe-plain".to_owned()));
}

#[tokio::test]
async fn a_body_beyond_the_bound_and_a_silent_server_are_given_up() {
    let pods = &[("one", true, Behind::Server(ANSWER))];
    let fault = asked(pods, Ask { most: 4, ..ask() }).await.expect_err("too large");
    assert_eq!(fault, ForwardFault::TooLarge(4));
    let timeout = Duration::from_millis(300);
    let pods = &[("one", true, Behind::Silence)];
    let fault = asked(pods, Ask { timeout, ..ask() }).await.expect_err("no answer");
    assert_eq!(fault, ForwardFault::Timeout(timeout));
}

#[tokio::test]
async fn a_path_that_is_none_is_not_asked_for() {
    let pods = &[("one", true, Behind::Silence)];
    let path = "no path\r\n".to_owned();
    let fault = asked(pods, Ask { path, ..ask() }).await.expect_err("no path");
    assert!(matches!(fault, ForwardFault::BadPath(_)), "{fault}");
}

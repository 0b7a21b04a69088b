//! HBONE as it stands on the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request, Version};
use meshprobe::spec::Verify;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{
    Bench, CLOSED, PERMISSIVE, SERVER_ID, SERVICE, STRANGER_ID, STRICT, connect, connect_over,
    shake, tunnel,
};

#[tokio::test]
async fn connect_is_answered_by_what_the_application_did() {
    let bench = Bench::start().await;
    assert_eq!(connect(&bench, &bench.plain(PERMISSIVE).to_string()).await, 200);
    assert_eq!(connect(&bench, &bench.plain(STRICT).to_string()).await, 200, "mTLS");
    assert_eq!(connect(&bench, &bench.plain(CLOSED).to_string()).await, 503);
    assert_eq!(connect(&bench, &bench.plain(1).to_string()).await, 503, "a port it has not");
    for port in [15001, 15006, 15008] {
        assert_eq!(connect(&bench, &bench.plain(port).to_string()).await, 503, "its own {port}");
    }
}

#[tokio::test]
async fn an_authority_that_is_not_the_dialled_pod_is_400() {
    let bench = Bench::start().await;
    let web = bench.pod("web").ip;
    assert_eq!(connect(&bench, &web.to_string()).await, 400, "no port");
    assert_eq!(connect(&bench, "127.0.0.9:80").await, 400, "another pod");
    let vip = bench.world.services[0].ip;
    assert_eq!(connect(&bench, &format!("{vip}:{SERVICE}")).await, 400, "a VIP");
}

#[tokio::test]
async fn a_hostname_as_authority_is_a_service_and_its_port() {
    let bench = Bench::start().await;
    assert_eq!(connect(&bench, "web.default.svc.cluster.local:80").await, 200);
    assert_eq!(connect(&bench, "strict.default.svc.cluster.local:80").await, 200);
    assert_eq!(connect(&bench, "web.default.svc.cluster.local:81").await, 503);
    assert_eq!(connect(&bench, "nobody.default.svc.cluster.local:80").await, 503);
}

#[tokio::test]
async fn another_method_than_connect_is_400() {
    let bench = Bench::start().await;
    let sender = tunnel(&bench).await;
    let request = Request::builder().method(Method::GET).version(Version::HTTP_2);
    let uri = format!("https://{}/", bench.plain(PERMISSIVE));
    let request = request.uri(uri).body(()).expect("a request");
    let mut sender = sender.ready().await.expect("open");
    let (response, _) = sender.send_request(request, true).expect("sent");
    assert_eq!(response.await.expect("an answer").status(), 400);
}

#[tokio::test]
async fn a_rejected_stream_leaves_the_tunnel_open() {
    let bench = Bench::start().await;
    let sender = tunnel(&bench).await;
    for authority in ["127.0.0.9:80".to_owned(), bench.plain(STRICT).to_string()] {
        connect_over(&sender, &authority).await.expect("an answer");
    }
}

#[tokio::test]
async fn a_reset_stream_ends_the_applications_connection() {
    let bench = Bench::start().await;
    let sender = tunnel(&bench).await;
    let request = Request::builder().method(Method::CONNECT).version(Version::HTTP_2);
    let request = request.uri(bench.plain(STRICT).to_string()).body(()).expect("a request");
    let mut ready = sender.clone().ready().await.expect("open");
    let (response, mut outgoing) = ready.send_request(request, false).expect("sent");
    assert_eq!(response.await.expect("an answer").status(), 200);
    outgoing.send_data(Bytes::from_static(b"half"), false).expect("open");
    outgoing.send_reset(h2::Reason::CANCEL);
    let authority = bench.plain(STRICT).to_string();
    assert_eq!(connect_over(&sender, &authority).await.expect("an answer"), 200);
}

/// SETTINGS and connection window of RFC 9113, read byte by byte.
#[tokio::test]
async fn settings_are_those_of_a_ztunnel() {
    let bench = Bench::start().await;
    let issued = bench.issue(STRANGER_ID);
    let peer = Verify::Spiffe(SERVER_ID.to_owned());
    let mut stream = shake(&bench, Some(&issued), peer).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("open");
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("open");
    let (mut settings, mut window) = (BTreeMap::new(), 65_535);
    while settings.is_empty() || window == 65_535 {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("its payload");
        let number =
            |bytes: &[u8]| bytes.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        match (head[3], head[4]) {
            (4, 0) => {
                settings =
                    payload.chunks(6).map(|it| (number(&it[..2]), number(&it[2..]))).collect();
            }
            (8, _) => window += number(&payload),
            _ => {}
        }
    }
    assert_eq!(settings.get(&4), Some(&(4 << 20)), "stream window");
    assert_eq!(settings.get(&5), Some(&(1 << 20)), "frame size");
    assert_eq!(window, 16 << 20, "connection window");
}

//! With a certificate: through a peer that keeps the rules, and what it may answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use meshprobe::expectation::{Expectation, Verdict, judge};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Http2Settings;
use meshprobe::spec::{HboneModule, HttpModule, Timeouts, TlsSettings};
use meshprobe::target::Endpoint;
use regex::bytes::Regex;
use rustls::ServerConfig;

use super::frames::{HEADERS, settings, window_update};
use super::frames::{Raw, answer, data, end, final_answer, frame, raw_peer, raw_peer_with};
use super::peer::{
    FAR, FAR_AUTHORITY, OWN_ID, PATIENCE, PEER_ID, Realm, calling, detail, hbone, peer, request,
    unless_starved,
};
use super::pki::{Authority, Leaf, Validity};
use super::support::{TIMEOUT, assert_failed, refused_address};

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\npong\n";

/// What a peer was asked.
#[derive(Debug)]
struct Asked {
    connect: Request<()>,
    head: String,
}

/// A peer on the h2 crate's server side, with ztunnel's settings, that tunnels to [`REPLY`].
async fn good(config: ServerConfig) -> (SocketAddr, Arc<Mutex<Vec<Asked>>>) {
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let told = Arc::clone(&asked);
    let (address, _) = peer(config, move |stream| {
        let told = Arc::clone(&told);
        async move {
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(4 << 20).initial_connection_window_size(16 << 20);
            builder.max_frame_size(1 << 20).max_concurrent_streams(100);
            let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let _ = serve(request, respond, &told).await;
                });
            }
        }
    })
    .await;
    (address, asked)
}

async fn serve(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    told: &Mutex<Vec<Asked>>,
) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let mut back = respond.send_response(Response::new(()), false)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Some(data) = body.data().await else { break };
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        head.extend_from_slice(&data);
    }
    let head = String::from_utf8(head).expect("ASCII");
    told.lock()
        .expect("no panic while held")
        .push(Asked { connect: Request::from_parts(parts, ()), head });
    back.send_data(REPLY.into(), true)
}

#[tokio::test]
async fn a_member_gets_through_the_tunnel_to_a_reply() {
    let realm = Realm::new();
    let (address, asked) = good(realm.serving()).await;
    let outcome = realm.call(address).await;
    assert_eq!(outcome.failure, None);
    let ran: Vec<_> = outcome.phases.iter().map(|(phase, _)| phase).collect();
    let all = [Phase::Connect, Phase::Tls, Phase::Tunnel, Phase::Processing, Phase::Transfer];
    assert_eq!(ran, all);
    let facts = hbone(&outcome);
    assert_eq!((facts.status, facts.authority.as_deref()), (Some(200), Some(FAR_AUTHORITY)));
    assert_eq!((&facts.alert, facts.reply_bytes), (&None, Some(REPLY.len() as u64)));
    let stated = Http2Settings {
        max_concurrent_streams: Some(100),
        initial_window_size: Some(4 << 20),
        connection_window_size: Some(16 << 20),
        max_frame_size: Some(1 << 20),
        max_header_list_size: facts.settings.expect("told").max_header_list_size,
    };
    assert_eq!(facts.settings, Some(stated));
    let http = outcome.facts.http.as_ref().expect("a reply");
    assert_eq!((http.status, http.version, http.body_bytes), (200, "HTTP/1.1", 5));
    assert_eq!(outcome.facts.remote_address, Some(address));
    assert_eq!(outcome.facts.warm, None);
    let tls = outcome.facts.tls.as_ref().expect("a handshake");
    assert_eq!(tls.peer_spiffe_id.as_deref(), Some(PEER_ID));
    assert!(outcome.reply_bytes > REPLY.len() as u64, "the tunnel's own bytes count too");
    let asked = asked.lock().expect("no panic while held");
    let connect = &asked[0].connect;
    assert_eq!(
        (connect.method(), connect.uri().to_string()),
        (&Method::CONNECT, FAR_AUTHORITY.to_owned())
    );
    assert!(connect.headers().is_empty(), "{:?}", connect.headers());
    assert!(
        asked[0].head.starts_with("GET /ping HTTP/1.1\r\nhost: 192.0.2.7:8080\r\n"),
        "{}",
        asked[0].head
    );
}

#[tokio::test]
async fn neither_a_name_nor_other_protocols_are_sent_to_the_peer() {
    let realm = Realm::new();
    let (address, seen) = raw_peer(realm.serving(), |raw| answering(raw, 503)).await;
    let named = Endpoint { host: "localhost".parse().expect("a host"), port: address.port() };
    let module = HboneModule { peer: Some(named), ..calling(address) };
    let outcome = realm.probe(module, FAR).attempt().await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HboneUnavailable);
    let seen = seen.lock().expect("no panic while held")[0].clone();
    assert_eq!((seen.server_name, seen.alpn), (None, vec![b"h2".to_vec()]));
}

#[tokio::test]
async fn connect_names_a_service_and_its_port_as_the_url_does() {
    let realm = Realm::new();
    let (address, asked) = good(realm.serving()).await;
    for (url, authority) in [
        ("http://web.default.svc.cluster.local/", "web.default.svc.cluster.local:80"),
        ("http://[2001:db8::7]:8080/", "[2001:db8::7]:8080"),
    ] {
        let outcome = realm.probe(calling(address), url).attempt().await;
        assert_eq!(outcome.failure, None);
        assert_eq!(hbone(&outcome).authority.as_deref(), Some(authority));
        let asked = asked.lock().expect("no panic while held").pop().expect("one");
        assert_eq!(asked.connect.uri().to_string(), authority);
    }
}

/// Answers CONNECT with `status` and nothing else.
async fn answering(mut raw: Raw, status: u16) -> Option<()> {
    let stream = raw.connect().await?;
    raw.send(final_answer(stream, status)).await?;
    raw.rest().await;
    Some(())
}

#[tokio::test]
async fn each_answer_but_200_has_its_reason() {
    let realm = Realm::new();
    for (status, reason) in [
        (400, Reason::HboneBadRequest),
        (401, Reason::HboneDenied),
        (503, Reason::HboneUnavailable),
        (204, Reason::Status),
        (403, Reason::Status),
        (502, Reason::Status),
    ] {
        let (address, _) = raw_peer(realm.serving(), move |raw| answering(raw, status)).await;
        let outcome = realm.call(address).await;
        assert_failed(&outcome, Phase::Tunnel, reason);
        let told = format!("CONNECT {FAR_AUTHORITY} was answered with {status}");
        assert_eq!(detail(&outcome), told);
        assert_eq!((hbone(&outcome).status, hbone(&outcome).reply_bytes), (Some(status), None));
        assert!(hbone(&outcome).settings.is_some());
        assert_eq!(outcome.phases.of(Phase::Processing), None);
    }
}

#[tokio::test]
async fn a_body_under_a_refusal_is_the_peers_own_and_no_reply() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send([answer(stream, 401), data(stream, b"denied by policy\n"), end(stream)].concat())
            .await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let outcome = realm.call(address).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HboneDenied);
    assert_eq!(outcome.answer_bytes(), 0);
    assert_eq!(judge(&Expectation::Denied, &outcome, None).verdict, Verdict::Met);
}

#[tokio::test]
async fn an_informational_response_is_not_the_answer() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send([answer(stream, 100), answer(stream, 103), answer(stream, 200)].concat()).await?;
        replying(raw, stream).await
    })
    .await;
    let outcome = realm.call(address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(hbone(&outcome).status, Some(200));
}

async fn replying(mut raw: Raw, stream: u32) -> Option<()> {
    raw.request().await?;
    raw.send([data(stream, REPLY), end(stream)].concat()).await?;
    raw.rest().await;
    Some(())
}

/// A peer that opens the tunnel and answers the request in it with `reply`.
async fn tunnelling(realm: &Realm, reply: Vec<u8>) -> SocketAddr {
    let (address, _) = raw_peer(realm.serving(), move |mut raw| {
        let reply = reply.clone();
        async move {
            let stream = raw.connect().await?;
            raw.send(answer(stream, 200)).await?;
            raw.request().await?;
            for chunk in reply.chunks(7) {
                raw.send(data(stream, chunk)).await?;
            }
            raw.send(end(stream)).await?;
            raw.rest().await;
            Some(())
        }
    })
    .await;
    address
}

#[tokio::test]
async fn a_reply_may_come_in_small_pieces_and_end_with_the_stream() {
    let realm = Realm::new();
    let reply = b"HTTP/1.0 418 Teapot\r\n\r\nshort and stout".to_vec();
    let outcome = realm.call(tunnelling(&realm, reply).await).await;
    assert_eq!(outcome.failure, None);
    let http = outcome.facts.http.expect("a reply");
    assert_eq!((http.status, http.version, http.body_bytes), (418, "HTTP/1.0", 15));
}

#[tokio::test]
async fn the_reply_in_the_tunnel_is_held_against_what_was_stated() {
    let realm = Realm::new();
    let address = tunnelling(&realm, REPLY.to_vec()).await;
    let regex = |text: &str| Some(Regex::new(text).expect("valid"));
    for (request, reason) in [
        (HttpModule { body_regex: regex("^pong"), ..request() }, None),
        (HttpModule { body_regex: regex("^ping"), ..request() }, Some(Reason::BodyMismatch)),
        (HttpModule { body_limit: 4, ..request() }, Some(Reason::BodyTooLarge)),
    ] {
        let module = HboneModule { request, ..calling(address) };
        let outcome = realm.probe(module, FAR).attempt().await;
        assert_eq!(outcome.failure.as_ref().map(|failure| failure.reason), reason);
        assert_eq!(outcome.facts.http.expect("a reply").status, 200);
    }
}

#[tokio::test]
async fn what_is_no_http_in_the_tunnel_is_malformed() {
    let realm = Realm::new();
    let outcome = realm.call(tunnelling(&realm, b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
    let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 200_000]].concat();
    let outcome = realm.call(tunnelling(&realm, endless).await).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
}

#[tokio::test]
async fn a_request_larger_than_the_peers_windows_goes_as_they_open() {
    const BODY: usize = 300_000;
    let realm = Realm::new();
    let windows = &[(0x4, 1000), (0x5, 16_384)];
    let (address, _) = raw_peer_with(realm.serving(), windows, |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send(answer(stream, 200)).await?;
        let mut received = 0;
        while received < BODY {
            let (kind, _, _, payload) = raw.read().await?;
            if kind == super::frames::DATA {
                received += payload.len();
                let more = u32::try_from(payload.len()).expect("short");
                raw.send([window_update(0, more), window_update(stream, more)].concat()).await?;
            }
        }
        raw.send([data(stream, REPLY), end(stream)].concat()).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let body = Some(vec![b'x'; BODY]);
    let request = HttpModule { method: Method::POST, body, ..request() };
    let module = HboneModule { request, ..calling(address) };
    let outcome = realm.probe(module, FAR).attempt().await;
    assert_eq!(outcome.failure, None);
    let settings = hbone(&outcome).settings.expect("told");
    assert_eq!(settings.initial_window_size, Some(1000));
    assert_eq!(settings.connection_window_size, None, "not widened before the answer");
}

#[tokio::test]
async fn a_window_that_never_opens_is_a_timeout_of_the_request() {
    let realm = Realm::new();
    let (address, _) = raw_peer_with(realm.serving(), &[(0x4, 0)], |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send(answer(stream, 200)).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let outcome = realm.call_briefly(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert_eq!(hbone(&outcome).settings.expect("told").initial_window_size, Some(0));
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_rejected_by_alert() {
    let realm = Realm::new();
    realm.carry(&Authority::root("stranger").issue(&Leaf::named(&[PEER_ID])));
    let (address, _) = good(realm.serving()).await;
    let outcome = realm.call(address).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::TlsAlert);
    assert!(detail(&outcome).contains("unknown_ca"), "{}", detail(&outcome));
    let tls = outcome.facts.tls.expect("the chain that was shown");
    assert_eq!(tls.peer_spiffe_id.as_deref(), Some(PEER_ID));
    assert_eq!(outcome.phases.of(Phase::Tunnel), None);
}

#[tokio::test]
async fn a_call_that_shows_no_certificate_is_turned_away() {
    let realm = Realm::new();
    let (address, _) = good(realm.serving()).await;
    let tls = TlsSettings { identity: None, ..calling(address).tls };
    let module = HboneModule { tls, ..calling(address) };
    let outcome = realm.probe(module, FAR).attempt().await;
    assert_failed(&outcome, Phase::Tunnel, Reason::TlsAlert);
    assert!(detail(&outcome).contains("certificate_required"), "{}", detail(&outcome));
}

#[tokio::test]
async fn each_phase_has_its_own_deadline() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |raw| async move {
        raw.rest().await;
        Some(())
    })
    .await;
    let mut timeouts = Timeouts::total(PATIENCE);
    timeouts.phases[Phase::Tunnel as usize] = Some(TIMEOUT);
    let outcome = unless_starved(&realm.bounded(calling(address), FAR, timeouts)).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::Timeout);
    assert_eq!(hbone(&outcome).status, None);
}

#[tokio::test]
async fn an_answer_with_end_of_headers_in_a_later_frame_is_an_answer() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        let block = super::frames::status(200);
        let (left, right) = block.split_at(2);
        raw.send(settings(&[])).await?;
        raw.send(frame(HEADERS, 0, stream, left)).await?;
        raw.send(frame(super::frames::CONTINUATION, super::frames::END_HEADERS, stream, right))
            .await?;
        replying(raw, stream).await
    })
    .await;
    assert_eq!(realm.call(address).await.failure, None);
}

#[tokio::test]
async fn without_a_certificate_of_our_own_nobody_is_called() {
    let realm = Realm::without_certificate();
    let outcome = realm.call(refused_address().await).await;
    assert_failed(&outcome, Phase::Tls, Reason::NoIdentity);
    assert_eq!(outcome.phases.iter().count(), 0);
    let expired = realm.root.issue(&Leaf::named(&[OWN_ID]).valid(Validity::past()));
    realm.carry(&expired);
    let nobody = refused_address().await;
    let probe = realm.bounded(calling(nobody), FAR, Timeouts::total(PATIENCE));
    assert_failed(&probe.attempt().await, Phase::Tls, Reason::NoIdentity);
}

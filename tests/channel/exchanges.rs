//! Exchanges in both directions of one connection.

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Request, StatusCode};
use meshprobe::channel::{Fault, Peer};
use tokio::sync::watch;

use super::support::{dial, echo, get, key, listener, pair, reply, serve, serving, soon};

const BODY: usize = 1024;

#[tokio::test]
async fn either_side_asks_the_other_on_one_connection() {
    let (_listener, accepted, dialled) = pair().await;
    let (_a, _b) = (serve(&accepted, echo), serve(&dialled, echo));
    let (up, down) = tokio::join!(
        dialled.ask(get("/v1/plan?node=n"), soon(), BODY),
        accepted.ask(get("/v1/window"), soon(), BODY),
    );
    assert_eq!(up.expect("an answer").body(), "/v1/plan");
    assert_eq!(down.expect("an answer").body(), "/v1/window");
    assert!(accepted.remote_address().ip().is_loopback());
}

#[tokio::test]
async fn a_poll_is_answered_when_there_is_something_to_tell() {
    let (change, changed) = watch::channel("old");
    let (asked, mut heard) = watch::channel(false);
    let service = move |_: Peer, _: Request<Bytes>| {
        let (mut changed, asked) = (changed.clone(), asked.clone());
        async move {
            asked.send_replace(true);
            changed.changed().await.expect("the test changes it");
            reply(StatusCode::OK, *changed.borrow())
        }
    };
    let (_stop, address) = serving(None, service);
    let peer = dial(address, None).await.expect("no key on either side");
    let waiting = peer.clone();
    let poll = tokio::spawn(async move { waiting.ask(get("/"), soon(), BODY).await });
    heard.wait_for(|heard| *heard).await.expect("asked");
    assert!(!poll.is_finished());
    change.send_replace("new");
    assert_eq!(poll.await.expect("no panic").expect("an answer").body(), "new");
}

#[tokio::test]
async fn a_poll_that_is_given_up_is_dropped_on_the_other_side() {
    struct Told(watch::Sender<bool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }
    let (gone, mut dropped) = watch::channel(false);
    let (asked, mut heard) = watch::channel(false);
    let service = move |_: Peer, _: Request<Bytes>| {
        let told = Told(gone.clone());
        asked.send_replace(true);
        async move {
            let _told = told;
            std::future::pending().await
        }
    };
    let (_stop, address) = serving(None, service);
    let peer = dial(address, None).await.expect("no key on either side");
    let waiting = peer.clone();
    let poll = tokio::spawn(async move { waiting.ask(get("/"), soon(), BODY).await });
    heard.wait_for(|heard| *heard).await.expect("asked");
    poll.abort();
    dropped.wait_for(|dropped| *dropped).await.expect("dropped");
    assert!(peer.is_open());
}

#[tokio::test]
async fn not_modified_comes_without_a_body() {
    let service = |_: Peer, request: Request<Bytes>| async move {
        let known = request.headers().get(IF_NONE_MATCH).is_some_and(|tag| tag == "\"r1\"");
        let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let mut response = reply(status, if known { "" } else { "plan" });
        response.headers_mut().insert(ETAG, HeaderValue::from_static("\"r1\""));
        response
    };
    let (_stop, address) = serving(None, service);
    let peer = dial(address, None).await.expect("no key on either side");
    let first = peer.ask(get("/v1/plan"), soon(), BODY).await.expect("an answer");
    assert_eq!((first.status(), first.body().as_ref()), (StatusCode::OK, b"plan".as_slice()));
    let mut request = get("/v1/plan");
    request.headers_mut().insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
    let second = peer.ask(request, soon(), BODY).await.expect("an answer");
    assert_eq!((second.status(), second.body().len()), (StatusCode::NOT_MODIFIED, 0));
}

#[tokio::test]
async fn whoever_is_connected_is_listed_until_it_leaves() {
    let (mut listener, address) = listener(Some(&key('k')));
    let peers = listener.peers();
    assert!(peers.is_empty());
    let first = dial(address, Some(&key('k'))).await.expect("the same key");
    let _second = dial(address, Some(&key('k'))).await.expect("the same key");
    let mut accepted = Vec::new();
    for _ in 0..2 {
        accepted.push(listener.accept().await.expect("open").expect("the same key"));
    }
    assert_eq!(peers.len(), 2);
    let one = peers.find(accepted[0].id()).expect("it is there");
    assert_eq!(one.remote_address(), accepted[0].remote_address());
    first.close("done");
    let left = accepted.iter().map(|peer| Box::pin(peer.closed()));
    let (fault, ..) = futures_util::future::select_all(left).await;
    assert_eq!(fault, Fault::Closed("done".to_owned()));
    while peers.len() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(peers.all()[0].is_open());
}

#[tokio::test]
async fn a_listener_that_ends_says_so_and_can_be_dialled_again_at_its_address() {
    let (stop, address) = serving(Some(&key('k')), echo);
    let dialler = meshprobe::channel::Dialer::new().expect("a socket");
    let peer = dialler.dial(address, Some(&key('k')), soon()).await.expect("the same key");
    stop.cancel();
    assert_eq!(peer.closed().await, Fault::Closed("the controller ends".to_owned()));
    let told = peer.ask(get("/"), soon(), BODY).await;
    assert_eq!(told.expect_err("closed"), Fault::Closed("the controller ends".to_owned()));
    let again = loop {
        // The socket is free once its last connection is forgotten.
        let bounds = meshprobe::channel::Bounds::default();
        match meshprobe::channel::Listener::bind(address, Some(&key('k')), bounds) {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    tokio::spawn(again.run(echo, tokio_util::sync::CancellationToken::new()));
    let peer = dialler.dial(address, Some(&key('k')), soon()).await.expect("the same key");
    assert_eq!(peer.ask(get("/a"), soon(), BODY).await.expect("an answer").body(), "/a");
}

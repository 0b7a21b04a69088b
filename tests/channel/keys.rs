//! Who is let in, and what the others are told.

use http::StatusCode;
use meshprobe::channel::{Fault, Peer};

use super::support::{dial, get, key, listener, reply, serve, soon};

const BODY: usize = 1024;

#[track_caller]
fn assert_key(fault: &Fault) {
    assert!(matches!(fault, Fault::Key(_)), "{fault}");
    assert!(fault.to_string().contains("the same key"), "{fault}");
}

/// What the listener and the dialler are told when they hold these keys.
async fn told(listens: Option<char>, dials: Option<char>) -> (Fault, Fault) {
    let (mut listener, address) = listener(listens.map(key).as_ref());
    let dialled = dial(address, dials.map(key).as_ref()).await;
    let rejected = listener.accept().await.expect("open").expect_err("another key");
    assert!(rejected.remote.ip().is_loopback());
    assert!(listener.peers().is_empty());
    assert_eq!(listener.counts().failed, 1);
    let told = match dialled {
        Err(fault) => fault,
        Ok(peer) => peer.ask(get("/v1/plan"), soon(), BODY).await.expect_err("another key"),
    };
    (rejected.fault, told)
}

#[tokio::test]
async fn another_key_is_told_to_both_sides() {
    let (listener, dialler) = told(Some('a'), Some('b')).await;
    assert_key(&listener);
    assert_key(&dialler);
}

#[tokio::test]
async fn a_listener_with_a_key_takes_nobody_without() {
    let (listener, dialler) = told(Some('a'), None).await;
    assert_key(&listener);
    assert_key(&dialler);
}

#[tokio::test]
async fn a_dialler_with_a_key_takes_no_listener_without() {
    let (listener, dialler) = told(None, Some('a')).await;
    assert_key(&listener);
    assert_key(&dialler);
}

#[tokio::test]
async fn nothing_is_answered_to_whoever_does_not_hold_the_key() {
    let (listener, address) = listener(Some(&key('a')));
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&asked);
    let service = move |_: Peer, _| {
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
        async { reply(StatusCode::OK, "the plan") }
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(listener.run(service, stop.clone()));
    // Its own side of the handshake is complete before the listener looks at what it shows.
    let peer = dial(address, None).await.expect("anybody will do for it");
    assert_key(&peer.ask(get("/v1/plan"), soon(), BODY).await.expect_err("no key"));
    stop.cancel();
    running.await.expect("no panic");
    assert!(!asked.load(std::sync::atomic::Ordering::Relaxed));
}

#[tokio::test]
async fn without_a_key_on_either_side_all_are_let_in() {
    let (mut listener, address) = listener(None);
    let peer = dial(address, None).await.expect("no key on either side");
    let accepted = listener.accept().await.expect("open").expect("no key on either side");
    let _stop = serve(&accepted, super::support::echo);
    assert_eq!(peer.ask(get("/a"), soon(), BODY).await.expect("an answer").body(), "/a");
}

#[tokio::test]
async fn another_key_holds_for_whoever_dials_after_it() {
    let (mut listener, address) = listener(Some(&key('a')));
    let early = dial(address, Some(&key('a'))).await.expect("the same key");
    let accepted = listener.accept().await.expect("open").expect("the same key");
    let _stop = serve(&accepted, super::support::echo);
    listener.lock().rekey(Some(&key('b')));
    assert_key(&dial(address, Some(&key('a'))).await.expect_err("the old key"));
    dial(address, Some(&key('b'))).await.expect("the new key");
    assert_eq!(early.ask(get("/a"), soon(), BODY).await.expect("an answer").body(), "/a");
}

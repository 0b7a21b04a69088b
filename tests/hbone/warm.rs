//! A tunnel's connection that is kept from attempt to attempt.

use std::net::SocketAddr;

use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::probe::Probe;
use meshprobe::spec::HboneModule;
use rustls::HandshakeKind;
use tokio::sync::mpsc;

use super::frames::{
    PING, Raw, answer, data, end, final_answer, frame, goaway, raw_peer, rst_stream,
};
use super::peer::{FAR, Realm, calling, hbone};
use super::support::assert_failed;

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npong\n";
const NO_ERROR: u32 = 0x0;
const CANCEL: u32 = 0x8;

fn warm(realm: &Realm, address: SocketAddr) -> Probe {
    realm.probe(HboneModule { warm: true, ..calling(address) }, FAR)
}

/// Opens a tunnel and replies in it; its stream.
async fn reply(raw: &mut Raw) -> Option<u32> {
    let stream = raw.connect().await?;
    raw.send(answer(stream, 200)).await?;
    raw.request().await?;
    raw.send([data(stream, REPLY), end(stream)].concat()).await?;
    Some(stream)
}

#[track_caller]
fn assert_warm(outcome: &Outcome, warm: bool) {
    assert_eq!(outcome.facts.warm, Some(warm));
    let before = [Phase::Connect, Phase::Tls];
    assert!(before.iter().all(|phase| outcome.phases.of(*phase).is_none() == warm));
}

#[tokio::test]
async fn the_second_call_goes_through_the_connection_of_the_first() {
    let realm = Realm::new();
    let (address, seen) = raw_peer(realm.serving(), |mut raw| async move {
        loop {
            reply(&mut raw).await?;
        }
    })
    .await;
    let probe = warm(&realm, address);
    let first = probe.attempt().await;
    assert_eq!(first.failure, None);
    assert_warm(&first, false);
    for _ in 0..3 {
        let next = probe.attempt().await;
        assert_eq!(next.failure, None);
        assert_warm(&next, true);
        let ran: Vec<_> = next.phases.iter().map(|(phase, _)| phase).collect();
        assert_eq!(ran, [Phase::Tunnel, Phase::Processing, Phase::Transfer]);
        assert_eq!(hbone(&next).reply_bytes, Some(REPLY.len() as u64), "of this attempt alone");
        assert!(next.reply_bytes < first.reply_bytes, "without a handshake");
        assert_eq!(next.facts.remote_address, Some(address));
        assert_eq!(next.facts.tls, first.facts.tls);
        assert_eq!(hbone(&next).settings, hbone(&first).settings);
    }
    assert_eq!(seen.lock().expect("no panic while held").len(), 1);
}

#[tokio::test]
async fn without_warm_every_handshake_is_fresh_and_full() {
    let realm = Realm::new();
    let (address, seen) = raw_peer(realm.serving(), |mut raw| async move {
        reply(&mut raw).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let probe = realm.probe(calling(address), FAR);
    for _ in 0..2 {
        let outcome = probe.attempt().await;
        assert_eq!((outcome.failure, outcome.facts.warm), (None, None));
    }
    let kinds: Vec<_> =
        seen.lock().expect("no panic while held").iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds.len(), 2);
    for kind in kinds {
        assert!(matches!(
            kind,
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        ));
    }
}

#[tokio::test]
async fn a_ping_between_two_calls_is_answered_by_the_second() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        reply(&mut raw).await?;
        raw.send(frame(PING, 0, 0, b"12345678")).await?;
        let pong = loop {
            let (kind, flags, _, payload) = raw.read().await?;
            if kind == PING {
                break (flags, payload);
            }
        };
        assert_eq!(pong, (1, b"12345678".to_vec()));
        reply(&mut raw).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let probe = warm(&realm, address);
    for warm in [false, true] {
        let outcome = probe.attempt().await;
        assert_eq!(outcome.failure, None);
        assert_warm(&outcome, warm);
    }
}

/// How a peer spoils the connection that a client has kept.
#[derive(Debug, Clone, Copy)]
enum Idle {
    Close,
    Reset,
    GoAway,
}

#[tokio::test]
async fn a_kept_connection_that_died_is_noticed_before_it_is_used() {
    let realm = Realm::new();
    for how in [Idle::Close, Idle::Reset, Idle::GoAway] {
        let (spoilt, mut told) = mpsc::unbounded_channel();
        let (address, seen) = raw_peer(realm.serving(), move |mut raw| {
            let spoilt = spoilt.clone();
            async move {
                let stream = reply(&mut raw).await?;
                match how {
                    Idle::Close => {
                        let _ = spoilt.send(());
                        raw.close().await;
                        return Some(());
                    }
                    Idle::Reset => raw.reset(),
                    Idle::GoAway => {
                        raw.send(goaway(stream, NO_ERROR)).await?;
                        let _ = spoilt.send(());
                        raw.rest().await;
                        return Some(());
                    }
                }
                let _ = spoilt.send(());
                Some(())
            }
        })
        .await;
        let probe = warm(&realm, address);
        for attempt in 0..2 {
            let outcome = probe.attempt().await;
            assert_eq!(outcome.failure, None, "{how:?} {attempt}");
            assert_warm(&outcome, false);
            told.recv().await.expect("a connection was spoilt");
        }
        assert_eq!(seen.lock().expect("no panic while held").len(), 2, "{how:?}");
    }
}

#[tokio::test]
async fn a_refused_connect_leaves_the_connection_as_good_as_before() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        loop {
            let stream = raw.connect().await?;
            raw.send(final_answer(stream, 503)).await?;
        }
    })
    .await;
    let probe = warm(&realm, address);
    for warm in [false, true, true] {
        let outcome = probe.attempt().await;
        assert_failed(&outcome, Phase::Tunnel, Reason::HboneUnavailable);
        assert_warm(&outcome, warm);
    }
}

#[tokio::test]
async fn a_connection_whose_tunnel_broke_is_not_kept() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        loop {
            let stream = raw.connect().await?;
            raw.send(rst_stream(stream, CANCEL)).await?;
        }
    })
    .await;
    let probe = warm(&realm, address);
    for _ in 0..2 {
        let outcome = probe.attempt().await;
        assert_failed(&outcome, Phase::Tunnel, Reason::Reset);
        assert_warm(&outcome, false);
    }
}

#[tokio::test]
async fn a_warm_call_that_is_never_answered_is_a_timeout_and_not_kept() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        reply(&mut raw).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let module = HboneModule { warm: true, ..calling(address) };
    let mut timeouts = meshprobe::spec::Timeouts::total(super::peer::PATIENCE);
    timeouts.phases[Phase::Tunnel as usize] = Some(super::support::TIMEOUT);
    let probe = realm.bounded(module, FAR, timeouts);
    let fresh = probe.attempt().await;
    assert_warm(&fresh, false);
    let starved = fresh.failure.is_some();
    let stalled = probe.attempt().await;
    if !starved {
        assert_warm(&stalled, true);
        let failure = stalled.failure.as_ref().expect("nobody answers");
        assert_eq!(failure.phase, Phase::Tunnel, "{failure}");
        assert!(matches!(failure.reason, Reason::Timeout | Reason::ScheduleLag), "{failure}");
    }
    assert_warm(&probe.attempt().await, false);
}

//! Every way in which a tunnel can end too early.

use meshprobe::expectation::{Expectation, Verdict, judge};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;

use super::frames::{Raw, answer, data, end, final_answer, goaway, raw_peer, rst_stream};
use super::peer::{Realm, detail, hbone};
use super::support::assert_failed;

const CANCEL: u32 = 0x8;
const INTERNAL_ERROR: u32 = 0x2;
const REFUSED_STREAM: u32 = 0x7;
const HALF_A_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";

/// How a peer ends it.
#[derive(Debug, Clone, Copy)]
enum End {
    /// RST_STREAM.
    Stream(u32),
    /// GOAWAY that covers the stream.
    GoAway(u32),
    /// END_STREAM.
    Orderly,
    /// close_notify and FIN.
    Fin,
    /// TCP RST.
    Rst,
}

impl End {
    async fn apply(self, mut raw: Raw, stream: u32) -> Option<()> {
        match self {
            Self::Stream(code) => raw.send(rst_stream(stream, code)).await?,
            Self::GoAway(code) => raw.send(goaway(0, code)).await?,
            Self::Orderly => raw.send(end(stream)).await?,
            Self::Fin => {
                raw.close().await;
                return Some(());
            }
            Self::Rst => {
                raw.reset();
                return Some(());
            }
        }
        raw.rest().await;
        Some(())
    }
}

/// Calls a peer that ends instead of answering CONNECT.
async fn before_the_answer(realm: &Realm, how: End) -> Outcome {
    let (address, _) = raw_peer(realm.serving(), move |mut raw| async move {
        let stream = raw.connect().await?;
        how.apply(raw, stream).await
    })
    .await;
    realm.call(address).await
}

/// Calls a peer that opens the tunnel, answers `reply` in it, and ends.
async fn in_the_tunnel(realm: &Realm, reply: &'static [u8], how: End) -> Outcome {
    let (address, _) = raw_peer(realm.serving(), move |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send(answer(stream, 200)).await?;
        raw.request().await?;
        raw.send(data(stream, reply)).await?;
        how.apply(raw, stream).await
    })
    .await;
    realm.call(address).await
}

const ENDS: [(End, Reason, &str); 6] = [
    (End::Stream(CANCEL), Reason::Reset, "RST_STREAM: CANCEL"),
    (End::Stream(INTERNAL_ERROR), Reason::Reset, "RST_STREAM: INTERNAL_ERROR"),
    (End::Stream(REFUSED_STREAM), Reason::Reset, "RST_STREAM: REFUSED_STREAM"),
    (End::GoAway(INTERNAL_ERROR), Reason::Closed, "GOAWAY: INTERNAL_ERROR"),
    (End::Fin, Reason::Closed, "closed by the peer"),
    (End::Rst, Reason::Reset, "reset"),
];

#[tokio::test]
async fn an_end_instead_of_an_answer_is_told_in_tunnel() {
    let realm = Realm::new();
    for (how, reason, told) in ENDS {
        let outcome = before_the_answer(&realm, how).await;
        assert_failed(&outcome, Phase::Tunnel, reason);
        assert!(detail(&outcome).contains(told), "{how:?}: {}", detail(&outcome));
        assert_eq!((hbone(&outcome).status, outcome.answer_bytes()), (None, 0));
    }
}

#[tokio::test]
async fn an_end_in_the_tunnel_is_told_in_processing() {
    let realm = Realm::new();
    for (how, reason, told) in ENDS {
        let outcome = in_the_tunnel(&realm, b"", how).await;
        assert_failed(&outcome, Phase::Processing, reason);
        assert!(detail(&outcome).starts_with("in the tunnel: "), "{how:?}: {}", detail(&outcome));
        assert!(detail(&outcome).contains(told), "{how:?}: {}", detail(&outcome));
        assert_eq!((hbone(&outcome).status, outcome.answer_bytes()), (Some(200), 0));
        let alone = judge(&Expectation::Denied, &outcome, None);
        assert_eq!(alone.verdict, Verdict::Inconclusive, "denied or dead");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_reply_is_closed() {
    let realm = Realm::new();
    let outcome = in_the_tunnel(&realm, b"", End::Orderly).await;
    assert_failed(&outcome, Phase::Processing, Reason::Closed);
    assert!(detail(&outcome).starts_with("in the tunnel: "), "{}", detail(&outcome));
    assert_eq!(hbone(&outcome).reply_bytes, Some(0));
}

#[tokio::test]
async fn an_answer_that_ends_its_own_tunnel_is_closed() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send(final_answer(stream, 200)).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let outcome = realm.call(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Closed);
}

#[tokio::test]
async fn a_peer_that_resets_every_stream_is_told_of_every_attempt() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        loop {
            let stream = raw.connect().await?;
            raw.send(rst_stream(stream, CANCEL)).await?;
        }
    })
    .await;
    for _ in 0..3 {
        assert_failed(&realm.call(address).await, Phase::Tunnel, Reason::Reset);
    }
}

#[tokio::test]
async fn an_end_in_the_middle_of_a_reply_is_told_in_transfer() {
    let realm = Realm::new();
    let orderly = (End::Orderly, Reason::Closed, "");
    for (how, reason, told) in ENDS.into_iter().chain([orderly]) {
        let outcome = in_the_tunnel(&realm, HALF_A_REPLY, how).await;
        let failure = outcome.failure.as_ref().expect("half a reply");
        // A reset may overtake what came before it.
        let overtaken = failure.phase == Phase::Processing && reason == Reason::Reset;
        assert!(overtaken || failure.phase == Phase::Transfer, "{how:?}: {failure}");
        assert_eq!(failure.reason, reason, "{how:?}: {failure}");
        assert!(failure.detail.contains(told), "{how:?}: {failure}");
        if !overtaken {
            assert_eq!(hbone(&outcome).reply_bytes, Some(HALF_A_REPLY.len() as u64));
            assert_eq!(outcome.facts.http.as_ref().expect("a head").body_bytes, 4);
            let leak = judge(&Expectation::Denied, &outcome, None);
            assert_eq!(leak.verdict, Verdict::Violated);
        }
    }
}

#[tokio::test]
async fn a_peer_that_opens_the_tunnel_and_never_sends_is_a_timeout_in_processing() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send(answer(stream, 200)).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    let outcome = realm.call_briefly(address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert_eq!(hbone(&outcome).status, Some(200));
    assert!(outcome.phases.of(Phase::Tunnel).is_some());
}

#[tokio::test]
async fn a_peer_that_goes_away_after_this_stream_lets_it_finish() {
    const NO_ERROR: u32 = 0x0;
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send([answer(stream, 200), goaway(stream, NO_ERROR)].concat()).await?;
        raw.request().await?;
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        raw.send([data(stream, reply), end(stream)].concat()).await?;
        raw.rest().await;
        Some(())
    })
    .await;
    assert_eq!(realm.call(address).await.failure, None);
}

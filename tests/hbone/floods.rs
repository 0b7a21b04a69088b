//! Peers that send far too much, or what is no HTTP/2: a clear reason before any deadline.

use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, Raw, answer, data, frame, raw_peer, settings,
    status, window_update,
};
use super::peer::{Realm, detail, hbone};
use super::support::assert_failed;

/// Frames in one write.
const BATCH: usize = 500;

/// Calls a peer that answers CONNECT with `bytes`, again and again until the client goes.
async fn flooded(bytes: fn(stream: u32) -> Vec<u8>) -> Outcome {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), move |mut raw| async move {
        let stream = raw.connect().await?;
        let batch = bytes(stream).repeat(BATCH);
        loop {
            raw.send(&batch).await?;
        }
    })
    .await;
    realm.call(address).await
}

/// Calls a peer that sends `bytes` once, after CONNECT.
async fn answered(bytes: impl Fn(u32) -> Vec<u8> + Clone + Send + Sync + 'static) -> Outcome {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), move |mut raw: Raw| {
        let bytes = bytes.clone();
        async move {
            let stream = raw.connect().await?;
            raw.send(bytes(stream)).await?;
            raw.rest().await;
            Some(())
        }
    })
    .await;
    realm.call(address).await
}

#[tokio::test]
async fn floods_of_frames_that_carry_nothing_end_the_attempt() {
    let floods: [fn(u32) -> Vec<u8>; 6] = [
        |_| settings(&[(0x4, 65_535)]),
        |_| frame(PING, 0, 0, b"12345678"),
        |_| window_update(0, 1),
        |stream| window_update(stream, 1),
        |stream| frame(0x2, 0, stream, &[0, 0, 0, 0, 16]),
        |_| frame(0xfa, 0, 0, b"a frame of an unknown kind"),
    ];
    for (index, bytes) in floods.into_iter().enumerate() {
        let outcome = flooded(bytes).await;
        assert_failed(&outcome, Phase::Tunnel, Reason::HttpMalformed);
        assert!(detail(&outcome).contains("flood"), "{index}: {}", detail(&outcome));
        assert_eq!(hbone(&outcome).status, None);
    }
}

#[tokio::test]
async fn a_flood_of_informational_responses_ends_the_attempt() {
    let outcome = flooded(|stream| answer(stream, 103)).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HttpMalformed);
}

#[tokio::test]
async fn a_flood_in_an_open_tunnel_ends_the_attempt() {
    let realm = Realm::new();
    let floods: [fn(u32) -> Vec<u8>; 3] = [
        |_| settings(&[]),
        |_| frame(PING, 0, 0, b"12345678"),
        |stream| frame(DATA, 0, stream, b""),
    ];
    for bytes in floods {
        let (address, _) = raw_peer(realm.serving(), move |mut raw| async move {
            let stream = raw.connect().await?;
            raw.send(answer(stream, 200)).await?;
            raw.request().await?;
            let batch = bytes(stream).repeat(BATCH);
            loop {
                raw.send(&batch).await?;
            }
        })
        .await;
        let outcome = realm.call(address).await;
        assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
        assert_eq!(hbone(&outcome).status, Some(200));
    }
}

#[tokio::test]
async fn header_blocks_without_end_are_no_answer() {
    // Literals of 4000 bytes that are never the last of their block.
    let literal = |stream, kind| {
        let field = [&[0x00, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
        frame(kind, 0, stream, &field)
    };
    let outcome = answered(move |stream| {
        let mut bytes = literal(stream, HEADERS);
        (0..200).for_each(|_| bytes.extend(literal(stream, CONTINUATION)));
        bytes
    })
    .await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HttpMalformed);
}

#[tokio::test]
async fn a_small_block_that_unfolds_into_a_large_list_is_no_answer() {
    let outcome = answered(|stream| {
        // One entry of 4000 bytes into the dynamic table, then a thousand references to it.
        let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e - 1][..], &[b'y'; 3999]].concat();
        let block = [status(200), entry, vec![0xbe; 1000]].concat();
        frame(HEADERS, END_HEADERS, stream, &block)
    })
    .await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HttpMalformed);
}

#[tokio::test]
async fn a_frame_larger_than_was_offered_is_no_http2() {
    let outcome = answered(|stream| data(stream, &[b'x'; 100_000])).await;
    assert_failed(&outcome, Phase::Tunnel, Reason::HttpMalformed);
    assert!(detail(&outcome).contains("FRAME_SIZE"), "{}", detail(&outcome));
}

#[tokio::test]
async fn more_data_than_the_window_is_no_http2() {
    let outcome = answered(|stream| {
        [answer(stream, 200), data(stream, &[b'x'; 16_000]).repeat(100)].concat()
    })
    .await;
    let failure = outcome.failure.expect("no HTTP/1.1 either");
    assert_eq!(failure.reason, Reason::HttpMalformed, "{failure}");
}

#[tokio::test]
async fn bytes_and_answers_that_break_the_rules_are_no_http2() {
    for bytes in [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
        vec![0xff; 4000],
        // Data before an answer, an answer without a status, settings on a stream.
        data(1, b"early"),
        frame(HEADERS, END_HEADERS, 1, &[]),
        frame(0x4, 0, 1, &[]),
        // A broken header block, an update by nothing, a promise that was forbidden.
        frame(HEADERS, END_HEADERS, 1, &[0xff; 12]),
        window_update(0, 0),
        frame(0x5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
    ] {
        let what = bytes[..bytes.len().min(12)].to_vec();
        let outcome = answered(move |_| bytes.clone()).await;
        let failure = outcome.failure.as_ref().expect("no answer");
        assert_eq!(failure.phase, Phase::Tunnel, "{what:?}: {failure}");
        assert_eq!(failure.reason, Reason::HttpMalformed, "{what:?}: {failure}");
    }
}

#[tokio::test]
async fn an_endless_body_in_the_tunnel_ends_at_its_limit() {
    let realm = Realm::new();
    let (address, _) = raw_peer(realm.serving(), |mut raw| async move {
        let stream = raw.connect().await?;
        raw.send(answer(stream, 200)).await?;
        raw.request().await?;
        raw.send(data(stream, b"HTTP/1.1 200 OK\r\n\r\n")).await?;
        // As much as the window takes.
        for _ in 0..200 {
            raw.send(data(stream, &[b'x'; 1000])).await?;
        }
        raw.rest().await;
        Some(())
    })
    .await;
    assert_failed(&realm.call(address).await, Phase::Transfer, Reason::BodyTooLarge);
}

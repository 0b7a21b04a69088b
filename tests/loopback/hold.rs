use std::time::Duration;

use http::Response;
use http_body_util::Full;
use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::Timeouts;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http_support::{End, briefly, good, hold, hold_within, read_head, scripted};
use super::support::{TIMEOUT, assert_failed, refused_address, server};

const HEARTBEAT: Duration = Duration::from_millis(10);
/// No test waits for this.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Answers a heartbeat on a connection that stays open; whether there was one.
async fn answer(stream: &mut TcpStream) -> bool {
    let asked = read_head(stream).await.starts_with("GET / HTTP/1.1\r\n");
    asked && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_ok()
}

/// Answers `beats` heartbeats, and then ends.
async fn ends_after(beats: u32, end: End) -> std::net::SocketAddr {
    server(move |mut stream| async move {
        for _ in 0..beats {
            assert!(answer(&mut stream).await);
        }
        end.apply(stream).await;
    })
    .await
}

#[tokio::test]
async fn a_connection_that_lives_long_enough_is_a_success() {
    let address = good(|_| async { Response::new(Full::new("ok".into())) }).await;
    let outcome = hold(address, HEARTBEAT, 10 * HEARTBEAT).attempt().await;
    assert_eq!(outcome.failure, None);
    let facts = outcome.facts.hold.expect("it was held");
    assert!(facts.held >= 10 * HEARTBEAT);
    assert!((1..=11).contains(&facts.heartbeats), "{}", facts.heartbeats);
    assert!(facts.slowest_heartbeat > Duration::ZERO);
    assert_eq!(outcome.facts.http.expect("a response").status, 200);
    for phase in [Phase::Connect, Phase::Processing, Phase::Transfer] {
        assert!(outcome.phases.of(phase).is_some(), "{phase}");
    }
    assert!(outcome.facts.tcp.is_some());
}

#[tokio::test]
async fn one_connection_carries_every_heartbeat() {
    let (told, mut connections) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |mut stream| {
        let told = told.clone();
        async move {
            let _ = told.send(());
            while answer(&mut stream).await {}
        }
    })
    .await;
    let outcome = hold(address, HEARTBEAT, 5 * HEARTBEAT).attempt().await;
    assert_eq!(outcome.failure, None);
    connections.recv().await.expect("one");
    assert!(connections.try_recv().is_err(), "and no other");
}

#[tokio::test]
async fn an_end_between_heartbeats_is_noticed_when_it_happens() {
    for (end, reason) in [(End::Fin, Reason::Closed), (End::Reset, Reason::Reset)] {
        let address = ends_after(1, end).await;
        // The next heartbeat would be after the test's patience.
        let outcome = hold(address, FOR_EVER, FOR_EVER).attempt().await;
        assert_failed(&outcome, Phase::Transfer, reason);
        let facts = outcome.facts.hold.expect("it was held");
        assert_eq!(facts.heartbeats, 1);
        assert!(facts.held <= outcome.duration);
    }
}

#[tokio::test]
async fn an_end_instead_of_an_answer_is_told_by_how_it_ended() {
    for (end, reason) in [(End::Fin, Reason::Closed), (End::Reset, Reason::Reset)] {
        let address = server(move |mut stream| async move {
            assert!(answer(&mut stream).await);
            read_head(&mut stream).await;
            end.apply(stream).await;
        })
        .await;
        let outcome = hold(address, HEARTBEAT, FOR_EVER).attempt().await;
        assert_failed(&outcome, Phase::Transfer, reason);
    }
}

#[tokio::test]
async fn an_unanswered_heartbeat_is_a_stall() {
    let address = ends_after(2, End::Never).await;
    let timeouts = Timeouts::total(TIMEOUT);
    let outcome = briefly(hold_within(address, HEARTBEAT, FOR_EVER, timeouts)).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
    let detail = outcome.failure.expect("failed").detail;
    assert!(detail.contains("stalled: heartbeat 3"), "{detail}");
    assert_eq!(outcome.facts.hold.expect("it was held").heartbeats, 2);
}

#[tokio::test]
async fn a_heartbeat_has_its_own_deadline() {
    let address = ends_after(1, End::Never).await;
    let mut timeouts = Timeouts::total(FOR_EVER);
    timeouts.phases[Phase::Processing as usize] = Some(TIMEOUT);
    let outcome = briefly(hold_within(address, HEARTBEAT, FOR_EVER, timeouts)).await;
    assert_failed(&outcome, Phase::Transfer, Reason::Timeout);
}

#[tokio::test]
async fn before_the_first_answer_the_failure_is_in_processing() {
    let timeouts = Timeouts::total(TIMEOUT);
    for (end, reason) in
        [(End::Fin, Reason::Closed), (End::Reset, Reason::Reset), (End::Never, Reason::Timeout)]
    {
        let address = scripted("", end).await;
        let outcome = briefly(hold_within(address, HEARTBEAT, FOR_EVER, timeouts)).await;
        assert_failed(&outcome, Phase::Processing, reason);
        assert_eq!(outcome.facts.hold, None);
    }
    let outcome = hold(refused_address().await, HEARTBEAT, FOR_EVER).attempt().await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
}

#[tokio::test]
async fn an_answer_that_ends_the_connection_is_closed() {
    let address =
        scripted("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", End::Fin)
            .await;
    let outcome = hold(address, HEARTBEAT, FOR_EVER).attempt().await;
    assert_failed(&outcome, Phase::Transfer, Reason::Closed);
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_malformed() {
    let address = server(|mut stream| async move {
        assert!(answer(&mut stream).await);
        let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await;
        End::Never.apply(stream).await;
    })
    .await;
    let outcome = hold(address, FOR_EVER, FOR_EVER).attempt().await;
    assert_failed(&outcome, Phase::Transfer, Reason::HttpMalformed);
}

#[tokio::test]
async fn an_answer_without_end_is_too_large() {
    let address = scripted(
        [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 2 * 1024 * 1024]].concat(),
        End::Never,
    )
    .await;
    let outcome = hold(address, HEARTBEAT, FOR_EVER).attempt().await;
    assert_failed(&outcome, Phase::Processing, Reason::BodyTooLarge);
}

use std::time::Duration;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::spec::{IpPreference, ModuleKind, TcpModule};
use regex::bytes::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{
    TIMEOUT, assert_failed, attempt, dropping_syns, refused_address, reset, server,
};

fn module() -> TcpModule {
    TcpModule { send: Some(b"ping\n".to_vec()), reply_regex: None, ip: IpPreference::default() }
}

async fn ask(module: TcpModule, address: std::net::SocketAddr) -> meshprobe::outcome::Outcome {
    attempt(ModuleKind::Tcp(module), Expectation::Reply, &address.to_string()).await
}

#[tokio::test]
async fn a_reply_is_timed_from_request_to_first_byte() {
    let address = server(|mut stream| async move {
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.expect("the request");
        stream.write_all(b"pong\n").await.expect("the reply");
    })
    .await;
    let outcome = ask(module(), address).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.reply_bytes, 5);
    assert!(outcome.phases.of(Phase::Connect).is_some());
    assert!(outcome.phases.of(Phase::Processing).is_some());
    assert_eq!(outcome.phases.of(Phase::Resolve), None, "an address literal resolves nothing");
    assert_eq!(outcome.phases.of(Phase::Tls), None);
    assert_eq!(outcome.facts.tcp.expect("TCP_INFO").retransmits, 0);
}

#[tokio::test]
async fn a_refused_port_fails_in_connect() {
    let outcome = ask(module(), refused_address().await).await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(outcome.phases.of(Phase::Processing), None);
}

#[tokio::test]
async fn reset_after_accept_is_not_refused() {
    let address = server(|stream| async move { reset(stream) }).await;
    assert_failed(&ask(module(), address).await, Phase::Processing, Reason::Reset);
}

#[tokio::test]
async fn an_orderly_end_without_a_byte_is_closed() {
    let address = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let outcome = ask(module(), address).await;
    assert_failed(&outcome, Phase::Processing, Reason::Closed);
    assert_eq!(outcome.reply_bytes, 0);
}

#[tokio::test]
async fn silence_is_a_timeout_in_processing() {
    let address = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    assert_failed(&ask(module(), address).await, Phase::Processing, Reason::Timeout);
}

#[tokio::test]
async fn another_reply_than_stated_is_a_mismatch() {
    let address = server(|mut stream| async move {
        let _ = stream.read(&mut [0; 64]).await;
        let _ = stream.write_all(b"nope\n").await;
    })
    .await;
    let module = TcpModule { reply_regex: Some(Regex::new("^pong").expect("valid")), ..module() };
    assert_failed(&ask(module, address).await, Phase::Transfer, Reason::BodyMismatch);
}

#[tokio::test]
async fn a_syn_without_an_answer_is_a_timeout_in_connect() {
    let (address, _full) = dropping_syns().await;
    assert_failed(&ask(module(), address).await, Phase::Connect, Reason::Timeout);
}

#[tokio::test]
async fn a_blocked_machine_is_not_blamed_on_the_network() {
    let address = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    // The whole runtime stands still beyond the deadline, as under CPU starvation.
    let blocker = async {
        tokio::time::sleep(TIMEOUT / 2).await;
        std::thread::sleep(TIMEOUT * 2);
    };
    let (outcome, ()) = tokio::join!(ask(module(), address), blocker);
    assert_failed(&outcome, Phase::Processing, Reason::ScheduleLag);
}

#[tokio::test]
async fn time_that_our_own_machine_ate_is_not_the_peers_timeout() {
    let address = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    // The kernel connects at once; we come to look when most of the attempt's time is gone.
    let blocker = async { std::thread::sleep(TIMEOUT * 3 / 4) };
    let (outcome, ()) = tokio::join!(ask(module(), address), blocker);
    assert_failed(&outcome, Phase::Processing, Reason::ScheduleLag);
    let connect = outcome.phases.of(Phase::Connect).expect("it connected");
    assert!(connect < TIMEOUT / 2, "the kernel's own time, not ours: {connect:?}");
}

use meshprobe::attempt::Attempt;
use meshprobe::expectation::Verdict;
use meshprobe::failure::Reason;
use meshprobe::runner::once;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Bench, Event, Server, reason, targets};

/// One port in front of everything: `denied` is reset, `silence` gets nothing, `reply` a word, and
/// whatever else is sent an HTTP response with `status`.
async fn guarded(status: &'static str) -> Server {
    Server::start(move |mut stream| async move {
        let mut first = [0; 512];
        let length = stream.read(&mut first).await.unwrap_or(0);
        match &first[..length] {
            b"denied" => stream.set_zero_linger().expect("a connected socket"),
            b"silence" => while let Ok(1..) = stream.read(&mut first).await {},
            b"reply" => {
                let _ = stream.write_all(b"hello\n").await;
            }
            _ => {
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        }
    })
    .await
}

/// The attempt of a target that must be denied at `denying` when it sends `word`, beside the
/// control in `block`.
async fn denied(denying: &Server, word: &str, block: &str) -> Attempt {
    let yaml = format!(
        "targets:
          - {{ name: denied, tcp: {{ send: {word} }}, address: '{}', expect: denied, timeout: 300ms, control: control }}
          - {{ name: control, timeout: 300ms, {block} }}",
        denying.address
    );
    let targets = targets(&yaml);
    let mut attempts = once(&targets[..1], 1).await;
    attempts.remove(0)
}

fn http(server: &Server) -> String {
    format!("http: {{}}, address: 'http://{}/', expect: status 2xx", server.address)
}

fn json(attempt: &Attempt) -> serde_json::Value {
    serde_json::to_value(attempt).expect("attempts are JSON")
}

#[tokio::test]
async fn a_denial_is_met_while_its_control_passes_at_the_same_port() {
    let server = guarded("200 OK").await;
    let attempt = denied(&server, "denied", &http(&server)).await;
    assert_eq!(attempt.verdict, Verdict::Met, "{attempt:?}");
    assert_eq!(server.all(), 2, "the control is asked once, right after the denial");
    let control = serde_json::json!({"target": "control", "success": true, "failure": null});
    assert_eq!(json(&attempt)["control"], control);
}

#[tokio::test]
async fn a_control_that_passes_elsewhere_proves_nothing() {
    let (denying, elsewhere) = (guarded("200 OK").await, guarded("200 OK").await);
    for word in ["denied", "silence"] {
        let attempt = denied(&denying, word, &http(&elsewhere)).await;
        assert_eq!(attempt.verdict, Verdict::Inconclusive, "{attempt:?}");
        let because = attempt.because.expect("an explanation");
        assert!(because.contains("another ip:port"), "{because}");
        assert!(attempt.control.expect("it was asked").success);
    }
}

#[tokio::test]
async fn a_denial_without_a_passing_control_is_inconclusive() {
    let server = guarded("200 OK").await;
    let control = format!("tcp: {{ send: denied }}, address: '{}'", server.address);
    let attempt = denied(&server, "denied", &control).await;
    assert_eq!(attempt.verdict, Verdict::Inconclusive, "{attempt:?}");
    let failure = attempt.control.expect("it was asked").failure.expect("it was denied too");
    assert_eq!(failure.reason, Reason::Reset);
}

#[tokio::test]
async fn a_control_is_held_against_its_own_expectation() {
    let dying = guarded("503 Service Unavailable").await;
    let attempt = denied(&dying, "denied", &http(&dying)).await;
    assert_eq!(attempt.verdict, Verdict::Inconclusive, "{attempt:?}");
    assert_eq!(dying.all(), 2);
    let control = &json(&attempt)["control"];
    assert_eq!(control["success"], false);
    assert_eq!(control["failure"]["reason"], "status");
}

#[tokio::test]
async fn silence_instead_of_a_denial_is_a_violation_while_the_control_passes() {
    let server = guarded("200 OK").await;
    let attempt = denied(&server, "silence", &http(&server)).await;
    assert_eq!(attempt.verdict, Verdict::Violated, "{attempt:?}");
    assert_eq!(reason(&attempt), Some(Reason::Timeout));
}

#[tokio::test]
async fn a_reply_is_an_enforcement_gap_and_asks_no_control() {
    let server = guarded("200 OK").await;
    let attempt = denied(&server, "reply", &http(&server)).await;
    assert_eq!(attempt.verdict, Verdict::Violated, "{attempt:?}");
    assert_eq!(reason(&attempt), Some(Reason::UnexpectedReply));
    assert_eq!(server.all(), 1);
    assert_eq!(json(&attempt).get("control"), None, "no control was asked");
}

#[tokio::test]
async fn a_control_that_a_denial_asked_is_not_asked_again_in_its_own_slot() {
    let server = guarded("200 OK").await;
    let mut bench = Bench::start(&format!(
        "targets:
          - {{ name: denied, tcp: {{ send: denied }}, address: '{0}', expect: denied, interval: 50ms, control: control }}
          - {{ name: control, http: {{}}, address: 'http://{0}/', interval: 1s }}",
        server.address
    ))
    .await;
    let mut attempts = Vec::new();
    while attempts.len() < 60 {
        match bench.next().await {
            Event::Attempt(attempt) => attempts.push(*attempt),
            Event::Joined(_) | Event::Left(_) | Event::Missed(..) => {}
        }
    }
    let of = |name: &str| attempts.iter().filter(|attempt| attempt.target.as_str() == name).count();
    assert_eq!((of("denied"), of("control")), (30, 30), "each is told, right before its denial");
    assert!(attempts.iter().all(|attempt| attempt.verdict == Verdict::Met), "{attempts:#?}");
}

#[tokio::test]
async fn a_control_that_no_denial_asks_keeps_its_own_slots() {
    let server = guarded("200 OK").await;
    let mut bench = Bench::start(&format!(
        "targets:
          - {{ name: denied, tcp: {{ send: reply }}, address: '{0}', expect: denied, interval: 50ms, control: control }}
          - {{ name: control, http: {{}}, address: 'http://{0}/', interval: 50ms }}",
        server.address
    ))
    .await;
    assert_eq!(bench.attempt("denied").await.verdict, Verdict::Violated);
    assert_eq!(bench.attempt("control").await.verdict, Verdict::Met);
}

use meshprobe::attempt::Attempt;
use meshprobe::expectation::Verdict;
use meshprobe::failure::Reason;
use meshprobe::runner::once;

use super::support::{Server, reason, targets};

/// The attempt of a target at `denying` that must be denied, beside the control in `block`.
async fn denied(denying: &Server, block: &str) -> Attempt {
    let yaml = format!(
        "targets:
          - {{ name: denied, tcp: {{}}, address: '{}', expect: denied, timeout: 300ms, control: control }}
          - {{ name: control, timeout: 300ms, {block} }}",
        denying.address
    );
    let targets = targets(&yaml);
    let mut attempts = once(&targets[..1], 1).await;
    attempts.remove(0)
}

fn tcp(server: &Server) -> String {
    format!("tcp: {{}}, address: '{}'", server.address)
}

#[tokio::test]
async fn a_denial_is_met_while_its_control_passes() {
    let control = Server::answering().await;
    let attempt = denied(&Server::denying().await, &tcp(&control)).await;
    assert_eq!(attempt.verdict, Verdict::Met, "{attempt:?}");
    assert_eq!(control.all(), 1, "asked once, right after the denial");
}

#[tokio::test]
async fn a_denial_without_a_passing_control_is_inconclusive() {
    let attempt = denied(&Server::denying().await, &tcp(&Server::denying().await)).await;
    assert_eq!(attempt.verdict, Verdict::Inconclusive, "{attempt:?}");
}

#[tokio::test]
async fn a_control_is_held_against_its_own_expectation() {
    let dying = Server::http("503 Service Unavailable").await;
    let control = format!("http: {{}}, address: 'http://{}/', expect: status 2xx", dying.address);
    let attempt = denied(&Server::denying().await, &control).await;
    assert_eq!(attempt.verdict, Verdict::Inconclusive, "{attempt:?}");
    assert_eq!(dying.all(), 1);
}

#[tokio::test]
async fn silence_instead_of_a_denial_is_a_violation_while_the_control_passes() {
    let attempt = denied(&Server::silent().await, &tcp(&Server::answering().await)).await;
    assert_eq!(attempt.verdict, Verdict::Violated, "{attempt:?}");
    assert_eq!(reason(&attempt), Some(Reason::Timeout));
}

#[tokio::test]
async fn a_reply_is_an_enforcement_gap_and_asks_no_control() {
    let control = Server::answering().await;
    let attempt = denied(&Server::answering().await, &tcp(&control)).await;
    assert_eq!(attempt.verdict, Verdict::Violated, "{attempt:?}");
    assert_eq!(reason(&attempt), Some(Reason::UnexpectedReply));
    assert_eq!(control.all(), 0);
}

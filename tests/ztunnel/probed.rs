//! What the prober's own probes say of a stand-in.

use std::net::SocketAddr;
use std::sync::Arc;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::lab::ztunnel::Condition;
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{
    IpPreference, Module, ModuleKind, Roots, TcpModule, Timeouts, TlsModule, TlsSettings, Verify,
};

use super::support::{Bench, CLOSED, Captured, LONG, PERMISSIVE, SERVER_ID, STRICT};

async fn attempt(bench: &Bench, kind: ModuleKind, address: SocketAddr) -> Outcome {
    let timeouts = Timeouts::total(LONG);
    let module = Module { kind, timeouts, expect: Expectation::Reply };
    let environment = Environment::default();
    let root = bench.authority.root_pem().as_bytes();
    Arc::clone(&environment.mesh).trust(root).expect("a root");
    let spec = module.aim(&address.to_string()).expect("a good address");
    Probe::prepare(&spec, &environment).expect("good settings").attempt().await
}

async fn tcp(bench: &Bench, address: SocketAddr) -> Outcome {
    let send = Some(b"ping\n".to_vec());
    let module = TcpModule { send, reply_regex: None, ip: IpPreference::default() };
    attempt(bench, ModuleKind::Tcp(module), address).await
}

/// A handshake with port 15008 without a certificate.
async fn uncredentialed(bench: &Bench) -> Outcome {
    let tls = TlsSettings {
        roots: Roots::Mesh,
        verify: Verify::Spiffe(SERVER_ID.to_owned()),
        alpn: vec!["h2".to_owned()],
        ..TlsSettings::default()
    };
    let module = TlsModule { tls, ip: IpPreference::default() };
    attempt(bench, ModuleKind::Tls(module), bench.hbone()).await
}

#[track_caller]
fn assert_failed(outcome: &Outcome, phase: Phase, reasons: &[Reason]) {
    let failure = outcome.failure.as_ref().expect("the attempt must fail");
    assert_eq!(failure.phase, phase, "{failure}");
    assert!(reasons.contains(&failure.reason), "{failure}");
    assert_eq!(outcome.reply_bytes, 0);
}

/// Accepted, then ended without a byte.
const DENIED: &[Reason] = &[Reason::Reset, Reason::Closed];

#[tokio::test]
async fn tcp_tells_replies_from_denials_and_refusals() {
    let bench = Bench::start().await;
    for address in [bench.plain(PERMISSIVE), bench.ambient(Captured::Strict)] {
        assert_eq!(tcp(&bench, address).await.failure, None);
    }
    for address in [bench.plain(STRICT), bench.plain(CLOSED), bench.ambient(Captured::Closed)] {
        assert_failed(&tcp(&bench, address).await, Phase::Processing, DENIED);
    }
    bench.break_there(Condition { dead: true, ..Condition::default() }).await;
    let refused = tcp(&bench, bench.plain(PERMISSIVE)).await;
    assert_failed(&refused, Phase::Connect, &[Reason::Refused]);
    let reset = tcp(&bench, bench.ambient(Captured::Permissive)).await;
    assert_failed(&reset, Phase::Processing, DENIED);
    assert!(reset.phases.of(Phase::Connect).is_some(), "the own ztunnel accepts");
    bench.break_here(Condition { dead: true, ..Condition::default() }).await;
    let refused = tcp(&bench, bench.ambient(Captured::Plain)).await;
    assert_failed(&refused, Phase::Connect, &[Reason::Refused]);
}

#[tokio::test]
async fn tls_sees_the_certificate_and_the_alert_that_demands_one() {
    let bench = Bench::start().await;
    let outcome = uncredentialed(&bench).await;
    let failure = outcome.failure.as_ref().expect("a certificate is required");
    assert_eq!((failure.phase, failure.reason), (Phase::Processing, Reason::TlsAlert));
    let facts = outcome.facts.tls.expect("a handshake");
    assert_eq!(facts.peer_spiffe_id.as_deref(), Some(SERVER_ID));
    assert_eq!(facts.version, Some("TLSv1.3"));
    assert_eq!(facts.alpn.as_deref(), Some("h2"));
    assert_eq!(facts.client_certificate_requested, Some(true));
}

#[tokio::test]
async fn tls_tells_a_dropped_port_from_a_frozen_peer_and_a_missing_certificate() {
    let bench = Bench::start().await;
    bench.break_there(Condition { hbone_blocked: true, ..Condition::default() }).await;
    assert_failed(&uncredentialed(&bench).await, Phase::Connect, &[Reason::Timeout]);
    bench.break_there(Condition { frozen: true, ..Condition::default() }).await;
    assert_failed(&uncredentialed(&bench).await, Phase::Tls, &[Reason::Timeout]);
    bench.break_there(Condition { no_certificate: true, ..Condition::default() }).await;
    assert_failed(&uncredentialed(&bench).await, Phase::Tls, DENIED);
    bench.break_there(Condition { listeners_missing: true, ..Condition::default() }).await;
    assert_failed(&uncredentialed(&bench).await, Phase::Connect, &[Reason::Refused]);
}

#[tokio::test]
async fn a_stalled_ambient_attempt_times_out_in_processing() {
    let bench = Bench::start().await;
    bench.break_here(Condition { frozen: true, ..Condition::default() }).await;
    let outcome = tcp(&bench, bench.ambient(Captured::Plain)).await;
    assert_failed(&outcome, Phase::Processing, &[Reason::Timeout]);
    assert!(outcome.phases.of(Phase::Connect).is_some(), "the kernel accepts");
}

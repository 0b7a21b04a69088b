use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use meshprobe::failure::{Phase, Reason};
use meshprobe::flow::{FlowDestination, FlowSecurity, FlowSource};
use meshprobe::outcome::{ConnectionCounter, FlowCounter, Outcome, UnkeptFlows, ZtunnelFacts};
use meshprobe::probe::Probe;
use meshprobe::spec::{IpPreference, ModuleKind, Timeouts, ZtunnelModule};
use tokio::io::AsyncWriteExt;

use super::http_support::{End, briefly, good, prepare, read_head, scripted, text};
use super::support::{TIMEOUT, assert_failed, refused_address, server};

const PAGE: &str = r#"# HELP istio_build Istio component build info.
# TYPE istio_build gauge
istio_build{component="ztunnel",tag="unknown"} 1
# TYPE istio_tcp_connections_opened counter
istio_tcp_connections_opened_total{reporter="source",source_workload="a \"b\", }",connection_security_policy="mutual_tls",response_flags="-"} 3
istio_tcp_connections_opened_total{reporter="source",source_workload="c",connection_security_policy="mutual_tls",response_flags="-"} 1.5e1
istio_tcp_connections_opened_total{reporter="destination",connection_security_policy="unknown",response_flags="-"} 2
istio_tcp_connections_failed_total{reporter="destination",connection_security_policy="unknown",response_flags="DENY"} 7
istio_xds_connection_terminations_total{reason="Reconnect"} 4
istio_xds_connection_terminations_total{reason="ConnectionError"} 1
istio_dns_requests_total{source_workload="a"} 10 # {trace_id="1"} 1.0
istio_dns_requests_total{source_workload="c"} 20
istio_dns_upstream_failures_total 5
# EOF
"#;

fn probe(readiness: SocketAddr, metrics: Option<SocketAddr>, timeout: Duration) -> Probe {
    let module = ZtunnelModule {
        readiness_port: readiness.port(),
        metrics_port: metrics.map(|address| address.port()),
        ip: IpPreference::default(),
    };
    prepare(ModuleKind::Ztunnel(module), "127.0.0.1", Timeouts::total(timeout))
}

/// Asks with deadlines that play no part.
async fn ask(readiness: SocketAddr, metrics: Option<SocketAddr>) -> Outcome {
    probe(readiness, metrics, Duration::from_secs(30)).attempt().await
}

fn found(outcome: &Outcome) -> ZtunnelFacts {
    outcome.facts.ztunnel.clone().expect("what a ztunnel said")
}

fn detail(outcome: &Outcome) -> &str {
    &outcome.failure.as_ref().expect("a failure").detail
}

/// Serves `body` with `status` under `path`, and 404 elsewhere.
async fn serving(path: &'static str, status: StatusCode, body: impl Into<Bytes>) -> SocketAddr {
    let body = body.into();
    good(move |request: Request<_>| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.status_mut() = status;
        if request.uri().path() != path {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        async move { response }
    })
    .await
}

async fn ready() -> SocketAddr {
    serving("/healthz/ready", StatusCode::OK, "ready\n").await
}

async fn metrics(page: impl Into<Bytes>) -> SocketAddr {
    serving("/stats/prometheus", StatusCode::OK, page).await
}

#[tokio::test]
async fn a_ready_ztunnel_is_read_with_its_counters() {
    let metrics = metrics(PAGE).await;
    let outcome = ask(ready().await, Some(metrics)).await;
    assert_eq!(outcome.failure, None);
    let counter = |event, reporter: &str, policy: &str, flags: &str, count| ConnectionCounter {
        event,
        reporter: reporter.to_owned(),
        connection_security_policy: policy.to_owned(),
        response_flags: flags.to_owned(),
        count,
    };
    let expected = ZtunnelFacts {
        ready: Some(true),
        pending: None,
        metrics_address: Some(metrics),
        connections: vec![
            counter("failed", "destination", "unknown", "DENY", 7),
            counter("opened", "destination", "unknown", "-", 2),
            counter("opened", "source", "mutual_tls", "-", 18),
        ],
        xds_terminations: BTreeMap::from([
            ("ConnectionError".to_owned(), 1),
            ("Reconnect".to_owned(), 4),
        ]),
        dns_requests: Some(30),
        dns_upstream_failures: Some(5),
        version: Some("unknown".to_owned()),
        process_start_seconds: None,
        flows: vec![FlowCounter {
            source: FlowSource::default(),
            destination: FlowDestination::default(),
            security: FlowSecurity::Plaintext,
            opened: 2,
            denied: 0,
        }],
        unkept_flows: UnkeptFlows::default(),
        scraped: true,
    };
    assert_eq!(found(&outcome), expected);
    assert_eq!(outcome.facts.http.expect("the last response").body_bytes, PAGE.len() as u64);
}

#[tokio::test]
async fn without_a_metrics_port_only_readiness_is_asked() {
    let outcome = ask(ready().await, None).await;
    assert_eq!(outcome.failure, None);
    let expected = ZtunnelFacts { ready: Some(true), ..ZtunnelFacts::default() };
    assert_eq!(found(&outcome), expected);
}

#[tokio::test]
async fn a_ztunnel_that_is_not_ready_says_what_is_pending() {
    let says = "not ready, pending: proxy, state\u{7} manager\n";
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let readiness = serving("/healthz/ready", status, says).await;
    let outcome = ask(readiness, Some(metrics(PAGE).await)).await;
    assert_failed(&outcome, Phase::Processing, Reason::Status);
    assert!(detail(&outcome).ends_with("status 500, pending: proxy, state  manager"));
    let facts = found(&outcome);
    assert_eq!(facts.ready, Some(false));
    assert_eq!(facts.pending.as_deref(), Some("proxy, state  manager"));
    assert_eq!(facts.dns_requests, Some(30), "its counters are read all the same");
}

#[tokio::test]
async fn what_is_pending_is_told_as_far_as_it_is_bounded() {
    let says = "x".repeat(60_000);
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let readiness = serving("/healthz/ready", status, says).await;
    let outcome = ask(readiness, None).await;
    assert_failed(&outcome, Phase::Processing, Reason::Status);
    assert_eq!(found(&outcome).pending.expect("its words").len(), 256);
    let endless = serving("/healthz/ready", status, "x".repeat(100_000)).await;
    let outcome = ask(endless, None).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyTooLarge);
    assert_eq!(found(&outcome).ready, Some(false));
}

#[tokio::test]
async fn a_ztunnel_that_is_not_there_fails_in_connect() {
    let refused = refused_address().await;
    let outcome = ask(refused, Some(metrics(PAGE).await)).await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(outcome.facts.ztunnel, None);
    let outcome = ask(ready().await, Some(refused)).await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(outcome.facts.remote_address, Some(refused));
    assert_eq!(found(&outcome).ready, Some(true), "what was learnt stays");
}

#[tokio::test]
async fn a_frozen_ztunnel_is_a_timeout_and_leaves_time_for_its_counters() {
    let frozen = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let outcome = briefly(probe(frozen, Some(frozen), TIMEOUT)).await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert!(outcome.phases.of(Phase::Processing).expect("it was asked") < TIMEOUT);
    assert_eq!(outcome.facts.ztunnel, None);
    let outcome = briefly(probe(ready().await, Some(frozen), TIMEOUT)).await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert_eq!(found(&outcome).ready, Some(true));
}

#[tokio::test]
async fn counters_elsewhere_are_told_by_the_status() {
    let outcome = ask(ready().await, Some(ready().await)).await;
    assert_failed(&outcome, Phase::Processing, Reason::Status);
    assert!(detail(&outcome).contains("/stats/prometheus gives status 404"));
    assert_eq!(found(&outcome).metrics_address, None);
}

#[tokio::test]
async fn counters_that_nobody_can_read_are_a_mismatch() {
    let page = format!("{PAGE}istio_dns_requests_total{{a=\"b}} 1\n");
    let outcome = ask(ready().await, Some(metrics(page).await)).await;
    assert_failed(&outcome, Phase::Transfer, Reason::BodyMismatch);
    assert!(detail(&outcome).starts_with("line 15"), "{}", detail(&outcome));
    assert!(found(&outcome).connections.is_empty(), "half a page is no page");
}

#[tokio::test]
async fn counters_without_an_end_are_cut_off() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let endless = |line: &'static str| {
        server(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = line.repeat(64 * 1024 / line.len());
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        })
    };
    let one_line = ask(ready().await, Some(endless("x").await)).await;
    assert_failed(&one_line, Phase::Transfer, Reason::BodyTooLarge);
    assert!(detail(&one_line).contains("line 1 "), "{}", detail(&one_line));
    let lines = ask(ready().await, Some(endless("istio_dns_requests_total 1\n").await)).await;
    assert_failed(&lines, Phase::Transfer, Reason::BodyTooLarge);
    assert!(lines.facts.http.expect("a response").body_bytes > 60 * 1024 * 1024);
}

#[tokio::test]
async fn counters_that_break_off_are_no_counters() {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PAGE.len());
    let half = format!("{head}{}", &PAGE[..PAGE.len() / 2]);
    for (end, reason) in [(End::Fin, Reason::Closed), (End::Reset, Reason::Reset)] {
        let outcome = ask(ready().await, Some(scripted(half.clone(), end).await)).await;
        assert_failed(&outcome, Phase::Transfer, reason);
        assert!(found(&outcome).connections.is_empty());
    }
}

#[tokio::test]
async fn what_is_no_http_is_told_so() {
    let outcome = ask(scripted("SSH-2.0-nobody\r\n", End::Fin).await, None).await;
    assert_failed(&outcome, Phase::Processing, Reason::HttpMalformed);
    let odd = good(|_| async { text("anything") }).await;
    let outcome = ask(odd, Some(odd)).await;
    assert_eq!(outcome.failure, None, "a page without counters is one of a young ztunnel");
}

//! What ztunnel's own pod answers.

use std::net::SocketAddr;

use meshprobe::lab::ztunnel::Condition;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Bench, Captured, LIMIT, PERMISSIVE, STRICT, Seen, ask};

/// Status and body.
pub(crate) async fn get(bench: &Bench, port: u16, path: &str) -> (u16, String) {
    let address = SocketAddr::new(bench.own(), port);
    let mut stream = meshprobe::net::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: z\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("a response");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

/// The counter of a series that has all these labels, summed.
async fn count(bench: &Bench, metric: &str, labels: &[&str]) -> u64 {
    let (status, text) = get(bench, 15020, "/stats/prometheus").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .map(|line| line.rsplit_once(' ').expect("a value").1.parse::<u64>().expect("a number"))
        .sum()
}

/// Waits until the counter stands at `value`: a connection ends for its counter a little later
/// than for its client.
async fn reaches(bench: &Bench, metric: &str, labels: &[&str], value: u64) {
    let limit = tokio::time::Instant::now() + LIMIT;
    loop {
        let now = count(bench, metric, labels).await;
        if now == value {
            return;
        }
        assert!(tokio::time::Instant::now() < limit, "{metric} {labels:?}: {now}, not {value}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn readiness_names_what_is_pending_and_knows_nothing_of_the_ca() {
    let bench = Bench::start().await;
    assert_eq!(get(&bench, 15021, "/healthz/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(get(&bench, 15021, "/").await.0, 404);
    bench.break_there(Condition { no_certificate: true, ..Condition::default() }).await;
    assert_eq!(get(&bench, 15021, "/healthz/ready").await.0, 200);
    let pending = vec!["state manager".to_owned(), "proxy".to_owned()];
    bench.break_there(Condition { pending, ..Condition::default() }).await;
    let (status, body) = get(&bench, 15021, "/healthz/ready").await;
    assert_eq!(status, 500);
    assert!(body.contains("state manager"), "{body}");
}

#[tokio::test]
async fn a_dead_process_answers_nothing_and_a_frozen_one_is_silent() {
    let bench = Bench::start().await;
    bench.break_there(Condition { dead: true, ..Condition::default() }).await;
    for port in [15020, 15021] {
        assert_eq!(ask(SocketAddr::new(bench.own(), port)).await, Seen::Refused);
    }
    bench.break_there(Condition { frozen: true, ..Condition::default() }).await;
    assert_eq!(ask(SocketAddr::new(bench.own(), 15021)).await, Seen::Silence);
    bench.break_there(Condition::default()).await;
    assert_eq!(get(&bench, 15021, "/healthz/ready").await.0, 200);
}

#[tokio::test]
async fn connections_are_counted_by_how_they_were_secured() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Service)).await, Seen::Reply);
    let opened = "istio_tcp_connections_opened_total";
    let plain = ["reporter=\"destination\"", "connection_security_policy=\"unknown\""];
    let mutual = [
        "reporter=\"destination\"",
        "connection_security_policy=\"mutual_tls\"",
        "source_workload=\"client\"",
        "source_principal=\"spiffe://cluster.local/ns/default/sa/client\"",
        "destination_workload=\"web\"",
        "destination_service=\"web.default.svc.cluster.local\"",
        "response_flags=\"-\"",
    ];
    reaches(&bench, opened, &plain, 1).await;
    reaches(&bench, opened, &mutual, 1).await;
    reaches(&bench, "istio_tcp_connections_closed_total", &plain, 1).await;
    reaches(&bench, "istio_tcp_connections_closed_total", &mutual, 1).await;
    reaches(&bench, "istio_tcp_connections_failed_total", &[], 0).await;
}

#[tokio::test]
async fn a_process_that_begins_anew_has_counted_nothing() {
    let bench = Bench::start().await;
    let opened = "istio_tcp_connections_opened_total";
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    reaches(&bench, opened, &["policy=\"unknown\""], 1).await;
    bench.break_there(Condition { dead: true, ..Condition::default() }).await;
    bench.break_there(Condition::default()).await;
    assert_eq!(count(&bench, opened, &["policy=\"unknown\""]).await, 0);
    assert_eq!(count(&bench, "istio_build", &["component=\"ztunnel\""]).await, 1);
}

#[tokio::test]
async fn failures_carry_their_flag() {
    let bench = Bench::start().await;
    let failed = "istio_tcp_connections_failed_total";
    ask(bench.plain(STRICT)).await.assert_denied();
    let opened = "istio_tcp_connections_opened_total";
    reaches(&bench, failed, &["response_flags=\"DENY\"", "policy=\"unknown\""], 1).await;
    reaches(&bench, opened, &["response_flags=\"-\"", "policy=\"unknown\""], 1).await;
    ask(bench.ambient(Captured::Closed)).await.assert_denied();
    reaches(&bench, failed, &["response_flags=\"CONNECT\"", "policy=\"mutual_tls\""], 1).await;
    let closed = "istio_tcp_connections_closed_total";
    reaches(&bench, closed, &["response_flags=\"DENY\""], 1).await;
}

#[tokio::test]
async fn what_others_do_in_its_name_is_counted() {
    let bench = Bench::start().await;
    let stats = bench.there.stats();
    stats.xds_terminated("ConnectionError");
    stats.dns_request("udp");
    stats.dns_upstream("udp", false);
    for (metric, label) in [
        ("istio_xds_connection_terminations_total", "reason=\"ConnectionError\""),
        ("istio_dns_requests_total", "request_protocol=\"udp\""),
        ("istio_dns_upstream_requests_total", ""),
        ("istio_dns_upstream_failures_total", ""),
    ] {
        assert_eq!(count(&bench, metric, &[label]).await, 1, "{metric}");
    }
}

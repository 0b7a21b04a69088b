//! A ztunnel's page as we read it, beside what Prometheus makes of the same page.

use std::net::SocketAddr;

use meshprobe::expectation::Expectation;
use meshprobe::outcome::ZtunnelFacts;
use meshprobe::spec::{IpPreference, ModuleKind, ZtunnelModule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fixture::Prometheus;
use crate::real::support::{attempt, fetch};

const PAGE: &str = r#"# HELP istio_tcp_connections_opened The total number of TCP connections opened.
# TYPE istio_tcp_connections_opened counter
istio_tcp_connections_opened_total{reporter="source",source_workload="a \"b\", }\\ \n",connection_security_policy="mutual_tls",response_flags="-"} 3
istio_tcp_connections_opened_total{reporter="source",source_workload="c",connection_security_policy="mutual_tls",response_flags="-"} 1.5e+1 # {trace_id="1 } \" 2"} 1.0 1520879607.789
istio_tcp_connections_opened_total{reporter="destination",source_workload="c",connection_security_policy="unknown",response_flags="-"} 2.0
# TYPE istio_xds_connection_terminations counter
istio_xds_connection_terminations_total{reason="Reconnect"} 4
istio_xds_connection_terminations_total{reason="ConnectionError"} 1
# TYPE istio_dns_requests counter
istio_dns_requests_total{source_workload="a"} 10
istio_dns_requests_total{source_workload="c"} 20
# EOF
"#;

/// Serves `page` as a ztunnel serves its counters.
async fn serve(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let response = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\
                 content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\r\n{page}",
                page.len()
            );
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(response.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// What the probe reads there; the page answers for readiness as well.
async fn read(address: SocketAddr) -> ZtunnelFacts {
    let module = ZtunnelModule {
        readiness_port: address.port(),
        metrics_port: Some(address.port()),
        ip: IpPreference::default(),
    };
    let outcome = attempt(ModuleKind::Ztunnel(module), Expectation::Reply, "127.0.0.1").await;
    assert_eq!(outcome.failure, None);
    outcome.facts.ztunnel.expect("counters")
}

#[tokio::test]
async fn our_sums_are_those_of_prometheus() {
    let address = serve(PAGE.to_owned()).await;
    let facts = read(address).await;
    let job = format!(
        "- {{job_name: ztunnel, metrics_path: /stats/prometheus, static_configs: [{{targets: ['{address}']}}]}}"
    );
    let prometheus = Prometheus::start(&job).await;
    let sum = async |expression: &str| {
        prometheus.one(&format!("sum({expression})"), |_| true).await.value as u64
    };
    assert_eq!(facts.connections.len(), 2);
    for counter in &facts.connections {
        let expression = format!(
            "istio_tcp_connections_{}_total{{reporter='{}',connection_security_policy='{}',response_flags='{}'}}",
            counter.event,
            counter.reporter,
            counter.connection_security_policy,
            counter.response_flags
        );
        assert_eq!(counter.count, sum(&expression).await, "{expression}");
    }
    assert_eq!(facts.xds_terminations.len(), 2);
    for (reason, count) in &facts.xds_terminations {
        let expression = format!("istio_xds_connection_terminations_total{{reason='{reason}'}}");
        assert_eq!(*count, sum(&expression).await, "{expression}");
    }
    assert_eq!(facts.dns_requests, Some(sum("istio_dns_requests_total").await));
}

#[tokio::test]
async fn the_text_that_prometheus_itself_writes_is_read() {
    let prometheus =
        Prometheus::start("- {job_name: self, static_configs: [{targets: ['{self}']}]}").await;
    // Asked twice, so that it has counted requests of several kinds.
    let _ = fetch(prometheus.address, "/metrics").await;
    let (_, page) = fetch(prometheus.address, "/metrics").await.expect("its own metrics");
    let family = "prometheus_http_requests_total";
    let samples = page.lines().filter(|line| line.starts_with(family));
    let values = samples.map(|line| line.rsplit(' ').next().expect("a value"));
    let sum: f64 = values.map(|value| value.parse::<f64>().expect("a number")).sum();
    assert!(sum > 0.0, "{page}");
    let facts = read(serve(page.replace(family, "istio_dns_requests_total")).await).await;
    assert_eq!(facts.dns_requests, Some(sum as u64));
}

//! Who calls without mTLS, by a ztunnel's counters: told over HTTP and over the control channel.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meshprobe::agent::Agent;
use meshprobe::flow::{FlowSecurity, NodeFlows};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::controller::{Controller, Plan};
use super::support::{self, GRACE, get, metrics, request, value};

/// A counter as ztunnel 1.29 writes it: every label, in its order.
fn opened(source: &str, mutual_tls: bool, count: u64) -> String {
    let (namespace, workload) = source.split_once('/').unwrap_or(("unknown", "unknown"));
    let (policy, principal) = match mutual_tls {
        true => ("mutual_tls", format!("spiffe://cluster.local/ns/{namespace}/sa/{workload}")),
        false => ("unknown", "unknown".to_owned()),
    };
    format!(
        "istio_tcp_connections_opened_total{{reporter=\"destination\",\
         source_workload=\"{workload}\",source_canonical_service=\"{workload}\",\
         source_canonical_revision=\"latest\",source_workload_namespace=\"{namespace}\",\
         source_principal=\"{principal}\",source_app=\"{workload}\",source_version=\"latest\",\
         source_cluster=\"Kubernetes\",\
         destination_service=\"mirai-frontend.default.svc.cluster.local\",\
         destination_service_namespace=\"default\",destination_service_name=\"mirai-frontend\",\
         destination_workload=\"mirai-frontend\",\
         destination_canonical_service=\"mirai-frontend\",\
         destination_canonical_revision=\"latest\",destination_workload_namespace=\"default\",\
         destination_principal=\"spiffe://cluster.local/ns/default/sa/mirai-frontend\",\
         destination_app=\"mirai-frontend\",destination_version=\"latest\",\
         destination_cluster=\"Kubernetes\",request_protocol=\"tcp\",response_flags=\"-\",\
         connection_security_policy=\"{policy}\",source_region=\"unknown\",\
         source_zone=\"unknown\",destination_region=\"unknown\",destination_zone=\"unknown\"}} \
         {count}\n"
    )
}

fn page(series: &[String]) -> String {
    format!(
        "# HELP istio_build Istio component build info.\n# TYPE istio_build gauge\n\
         istio_build{{component=\"ztunnel\",tag=\"1.29.0\"}} 1\n\
         # HELP istio_tcp_connections_opened The total number of TCP connections opened.\n\
         # TYPE istio_tcp_connections_opened counter\n{}# EOF\n",
        series.concat()
    )
}

/// A ztunnel whose counters can be set; it is ready.
struct Ztunnel {
    address: SocketAddr,
    page: Arc<Mutex<String>>,
}

impl Ztunnel {
    async fn start(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("bound");
        let page = Arc::new(Mutex::new(page));
        let shown = Arc::clone(&page);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let body = match head[..read].starts_with(b"GET /healthz/ready ") {
                    true => "ready\n".to_owned(),
                    false => shown.lock().expect("no panic").clone(),
                };
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { address, page }
    }

    fn counts(&self, series: &[String]) {
        *self.page.lock().expect("no panic") = page(series);
    }

    fn target(&self) -> serde_json::Value {
        let port = self.address.port();
        json!([{ "name": "ztunnel", "address": "127.0.0.1", "interval": "20ms", "max_in_flight": 1,
                 "ztunnel": { "readiness_port": port, "metrics_port": port } }])
    }
}

async fn agent(ztunnel: &Ztunnel) -> Agent {
    let pod = "{ name: p, namespace: meshprobe-plain, service_account: a, ip: '127.0.0.1' }";
    let mesh = format!(
        "mesh: {{ istiod: '127.0.0.1:1', ca: /nowhere, token: /nowhere, certificate: false, \
         pod: {pod} }}\n"
    );
    support::agent(&format!("{mesh}targets: {}", ztunnel.target())).await
}

async fn flows(agent: &Agent) -> NodeFlows {
    let answer = get(agent.admin_addr(), "/v1/flows").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("application/json"), "{answer:?}");
    serde_json::from_str(&answer.body).expect("flows")
}

/// The first telling of which `wanted` is true.
async fn until(agent: &Agent, wanted: impl Fn(&NodeFlows) -> bool) -> NodeFlows {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let told = flows(agent).await;
        if wanted(&told) {
            return told;
        }
        assert!(Instant::now() < deadline, "{told:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn scrapes(told: &NodeFlows) -> u64 {
    told.ztunnel.as_ref().map_or(0, |ztunnel| ztunnel.scrapes)
}

#[tokio::test]
async fn plaintext_callers_are_told_by_name_and_mtls_in_sum() {
    let users = |count| {
        [
            opened("ingress/cloudflared", false, count),
            opened("unknown", false, 2),
            opened("meshprobe-plain/meshprobe-plain", false, count * 7),
            opened("default/a", true, 40),
            opened("default/b", true, 50),
        ]
    };
    let ztunnel = Ztunnel::start(page(&users(1000))).await;
    let agent = agent(&ztunnel).await;
    until(&agent, |told| scrapes(told) > 0).await;
    ztunnel.counts(&users(1003));
    let told = until(&agent, |told| told.flows.iter().any(|flow| flow.opened > 0)).await;
    let named: Vec<_> = told
        .flows
        .iter()
        .map(|flow| (flow.source.to_string(), flow.security, flow.opened_before, flow.opened))
        .collect();
    let (plaintext, mutual_tls) = (FlowSecurity::Plaintext, FlowSecurity::MutualTls);
    let expected = [
        ("unknown", plaintext, 2, 0),
        ("ingress/cloudflared", plaintext, 1000, 3),
        ("meshprobe-plain/meshprobe-plain", plaintext, 7000, 21),
        ("unknown", mutual_tls, 90, 0),
    ];
    let expected =
        expected.map(|(name, security, before, now)| (name.to_owned(), security, before, now));
    for flow in &expected {
        assert!(named.contains(flow), "{flow:?} of {named:#?}");
    }
    assert_eq!(named.len(), expected.len());
    let destination = &told.flows[0].destination;
    assert_eq!(destination.to_string(), "default/mirai-frontend");
    assert_eq!(destination.service.as_deref(), Some("mirai-frontend"));
    assert_eq!(destination.canonical_service.as_deref(), Some("mirai-frontend"));
    let health = told.ztunnel.expect("it was looked at");
    assert_eq!((health.ready, health.version.as_deref()), (Some(true), Some("1.29.0")));
    assert_eq!((health.restarts, health.scrape_failures), (0, 0));
    let page = metrics(&agent).await;
    assert_eq!(value(&page, "meshprobe_ztunnel_plaintext_flows", &[]), Some(2.0), "no probers");
    let connections = value(&page, "meshprobe_ztunnel_plaintext_connections_total", &[]);
    assert_eq!(connections, Some(3.0));
    assert_eq!(value(&page, "meshprobe_ztunnel_plaintext_series_dropped", &[]), Some(0.0));
    assert_eq!(value(&page, "meshprobe_ztunnel_restarts_total", &[]), Some(0.0));
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_restart_is_seen_and_nothing_is_counted_twice() {
    let one = |count| [opened("ingress/cloudflared", false, count)];
    let ztunnel = Ztunnel::start(page(&one(500))).await;
    let agent = agent(&ztunnel).await;
    until(&agent, |told| scrapes(told) > 0).await;
    ztunnel.counts(&one(4));
    let restarted = |told: &NodeFlows| told.ztunnel.as_ref().is_some_and(|it| it.restarts == 1);
    let told = until(&agent, restarted).await;
    assert_eq!((told.flows[0].opened_before, told.flows[0].opened), (500, 4));
    let page = metrics(&agent).await;
    assert_eq!(value(&page, "meshprobe_ztunnel_restarts_total", &[]), Some(1.0));
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_hostile_page_fills_neither_memory_nor_body() {
    let long = "x".repeat(253);
    let many = (0..5000).map(|n| opened(&format!("{long}/{n:05}{}", "y".repeat(248)), false, 1));
    let hostile: Vec<String> = many.chain([opened(&format!("a/{long}z"), false, 1)]).collect();
    let ztunnel = Ztunnel::start(page(&hostile)).await;
    let agent = agent(&ztunnel).await;
    let told = until(&agent, |told| scrapes(told) > 0).await;
    assert_eq!((told.flows.len(), told.dropped_plaintext), (1000, 4001));
    let body = get(agent.admin_addr(), "/v1/flows").await.body;
    assert!(body.len() < 2 << 20, "{}", body.len());
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn a_ztunnel_that_is_gone_leaves_what_was_seen() {
    let closed = Ztunnel::start(page(&[opened("a/b", false, 1)])).await;
    let agent = agent(&closed).await;
    until(&agent, |told| scrapes(told) > 0).await;
    *closed.page.lock().expect("no panic") = "istio_dns_requests_total nonsense\n".to_owned();
    let failed = |told: &NodeFlows| told.ztunnel.as_ref().is_some_and(|it| it.scrape_failures > 1);
    let told = until(&agent, failed).await;
    assert_eq!(told.flows.len(), 1);
    agent.stop(GRACE).await;
}

#[tokio::test]
async fn flows_of_a_planned_ztunnel_are_read_over_the_control_channel() {
    let ztunnel = Ztunnel::start(page(&[opened("ingress/cloudflared", false, 9)])).await;
    let controller = Controller::start(None, None, &Plan::new("r1", ztunnel.target()));
    let text = format!("controller: {{ addresses: ['{}'] }}\n", controller.address);
    let mut agent = support::agent(&text).await;
    let offer = agent.next_plan().await;
    assert!(agent.follow_plan(offer).await);
    until(&agent, |told| scrapes(told) > 0).await;
    let answer = controller.asks("/v1/flows").await;
    assert_eq!(answer.status(), 200);
    let told: NodeFlows = serde_json::from_slice(answer.body()).expect("flows");
    assert_eq!(told.flows[0].source.to_string(), "ingress/cloudflared");
    assert_eq!((told.node.as_str(), told.flows[0].node.as_str()), ("node-1", "node-1"));
    let posted = request(agent.admin_addr(), "POST", "/v1/flows", "content-length: 0\r\n").await;
    assert_eq!(posted.status, 405);
    agent.stop(GRACE).await;
}

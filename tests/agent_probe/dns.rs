use hickory_proto::op::ResponseCode;

use super::dns_server::{DnsServer, address, answering, bytes, coded};
use super::support::{Web, probe, start, start_resolving};

const MODULES: &str = "
modules:
  noerror: { dns: { name: a.example }, timeout: 30s }
  listed: { dns: { name: a.example, rcodes: [SERVFAIL, NXDOMAIN] }, timeout: 30s }
";

async fn coding(code: ResponseCode) -> DnsServer {
    DnsServer::udp(move |_, query| vec![bytes(&coded(query, code))]).await
}

#[tokio::test]
async fn an_answer_passes_and_is_counted() {
    let agent = start(MODULES).await;
    let server = DnsServer::udp(|_, query| {
        vec![bytes(&answering(query, &[address("192.0.2.1"), address("192.0.2.2")]))]
    })
    .await;
    let reply = probe(&agent, "noerror", server.address).await.passed();
    assert_eq!(reply.value("probe_dns_query_succeeded"), Some(1.0));
    assert_eq!(reply.value("probe_dns_answer_rrs"), Some(2.0));
    assert_eq!(reply.value("probe_dns_authority_rrs"), Some(0.0));
    assert_eq!(reply.value("probe_dns_additional_rrs"), Some(0.0));
    let phases = ["resolve", "connect", "request"].map(|phase| format!("{{phase=\"{phase}\"}}"));
    assert_eq!(reply.labels("probe_dns_duration_seconds"), phases);
    let request = reply.value("probe_dns_duration_seconds{phase=\"request\"}");
    assert!(request > Some(0.0), "{reply:?}");
}

#[tokio::test]
async fn servfail_fails_though_the_query_succeeded() {
    let agent = start(MODULES).await;
    let server = coding(ResponseCode::ServFail).await;
    let reply = probe(&agent, "noerror", server.address).await.failed("processing", "servfail");
    assert_eq!(reply.value("probe_dns_query_succeeded"), Some(1.0));
    assert_eq!(reply.value("probe_dns_answer_rrs"), Some(0.0));
}

#[tokio::test]
async fn listed_rcodes_pass() {
    let agent = start(MODULES).await;
    for code in [ResponseCode::ServFail, ResponseCode::NXDomain] {
        let server = coding(code).await;
        let reply = probe(&agent, "listed", server.address).await.passed();
        assert_eq!(reply.value("probe_dns_query_succeeded"), Some(1.0));
    }
}

#[tokio::test]
async fn no_reply_is_no_query_that_succeeded() {
    let agent = start(MODULES).await;
    let reply = probe(&agent, "noerror", "127.0.0.1:1").await.failed("processing", "refused");
    assert_eq!(reply.value("probe_dns_query_succeeded"), Some(0.0));
    assert_eq!(reply.value("probe_dns_answer_rrs"), Some(0.0));
}

#[tokio::test]
async fn the_preferred_family_falls_back_only_where_it_may() {
    let web = Web::start().await;
    let v4_only = DnsServer::udp(|_, query| {
        let records = match query.queries[0].query_type().to_string().as_str() {
            "A" => vec![address("127.0.0.1")],
            _ => Vec::new(),
        };
        vec![bytes(&answering(query, &records))]
    })
    .await;
    let yaml = "
modules:
  falls_back: { http: { ip: v6 }, timeout: 30s }
  does_not: { http: { ip: v6_only }, timeout: 30s }
";
    let agent = start_resolving(yaml, v4_only.address).await;
    let target = format!("http://web.example:{}/", web.address.port());
    let reply = probe(&agent, "falls_back", &target).await.passed();
    assert_eq!(reply.value("probe_ip_protocol"), Some(4.0));
    assert!(reply.value("probe_dns_lookup_time_seconds") > Some(0.0), "{reply:?}");
    let resolve = reply.value("probe_http_duration_seconds{phase=\"resolve\"}");
    assert_eq!(resolve, reply.value("probe_dns_lookup_time_seconds"));
    let reply = probe(&agent, "does_not", &target).await.failed("resolve", "nodata");
    assert_eq!(reply.value("probe_ip_protocol"), Some(0.0));
    assert_eq!(reply.value("probe_ip_addr_hash"), Some(0.0));
}

use super::dns_server::{DnsServer, address, answering, bytes};
use super::support::{Web, probe, start, start_resolving};

const YAML: &str = "
admin: { probe_networks: [127.0.0.1/32, \"::/0\"] }
modules:
  http: { http: { redirects: 5 }, expect: status 2xx, timeout: 30s }
  tcp: { tcp: {}, expect: connect, timeout: 30s }
  tls: { tls: {}, timeout: 30s }
  hold: { hold: { hold: 1s }, timeout: 30s }
  dns: { dns: { name: a.example }, timeout: 30s }
  name: { dns: {}, timeout: 30s }
";

/// `in.example` is 127.0.0.1, `out.example` 127.0.0.2, no other name exists.
async fn names() -> DnsServer {
    DnsServer::udp(|_, query| {
        let records = match query.queries[0].name().to_string().as_str() {
            "in.example." => vec![address("127.0.0.1")],
            "out.example." => vec![address("127.0.0.2")],
            _ => Vec::new(),
        };
        vec![bytes(&answering(query, &records))]
    })
    .await
}

#[tokio::test]
async fn addresses_inside_are_reached() {
    let (agent, web) = (start(YAML).await, Web::start().await);
    probe(&agent, "http", web.address).await.passed();
    probe(&agent, "tcp", web.address).await.passed();
}

#[tokio::test]
async fn addresses_outside_are_refused_and_not_reached() {
    let (agent, web) = (start(YAML).await, Web::start_on("127.0.0.2:0").await);
    let port = web.address.port();
    let mapped = format!("[::ffff:127.0.0.2]:{port}");
    for target in [format!("127.0.0.2:{port}"), mapped] {
        for module in ["http", "tcp", "tls", "hold", "dns"] {
            let reply = probe(&agent, module, &target).await;
            assert_eq!(reply.status, 403, "{module} {target}: {reply:?}");
        }
    }
    // Other spellings of the same address.
    for host in ["2130706434", "0x7f.2", "0177.0.0.2"] {
        let reply = probe(&agent, "http", format!("http://{host}:{port}/")).await;
        assert_eq!(reply.status, 403, "{host}: {reply:?}");
    }
    assert_eq!(web.heads(), [""; 0]);
}

#[tokio::test]
async fn a_name_may_lead_inside_but_not_out() {
    let (names, web) = (names().await, Web::start_on("127.0.0.2:0").await);
    let inside = Web::start().await;
    let agent = start_resolving(YAML, names.address).await;
    let target = format!("in.example:{}", inside.address.port());
    let reply = probe(&agent, "http", &target).await.passed();
    let lookup = reply.value("probe_dns_lookup_time_seconds");
    assert!(lookup > Some(0.0), "{reply:?}");
    assert_eq!(reply.value("probe_http_duration_seconds{phase=\"resolve\"}"), lookup);
    assert!(inside.heads()[0].contains(&target), "the name is asked for, not the address");
    for module in ["http", "tcp", "tls", "hold", "dns"] {
        let target = format!("out.example:{}", web.address.port());
        let reply = probe(&agent, module, target).await;
        assert_eq!(reply.status, 403, "{module}: {reply:?}");
    }
    assert_eq!(web.heads(), [""; 0]);
    assert!(names.asked().iter().all(|asked| asked.contains("example")));
}

#[tokio::test]
async fn a_name_without_an_address_is_a_failed_attempt() {
    let names = names().await;
    let agent = start_resolving(YAML, names.address).await;
    for module in ["http", "tcp", "tls", "hold", "dns"] {
        let reply = probe(&agent, module, "none.example:1").await;
        let reply = reply.failed("resolve", "nodata");
        assert!(reply.value("probe_dns_lookup_time_seconds") > Some(0.0), "{module}: {reply:?}");
        assert_eq!(reply.value("probe_ip_protocol"), Some(0.0));
    }
}

#[tokio::test]
async fn without_a_nameserver_it_is_no_fault_of_the_network() {
    let agent = start(YAML).await;
    probe(&agent, "name", "a.example").await.failed("resolve", "local_resource");
}

#[tokio::test]
async fn a_redirect_does_not_lead_out() {
    let (agent, inside) = (start(YAML).await, Web::start().await);
    let outside = Web::start_on("127.0.0.2:0").await;
    let url = inside.url(&format!("/to/{}", outside.url("/")));
    let reply = probe(&agent, "http", url).await.failed("processing", "status");
    assert_eq!(reply.value("probe_http_status_code"), Some(302.0));
    assert_eq!(outside.heads(), [""; 0]);
}

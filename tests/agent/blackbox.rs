use super::support::{Response, agent, get, http, metrics, request, silent, value};

const MODULES: &str = "
modules:
  web: { http: {} }
  listed: { http: {}, expect: 'status 404' }
  port: { tcp: {}, timeout: 10m }
  held: { hold: { hold: 1h, heartbeat: 10ms }, timeout: 90m }
targets: []
";

async fn probe(agent: &meshprobe::agent::Agent, query: &str) -> Response {
    get(agent.admin_addr(), &format!("/probe?{query}")).await
}

#[tokio::test]
async fn statuses_pass_and_fail_as_in_blackbox_exporter() {
    let agent = agent(MODULES).await;
    for (status, module, success) in [
        ("200 OK", "web", 1.0),
        ("201 Created", "web", 1.0),
        ("299 Fine", "web", 1.0),
        ("300 Multiple Choices", "web", 0.0),
        ("404 Not Found", "web", 0.0),
        ("404 Not Found", "listed", 1.0),
        ("200 OK", "listed", 0.0),
    ] {
        let server = http(status, "").await;
        let page = probe(&agent, &format!("module={module}&target={server}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let value = |name| value(&page.body, name, &[]);
        assert_eq!(value("probe_success"), Some(success), "{status} {module}: {page:?}");
        let code = status.split(' ').next().and_then(|code| code.parse().ok());
        assert_eq!(value("probe_http_status_code"), code);
        assert_eq!(value("probe_ip_protocol"), Some(4.0));
        assert_eq!(value("probe_http_ssl"), Some(0.0));
        assert_eq!(value("probe_http_version"), Some(1.1));
        assert_eq!(value("probe_http_content_length"), Some(2.0));
        assert!(value("probe_duration_seconds") > Some(0.0));
    }
}

#[tokio::test]
async fn a_failure_has_its_phase_and_reason() {
    let agent = agent(MODULES).await;
    let page = probe(&agent, "module=web&target=127.0.0.1:1").await;
    assert_eq!(value(&page.body, "probe_success", &[]), Some(0.0));
    let info = ["phase=\"connect\"", "reason=\"refused\""];
    assert_eq!(value(&page.body, "probe_failure_info", &info), Some(1.0), "{page:?}");
    let phase = |phase: &str| {
        value(&page.body, "probe_http_duration_seconds", &[&format!("phase=\"{phase}\"")])
    };
    assert!(phase("connect").is_some());
    assert_eq!(phase("processing"), Some(0.0), "a row all the same, as in blackbox_exporter");
}

#[tokio::test]
async fn the_scrape_timeout_shortens_the_attempt() {
    let agent = agent(MODULES).await;
    let silent = silent().await;
    for (module, reason) in [("port", "timeout"), ("held", "timeout")] {
        let path = format!("/probe?module={module}&target={silent}");
        let header = "x-prometheus-scrape-timeout-seconds: 0.7\r\n";
        let page = request(agent.admin_addr(), "GET", &path, header).await;
        let info = [format!("reason=\"{reason}\"")];
        let info: Vec<&str> = info.iter().map(String::as_str).collect();
        assert_eq!(value(&page.body, "probe_failure_info", &info), Some(1.0), "{page:?}");
    }
}

#[tokio::test]
async fn malformed_questions_get_a_400_and_no_attempt() {
    let agent = agent(MODULES).await;
    for query in [
        "",
        "module=web",
        "target=127.0.0.1:1",
        "module=&target=127.0.0.1:1",
        "module=web&target=",
        "module=nothing&target=127.0.0.1:1",
        "module=web&target=127.0.0.1:1&target=127.0.0.1:2",
        "module=port&target=127.0.0.1",
        "module=port&target=127.0.0.1:99999",
        "module=web&target=ftp://127.0.0.1/",
        "module=web&target=%00",
    ] {
        let response = probe(&agent, query).await;
        assert_eq!(response.status, 400, "{query}: {response:?}");
        assert!(!response.body.contains("probe_success"), "{query}");
    }
    for timeout in ["0", "-1", "NaN", "inf", "soon"] {
        let header = format!("x-prometheus-scrape-timeout-seconds: {timeout}\r\n");
        let path = "/probe?module=web&target=127.0.0.1:1";
        let response = request(agent.admin_addr(), "GET", path, &header).await;
        assert_eq!(response.status, 400, "{timeout}: {response:?}");
    }
    let page = metrics(&agent).await;
    assert_eq!(value(&page, "meshprobe_probe_requests_total", &["code=\"400\""]), Some(16.0));
}

#[tokio::test]
async fn one_attempt_too_many_gets_a_429() {
    let agent = agent(&format!("admin: {{ max_probes: 1 }}{MODULES}")).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = listener.local_addr().expect("bound");
    let (address, path) = (agent.admin_addr(), format!("/probe?module=port&target={silent}"));
    let long = path.clone();
    let first = tokio::spawn(async move { get(address, &long).await });
    let _held = listener.accept().await.expect("the first attempt");
    let second = get(address, &path).await;
    assert_eq!(second.status, 429, "{second:?}");
    assert!(!first.is_finished());
    first.abort();
}

#[tokio::test]
async fn what_is_outside_the_networks_is_refused_before_a_packet() {
    let server = http("200 OK", "").await;
    let port = server.port();
    let agent = agent(&format!("admin: {{ probe_networks: ['127.0.0.0/24'] }}{MODULES}")).await;
    for (target, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("127.0.1.1:{port}"), 403),
        (format!("[::1]:{port}"), 403),
        (format!("[::ffff:127.0.1.1]:{port}"), 403),
    ] {
        let response = probe(&agent, &format!("module=web&target={target}")).await;
        assert_eq!(response.status, status, "{target}: {response:?}");
    }
}

#[tokio::test]
async fn a_mapped_address_is_the_one_it_leads_to() {
    let agent = agent(&format!("admin: {{ probe_networks: ['::/0'] }}{MODULES}")).await;
    let response = probe(&agent, "module=web&target=[::ffff:127.0.0.1]:1").await;
    assert_eq!(response.status, 403, "{response:?}");
}

#[tokio::test]
async fn a_redirect_does_not_lead_out_of_the_networks() {
    let away = http("302 Found", "location: http://127.0.1.1:1/\r\n").await;
    let yaml = "admin: { probe_networks: ['127.0.0.0/24'] }
modules: { web: { http: { redirects: 5 } } }
targets: []";
    let agent = agent(yaml).await;
    let page = probe(&agent, &format!("module=web&target={away}")).await;
    assert_eq!(value(&page.body, "probe_success", &[]), Some(0.0), "{page:?}");
    assert_eq!(value(&page.body, "probe_http_redirects", &[]), Some(0.0), "{page:?}");
}

#[tokio::test]
async fn debug_shows_the_attempt_as_comments() {
    let agent = agent(MODULES).await;
    let server = http("200 OK", "").await;
    let page = probe(&agent, &format!("module=web&target={server}&debug=true")).await;
    assert_eq!(value(&page.body, "probe_success", &[]), Some(1.0));
    assert!(page.body.contains("#   \"verdict\": \"met\""), "{page:?}");
}

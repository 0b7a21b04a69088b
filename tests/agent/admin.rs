use tokio::io::AsyncReadExt;

use super::support::{GRACE, agent, connect, get, http, metrics, request, send, silent, value};

#[tokio::test]
async fn every_page_is_served() {
    let agent = agent("targets: []").await;
    for (path, word) in [
        ("/", "/metrics"),
        ("/livez", "ok"),
        ("/readyz", "ok"),
        ("/metrics", "meshprobe_build_info{version="),
        ("/v1/window", "[]"),
        (
            "/v1/flows",
            r#"{"node":"node-1","flows":[],"dropped_plaintext":0,"dropped_mutual_tls":0}"#,
        ),
    ] {
        let response = get(agent.admin_addr(), path).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        assert!(response.body.contains(word), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn liveness_and_readiness_do_not_depend_on_what_attempts_show() {
    let refused = "127.0.0.1:1";
    let mut agent = agent(&format!(
        "targets: [{{ name: t, tcp: {{}}, address: '{refused}', interval: 10ms }}]"
    ))
    .await;
    let mut attempts = agent.follow();
    for _ in 0..3 {
        assert!(!attempts.recv().await.expect("it goes on").success);
    }
    assert_eq!(get(agent.admin_addr(), "/livez").await.status, 200);
    assert_eq!(get(agent.admin_addr(), "/readyz").await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_gets_a_4xx_and_changes_nothing() {
    let agent = agent("targets: []").await;
    let address = agent.admin_addr();
    let before = metrics(&agent).await;
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(), 404),
        (
            "POST /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            405,
        ),
        ("DELETE /v1/window HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(), 405),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_owned(), 404),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET /livez HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000)), 414),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)), 431),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70_000)), 431),
    ] {
        let line: String = request.chars().take(60).collect();
        let response = send(address, request.as_bytes()).await;
        // A peer that is still sending may miss the response to the reset that follows it.
        let got = response.map(|response| response.status);
        let large = request.len() > 16 * 1024;
        assert!(
            got == Some(status) || large && matches!(got, None | Some(414 | 431)),
            "{line}: {got:?}"
        );
    }
    assert_eq!(metrics(&agent).await, before);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let agent = agent("targets: []").await;
    let response = request(agent.admin_addr(), "PUT", "/metrics", "content-length: 0\r\n").await;
    assert_eq!(response.status, 405);
    assert!(response.head.contains("allow: GET, HEAD"), "{response:?}");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let agent = agent("targets: []").await;
    for path in ["/metrics", "/livez"] {
        let response = request(agent.admin_addr(), "HEAD", path, "").await;
        assert_eq!((response.status, response.body.as_str()), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let agent = agent("admin: { max_connections: 2 }\ntargets: []").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(agent.admin_addr()).await.expect("a place");
        let request = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.expect("a place");
        assert_ne!(stream.read(&mut [0; 1024]).await.expect("a response"), 0);
        held.push(stream);
    }
    let third = send(agent.admin_addr(), b"").await;
    assert!(third.is_none(), "{third:?}");
    // A place that is given back is a place again.
    drop(held.pop());
    let response = loop {
        let request = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        if let Some(response) = send(agent.admin_addr(), request).await {
            break response;
        }
    };
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn an_agent_that_ends_is_not_ready_and_cancels_what_is_under_way() {
    let mut agent = agent(&format!(
        "targets: [{{ name: t, tcp: {{}}, address: '{}', interval: 20ms, timeout: 10m }}]",
        silent().await
    ))
    .await;
    let address = agent.admin_addr();
    let mut attempts = agent.follow();
    while value(&metrics(&agent).await, "meshprobe_attempts_in_flight", &[]) == Some(0.0) {
        tokio::task::yield_now().await;
    }
    agent.stop(GRACE).await;
    let cancelled = attempts.recv().await.expect("it was under way");
    assert_eq!(cancelled.failure.expect("cut short").reason.as_str(), "cancelled");
    assert!(connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn windows_list_what_was_seen() {
    let server = http("200 OK", "").await;
    let mut agent = agent(&format!(
        "targets:
  - {{ name: service/default/web, http: {{}}, address: 'http://{server}/', interval: 20ms,
      via: cluster_ip, expect: 'status 2xx,404', subject: service/default/web:80,
      destination_node: node-2 }}
  - {{ name: dead, tcp: {{}}, address: '127.0.0.1:1', interval: 20ms }}"
    ))
    .await;
    let mut attempts = agent.follow();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.insert(attempts.recv().await.expect("it goes on").target);
    }
    let page = get(agent.admin_addr(), "/v1/window").await;
    assert!(page.head.contains("application/json"), "{}", page.head);
    assert!(page.head.contains("meshprobe-as-of: 2"), "{}", page.head);
    let list: Vec<serde_json::Value> = serde_json::from_str(&page.body).expect("a list");
    for (since, most) in
        [("1970-01-01T00:00:00Z", list.len() * 2), ("9999-01-01T00:00:00%2B01:00", list.len() * 2)]
    {
        let again = get(agent.admin_addr(), &format!("/v1/window?since={since}")).await;
        let again: Vec<serde_json::Value> = serde_json::from_str(&again.body).expect("a list");
        assert!((list.len()..=most).contains(&again.len()), "{since}: {again:?}");
    }
    let wrong = get(agent.admin_addr(), "/v1/window?since=yesterday").await;
    assert!(wrong.head.contains(" 400 ") && wrong.body.contains("RFC 3339"), "{}", wrong.body);
    let of = |target: &str| list.iter().find(|it| it["name"] == target).expect("a window");
    let web = of("service/default/web");
    for (key, expected) in [
        ("source_node", serde_json::json!("node-1")),
        ("vantage", "plain".into()),
        ("probe", "http".into()),
        ("via", "cluster_ip".into()),
        ("expect", "reply".into()),
        ("target", "service/default/web:80".into()),
        ("destination_node", "node-2".into()),
        ("window_seconds", 10.into()),
        ("reasons", serde_json::json!({})),
    ] {
        assert_eq!(web[key], expected, "{key} of {web}");
    }
    assert_eq!(web["attempts"], web["verdicts"]["met"]);
    let latency = &web["latency_seconds"];
    assert!(
        latency["p50"].as_f64() > Some(0.0) && latency["p99"].as_f64() >= latency["p50"].as_f64()
    );
    let bins = web["digest"]["bins"].as_array().expect("bins");
    let succeeded: u64 = bins.iter().filter_map(|bin| bin[1].as_u64()).sum();
    assert_eq!(web["verdicts"]["met"], succeeded, "{web}");
    assert!(web["window_start"].as_str().is_some_and(|text| text.ends_with("0Z")), "{web}");
    let dead = of("dead");
    assert_eq!(dead["reasons"]["refused"], dead["verdicts"]["violated"]);
    assert_eq!((&dead["target"], &dead["destination_node"]), (&"dead".into(), &().into()));
    assert!(dead.get("latency_seconds").is_none() && dead.get("via").is_none(), "{dead}");
}

use std::time::Duration;

use super::support::{Web, get, start, within};

const SECRET: &str = "c2VjcmV0LXdvcmQ";

#[tokio::test]
async fn a_secret_header_is_sent_and_never_shown() {
    let web = Web::start().await;
    let address = web.address;
    let mut agent = start(&format!(
        "
defaults: {{ interval: 100ms }}
modules:
  secret:
    http:
      redirects: 2
      body_regex: hello
      headers: {{ Authorization: \"Bearer {SECRET}\", X-Api-Key: \"{SECRET}\" }}
    expect: status 2xx
    timeout: 10s
targets:
  - {{ name: good, address: \"http://{address}/\", module: secret }}
  - {{ name: bad, address: \"http://{address}/status/500\", module: secret }}
"
    ))
    .await;
    let mut attempts = agent.follow();
    for _ in 0..4 {
        within("targets are probed", attempts.recv()).await.expect("running");
    }
    let mut paths: Vec<String> =
        ["/", "/metrics", "/livez", "/readyz", "/v1/window", "/v1/flows", "/probe", "/nothing"]
            .map(str::to_owned)
            .to_vec();
    for target in [
        web.url("/"),
        web.url("/status/404"),
        web.url("/loop"),
        web.url("/big"),
        web.url("/to//"),
        "127.0.0.1:1".to_owned(),
        format!("https://{address}/"),
        "not a target".replace(' ', "%20"),
    ] {
        paths.push(format!("/probe?module=secret&target={target}"));
        paths.push(format!("/probe?module=secret&target={target}&debug=true"));
        paths.push(format!("/probe?module=other&target={target}&debug=true"));
    }
    for path in paths {
        let reply = get(&agent, &path).await;
        assert_ne!(reply.status, 0, "{path}");
        let shown = reply.body.contains(SECRET) || reply.head.contains(&SECRET.to_lowercase());
        assert!(!shown, "{path}: {reply:?}");
    }
    assert!(web.heads().iter().any(|head| head.contains(SECRET)), "the target gets it");
    agent.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn debug_adds_comments_only() {
    let (agent, web) = (start("modules: { http: { http: {} } }").await, Web::start().await);
    let path = format!("/probe?module=http&target={}", web.url("/"));
    let names = |body: &str| {
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let name = |line: &str| line.rsplit_once(' ').expect("a value").0.to_owned();
        lines.map(name).collect::<Vec<_>>()
    };
    let plain = get(&agent, &path).await.passed();
    let debug = get(&agent, &format!("{path}&debug=true")).await.passed();
    assert_eq!(names(&debug.body), names(&plain.body));
    assert!(debug.body.contains("# {\n") && debug.body.contains("\"verdict\": \"met\""));
    assert!(!plain.body.contains("verdict"));
}

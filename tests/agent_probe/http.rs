use std::time::Duration;

use super::support::{Web, get, probe, request, start};

const MODULES: &str = "
modules:
  ok: { http: { redirects: 3 }, expect: status 2xx, timeout: 30s }
  missing: { http: {}, expect: status 404, timeout: 30s }
  small: { http: { body_limit: 1000, decompress: true }, expect: status 2xx, timeout: 30s }
  regex: { http: { body_regex: nothing }, timeout: 30s }
  patient: { http: {}, timeout: 24h }
";

#[tokio::test]
async fn statuses_pass_and_fail_as_stated() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    for status in [200, 201, 299] {
        let reply = probe(&agent, "ok", web.url(&format!("/status/{status}"))).await.passed();
        assert_eq!(reply.value("probe_http_status_code"), Some(f64::from(status)));
    }
    for status in [300, 404] {
        let url = web.url(&format!("/status/{status}"));
        let reply = probe(&agent, "ok", url).await.failed("processing", "status");
        assert_eq!(reply.value("probe_http_status_code"), Some(f64::from(status)));
    }
    probe(&agent, "missing", web.url("/status/404")).await.passed();
    probe(&agent, "missing", web.url("/status/200")).await.failed("processing", "status");
}

#[tokio::test]
async fn a_good_response_is_told_in_full() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let reply = probe(&agent, "ok", web.address).await.passed();
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{reply:?}");
    for (name, value) in [
        ("probe_http_version", 1.1),
        ("probe_http_redirects", 0.0),
        ("probe_http_ssl", 0.0),
        ("probe_http_content_length", 5.0),
        ("probe_http_uncompressed_body_length", 5.0),
        ("probe_failed_due_to_regex", 0.0),
        ("probe_dns_lookup_time_seconds", 0.0),
        ("probe_ip_protocol", 4.0),
        ("probe_ip_addr_hash", 3_668_918_509.0),
    ] {
        assert_eq!(reply.value(name), Some(value), "{name}: {reply:?}");
    }
    assert!(reply.value("probe_duration_seconds").is_some_and(|seconds| seconds > 0.0));
    assert!(!reply.body.contains("probe_ssl_"), "{reply:?}");
}

#[tokio::test]
async fn phases_are_the_five_also_when_some_did_not_run() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let five = ["resolve", "connect", "tls", "processing", "transfer"];
    let five = five.map(|phase| format!("{{phase=\"{phase}\"}}"));
    for target in [web.address.to_string(), web.url("/status/404"), "127.0.0.1:1".to_owned()] {
        let reply = probe(&agent, "ok", target).await;
        assert_eq!(reply.labels("probe_http_duration_seconds"), five);
        assert_eq!(reply.value("probe_http_duration_seconds{phase=\"tls\"}"), Some(0.0));
    }
}

#[tokio::test]
async fn without_a_response_everything_about_it_is_zero() {
    let agent = start(MODULES).await;
    let reply = probe(&agent, "ok", "127.0.0.1:1").await.failed("connect", "refused");
    for name in ["status_code", "version", "redirects", "content_length", "ssl"] {
        assert_eq!(reply.value(&format!("probe_http_{name}")), Some(0.0), "{name}");
    }
    assert_eq!(reply.value("probe_http_uncompressed_body_length"), Some(0.0));
    assert_eq!(reply.value("probe_failed_due_to_regex"), Some(0.0));
}

#[tokio::test]
async fn one_redirect_is_followed_and_an_endless_one_fails() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let reply = probe(&agent, "ok", web.url("/to//status/200")).await.passed();
    assert_eq!(reply.value("probe_http_redirects"), Some(1.0));
    assert_eq!(web.heads().len(), 2);
    let reply = probe(&agent, "ok", web.url("/loop")).await.failed("processing", "status");
    assert_eq!(reply.value("probe_http_status_code"), Some(302.0));
    assert_eq!(web.heads().len(), 2 + 4, "the first and three redirects");
}

#[tokio::test]
async fn a_body_over_the_limit_fails_plain_and_compressed() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    probe(&agent, "small", web.url("/")).await.passed();
    for path in ["/big", "/gzip"] {
        let reply = probe(&agent, "small", web.url(path)).await;
        let reply = reply.failed("transfer", "body_too_large");
        assert_eq!(reply.value("probe_http_status_code"), Some(200.0));
    }
    let reply = probe(&agent, "ok", web.url("/gzip")).await.passed();
    assert!(reply.value("probe_http_uncompressed_body_length") < Some(1000.0), "as it came");
}

#[tokio::test]
async fn a_body_that_does_not_match_is_told_apart() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let reply = probe(&agent, "regex", web.url("/")).await.failed("transfer", "body_mismatch");
    assert_eq!(reply.value("probe_failed_due_to_regex"), Some(1.0));
}

#[tokio::test]
async fn the_scrape_timeout_shortens_the_attempt() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let path = format!("/probe?module=patient&target={}", web.url("/never"));
    let header = "X-Prometheus-Scrape-Timeout-Seconds: 0.7\r\n";
    // The module alone would wait for a day.
    let reply = request(&agent, "GET", &path, header).await;
    let reasons = ["timeout", "schedule_lag"];
    let info = reasons.map(|reason| format!("{{phase=\"processing\",reason=\"{reason}\"}}"));
    assert!(info.iter().any(|info| reply.labels("probe_failure_info") == [info]), "{reply:?}");
    assert_eq!(reply.value("probe_success"), Some(0.0));
    let least = Duration::from_millis(190).as_secs_f64();
    assert!(reply.value("probe_duration_seconds") > Some(least), "{reply:?}");
}

#[tokio::test]
async fn a_scrape_timeout_that_is_no_time_is_refused() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let path = format!("/probe?module=patient&target={}", web.address);
    for value in ["", "soon", "0", "-1", "nan", "inf", "\u{e9}"] {
        let header = format!("X-Prometheus-Scrape-Timeout-Seconds: {value}\r\n");
        let reply = request(&agent, "GET", &path, &header).await;
        assert_eq!(reply.status, 400, "{value}: {reply:?}");
    }
    assert_eq!(web.heads(), [""; 0]);
}

#[tokio::test]
async fn parameters_are_refused_unless_each_is_known_and_given_once() {
    let (agent, web) = (start(MODULES).await, Web::start().await);
    let target = web.address;
    let before = super::support::metrics(&agent).await;
    for query in [
        String::new(),
        "?".to_owned(),
        "?module=ok".to_owned(),
        "?module=ok&target=".to_owned(),
        format!("?target={target}"),
        format!("?module=&target={target}"),
        format!("?module=unknown&target={target}"),
        format!("?module=ok&target={target}&target={target}"),
        format!("?module=ok&module=ok&target={target}"),
        format!("?module=ok&target={target}&hostname=a"),
        "?module=ok&target=ftp://127.0.0.1/".to_owned(),
        "?module=ok&target=http://user:word@127.0.0.1/".to_owned(),
        "?module=ok&target=%00%ff".to_owned(),
        format!("?module=ok&target=http://a/{}", "x".repeat(9000)),
    ] {
        let reply = get(&agent, &format!("/probe{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        assert!(!reply.body.contains("probe_success"), "{reply:?}");
    }
    assert_eq!(web.heads(), [""; 0]);
    assert_eq!(super::support::metrics(&agent).await, before);
}

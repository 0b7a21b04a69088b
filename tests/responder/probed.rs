use std::time::Duration;

use http::Method;
use meshprobe::expectation::Expectation;
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{
    HoldModule, HttpModule, HttpVersion, IpPreference, Module, ModuleKind, Timeouts, TlsSettings,
};
use regex::bytes::Regex;

use super::support::{PATIENCE, config, start};

async fn attempt(kind: ModuleKind, url: &str) -> Outcome {
    let module = Module { kind, timeouts: Timeouts::total(PATIENCE), expect: Expectation::Reply };
    let spec = module.aim(url).expect("a good address");
    let environment = Environment::default();
    Probe::prepare(&spec, &environment).expect("no files").attempt().await
}

#[tokio::test]
async fn an_http_probe_gets_its_body_back_over_both_versions() {
    let running = start(&config());
    let body_regex = Regex::new("^there and back$").expect("valid");
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let module = HttpModule {
            method: Method::POST,
            headers: Vec::new(),
            body: Some(b"there and back".to_vec()),
            version,
            body_regex: Some(body_regex.clone()),
            body_limit: 1024,
            redirects: 0,
            decompress: false,
            keepalive: false,
            tls: TlsSettings::default(),
            ip: IpPreference::default(),
        };
        let url = format!("http://{}/echo", running.address);
        let outcome = attempt(ModuleKind::Http(module), &url).await;
        assert_eq!(outcome.failure, None);
        assert_eq!(outcome.facts.http.expect("a response").status, 200);
    }
}

#[tokio::test]
async fn a_hold_probe_lives_on_one_connection_for_as_long_as_it_wants() {
    let running = start(&config());
    let module = HoldModule {
        heartbeat: Duration::from_millis(20),
        hold: Duration::from_millis(200),
        tls: TlsSettings::default(),
        ip: IpPreference::default(),
    };
    let url = format!("http://{}/", running.address);
    let outcome = attempt(ModuleKind::Hold(module), &url).await;
    assert_eq!(outcome.failure, None);
    let hold = outcome.facts.hold.expect("a held connection");
    assert!(hold.heartbeats > 1, "{hold:?}");
    let counts = running.stats.read();
    assert_eq!(counts.connections, 1);
    assert!(counts.requests >= hold.heartbeats, "{counts:?}");
}

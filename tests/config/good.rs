//! Good input: defaults, inheritance, identity; and the effective configuration as it is printed.

#[path = "good/mesh.rs"]
mod mesh;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use meshprobe::config::{self, DEFAULT_BUCKETS, Identity};
use meshprobe::expectation::Expectation;
use meshprobe::failure::Phase;
use meshprobe::spec::{Ask, ProbeSpec};
use meshprobe::target::Vantage;

use super::good;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The probes of a configuration by the names of their targets.
fn probe(text: &str, name: &str) -> ProbeSpec {
    let config = good(text);
    let target = config.targets.iter().find(|t| t.name.as_str() == name);
    target.expect("the target is there").probe.clone()
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = good("targets: []");
    assert_eq!(config.identity.node, "localhost");
    assert_eq!(config.admin.listen.to_string(), "0.0.0.0:9850");
    assert_eq!(config.responder, None);
    assert_eq!(config.limits.max_in_flight, 1024);
    assert_eq!(config.buckets, DEFAULT_BUCKETS);
    assert_eq!(config.resolv_conf, PathBuf::from("/etc/resolv.conf"));
    let responder = good("responder:").responder.expect("it is on");
    assert_eq!(responder.listen[0].to_string(), "0.0.0.0:9851");
    assert_eq!(responder.max_body, 65536);

    let config = good("targets: [{name: a, address: 'a:1', tcp: }]");
    assert_eq!(config.targets[0].cadence.interval(), seconds(5));
    assert_eq!(config.targets[0].cadence.jitter(), 0.1);
    assert_eq!(config.targets[0].max_in_flight, 4);
    assert_eq!(config.targets[0].probe.timeouts.total, seconds(2));
    assert_eq!(config.targets[0].probe.expect, Expectation::Reply);
}

#[test]
fn identity_comes_from_the_text_or_else_from_the_environment() {
    let environment = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    };
    let identity = |text, pairs| {
        let config = config::parse(text, &environment(pairs)).expect("good");
        config.identity
    };
    let all = [
        ("MESHPROBE_NODE", "node-1"),
        ("HOSTNAME", "pod-1"),
        ("MESHPROBE_ZONE", "eu-1a"),
        ("MESHPROBE_VANTAGE", "ambient"),
    ];
    let expected = |node: &str, zone: &str, vantage| Identity {
        node: node.to_owned(),
        zone: Some(zone.to_owned()),
        vantage: Some(vantage),
    };
    assert_eq!(identity("targets: []", &all), expected("node-1", "eu-1a", Vantage::Ambient));
    assert_eq!(
        identity("{node: n, zone: 2, vantage: plain}", &all),
        expected("n", "2", Vantage::Plain)
    );
    let pod = [("MESHPROBE_NODE", ""), ("HOSTNAME", "pod-1")];
    assert_eq!(identity("targets: []", &pod).node, "pod-1");
}

#[test]
fn a_target_overrides_its_module_and_a_module_the_defaults() {
    let text = "
defaults: {timeout: 3s, interval: 10s}
modules:
  plain: {tcp: {}}
  web: {http: {}, timeout: 1s, timeouts: {connect: 500ms, tls: 800ms}, expect: status 2xx}
targets:
- {name: inherits, address: 'a:1', module: plain}
- {name: module, address: a, module: web}
- {name: target, address: a, module: web, timeout: 600ms, expect: reply, timeouts: {tls: 1ms}}
";
    assert_eq!(probe(text, "inherits").timeouts.total, seconds(3));
    let module = probe(text, "module");
    assert_eq!(module.timeouts.total, seconds(1));
    assert_eq!(module.expect.to_string(), "status 2xx");
    let target = probe(text, "target");
    assert_eq!(target.expect, Expectation::Reply);
    assert_eq!(target.timeouts.total, Duration::from_millis(600));
    let phase = |phase| target.timeouts.of(phase);
    assert_eq!(phase(Phase::Connect), Some(Duration::from_millis(500)));
    assert_eq!(phase(Phase::Tls), Some(Duration::from_millis(1)));
    assert_eq!(phase(Phase::Resolve), None);
}

#[test]
fn an_inherited_bound_wider_than_the_attempt_is_none() {
    let text = "
modules: {m: {tcp: {}, timeouts: {connect: 1500ms}}}
targets: [{name: a, address: 'a:1', module: m, timeout: 1s}]
";
    assert_eq!(probe(text, "a").timeouts.of(Phase::Connect), None);
}

#[test]
fn a_connection_is_held_once_at_a_time_and_beyond_the_timeout() {
    let config = good("targets: [{name: a, address: 'a:1', hold: {hold: 90s}}]");
    assert_eq!(config.targets[0].probe.timeouts.total, seconds(2));
    assert_eq!(config.targets[0].cadence.interval(), seconds(90));
}

#[test]
fn a_timeout_may_be_longer_than_the_interval() {
    let text = "targets: [{name: a, address: 'a:1', tcp: {}, interval: 1s, timeout: 3s}]";
    assert_eq!(probe(text, "a").timeouts.total, seconds(3));
}

#[test]
fn the_address_of_a_dns_target_is_the_server_when_the_name_is_given() {
    let text = "
targets:
- {name: server, address: 10.96.0.10, dns: {name: kubernetes.default.svc.cluster.local}}
- {name: name, address: a.example, dns: {}}
- {name: both, address: a.example, dns: {server: '[fd00::a]:5353'}}
";
    let asked = |name| match probe(text, name).ask {
        Ask::Dns { name, server, .. } => (name, server.map(|server| server.to_string())),
        other => panic!("{other:?}"),
    };
    let owned = |name: &str, server: Option<&str>| (name.to_owned(), server.map(str::to_owned));
    let name = "kubernetes.default.svc.cluster.local";
    assert_eq!(asked("server"), owned(name, Some("10.96.0.10:53")));
    assert_eq!(asked("name"), owned("a.example", None));
    assert_eq!(asked("both"), owned("a.example", Some("[fd00::a]:5353")));
}

#[test]
fn numbers_serve_as_text_where_text_is_wanted() {
    let text = "
targets:
- name: a
  address: a
  http: {version: 1.1, headers: {x-build: 1.10, x-on: true}, tls: {min_version: 1.2}, body: 5}
";
    let Ask::Http { module, .. } = probe(text, "a").ask else {
        panic!("an http probe");
    };
    let values: Vec<_> = module.headers.iter().map(|(_, value)| value.as_bytes()).collect();
    assert_eq!(values, [b"1.10".as_slice(), b"true"]);
    assert_eq!(module.body.as_deref(), Some(b"5".as_slice()));
}

#[test]
fn anchors_and_merges_are_understood() {
    let config = good(
        "
targets:
- &base {name: a, address: 'a:1', tcp: {}, interval: 1s}
- {<<: *base, name: b}
",
    );
    assert_eq!(config.targets[1].cadence.interval(), seconds(1));
    assert_eq!(config.targets[1].name.as_str(), "b");
}

#[test]
fn every_file_that_is_named_is_known() {
    let config = good(
        "
resolv_conf: r
modules: {m: {http: {tls: {ca: a, cert: b, key: c}}}}
targets:
- {name: t, address: 'x:1', tls: {ca: d}}
- {name: h, address: 'x:1', hold: {tls: {ca: a}}}
",
    );
    let files: Vec<_> = config.files().into_iter().collect();
    assert_eq!(files, ["a", "b", "c", "d", "r"].map(PathBuf::from));
}

#[test]
fn secrets_are_neither_printed_nor_shown() {
    let config = good(
        "
modules:
  m:
    http:
      headers:
        Authorization: Bearer hunter2
        cookie: [hunter2, id=hunter2]
        X-Api-Key: hunter2
        accept: text/html
",
    );
    let printed = config.to_yaml();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("authorization: \"<secret>\""), "{printed}");
    assert!(printed.contains("cookie: [\"<secret>\", \"<secret>\"]"), "{printed}");
    assert!(printed.contains("accept: text/html"), "{printed}");
    assert!(!format!("{config:?}").contains("hunter2"));
    good(&printed);
}

#[test]
fn the_effective_configuration_reads_like_a_written_one() {
    let config = good(
        "
node: node-1
responder: {}
modules:
  web: {http: {headers: {accept: '*/*'}}, expect: 'status 2xx,404', timeouts: {connect: 500ms}}
targets:
- name: coredns/service
  address: 10.96.0.10
  dns: {name: kubernetes.default.svc.cluster.local, search: off}
  via: cluster_ip
",
    );
    assert_eq!(config.to_yaml(), include_str!("effective.yaml"));
    assert_eq!(good(&config.to_yaml()), config);
}

#[test]
fn the_example_is_good() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/example.yaml"))
        .expect("the example is there");
    let config = good(&text);
    assert_eq!(good(&config.to_yaml()), config);
    // So are the targets in it that are commented out.
    let whole = text.replace("\n  # - ", "\n  - ").replace("\n  #   ", "\n    ");
    assert!(good(&whole).targets.len() >= config.targets.len() + 3, "{whole}");
}

#[test]
fn controllers_are_where_they_are_deployed_unless_stated_otherwise() {
    assert_eq!(good("targets: []").controllers, None);
    let usual = good("controller:").controllers.expect("it is there");
    let addresses: Vec<_> = usual.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["meshprobe-controller-channel.meshprobe-plain.svc:9854"]);
    assert_eq!((usual.key, usual.cache), (None, None));
    let text = "controller: {addresses: [10.0.0.1, 'c:1', '[::1]:2'], key: /k, cache: /c/p.json}";
    let stated = good(text).controllers.expect("it is there");
    let addresses: Vec<_> = stated.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1:9854", "c:1", "[::1]:2"]);
    assert_eq!(stated.key, Some(PathBuf::from("/k")));
    assert_eq!(stated.cache, Some(PathBuf::from("/c/p.json")));
}

//! The controller's own file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use meshprobe::config::{
    ControllerConfig, EvidenceSource, ServiceChoice, SourceChoice, WhichServices, parse_controller,
};

fn read(text: &str) -> Result<ControllerConfig, Vec<String>> {
    let told = |mistakes: Vec<_>| mistakes.iter().map(ToString::to_string).collect();
    parse_controller(text, &BTreeMap::new()).map_err(told)
}

#[test]
fn the_example_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/controller.yaml");
    let text = std::fs::read_to_string(path).expect("config/controller.yaml");
    let example =
        read(&text).map(|it| (it.slos.len(), ControllerConfig { slos: Vec::new(), ..it }));
    assert_eq!(example, Ok((5, ControllerConfig::default())), "but for its SLOs");
    assert_eq!(read("{}"), Ok(ControllerConfig::default()));
}

#[test]
fn a_prometheus_is_read_from_when_it_is_chosen_and_known() {
    let block = "prometheus: { url: 'http://prometheus.monitoring:9090/p', token: /t }\n";
    let known = read(block).expect("good");
    assert_eq!(known.source, EvidenceSource::Agents);
    let chosen = read(&format!("{block}source: prometheus\n")).expect("good");
    assert_eq!(
        (chosen.source, &chosen.prometheus),
        (EvidenceSource::Prometheus, &known.prometheus)
    );
    let told = |text: &str| read(text).expect_err("a mistake").join("\n");
    assert!(told("source: prometheus").contains("prometheus.url"));
    assert!(told("source: thanos").contains("agents or prometheus"));
    assert!(told("prometheus: {}").contains("has no `url`"));
    let secret = told("prometheus: { url: 'http://admin:hunter2@prometheus:9090' }");
    assert!(secret.contains("<secret>") && !secret.contains("hunter2"), "{secret}");
    for url in ["https://a", "prometheus:9090", "http://u:p@a", "http://a/?b=c", "''"] {
        assert!(
            told(&format!("prometheus: {{ url: {url:?} }}")).contains("prometheus.url"),
            "{url}"
        );
    }

    let choose = |text: &str| text.parse::<SourceChoice>();
    let mut config = known;
    choose("prometheus=http://other").expect("good").apply(&mut config).expect("complete");
    let found = config.prometheus.as_ref().expect("it is chosen");
    assert_eq!((found.url.as_str(), found.token.is_some()), ("http://other", true));
    choose("agents").expect("good").apply(&mut config).expect("complete");
    assert_eq!(config.source, EvidenceSource::Agents);
    let none = choose("prometheus").expect("good").apply(&mut ControllerConfig::default());
    assert!(none.expect_err("no URL").to_string().contains("no URL is configured"));
    // What cannot be read is shown to whoever typed it: a password is refused later.
    let secret = choose("prometheus=http://admin:hunter2@prometheus:9090").expect("not shown");
    let told = secret.apply(&mut config).expect_err("it names a user").to_string();
    assert!(told.contains("<secret>") && !told.contains("hunter2"), "{told}");
    for text in ["", "thanos", "agents=http://a", "prometheus=https://a", "prometheus="] {
        assert!(choose(text).is_err(), "{text}");
    }
}

#[test]
fn services_are_chosen_by_name_by_label_or_by_namespace() {
    let text = "services:
  - { namespace: default, name: mirai-frontend, ports: [80, http], path: /healthz }
  - { selector: 'app.kubernetes.io/name=prometheus,tier==db' }
  - { namespace: monitoring }
";
    let services = read(text).expect("good").services;
    let [named, labelled, all] = services.as_slice() else { panic!("{services:?}") };
    assert_eq!(
        *named,
        ServiceChoice {
            namespace: Some("default".to_owned()),
            which: WhichServices::Named("mirai-frontend".to_owned()),
            ports: vec!["80".to_owned(), "http".to_owned()],
            path: Some("/healthz".to_owned()),
        }
    );
    let WhichServices::Labelled(labels) = &labelled.which else { panic!("{labelled:?}") };
    assert_eq!(
        (labels["app.kubernetes.io/name"].as_str(), labels["tier"].as_str()),
        ("prometheus", "db")
    );
    assert_eq!((&all.which, all.namespace.as_deref()), (&WhichServices::All, Some("monitoring")));
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_mend() {
    let text = "listen: nowhere
channel: { port: 1 }
namespaces: { ambient: same, plain: same }
istio: { trust_domain: A B }
services:
  - { name: a }
  - { namespace: a, name: b, selector: c=d }
  - {}
  - { namespace: a, ports: [0], path: here }
  - { selector: a in (b) }
topology: { peers: 0, full_mesh_up_to: 65 }
probes: { interval: 1ms, grace: forever }
budgets: { csr_per_second: -1 }
gate: { objective: 1, quiet: 1s, namespaces: [default, No] }
colour: red
";
    let mistakes = read(text).expect_err("much is wrong");
    for (place, part) in [
        ("1:9: listen:", "IP address and a port"),
        ("2:12: channel.port", "the keys here are listen and key"),
        ("3:37: namespaces.plain:", "a namespace of its own"),
        ("4:24: istio.trust_domain:", "lower-case letters"),
        ("6:13: services[0].name:", "`namespace` beside it"),
        ("7:40: services[1].selector", "one of the two"),
        ("8:5: services[2]", "chooses nothing"),
        ("9:29: services[3].ports[0]:", "1 to 65535"),
        ("9:39: services[3].path:", "is not a path"),
        ("10:17: services[4].selector:", "key=value"),
        ("11:20: topology.peers:", "from 1 to 32"),
        ("11:40: topology.full_mesh_up_to:", "from 0 to 64"),
        ("12:21: probes.interval:", "1s to 1h"),
        ("12:33: probes.grace:", "is not a duration"),
        ("13:28: budgets.csr_per_second:", "from 0 to 1000000"),
        ("14:20: gate.objective:", "from 0.5 to 0.999999"),
        ("14:30: gate.quiet:", "10s to 168h"),
        ("14:56: gate.namespaces[1]:", "a name of Kubernetes"),
        ("15:1: colour", "is not a known key"),
    ] {
        let told = mistakes.iter().find(|told| told.starts_with(place));
        assert!(told.is_some_and(|told| told.contains(part)), "{place} {part}: {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 19, "{mistakes:#?}");
}

#[test]
fn who_the_controller_is_comes_from_its_environment() {
    let variables = [
        ("MESHPROBE_POD_NAME", "c-0"),
        ("MESHPROBE_POD_NAMESPACE", "meshprobe-plain"),
        ("MESHPROBE_POD_UID", "1-2-3"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = parse_controller("probes: { grace: 1m }", &variables).expect("good");
    let pod = config.pod.expect("known");
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("meshprobe-plain", "c-0"));
    assert_eq!(config.pod_uid.as_deref(), Some("1-2-3"));
    assert_eq!(config.probes.grace, Duration::from_secs(60));
}

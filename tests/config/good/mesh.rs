//! The mesh: what is inherited from it, and what its questions take for granted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use meshprobe::config::{self, Config, MeshConfig};
use meshprobe::spec::{
    Ask, CaptureModule, ExpectedWorkload, HboneModule, IstiodModule, Module, ModuleKind,
    OwnCertificate, PodIdentity, Roots, TlsSettings, Verify,
};

use super::super::good;
use super::{probe, seconds};

const POD: [(&str, &str); 4] = [
    ("MESHPROBE_POD_NAME", "meshprobe-x7k2p"),
    ("MESHPROBE_POD_NAMESPACE", "meshprobe-plain"),
    ("MESHPROBE_POD_SERVICE_ACCOUNT", "meshprobe"),
    ("MESHPROBE_POD_IP", "10.244.1.30"),
];

fn in_pod(text: &str, more: &[(&str, &str)]) -> Config {
    let environment: BTreeMap<String, String> = POD
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    config::parse(text, &environment).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn module(config: &Config, name: &str) -> ModuleKind {
    let Module { kind, .. } = config.modules.get(name).expect("the module is there");
    kind.clone()
}

fn hbone(config: &Config, name: &str) -> HboneModule {
    match module(config, name) {
        ModuleKind::Hbone(module) => *module,
        other => panic!("{other:?}"),
    }
}

fn istiod(config: &Config, name: &str) -> IstiodModule {
    match module(config, name) {
        ModuleKind::Istiod(module) => *module,
        other => panic!("{other:?}"),
    }
}

fn capture(config: &Config, name: &str) -> CaptureModule {
    match module(config, name) {
        ModuleKind::Capture(module) => module,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mesh_of_which_nothing_is_said_is_an_ordinary_one() {
    assert_eq!(good("targets: []").mesh, None);
    let mesh = good("mesh:").mesh.expect("it is there");
    assert_eq!(mesh, MeshConfig::default());
    assert_eq!(mesh.istiod.to_string(), "istiod.istio-system.svc:15012");
    assert_eq!(mesh.server_name, "istiod.istio-system.svc");
    assert_eq!(mesh.ca, PathBuf::from("/var/run/secrets/istio/root-cert.pem"));
    assert_eq!(mesh.token, PathBuf::from("/var/run/secrets/tokens/istio-token"));
    assert_eq!((mesh.cluster_id.as_str(), mesh.certificate), ("Kubernetes", true));
    assert_eq!((mesh.trust_domain.as_str(), mesh.pod), ("cluster.local", None));
}

#[test]
fn the_pod_comes_from_the_text_or_else_from_the_environment() {
    let expected = |name: &str, network: &str| PodIdentity {
        name: name.to_owned(),
        namespace: "meshprobe-plain".to_owned(),
        service_account: "meshprobe".to_owned(),
        ip: [10, 244, 1, 30].into(),
        network: network.to_owned(),
    };
    let pod = |text| in_pod(text, &[]).mesh.expect("it is there").pod;
    assert_eq!(pod("mesh: {}"), Some(expected("meshprobe-x7k2p", "")));
    assert_eq!(pod("mesh: {pod: {name: a, network: b}}"), Some(expected("a", "b")));
    // Half a pod is none: it is only missed where it is asked for, and remarked upon.
    let half = good("mesh: {pod: {name: a}}");
    assert!(half.remark().is_some());
    assert_eq!(half.mesh.expect("it is there").pod, None);
    assert_eq!(in_pod("mesh: {}", &[]).remark(), None);
    assert_eq!(good("targets: []").remark(), None);
}

#[test]
fn a_tunnel_is_trusted_and_opened_with_what_the_mesh_gives() {
    let config = good(
        "
mesh: {}
modules:
  own: {hbone: {}}
  bare: {hbone: {credentialed: false, tls: {spiffe_id: 'spiffe://cluster.local/ns/a/sa/b'}}}
  files: {hbone: {tls: {ca: ca.pem, cert: cert.pem, key: key.pem}}}
",
    );
    let own = hbone(&config, "own");
    let tls = TlsSettings {
        roots: Roots::Mesh,
        verify: Verify::Chain,
        identity: Some(OwnCertificate::Mesh),
        ..TlsSettings::default()
    };
    assert_eq!(own.tls, tls);
    assert!(own.credentialed && !own.warm);
    assert_eq!((own.peer, own.request.method.as_str()), (None, "GET"));
    let bare = hbone(&config, "bare");
    let id = Verify::Spiffe("spiffe://cluster.local/ns/a/sa/b".to_owned());
    assert_eq!(bare.tls, TlsSettings { verify: id, identity: None, ..tls });
    let files = hbone(&config, "files").tls;
    assert_eq!(files.roots, Roots::File("ca.pem".into()));
    assert!(matches!(files.identity, Some(OwnCertificate::Files(_))));
    let named: Vec<_> = config.files().into_iter().collect();
    let expected = ["/etc/resolv.conf", "ca.pem", "cert.pem", "key.pem"];
    assert_eq!(named, expected.map(PathBuf::from), "the mesh's own files are not among them");
}

#[test]
fn a_tunnel_leads_through_the_host_of_the_url_unless_a_peer_is_named() {
    let text = "
mesh: {}
targets:
- {name: pod, address: '10.0.0.1:8080/healthz', hbone: {}}
- {name: peer, address: 'http://web.default.svc:80/', hbone: {peer: 10.0.0.2}}
- {name: bare, address: 10.0.0.1, hbone: {credentialed: false}}
";
    let asked = |name| match probe(text, name).ask {
        Ask::Hbone { peer, url, .. } => {
            (peer.to_string(), url.map(|url| url.endpoint().to_string()))
        }
        other => panic!("{other:?}"),
    };
    let asks = |peer: &str, end: Option<&str>| (peer.to_owned(), end.map(str::to_owned));
    assert_eq!(asked("pod"), asks("10.0.0.1:15008", Some("10.0.0.1:8080")));
    assert_eq!(asked("peer"), asks("10.0.0.2:15008", Some("web.default.svc:80")));
    assert_eq!(asked("bare"), asks("10.0.0.1:15008", None));
}

#[test]
fn the_ladder_is_climbed_as_the_pod_that_this_is() {
    let text = "
mesh: {server_name: istiod-canary.istio-system.svc, token: token, cluster_id: west}
modules:
  all: {istiod: {}}
  own: {istiod: {token: other, cluster_id: east, tls: {ca: ca.pem, server_name: a}, csr: 10s}}
  low: {istiod: {xds: false, csr: off}}
  any: {istiod: {workload: {hbone: any, node: any}}}
targets:
- {name: t, address: 10.0.0.1, module: all}
- {name: short, address: 10.0.0.1, module: low, interval: 1s}
";
    let stated = [("MESHPROBE_NODE", "node-1"), ("MESHPROBE_VANTAGE", "ambient")];
    let config = in_pod(text, &stated);
    let all = istiod(&config, "all");
    assert_eq!((&all.tls.roots, &all.tls.verify), (&Roots::Mesh, &Verify::Name));
    assert_eq!(all.tls.server_name.as_deref(), Some("istiod-canary.istio-system.svc"));
    assert_eq!((all.token.clone(), all.cluster_id.as_str()), (PathBuf::from("token"), "west"));
    assert_eq!(all.pod.as_ref(), config.mesh.as_ref().and_then(|mesh| mesh.pod.as_ref()));
    assert_eq!((all.xds, all.csr), (true, Some(seconds(300))));
    let node = Some("node-1".to_owned());
    assert_eq!(all.workload, ExpectedWorkload { hbone: Some(true), node });
    let own = istiod(&config, "own");
    assert_eq!((own.token, own.cluster_id.as_str()), (PathBuf::from("other"), "east"));
    assert_eq!((own.csr, own.tls.server_name.as_deref()), (Some(seconds(10)), Some("a")));
    let low = istiod(&config, "low");
    assert_eq!((low.xds, low.csr), (false, None));
    assert_eq!(istiod(&config, "any").workload, ExpectedWorkload::default());
    assert_eq!(config.targets[0].cadence.interval(), seconds(15));
    assert_eq!(config.targets[1].cadence.interval(), seconds(1));

    // The host name is no node, and who has no pod asks for nothing that needs one.
    let plain = in_pod(text, &[("HOSTNAME", "meshprobe-x7k2p"), ("MESHPROBE_VANTAGE", "plain")]);
    let workload = ExpectedWorkload { hbone: Some(false), node: None };
    assert_eq!(istiod(&plain, "all").workload, workload);
    let unknown = istiod(&good("{mesh: {}, modules: {a: {istiod: {}}}}"), "a");
    assert_eq!((unknown.pod, unknown.xds, unknown.csr), (None, false, None));
}

#[test]
fn capture_is_as_the_vantage_says_unless_enrolment_is_stated() {
    let enrolled = |text: &str| capture(&good(text), "a").enrolled;
    assert!(enrolled("{vantage: ambient, modules: {a: {capture: {}}}}"));
    assert!(!enrolled("{vantage: plain, modules: {a: {capture: {}}}}"));
    assert!(enrolled("{vantage: plain, modules: {a: {capture: {enrolled: true}}}}"));
    let config = good(
        "modules: {a: {capture: {enrolled: false}}, b: {capture: {enrolled: true, hbone: off}}}",
    );
    let of = |name| capture(&config, name);
    assert_eq!(of("a").dns_server.to_string(), "192.0.2.53:53");
    assert_eq!(of("a").decoy.to_string(), "192.0.2.53:80");
    assert_eq!(of("a").hbone.map(|hbone| hbone.to_string()), Some("127.0.0.1:15008".to_owned()));
    assert_eq!(of("b").hbone, None);
}

#[test]
fn sizes_and_ports_have_defaults() {
    let config =
        good("modules: {m: {mtu: {}}, z: {ztunnel: {}}, o: {ztunnel: {metrics_port: off}}}");
    match module(&config, "m") {
        ModuleKind::Mtu(module) => assert_eq!((module.small, module.large), (512, 16384)),
        other => panic!("{other:?}"),
    }
    let ports = |name| match module(&config, name) {
        ModuleKind::Ztunnel(module) => (module.readiness_port, module.metrics_port),
        other => panic!("{other:?}"),
    };
    assert_eq!(ports("z"), (15021, Some(15020)));
    assert_eq!(ports("o"), (15021, None));
}

#[test]
fn a_tunnel_has_a_bound_of_its_own() {
    let config = good("{mesh: {}, modules: {a: {hbone: {}, timeouts: {tunnel: 300ms}}}}");
    let bound = config.modules["a"].timeouts.of(meshprobe::failure::Phase::Tunnel);
    assert_eq!(bound, Some(Duration::from_millis(300)));
    assert_eq!(good(&config.to_yaml()), config);
}

//! Mistakes about the mesh and the questions that know it.

use std::collections::BTreeMap;

use meshprobe::config;

use super::refused;

#[test]
fn the_mesh_block_is_checked() {
    refused(
        r"mesh:
  istiod: a:b
  server_name: a b
  ca: ''
  token: []
  cluster_id: a b
  trust_domain: Cluster
  certificate: yes
  pod: {name: A, namespace: 'a/b', service_account: '', ip: 10.0.0, network: a/b, node: c}
  cetificate: true",
        &[
            r#"2:11: mesh.istiod: "a:b" is not an address; the port must be a number from 1 to 65535"#,
            r#"3:16: mesh.server_name: "a b" is not a server name; write a DNS name without port and final dot, or an IP address"#,
            r#"4:7: mesh.ca: "" is empty; write a value, or leave the key out"#,
            "5:10: mesh.token: is a list; write a single value, or leave the key out",
            r#"6:15: mesh.cluster_id: "a b" is not a cluster's ID; write 1 to 253 visible ASCII characters"#,
            r#"7:17: mesh.trust_domain: "Cluster" is not a trust domain; write lower-case letters, digits, . - and _"#,
            r#"8:16: mesh.certificate: "yes" is text; write true or false, without quotes"#,
            r#"9:15: mesh.pod.name: "A" is not a pod's name; write a Kubernetes name: lower-case letters, digits, - and ."#,
            r#"9:29: mesh.pod.namespace: "a/b" is not a pod's namespace; write a Kubernetes name: lower-case letters, digits, - and ."#,
            r#"9:53: mesh.pod.service_account: "" is not a pod's service account; write a Kubernetes name: lower-case letters, digits, - and ."#,
            r#"9:61: mesh.pod.ip: "10.0.0" is not a pod's ip; write an IP address"#,
            r#"9:78: mesh.pod.network: "a/b" is not a network's name; write letters, digits, . - and _"#,
            "9:83: mesh.pod.node: is not a known key; did you mean name?",
            "10:3: mesh.cetificate: is not a known key; did you mean certificate?",
        ],
    );
}

#[test]
fn a_pod_of_the_environment_is_checked() {
    let environment: BTreeMap<_, _> = [("MESHPROBE_POD_NAME", "a b"), ("MESHPROBE_POD_IP", "me")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mistakes = config::parse("mesh: {}", &environment).expect_err("bad");
    let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        mistakes,
        [
            r#"mesh.pod.name: "a b" of environment variable MESHPROBE_POD_NAME is not a pod's name; write a Kubernetes name: lower-case letters, digits, - and ."#,
            r#"mesh.pod.ip: "me" of environment variable MESHPROBE_POD_IP is not a pod's ip; write an IP address"#,
        ]
    );
    assert!(config::parse("mesh: {pod: {name: a, ip: '::1'}}", &environment).is_ok());
    assert!(config::parse("targets: []", &environment).is_ok());
}

#[test]
fn what_stands_in_the_mesh_needs_one_or_files() {
    refused(
        r"modules:
  a: {hbone: {}}
  b: {hbone: {credentialed: false}}
  c: {hbone: {tls: {ca: ca.pem}}}
  d: {istiod: {}}
  e: {hbone: {tls: {ca: ca.pem, cert: cert.pem, key: key.pem}}}
  f: {hbone: {credentialed: false, tls: {verify: none}}}
  g: {istiod: {tls: {ca: ca.pem}}}
targets:
  - {name: a, address: 'a:1', hbone: {}}
  - {name: b, address: 'a:1', module: a}",
        &[
            "2:14: modules.a.hbone: needs the mesh's roots and a certificate of it, and there is no block `mesh`; write `mesh: {}` beside `modules`, or name files: `tls: {ca, cert, key}`",
            "3:14: modules.b.hbone: needs the mesh's roots, and there is no block `mesh`; write `mesh: {}` beside `modules`, or name a file: `tls: {ca: FILE}`",
            "4:14: modules.c.hbone: needs a certificate of the mesh, and there is no block `mesh`; write `mesh: {}` beside `modules`, or name files: `tls: {cert, key}`",
            "5:15: modules.d.istiod: needs the mesh's roots, and there is no block `mesh`; write `mesh: {}` beside `modules`, or name a file: `tls: {ca: FILE}`",
            "10:38: targets[0].hbone: needs the mesh's roots and a certificate of it, and there is no block `mesh`; write `mesh: {}` beside `modules`, or name files: `tls: {ca, cert, key}`",
        ],
    );
    refused(
        r"mesh: {certificate: false}
modules:
  a: {hbone: {}}
  b: {hbone: {credentialed: false}}",
        &[
            "3:14: modules.a.hbone: needs a certificate of the mesh, and mesh.certificate is false; write `credentialed: false`, or name files: `tls: {cert, key}`",
        ],
    );
}

#[test]
fn hbone_questions_are_checked() {
    refused(
        r"mesh: {}
modules:
  a:
    hbone:
      credentialed: false
      peer: 10.0.0.1
      warm: true
      method: GET
      headers: {a: b}
      body: a
      body_regex: a
      body_limit: 1
      tls: {cert: a, key: b}
    expect: denied
  b:
    hbone:
      peer: a:x
      warm: 1
      method: CONNECT
      keepalive: true
      redirects: 1
      tls: {server_name: a, verify: name, alpn: [h2], min_version: 1.3, cert: c}
    timeouts: {tunnel: 1m}
  c: {http: {}, timeouts: {tunnel: 1s}}
  d: {hbone: {}, timeouts: {tunnel: 1s}, expect: connect}
targets:
  - {name: a, address: 'https://a:1', hbone: {}}
  - {name: b, address: 'http://a:1', hbone: {credentialed: false}}
  - {name: c, address: 'a:1', module: a, expect: status 2xx}",
        &[
            "6:13: modules.a.hbone.peer: names the peer a second time; leave it out; the address is the peer",
            "7:13: modules.a.hbone.warm: cannot be had without a certificate; leave it out, or write `credentialed: true`",
            "8:15: modules.a.hbone.method: is of a request, which needs a certificate; leave it out, or write `credentialed: true`",
            "9:16: modules.a.hbone.headers: is of a request, which needs a certificate; leave it out, or write `credentialed: true`",
            "10:13: modules.a.hbone.body: is of a request, which needs a certificate; leave it out, or write `credentialed: true`",
            "11:19: modules.a.hbone.body_regex: is of a request, which needs a certificate; leave it out, or write `credentialed: true`",
            "12:19: modules.a.hbone.body_limit: is of a request, which needs a certificate; leave it out, or write `credentialed: true`",
            "13:19: modules.a.hbone.tls.cert: would be shown to nobody; leave it out, or write `credentialed: true`",
            "13:27: modules.a.hbone.tls.key: would be shown to nobody; leave it out, or write `credentialed: true`",
            r#"14:13: modules.a.expect: "denied" does not fit hbone without a certificate; write reply"#,
            r#"17:13: modules.b.hbone.peer: "a:x" is not an HBONE peer; the port must be a number from 1 to 65535"#,
            "18:13: modules.b.hbone.warm: 1 is a number; write true or false, without quotes",
            r#"19:15: modules.b.hbone.method: "CONNECT" asks for a tunnel, not for a reply; write e.g. GET or HEAD"#,
            "20:7: modules.b.hbone.keepalive: is not a known key; leave it out; the keys here are credentialed, tls, ip, peer, warm, method, headers, body, body_regex and body_limit",
            "21:7: modules.b.hbone.redirects: is not a known key; leave it out; the keys here are credentialed, tls, ip, peer, warm, method, headers, body, body_regex and body_limit",
            "22:13: modules.b.hbone.tls.server_name: is not a known key; leave it out; the keys here are ca, min_remaining, cert, key, verify and spiffe_id",
            r#"22:37: modules.b.hbone.tls.verify: "name" is what certificates of workloads do not carry; write spiffe_id instead of verify, or chain"#,
            "22:43: modules.b.hbone.tls.alpn: is not a known key; leave it out; the keys here are ca, min_remaining, cert, key, verify and spiffe_id",
            "22:55: modules.b.hbone.tls.min_version: is not a known key; leave it out; the keys here are ca, min_remaining, cert, key, verify and spiffe_id",
            r#"22:79: modules.b.hbone.tls.cert: "c" stands without a key; write `key: FILE` as well"#,
            r#"23:24: modules.b.timeouts.tunnel: "1m" is longer than the timeout of the whole attempt; write less, or raise `timeout` beside `timeouts`"#,
            r#"24:36: modules.c.timeouts.tunnel: "1s" bounds a phase that only hbone has; leave it out"#,
            r#"25:50: modules.d.expect: "connect" does not fit hbone; write reply, denied, or `status` with a list"#,
            r#"27:24: targets[0].address: "https://a:1" is not an address for hbone; it must be an http:// URL: the tunnel is what is encrypted"#,
            r#"28:24: targets[1].address: "http://a:1" is not an address for hbone; the host is neither an IP address nor a DNS name"#,
            r#"29:50: targets[2].expect: "status 2xx" does not fit hbone without a certificate; write reply"#,
        ],
    );
}

#[test]
fn istiod_questions_are_checked() {
    refused(
        r"mesh: {pod: {name: a, ip: 10.0.0.1}}
modules:
  a: {istiod: {xds: true}}
  b: {istiod: {csr: 5m}}
  c: {istiod: {csr: 9s, token: '', cluster_id: '', tls: {cert: a, alpn: [h2]}}}
  d: {istiod: {workload: {hbone: true}}}
  e: {istiod: {xds: false, csr: off}}
  f: {istiod: {}, expect: denied}",
        &[
            "3:21: modules.a.istiod.xds: needs to know which pod this is, and of mesh.pod namespace and service_account are not stated; write what is missing, or set MESHPROBE_POD_NAMESPACE and MESHPROBE_POD_SERVICE_ACCOUNT in the environment",
            "4:21: modules.b.istiod.csr: needs to know which pod this is, and of mesh.pod namespace and service_account are not stated; write what is missing, or set MESHPROBE_POD_NAMESPACE and MESHPROBE_POD_SERVICE_ACCOUNT in the environment",
            r#"5:21: modules.c.istiod.csr: "9s" is out of range; write 10s to 24h"#,
            r#"5:32: modules.c.istiod.token: "" is empty; write a value, or leave the key out"#,
            r#"5:48: modules.c.istiod.cluster_id: "" is not a cluster's ID; write 1 to 253 visible ASCII characters"#,
            "5:58: modules.c.istiod.tls.cert: is not a known key; leave it out; the keys here are ca, server_name, min_remaining, verify and spiffe_id",
            "5:67: modules.c.istiod.tls.alpn: is not a known key; leave it out; the keys here are ca, server_name, min_remaining, verify and spiffe_id",
            "6:26: modules.d.istiod.workload: needs to know which pod this is, and of mesh.pod namespace and service_account are not stated; write what is missing, or set MESHPROBE_POD_NAMESPACE and MESHPROBE_POD_SERVICE_ACCOUNT in the environment",
            r#"8:27: modules.f.expect: "denied" does not fit istiod; write reply"#,
        ],
    );
    refused(
        "modules: {a: {istiod: {tls: {ca: a}, xds: true}}}",
        &[
            "1:43: modules.a.istiod.xds: needs to know which pod this is, and there is no block `mesh`; write `mesh: {}` beside `modules`, and the pod under `mesh.pod`",
        ],
    );
    refused(
        r"mesh: {pod: {name: a, ip: 10.0.0.1, namespace: b, service_account: c}}
modules:
  a: {istiod: {xds: false, workload: {node: a}}}
  b: {istiod: {workload: {hbone: maybe, nodes: a}}}
targets:
  - {name: a, address: 'a:1', istiod: {}, interval: 4s}
  - {name: b, address: 'a:1', istiod: {xds: false}, interval: 4s}",
        &[
            "3:38: modules.a.istiod.workload: is only told by xds; leave it out, or write `xds: true`",
            r#"4:34: modules.b.istiod.workload.hbone: "maybe" is not a known word; write true, false or any"#,
            "4:41: modules.b.istiod.workload.nodes: is not a known key; did you mean node?",
            r#"6:53: targets[0].interval: "4s" opens xDS streams on istiod too often; write at least 5s, or `xds: false`"#,
        ],
    );
}

#[test]
fn capture_mtu_and_ztunnel_questions_are_checked() {
    refused(
        r"modules:
  a: {capture: {}}
  b: {capture: {enrolled: yes, dns_server: a.example, decoy: '10.0.0.1:x', hbone: on}}
  c: {mtu: {small: 2KiB, large: 1KiB, tls: {caa: a}}}
  d: {mtu: {small: 0, large: 1GiB}}
  e: {ztunnel: {readiness_port: 0, metrics_port: 65536, path: /}}
  f: {ztunnel: {metrics_port: on}, expect: status 2xx}",
        &[
            "2:16: modules.a.capture.enrolled: is missing; write true in an ambient pod and false in any other, or state `vantage`",
            r#"3:27: modules.b.capture.enrolled: "yes" is text; write true or false, without quotes"#,
            r#"3:44: modules.b.capture.dns_server: "a.example" is not an address; write an IP address, with or without a port"#,
            r#"3:62: modules.b.capture.decoy: "10.0.0.1:x" is not an address; the port must be a number from 1 to 65535"#,
            r#"3:83: modules.b.capture.hbone: "on" is not an address; write an IP address, with or without a port"#,
            r#"4:20: modules.c.mtu.small: "2KiB" is out of range; write at most 1200"#,
            r#"4:33: modules.c.mtu.large: "1KiB" is out of range; write at least 2KiB"#,
            "4:45: modules.c.mtu.tls.caa: is not a known key; did you mean ca?",
            "5:20: modules.d.mtu.small: 0 is out of range; write at least 1",
            r#"5:30: modules.d.mtu.large: "1GiB" is out of range; write at most 1MiB"#,
            "6:33: modules.e.ztunnel.readiness_port: 0 is out of range; write a whole number from 1 to 65535, without quotes",
            "6:50: modules.e.ztunnel.metrics_port: 65536 is out of range; write a whole number from 1 to 65535, without quotes",
            "6:57: modules.e.ztunnel.path: is not a known key; leave it out; the keys here are ip, readiness_port and metrics_port",
            r#"7:31: modules.f.ztunnel.metrics_port: "on" is text; write a whole number from 1 to 65535, without quotes"#,
            r#"7:44: modules.f.expect: "status 2xx" does not fit ztunnel; write reply"#,
        ],
    );
    // Whose vantage is wrong is not also told that it is missing.
    refused(
        "{vantage: inside, modules: {a: {capture: {}}}}",
        &[r#"1:11: vantage: "inside" is not a known word; write ambient or plain"#],
    );
}

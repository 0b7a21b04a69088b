//! What the lab's DNS server holds and what its agent probes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use hickory_proto::rr::rdata::{A, CNAME, SRV, TXT};
use hickory_proto::rr::{Name, RData};

use crate::config::{self, Config};
use crate::lab::Node;
use crate::lab::dns::Zone;

/// The namespace that the lab's responders are in.
const NAMESPACE: &str = "peers.svc.cluster.local.";

/// The records of `nodes`: an address and a port each, and the service over them all.
pub(super) fn zone(nodes: &[Node]) -> Zone {
    let absolute = |text: &str| Name::from_ascii(text).expect("made of node names");
    let mut zone = Zone::new(absolute("cluster.local."));
    let service = absolute(NAMESPACE);
    for node in nodes {
        let host = absolute(&format!("{}.{NAMESPACE}", node.name));
        let IpAddr::V4(ip) = node.responder.ip() else { continue };
        zone.add(&host, RData::A(A(ip)));
        zone.add(&service, RData::A(A(ip)));
        let srv = SRV::new(0, 100, node.responder.port(), host);
        zone.add(&absolute(&format!("_http._tcp.{NAMESPACE}")), RData::SRV(srv));
    }
    let version = TXT::new(vec!["1.1.0".to_owned()]);
    zone.add(&absolute("dns-version.cluster.local."), RData::TXT(version));
    zone.add(&absolute("alias.cluster.local."), RData::CNAME(CNAME(service)));
    zone
}

/// The agent's configuration: the same YAML that a user would write.
pub(super) fn config(
    nodes: &[Node],
    dns: SocketAddr,
    interval: Duration,
) -> anyhow::Result<Config> {
    match config::parse(&yaml(nodes, dns, interval), &BTreeMap::new()) {
        Ok(config) => Ok(config),
        Err(mistakes) => {
            let list: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            bail!("the lab's own configuration is wrong:\n{}", list.join("\n"))
        }
    }
}

fn yaml(nodes: &[Node], dns: SocketAddr, interval: Duration) -> String {
    let mut yaml = format!(
        r#"node: lab
vantage: plain
admin: {{ listen: "127.0.0.1:0" }}
defaults: {{ interval: {interval}ms, timeout: 1s }}
modules:
  service: {{ dns: {{ server: "{dns}", min_answers: {count} }} }}
  service_tcp: {{ dns: {{ server: "{dns}", transport: tcp, min_answers: {count} }} }}
  ports: {{ dns: {{ server: "{dns}", qtype: SRV, min_answers: {count} }} }}
  no_such_name: {{ dns: {{ server: "{dns}", rcodes: [NXDOMAIN] }} }}
  responder: {{ expect: status 2xx, http: {{ body_regex: '"node"' }} }}
  responder_warm: {{ expect: status 2xx, http: {{ keepalive: true }} }}
  responder_h2c: {{ expect: status 2xx, http: {{ version: "2" }} }}
  held: {{ hold: {{ heartbeat: {heartbeat}ms, hold: 2s }} }}
targets:
  - {{ name: dns/service, module: service, address: {NAMESPACE} }}
  - {{ name: dns/service/tcp, module: service_tcp, address: {NAMESPACE} }}
  - {{ name: dns/ports, module: ports, address: _http._tcp.{NAMESPACE} }}
  - {{ name: dns/no-such-name, module: no_such_name, address: absent.{NAMESPACE} }}
"#,
        interval = interval.as_millis(),
        heartbeat = interval.as_millis().min(1000),
        count = nodes.len(),
    );
    for Node { name, responder } in nodes {
        let port = responder.port();
        // Writing to a String does not fail.
        let _ = write!(
            yaml,
            r#"  - {{ name: {name}/http, module: responder, address: "http://{name}.{NAMESPACE}:{port}/", via: pod_ip }}
  - {{ name: {name}/http/warm, module: responder_warm, address: "http://{responder}/", via: pod_ip }}
  - {{ name: {name}/h2c, module: responder_h2c, address: "http://{responder}/", via: pod_ip }}
  - {{ name: {name}/hold, module: held, address: "http://{responder}/", via: pod_ip, interval: 3s }}
"#
        );
    }
    yaml
}

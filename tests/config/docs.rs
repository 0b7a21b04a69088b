//! The reference names every key that there is.

use super::parse;

/// A text with an unknown key in every kind of block: the answers list the known ones.
const EVERY_BLOCK: &str = "
frequency: 5
admin: {frequency: 5}
responder: {frequency: 5}
limits: {frequency: 5}
defaults: {frequency: 5}
controller: {frequency: 5}
mesh: {frequency: 5, pod: {frequency: 5}}
modules:
  dns: {dns: {frequency: 5, search: {domains: [], frequency: 5}}, frequency: 5}
  tcp: {tcp: {frequency: 5}, timeouts: {frequency: 5}}
  tls: {tls: {frequency: 5}}
  http: {http: {frequency: 5, tls: {frequency: 5}}}
  hold: {hold: {frequency: 5}}
  hbone: {hbone: {frequency: 5, tls: {frequency: 5}}}
  bare: {hbone: {frequency: 5, credentialed: false, tls: {frequency: 5}}}
  istiod: {istiod: {frequency: 5, tls: {frequency: 5}}}
  workload: {istiod: {xds: false, csr: off, workload: {frequency: 5}}}
  capture: {capture: {frequency: 5, enrolled: true}}
  mtu: {mtu: {frequency: 5, tls: {frequency: 5}}}
  ztunnel: {ztunnel: {frequency: 5}}
targets:
- {name: a, address: 'a:1', module: tcp, frequency: 5}
slos:
- name: a
  objective: 99.9%
  window: 30d
  sli: {latency: {threshold: 250ms, frequency: 5}, frequency: 5}
  select: {frequency: 5}
  frequency: 5
";

#[test]
fn the_reference_names_every_key() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("docs/configuration.md");
    let mistakes = parse(EVERY_BLOCK).expect_err("no key is called frequency");
    // Beside the wrong keys only the workload that xDS is not asked about.
    let (keys, others): (Vec<_>, Vec<_>) = mistakes.iter().partition(|m| m.contains("frequency"));
    assert_eq!(keys.len(), EVERY_BLOCK.matches("frequency").count(), "{mistakes:?}");
    assert_eq!(others.len(), 1, "{others:?}");
    for mistake in keys {
        let (_, keys) = mistake.split_once("the keys here are ").expect("no key is like it");
        for key in keys.replace(" and ", ", ").split(", ") {
            let named =
                [format!("`{key}`"), format!(".{key}`"), format!("`{key}."), format!("## {key}\n")];
            assert!(named.iter().any(|name| page.contains(name)), "{key} of {mistake}");
        }
    }
}

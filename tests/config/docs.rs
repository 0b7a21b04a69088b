//! The reference names every key that there is.

use super::parse;

/// A text with an unknown key in every kind of block: the answers list the known ones.
const EVERY_BLOCK: &str = "
frequency: 5
admin: {frequency: 5}
responder: {frequency: 5}
limits: {frequency: 5}
defaults: {frequency: 5}
modules:
  dns: {dns: {frequency: 5, search: {domains: [], frequency: 5}}, frequency: 5}
  tcp: {tcp: {frequency: 5}, timeouts: {frequency: 5}}
  tls: {tls: {frequency: 5}}
  http: {http: {frequency: 5, tls: {frequency: 5}}}
  hold: {hold: {frequency: 5}}
targets:
- {name: a, address: 'a:1', module: tcp, frequency: 5}
";

#[test]
fn the_reference_names_every_key() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("docs/configuration.md");
    let mistakes = parse(EVERY_BLOCK).expect_err("no key is called frequency");
    assert_eq!(mistakes.len(), EVERY_BLOCK.matches("frequency").count(), "{mistakes:?}");
    for mistake in mistakes {
        let (_, keys) = mistake.split_once("the keys here are ").expect("no key is like it");
        for key in keys.replace(" and ", ", ").split(", ") {
            let named =
                [format!("`{key}`"), format!(".{key}`"), format!("`{key}."), format!("## {key}\n")];
            assert!(named.iter().any(|name| page.contains(name)), "{key} of {mistake}");
        }
    }
}

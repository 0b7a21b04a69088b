//! Mistakes about controllers, and about the plans that they send.

use meshprobe::config::{Identity, MAX_PLAN_BYTES, parse_plan};
use meshprobe::target::Vantage;

use super::refused;

#[test]
fn the_controller_block_is_checked() {
    refused(
        r"controller:
  addresses: ['a:b', 10.0.0.1]
  key: ''
  cache: []
  adresses: []",
        &[
            r#"2:15: controller.addresses[0]: "a:b" is not an address; the port must be a number from 1 to 65535"#,
            r#"3:8: controller.key: "" is empty; write a value, or leave the key out"#,
            "4:10: controller.cache: is a list; write a single value, or leave the key out",
            "5:3: controller.adresses: is not a known key; did you mean addresses?",
        ],
    );
    refused(
        "controller: { addresses: [] }",
        &["1:26: controller.addresses: has 0 addresses; write 1 to 16, or leave the key out"],
    );
}

/// What is said of `plan` for node n, plain.
fn told(plan: &str) -> Vec<String> {
    let identity = Identity { node: "n".to_owned(), zone: None, vantage: Some(Vantage::Plain) };
    let mistakes = parse_plan(plan, &identity, None).expect_err("bad");
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn every_mistake_of_a_plan_is_told() {
    let plan = r#"{
"version": 2, "revision": "a\"b", "node": "m", "vantage": "ambient",
"grace_seconds": 7200,
"controllers": ["10.0.0.1", "10.0.0.1:9854"],
"frequency": 5,
"config": { "targets": [ { "name": "a", "tcp": {}, "address": "nowhere" } ], "admin": {} }
}"#;
    assert_eq!(
        told(plan),
        [
            "1:1: version: is not 1, the only one that this agent reads; run agents and controllers of one release",
            r#"2:27: revision: "a\"b" is not a revision; write 1 to 253 visible ASCII characters but double quotes"#,
            r#"2:43: node: "m" is another node; send the plan of "n""#,
            r#"2:59: vantage: "ambient" is the other side of the mesh; send the plan of this agent's vantage"#,
            "3:18: grace_seconds: 7200 is out of range; write a whole number from 0 to 3600, without quotes",
            r#"4:17: controllers[0]: "10.0.0.1" is not an address; it must be ip:port, [ip]:port for IPv6"#,
            "5:1: frequency: is not a known key; leave it out; the keys here are version, revision, node, vantage, pod, grace_seconds, controllers and config",
            r#"6:63: config.targets[0].address: "nowhere" is not an address for tcp; the port is missing: write host:port, IPv6 as [address]:port"#,
            "6:78: config.admin: is not a known key; leave it out; the keys here are defaults, modules and targets",
        ]
    );
}

#[test]
fn what_is_no_plan_is_one_mistake_or_names_what_is_missing() {
    assert_eq!(told("{").len(), 1);
    assert_eq!(told("[]").len(), 1);
    assert_eq!(told("\"plan\"").len(), 1);
    let missing = told("{}");
    for key in ["version", "revision", "node", "config"] {
        assert!(missing.iter().any(|it| it.contains(&format!("{key}: is missing"))), "{missing:?}");
    }
    let long = format!("{{\"revision\": \"{}\"}}", "x".repeat(MAX_PLAN_BYTES));
    assert!(told(&long)[0].contains("more than 4 MiB"), "{}", told(&long)[0]);
}

#[test]
fn ten_thousand_targets_make_a_plan() {
    let targets: Vec<_> = (0..10_000)
        .map(|n| {
            serde_json::json!({
                "name": format!("peer/some-quite-long-name-of-a-node-{n}/http"),
                "address": format!("http://10.244.{}.{}:9851/", n / 256, n % 256),
                "module": "peer", "via": "pod_ip", "interval": "10s", "expect": "reply",
            })
        })
        .collect();
    let plan = serde_json::json!({
        "version": 1, "revision": "r", "node": "n",
        "config": { "modules": { "peer": { "http": {} } }, "targets": targets },
    });
    let text = plan.to_string();
    assert!(text.len() > 1024 * 1024 && text.len() < MAX_PLAN_BYTES);
    let identity = Identity { node: "n".to_owned(), zone: None, vantage: None };
    let plan = parse_plan(&text, &identity, None).expect("good");
    assert_eq!(plan.targets.len(), 10_000);
}

//! Mistakes about the agent itself.

use super::refused;

#[test]
fn unknown_keys_suggest_what_was_meant() {
    refused("nodee: a", &["1:1: nodee: is not a known key; did you mean node?"]);
    refused(
        "frequency: 5s",
        &[
            "1:1: frequency: is not a known key; leave it out; the keys here are node, zone, vantage, admin, responder, limits, buckets, slos, resolv_conf, defaults, mesh, controller, modules and targets",
        ],
    );
}

#[test]
fn identity_must_fit_into_labels() {
    refused(
        "node: a b",
        &[r#"1:7: node: "a b" cannot be a label value; write 1 to 253 visible ASCII characters"#],
    );
    refused(
        "vantage: inside",
        &[r#"1:10: vantage: "inside" is not a known word; write ambient or plain"#],
    );
    refused("zone:", &["1:5: zone: has no value; write a single value, or leave the key out"]);
}

#[test]
fn wrong_types_say_what_to_write() {
    refused(
        "admin: 9850",
        &["1:8: admin: 9850 is a number; write a map: {key: value}, or one `key: value` a line"],
    );
    refused(
        r#"admin: { max_connections: "64", max_probes: 1.5, listen: }"#,
        &[
            r#"1:27: admin.max_connections: "64" is text; write a whole number from 1 to 65536, without quotes"#,
            "1:45: admin.max_probes: 1.5 is not whole; write a whole number from 1 to 65536, without quotes",
            "1:56: admin.listen: has no value; write a single value, or leave the key out",
        ],
    );
    refused(
        "buckets: 5",
        &["1:10: buckets: 5 is a number; write a list: [a, b], or one item a line after a dash"],
    );
    refused(
        "resolv_conf: []",
        &["1:14: resolv_conf: is a list; write a single value, or leave the key out"],
    );
    refused(
        "- a",
        &[
            "1:1: the configuration is a list; write a map: {key: value}, or one `key: value` a line",
        ],
    );
    refused(
        "text",
        &["1:1: the configuration is text; write a map: {key: value}, or one `key: value` a line"],
    );
}

#[test]
fn admin_is_bounded() {
    refused(
        r#"admin:
  listen: ":9850"
  max_connections: 0
  max_probes: -1
  max_port: 5
  probe_networks: [10.0.0.0/33, 10.0.0.1, x]"#,
        &[
            r#"2:11: admin.listen: ":9850" is not an address to listen on; write an IP address and a port, e.g. 0.0.0.0:9850 or "[::]:9850""#,
            "3:20: admin.max_connections: 0 is out of range; write a whole number from 1 to 65536, without quotes",
            "4:15: admin.max_probes: -1 is out of range; write a whole number from 1 to 65536, without quotes",
            "5:3: admin.max_port: is not a known key; did you mean max_probes?",
            r#"6:20: admin.probe_networks[0]: "10.0.0.0/33" is not a network; write a CIDR, e.g. 10.0.0.0/8 or fd00::/8"#,
            r#"6:43: admin.probe_networks[2]: "x" is not a network; write a CIDR, e.g. 10.0.0.0/8 or fd00::/8"#,
        ],
    );
}

#[test]
fn the_responder_is_bounded() {
    refused(
        r"responder:
  listen: 0.0.0.0:1
  max_body: 64KB
  idle_timeout: 5
  max_requests_per_second: 1e9",
        &[
            r#"2:11: responder.listen: "0.0.0.0:1" is text; write a list: [a, b], or one item a line after a dash"#,
            r#"3:13: responder.max_body: "64KB" is not a size; write bytes, or a number with KiB, MiB or GiB, e.g. 64KiB"#,
            "4:17: responder.idle_timeout: 5 is not a duration; write a number with ms, s, m or h, e.g. 5s",
            "5:28: responder.max_requests_per_second: 1e9 is out of range; write a whole number from 1 to 1000000, without quotes",
        ],
    );
    refused(
        r#"responder:
  listen: ["0.0.0.0:9850", "0.0.0.0:2", "0.0.0.0:2"]
  max_body: 1GiB
  idle_timeout: 100h"#,
        &[
            r#"2:12: responder.listen[0]: "0.0.0.0:9850" is where admin listens; give each a port of its own"#,
            r#"2:41: responder.listen[2]: "0.0.0.0:2" is listed twice; leave one of the two out"#,
            r#"3:13: responder.max_body: "1GiB" is out of range; write at most 64MiB"#,
            r#"4:17: responder.idle_timeout: "100h" is out of range; write 1s to 24h"#,
        ],
    );
    refused(
        "responder: { listen: [] }",
        &["1:22: responder.listen: is empty; write at least one address, or leave responder out"],
    );
}

#[test]
fn limits_and_buckets_are_bounded() {
    refused(
        "limits: { max_in_flight: 100000, max_schedule_lag: 0.5ms }",
        &[
            "1:26: limits.max_in_flight: 100000 is out of range; write a whole number from 1 to 65536, without quotes",
            r#"1:52: limits.max_schedule_lag: "0.5ms" is not a duration; write a number with ms, s, m or h, e.g. 5s"#,
        ],
    );
    refused(
        "buckets: [0.1, 0.1, 0, x, 4000]",
        &[
            "1:16: buckets[1]: 0.1 is not above the bound before it; write bounds in ascending order",
            "1:21: buckets[2]: 0 is no bound; write seconds, more than 0",
            r#"1:24: buckets[3]: "x" is text; write a number from 0 to 3600"#,
            "1:27: buckets[4]: 4000 is out of range; write a number from 0 to 3600",
        ],
    );
    refused("buckets: []", &["1:10: buckets: has 0 bounds; write 1 to 32 of them"]);
}

#[test]
fn defaults_are_checked_where_they_stand() {
    refused(
        r"defaults:
  interval: 5 minutes
  timeout: 25h
  jitter: 0.7
  max_in_flight: 4.5",
        &[
            r#"2:13: defaults.interval: "5 minutes" is not a duration; write a number with ms, s, m or h, e.g. 5s"#,
            r#"3:12: defaults.timeout: "25h" is out of range; write 1ms to 24h"#,
            "4:11: defaults.jitter: 0.7 is out of range; write a number from 0 to 0.5",
            "5:18: defaults.max_in_flight: 4.5 is not whole; write a whole number from 1 to 1000, without quotes",
        ],
    );
    refused(
        "defaults: { interval: 1ms, jitter: much }",
        &[
            r#"1:23: defaults.interval: "1ms" is out of range; write 10ms to 24h"#,
            r#"1:36: defaults.jitter: "much" is text; write a number from 0 to 0.5"#,
        ],
    );
}

#[test]
fn a_key_is_written_once() {
    refused(
        r"node: a
node: b",
        &["2:1: node: is written twice, first on line 1; leave one of the two out"],
    );
    refused(
        r"admin:
  max_probes: 1
  max_probes: x",
        &["3:3: admin.max_probes: is written twice, first on line 2; leave one of the two out"],
    );
    refused(
        r"? [a]
: b",
        &["1:3: there is a key that is no text; write `key: value`"],
    );
}

#[test]
fn an_empty_text_is_no_configuration() {
    refused("", &["1:1: the configuration is empty; write at least `targets: []`"]);
    refused("# nothing", &["1:10: the configuration is empty; write at least `targets: []`"]);
}

#[test]
fn text_that_is_no_yaml_is_one_mistake() {
    refused(
        r"node: a
 bad: indentation",
        &[
            "2:5: this cannot be read as YAML: mapping values are not allowed in this context; look at indentation, quotes and brackets here and on the line before",
        ],
    );
    refused(
        "a: [1, 2",
        &[
            "1:4: this cannot be read as YAML: unclosed bracket '['; look at indentation, quotes and brackets here and on the line before",
        ],
    );
    refused(
        "node: *nowhere",
        &[
            "1:7: this cannot be read as YAML: reference to unknown value; look at indentation, quotes and brackets here and on the line before",
        ],
    );
    refused(
        "node: !secret x",
        &[
            "1:15: this cannot be read as YAML: unsupported tag `!secret`; look at indentation, quotes and brackets here and on the line before",
        ],
    );
    refused(
        r"node: a
---
node: b",
        &["3:1: a second document begins here; leave one of the two out"],
    );
}

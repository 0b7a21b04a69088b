//! Mistakes about targets.

use super::refused;

#[test]
fn what_is_missing_is_told_once() {
    refused(
        r"targets:
  - {address: 'a:1', tcp: {}}
  - {name: a, tcp: {}}
  - {name: b, adress: 'a:1', tcp: {}}
  - {name: c, address: 'a:1'}
  - {name: d, address: 'a:1', moduel: x}
  - text",
        &[
            "2:5: targets[0].name: is missing; write a name that is unique among the targets",
            "3:5: targets[1].address: is missing; write host:port, a URL, or for dns a name",
            "4:15: targets[2].adress: is not a known key; did you mean address?",
            "5:5: targets[3]: has none of module, dns, tcp, tls, http, hold, hbone, istiod, capture, mtu and ztunnel; name a module, or write one of the blocks",
            "6:31: targets[4].moduel: is not a known key; did you mean module?",
            r#"7:5: targets[5]: "text" is text; write a map: {key: value}, or one `key: value` a line"#,
        ],
    );
}

#[test]
fn names_are_unique_and_fit_into_labels() {
    refused(
        r"targets:
  - {name: a, address: 'a:1', tcp: {}}
  - {name: a, address: 'a:1', tcp: {}}
  - {name: a b, address: 'a:1', tcp: {}}
  - {name: d, address: 'a:1', tcp: {}, subject: a peer, destination_node: ''}",
        &[
            r#"3:12: targets[1].name: "a" is the name of targets[0] already; give each target a name of its own"#,
            r#"4:12: targets[2].name: "a b" is not a target name; it must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -"#,
            r#"5:49: targets[3].subject: "a peer" is not a subject; it must be 1 to 300 characters of A-Z a-z 0-9 . _ : / -"#,
            r#"5:75: targets[3].destination_node: "" cannot be a label value; write 1 to 253 visible ASCII characters"#,
        ],
    );
}

#[test]
fn modules_exist() {
    refused(
        r"targets:
  - {name: a, address: 'a:1', module: web}",
        &[r#"2:39: targets[0].module: "web" is not a module; define it under `modules`"#],
    );
    refused(
        r"modules: {web_2xx: {http: {}}, tls: {tls: {}}}
targets:
  - {name: a, address: 'a:1', module: web_2x}
  - {name: b, address: 'a:1', module: other}
  - {name: c, address: 'a:1', module: tls, tcp: {}}",
        &[
            r#"3:39: targets[0].module: "web_2x" is not a module; did you mean web_2xx?"#,
            r#"4:39: targets[1].module: "other" is not a module; define it under `modules`, where there are tls and web_2xx"#,
            r#"5:39: targets[2].module: "tls" stands beside tcp; leave one of the two out"#,
        ],
    );
}

#[test]
fn addresses_fit_the_question() {
    refused(
        r"targets:
  - {name: a, address: a, tcp: {}}
  - {name: b, address: 'a:0', tcp: {}}
  - {name: c, address: 'ftp://x', http: {}}
  - {name: d, address: 'http://user:hunter2@x/', http: {}}
  - {name: e, address: a..b, dns: {}}
  - {name: f, address: 'x:y', dns: {name: a}}
  - {name: g, address: '', tls: {}}",
        &[
            r#"2:24: targets[0].address: "a" is not an address for tcp; the port is missing: write host:port, IPv6 as [address]:port"#,
            r#"3:24: targets[1].address: "a:0" is not an address for tcp; the port must be a number from 1 to 65535"#,
            r#"4:24: targets[2].address: "ftp://x" is not an address for http; it must be an http:// or https:// URL of at most 8192 characters, with a host and without user information"#,
            "5:24: targets[3].address: <secret> is not an address for http; it must be an http:// or https:// URL of at most 8192 characters, with a host and without user information",
            r#"6:24: targets[4].address: "a..b" is not an address for dns; it must be a DNS name: labels of 1 to 63 characters, 253 in all"#,
            r#"7:24: targets[5].address: "x:y" is not an address for dns; the port must be a number from 1 to 65535"#,
            r#"8:24: targets[6].address: "" is empty; write a value, or leave the key out"#,
        ],
    );
}

#[test]
fn slots_can_be_kept() {
    refused(
        r"targets:
  - {name: a, address: 'a:1', tcp: {}, interval: 5ms, jitter: 2, max_in_flight: 0, via: service}
  - {name: b, address: 'a:1', hold: {hold: 1m}, interval: 5s}",
        &[
            r#"2:50: targets[0].interval: "5ms" is out of range; write 10ms to 24h"#,
            "2:63: targets[0].jitter: 2 is out of range; write a number from 0 to 0.5",
            "2:81: targets[0].max_in_flight: 0 is out of range; write a whole number from 1 to 1000, without quotes",
            r#"2:89: targets[0].via: "service" is not a known word; write pod_ip, cluster_ip, hbone or external"#,
            r#"3:59: targets[1].interval: "5s" would need 12 connections at once, max_in_flight is 4; write a longer interval, a shorter `hold` or a higher `max_in_flight`"#,
        ],
    );
}

#[test]
fn a_control_is_another_target_that_must_be_answered() {
    refused(
        r"targets:
  - {name: a, address: 'a:1', tcp: {}, expect: denied, control: a}
  - {name: b, address: 'a:1', tcp: {}, expect: denied, control: cc}
  - {name: c, address: 'a:1', tcp: {}, control: d}
  - {name: d, address: 'a:1', tcp: {}, expect: denied, control: a}
  - {name: e, address: 'a:1', tcp: {}, control: c}
  - {name: f, address: 'a:1', tcp: {}, expect: denied, control: nobody}",
        &[
            r#"2:65: targets[0].control: "a" is the target itself; name another target, to the same address"#,
            r#"3:65: targets[1].control: "cc" is not a target; did you mean c?"#,
            r#"4:49: targets[2].control: "d" expects to be denied itself; name a target that must be answered"#,
            r#"5:65: targets[3].control: "a" expects to be denied itself; name a target that must be answered"#,
            r#"6:49: targets[4].control: "c" controls nothing, because no denial is expected here; leave it out, or write `expect: denied`"#,
            r#"7:65: targets[5].control: "nobody" is not a target; name another target of this file"#,
        ],
    );
}

#[test]
fn a_control_leads_to_the_place_that_is_denied() {
    refused(
        r"mesh: {}
vantage: plain
targets:
  - {name: a, address: 'http://Web.default.svc:80/a', http: {}, expect: denied, control: a/hbone}
  - {name: a/hbone, address: 'http://web.default.svc./b', hbone: {peer: 10.0.0.1}}
  - {name: b, address: '10.0.0.1:80', tcp: {}, expect: denied, control: a/hbone}
  - {name: c, address: '10.0.0.1:80', tls: {}, expect: denied, control: c/bare}
  - {name: c/bare, address: 10.0.0.1, hbone: {credentialed: false}}
  - {name: d, address: '10.0.0.1:80', tcp: {}, expect: denied, control: d/control}
  - {name: d/control, address: a.example, capture: {}}
  - {name: e, address: '[::ffff:10.0.0.1]:80', http: {}, expect: denied, control: e/control}
  - {name: e/control, address: '10.0.0.1', hold: {}}",
        &[
            r#"6:73: targets[2].control: "a/hbone" leads to web.default.svc:80, and this target to 10.0.0.1:80; name a target to the same host and port, or give both the same"#,
            r#"7:73: targets[3].control: "c/bare" leads to 10.0.0.1:15008, and this target to 10.0.0.1:80; name a target to the same host and port, or give both the same"#,
            r#"9:73: targets[5].control: "d/control" asks no host and port of its own; name a target that leads to 10.0.0.1:80"#,
        ],
    );
}

#[test]
fn what_a_target_overrides_must_fit_its_module() {
    refused(
        r"modules:
  m: {tcp: {}, timeout: 1s}
  h: {hold: {hold: 1m}}
targets:
  - {name: a, address: 'a:1', module: m, expect: status 2xx, timeouts: {connect: 2s}}
  - {name: b, address: 'a:1', module: h, interval: 1s}",
        &[
            r#"5:50: targets[0].expect: "status 2xx" does not fit tcp; write reply, denied or connect"#,
            r#"5:82: targets[0].timeouts.connect: "2s" is longer than the timeout of the whole attempt; write less, or raise `timeout` beside `timeouts`"#,
            r#"6:52: targets[1].interval: "1s" would need 60 connections at once, max_in_flight is 4; write a longer interval, a shorter `hold` or a higher `max_in_flight`"#,
        ],
    );
}

#[test]
fn a_mistake_in_a_module_is_told_once() {
    refused(
        r"defaults: {timeout: soon}
modules:
  m: {tcp: {ip: v5}, expect: nothing}
  unknown: {}
  d: {dns: {name: a..b}}
  h: {hold: {hold: x}, timeout: 10s}
targets:
  - {name: a, address: 'a:1', module: m, timeouts: {connect: 5s}}
  - {name: b, address: 'a:1', module: m, control: a}
  - {name: c, address: 'a:1', module: unknown, expect: denied, control: a}
  - {name: d, address: 10.96.0.10, module: d}
  - {name: e, address: 'a:1', module: h, interval: 1s}",
        &[
            r#"1:21: defaults.timeout: "soon" is not a duration; write a number with ms, s, m or h, e.g. 5s"#,
            r#"3:17: modules.m.tcp.ip: "v5" is not a known word; did you mean v4? write v4, v6, v4_only or v6_only"#,
            r#"3:30: modules.m.expect: "nothing" is not an expectation; it must be reply, denied, connect, or `status` with a list such as `status 2xx,404`"#,
            "4:12: modules.unknown: has none of dns, tcp, tls, http, hold, hbone, istiod, capture, mtu and ztunnel; write one of them, e.g. `http: {}`",
            r#"5:19: modules.d.dns.name: "a..b" is not a DNS name; it must be a DNS name: labels of 1 to 63 characters, 253 in all"#,
            r#"6:20: modules.h.hold.hold: "x" is not a duration; write a number with ms, s, m or h, e.g. 5s"#,
        ],
    );
    refused(
        r"modules: []
targets:
  - {name: a, address: 'b:1', module: c}",
        &["1:10: modules: is a list; write a map: {key: value}, or one `key: value` a line"],
    );
}

#[test]
fn a_mistake_behind_an_anchor_is_told_once() {
    refused(
        r"targets:
  - {name: a, address: 'a:1', tcp: &tcp {ip: v5, sned: x}}
  - {name: b, address: 'a:1', tcp: *tcp}
  - &c {name: c, address: 'a:1', tcp: {}, interval: 5 minutes}
  - {<<: *c, name: d}",
        &[
            r#"2:46: targets[0].tcp.ip: "v5" is not a known word; did you mean v4? write v4, v6, v4_only or v6_only"#,
            "2:50: targets[0].tcp.sned: is not a known key; did you mean send?",
            r#"4:53: targets[2].interval: "5 minutes" is not a duration; write a number with ms, s, m or h, e.g. 5s"#,
        ],
    );
}

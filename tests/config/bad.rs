//! Bad input: each mistake in its exact words, all of them at once, in the order of the text.

use std::collections::BTreeMap;
use std::path::Path;

use meshprobe::config::{self, tidy};

use super::{good, parse};

fn mistakes(text: &str) -> Vec<String> {
    parse(text).expect_err("the text is bad")
}

fn dump(text: &str) {
    println!("{}", mistakes(text).join("\n"));
}

/// Targets, each a line of a flow map.
fn targets(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| format!("  - {{ {line} }}\n")).collect();
    format!("targets:\n{}", lines.concat())
}

#[test]
fn dumps() {
    for block in [
        "nodee: a",
        "node: a b",
        "vantage: inside",
        "zone:",
        "admin: 9850",
        "admin: { listen: \":9850\", max_connections: 0, max_probes: -1, probe_networks: [10.0.0.0/33, 10.0.0.1, x] }",
        "admin: { max_connections: \"64\", max_probes: 1.5, listen: , max_port: 5 }",
        "responder: { listen: 0.0.0.0:1, max_body: 64KB, idle_timeout: 5, max_requests_per_second: 1e3 }",
        "responder: { listen: [\"0.0.0.0:9850\", \"0.0.0.0:2\", \"0.0.0.0:2\"], max_body: 1GiB, idle_timeout: 100h}",
        "responder: { listen: [] }",
        "limits: { max_in_flight: 100000, max_schedule_lag: 0.5ms }",
        "buckets: [0.1, 0.1, 0, x, 4000]",
        "buckets: []",
        "buckets: 5",
        "resolv_conf: []",
        "defaults: { interval: 5 minutes, timeout: 25h, jitter: 0.7, max_in_flight: 4.5 }",
        "defaults: { interval: 1ms, jitter: much }",
        "node: a\nnode: b",
        "? [a]\n: b",
        "- a",
        "text",
        "",
        "# nothing",
        "node: a\n bad: indentation",
        "a: [1, 2",
        "modules: []\ntargets: [{name: a, address: b:1, module: c}]",
        "modules: { 'a b': {tcp: {}}, empty: {}, two: {tcp: {}, http: {methodd: GET}}, typo: {htpp: {}}, nothing: {expect: x, timeout: y} }",
        "modules: { a: {dns: {}, expect: status 2xx}, b: {hold: {}, expect: denied}, c: {tls: {}, expect: connect}, d: {tcp: {}, expect: status 99}, e: {http: {}, expect: connect}, f: {http: {}, expect: maybe} }",
        "modules: { a: {tcp: {}, timeout: 1s, timeouts: {connect: 2s, proccessing: 1s, tls: 0s}}, b: {tcp: {}, timeouts: {connect: 3s}} }",
        "modules: { a: {dns: {name: 'a..b', server: 'x:y', qtype: MX, transport: quic, retries: 11, search: on, rcodes: [NOERR, 3], min_answers: -1, addresses: [x], ndots: 1} }, b: {dns: {name: a, server: b}}, c: {dns: {transport: tcp, retries: 1, qtype: TXT, addresses: [10.0.0.0/8], rcodes: [], search: {ndots: 20, domain: []}}} }",
        "modules: { a: {tcp: {send: '', reply_regex: '(a', ip: v5}} }",
        "modules: { a: {tls: {ca: '', server_name: 'a:443', verify: all, alpn: ['', 'a b'], min_version: 1.3, max_version: 1.2, min_remaining: 30, spiffe_id: 'https://x', cert: a} }, b: {tls: {key: a, spiffe_id: 'spiffe://x', verify: chain}} }",
        "modules: { a: {http: {method: get, headers: {'a b': c, Authorization: \"a\\nb\", authorization: [x, {}], content-length: 3, x: \"é\"}, body: [], version: 3, body_regex: 'a{99999999}', body_limit: 2GiB, redirects: 21, decompress: yes, keepalive: 1, tls: {cafile: x}, ip: 4} } }",
        "modules: { a: {http: {method: CONNECT}}, b: {http: {method: 'a b', version: 2.0}} }",
        "modules: { a: {hold: {heartbeat: 2m, hold: 1m}, timeout: 30s}, b: {hold: {heartbeat: 1ms, hold: 13h}}, c: {hold: {hold: x, heartbeat: 30m}, timeout: 30s} }",
    ] {
        println!("--- {block}");
        dump(block);
    }
    for lines in [
        &["address: a:1, tcp: {}"][..],
        &["name: a, tcp: {}"],
        &["name: a, adress: a:1, tcp: {}"],
        &["name: a b, address: a, tcp: {}, intervall: 5s, via: service"],
        &["name: a, address: a:1, tcp: {}", "name: a, address: a:1, tcp: {}"],
        &[
            "name: a, address: a:1",
            "name: b, address: c:1, module: d, tcp: {}",
            "name: c, address: c:1, module: d",
        ],
        &[
            "name: a, address: 'a:0', tcp: {}",
            "name: b, address: 'ftp://x', http: {}",
            "name: c, address: 'http://u:p@x/', http: {}",
            "name: d, address: 'a..b', dns: {}",
            "name: e, address: '', tls: {}",
            "name: f, address: 'x:y', dns: {name: a}",
        ],
        &["name: a, address: a:1, tcp: {}, interval: 5ms, jitter: 2, max_in_flight: 0"],
        &[
            "name: a, address: a:1, tcp: {}, expect: denied, control: a",
            "name: b, address: a:1, tcp: {}, expect: denied, control: cc",
            "name: c, address: a:1, tcp: {}, control: d",
            "name: d, address: a:1, tcp: {}, expect: denied, control: a",
            "name: e, address: a:1, tcp: {}, expect: x, control: c",
        ],
        &["name: a, address: a:1, hold: {hold: 1m}, interval: 5s"],
        &["5", "name: x, address: y:1, tcp: "],
    ] {
        let text = targets(lines);
        println!("--- {text}");
        dump(&text);
    }
}

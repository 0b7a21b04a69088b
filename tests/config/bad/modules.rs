//! Mistakes about modules.

use super::refused;

#[test]
fn a_module_asks_exactly_one_question() {
    refused(
        r"modules:
  'a b': {tcp: {}}
  empty: {}
  two: {tcp: {}, http: {methodd: GET}}
  typo: {htpp: {}}
  nothing: {expect: x, timeout: y}",
        &[
            "2:3: modules.a b: is not a module name; it must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -",
            "3:10: modules.empty: has none of dns, tcp, tls, http, hold, hbone, istiod, capture, mtu and ztunnel; write one of them, e.g. `http: {}`",
            "4:24: modules.two.http: stands beside tcp; ask one question in each module or target",
            "4:25: modules.two.http.methodd: is not a known key; did you mean method?",
            "5:10: modules.typo.htpp: is not a known key; did you mean http?",
            "6:12: modules.nothing: has none of dns, tcp, tls, http, hold, hbone, istiod, capture, mtu and ztunnel; write one of them, e.g. `http: {}`",
            r#"6:21: modules.nothing.expect: "x" is not an expectation; it must be reply, denied, connect, or `status` with a list such as `status 2xx,404`"#,
            r#"6:33: modules.nothing.timeout: "y" is not a duration; write a number with ms, s, m or h, e.g. 5s"#,
        ],
    );
}

#[test]
fn an_expectation_fits_the_kind() {
    refused(
        r"modules:
  a: {dns: {}, expect: status 2xx}
  b: {hold: {}, expect: denied}
  c: {tls: {}, expect: connect}
  d: {tcp: {}, expect: status 99}
  e: {http: {}, expect: connect}
  f: {http: {}, expect: maybe}",
        &[
            r#"2:24: modules.a.expect: "status 2xx" does not fit dns; write reply"#,
            r#"3:25: modules.b.expect: "denied" does not fit hold; write reply"#,
            r#"4:24: modules.c.expect: "connect" does not fit tls; write reply or denied"#,
            r#"5:24: modules.d.expect: "status 99" is not an expectation; `99` is no HTTP status: write codes from 100 to 599, classes (2xx) or ranges (200-299)"#,
            r#"6:25: modules.e.expect: "connect" does not fit http; write reply, denied, or `status` with a list"#,
            r#"7:25: modules.f.expect: "maybe" is not an expectation; it must be reply, denied, connect, or `status` with a list such as `status 2xx,404`"#,
        ],
    );
}

#[test]
fn phases_fit_into_the_attempt() {
    refused(
        r"modules:
  a: {tcp: {}, timeout: 1s, timeouts: {connect: 2s, proccessing: 1s, tls: 0s}}
  b: {tcp: {}, timeouts: {connect: 3s}}",
        &[
            r#"2:49: modules.a.timeouts.connect: "2s" is longer than the timeout of the whole attempt; write less, or raise `timeout` beside `timeouts`"#,
            "2:53: modules.a.timeouts.proccessing: is not a known key; did you mean processing?",
            r#"2:75: modules.a.timeouts.tls: "0s" is out of range; write 1ms to 24h"#,
            r#"3:36: modules.b.timeouts.connect: "3s" is longer than the timeout of the whole attempt; write less, or raise `timeout` beside `timeouts`"#,
        ],
    );
}

#[test]
fn dns_questions_are_checked() {
    refused(
        r"modules:
  a:
    dns:
      name: a..b
      qtype: MX
      transport: quic
      retries: 11
      search: on
      rcodes: [NOERR]
      min_answers: -1
      addresses: [x]
      ndots: 1
  b: {dns: {name: a, server: b}}
  c: {dns: {server: 'x:y'}}
  d:
    dns:
      qtype: TXT
      transport: tcp
      retries: 1
      rcodes: []
      addresses: [10.0.0.0/8]
      search: {ndots: 20, domain: []}",
        &[
            r#"4:13: modules.a.dns.name: "a..b" is not a DNS name; it must be a DNS name: labels of 1 to 63 characters, 253 in all"#,
            r#"5:14: modules.a.dns.qtype: "MX" is not a known word; write A, AAAA, SRV, CNAME, PTR or TXT"#,
            r#"6:18: modules.a.dns.transport: "quic" is not a known word; write udp or tcp"#,
            "7:16: modules.a.dns.retries: 11 is out of range; write a whole number from 0 to 10, without quotes",
            r#"8:15: modules.a.dns.search: "on" is not a known word; write off or resolv_conf"#,
            r#"9:16: modules.a.dns.rcodes[0]: "NOERR" is not a known word; did you mean NOERROR? write NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH or NOTZONE"#,
            "10:20: modules.a.dns.min_answers: -1 is out of range; write a whole number from 0 to 1000, without quotes",
            r#"11:19: modules.a.dns.addresses[0]: "x" is not a network; write a CIDR, e.g. 10.0.0.0/8 or fd00::/8"#,
            "12:7: modules.a.dns.ndots: is not a known key; leave it out; the keys here are name, server, qtype, transport, retries, search, rcodes, min_answers and addresses",
            r#"13:30: modules.b.dns.server: "b" stands beside name, which leaves nothing for the target's address; leave one of the two out"#,
            r#"14:21: modules.c.dns.server: "x:y" is not a DNS server; the port must be a number from 1 to 65535"#,
            "19:16: modules.d.dns.retries: 1 cannot be had over tcp; leave it out; only datagrams are sent again",
            "20:15: modules.d.dns.rcodes: is empty; write at least one, e.g. [NOERROR]",
            "21:18: modules.d.dns.addresses: cannot be had of TXT records; leave it out, or ask for A or AAAA",
            "22:23: modules.d.dns.search.ndots: 20 is out of range; write a whole number from 0 to 15, without quotes",
            "22:27: modules.d.dns.search.domain: is not a known key; did you mean domains?",
        ],
    );
}

#[test]
fn tcp_questions_are_checked() {
    refused(
        r"modules:
  a: {tcp: {send: '', reply_regex: '(a', ip: v5}}",
        &[
            r#"2:19: modules.a.tcp.send: "" is empty; write a value, or leave the key out"#,
            r#"2:36: modules.a.tcp.reply_regex: "(a" is not a regular expression: unclosed group; mend it; a literal ( [ { . * + ? needs a backslash"#,
            r#"2:46: modules.a.tcp.ip: "v5" is not a known word; did you mean v4? write v4, v6, v4_only or v6_only"#,
        ],
    );
}

#[test]
fn tls_settings_are_checked() {
    refused(
        r"modules:
  a:
    tls:
      ca: ''
      server_name: a:443
      verify: all
      alpn: ['', a b]
      min_version: 1.3
      max_version: 1.2
      min_remaining: 30
      cert: a.pem
  b: {tls: {key: a.key, spiffe_id: 'spiffe://x', verify: chain}}
  c: {tls: {spiffe_id: 'https://x', ipv: 4}}",
        &[
            r#"4:11: modules.a.tls.ca: "" is empty; write a value, or leave the key out"#,
            r#"5:20: modules.a.tls.server_name: "a:443" is not a server name; write a DNS name without port and final dot, or an IP address"#,
            r#"6:15: modules.a.tls.verify: "all" is not a known word; write name, chain or none"#,
            r#"7:14: modules.a.tls.alpn[0]: "" is empty; write a value, or leave the key out"#,
            r#"7:18: modules.a.tls.alpn[1]: "a b" is not an ALPN protocol; write a name such as h2 or http/1.1"#,
            "8:20: modules.a.tls.min_version: 1.3 is above max_version; leave no version out that is to be offered",
            "10:22: modules.a.tls.min_remaining: 30 is out of range; write a number from 0 to 1",
            r#"11:13: modules.a.tls.cert: "a.pem" stands without a key; write `key: FILE` as well"#,
            r#"12:18: modules.b.tls.key: "a.key" stands without a certificate; write `cert: FILE` as well"#,
            r#"12:36: modules.b.tls.spiffe_id: "spiffe://x" stands beside verify; leave one of the two out: spiffe_id verifies chain and ID"#,
            r#"13:24: modules.c.tls.spiffe_id: "https://x" is not a SPIFFE ID; write spiffe://<trust domain>/ns/<namespace>/sa/<service account>"#,
            "13:37: modules.c.tls.ipv: is not a known key; did you mean ip?",
        ],
    );
}

#[test]
fn http_requests_are_checked() {
    refused(
        r"modules:
  a:
    http:
      method: get
      version: 3
      body: []
      body_regex: a{99999999}
      body_limit: 2GiB
      redirects: 21
      decompress: yes
      keepalive: 1
      tls: {caa: x}
      ip: 4
  b: {http: {method: CONNECT}}
  c: {http: {method: a b, version: 2.0}}",
        &[
            r#"4:15: modules.a.http.method: "get" is not a method; did you mean GET?"#,
            "5:16: modules.a.http.version: 3 is not a known word; did you mean 2? write auto, 1.1 or 2",
            "6:13: modules.a.http.body: is a list; write a single value, or leave the key out",
            r#"7:19: modules.a.http.body_regex: "a{99999999}" is not a regular expression: Compiled regex exceeds size limit of 262144 bytes; mend it; a literal ( [ { . * + ? needs a backslash"#,
            r#"8:19: modules.a.http.body_limit: "2GiB" is out of range; write at most 1GiB"#,
            "9:18: modules.a.http.redirects: 21 is out of range; write a whole number from 0 to 20, without quotes",
            r#"10:19: modules.a.http.decompress: "yes" is text; write true or false, without quotes"#,
            "11:18: modules.a.http.keepalive: 1 is a number; write true or false, without quotes",
            "12:13: modules.a.http.tls.caa: is not a known key; did you mean ca?",
            "13:11: modules.a.http.ip: 4 is not a known word; did you mean v4? write v4, v6, v4_only or v6_only",
            r#"14:22: modules.b.http.method: "CONNECT" asks for a tunnel, not for a reply; write e.g. GET or HEAD"#,
            r#"15:22: modules.c.http.method: "a b" is not a method; write one word, e.g. GET or HEAD"#,
            "15:36: modules.c.http.version: 2.0 is not a known word; write auto, 1.1 or 2",
        ],
    );
}

#[test]
fn bad_headers_are_told_without_their_secrets() {
    refused(
        r#"modules:
  a:
    http:
      headers:
        a b: c
        Authorization: "hunter2\n"
        authorization: [hunter2, {}]
        content-length: 3
        x: é"#,
        &[
            "5:9: modules.a.http.headers.a b: is not a header name; write letters, digits and dashes, e.g. x-request-id",
            "6:24: modules.a.http.headers.Authorization: <secret> is not a header value; write visible ASCII on one line",
            "7:34: modules.a.http.headers.authorization[1]: is a map; write a single value, or leave the key out",
            "8:9: modules.a.http.headers.content-length: is set by the request itself; leave it out, as connection, content-length, keep-alive, proxy-connection, te, trailer, transfer-encoding and upgrade",
            r#"9:12: modules.a.http.headers.x: "é" is not a header value; write visible ASCII on one line"#,
        ],
    );
}

#[test]
fn holds_are_checked() {
    refused(
        r"modules:
  a: {hold: {heartbeat: 2m, hold: 1m}, timeouts: {transfer: 1s}}
  b: {hold: {heartbeat: 1ms, hold: 13h}}",
        &[
            r#"2:25: modules.a.hold.heartbeat: "2m" is longer than `hold`; write less, or raise `hold`"#,
            r#"2:61: modules.a.timeouts.transfer: "1s" bounds the holding itself; leave it out; `hold` says how long that is"#,
            r#"3:25: modules.b.hold.heartbeat: "1ms" is out of range; write 10ms to 1h"#,
            r#"3:36: modules.b.hold.hold: "13h" is out of range; write 1s to 12h"#,
        ],
    );
}

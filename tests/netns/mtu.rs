//! A path that swallows large packets without a word, towards the responder or back.

use std::time::Duration;

use meshprobe::config::{Identity, ResponderConfig};
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::responder::Responder;
use meshprobe::spec::{IpPreference, ModuleKind, MtuModule, TlsSettings};

use super::inside::{ask, assert_failed, inside, iptables};

/// Segments as on a real network, so that the large body is many of them.
const ETHERNET: &str = "ip link set lo mtu 1500 up";

const LARGE: u32 = 48 * 1024;

/// The responder's port; it serves until the test's runtime ends.
fn responder() -> u16 {
    let config = ResponderConfig {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        max_connections: 10,
        max_body: 64 * 1024,
        max_requests_per_second: 100,
        idle_timeout: Duration::from_secs(60),
    };
    let identity = Identity { node: "node-a".to_owned(), zone: None, vantage: None };
    let responder = Responder::bind(&config, &identity).expect("loopback has ports");
    let port = responder.local_addrs()[0].port();
    tokio::spawn(responder.serve(std::future::pending()));
    port
}

async fn mtu(port: u16) -> Outcome {
    let kind = ModuleKind::Mtu(MtuModule {
        small: 512,
        large: LARGE,
        tls: TlsSettings::default(),
        ip: IpPreference::default(),
    });
    ask(kind, &format!("http://127.0.0.1:{port}/echo"), Duration::from_secs(3)).await
}

/// Drops what is longer than the path is said to carry; `which` are the packets it is about.
fn black_hole(which: &str) {
    iptables(&format!("-A INPUT -p tcp {which} -m length --length 1200:65535 -j DROP"));
}

#[track_caller]
fn assert_suspect(outcome: &Outcome) {
    assert_failed(outcome, Phase::Transfer, Reason::Timeout);
    assert!(outcome.facts.mtu_suspect);
    assert!(outcome.facts.mtu.expect("sizes").small_passed);
}

#[test]
fn a_black_hole_passes_small_bodies_and_stalls_large_ones() {
    inside(ETHERNET, "mtu::a_good_path");
    inside(ETHERNET, "mtu::a_black_hole_there");
    inside(ETHERNET, "mtu::a_black_hole_on_the_way_back");
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn a_good_path() {
    let outcome = mtu(responder()).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.facts.mtu.expect("sizes").large_received, u64::from(LARGE));
    assert!(!outcome.facts.mtu_suspect);
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn a_black_hole_there() {
    let port = responder();
    black_hole(&format!("--dport {port}"));
    let outcome = mtu(port).await;
    assert_suspect(&outcome);
    assert_eq!(outcome.facts.http, None, "the responder never had the whole body");
    assert!(outcome.facts.tcp.expect("TCP_INFO").retransmits > 0);
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn a_black_hole_on_the_way_back() {
    let port = responder();
    black_hole(&format!("--sport {port}"));
    let outcome = mtu(port).await;
    assert_suspect(&outcome);
    let head = outcome.facts.http.as_ref().expect("the head goes first, in its own segment");
    assert_eq!(head.status, 200);
    assert!(outcome.facts.mtu.expect("sizes").large_received < u64::from(LARGE));
}

//! Capture by the rules that a pod has: NAT in OUTPUT, except for loopback.

use std::net::SocketAddr;
use std::time::Duration;

use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::{CaptureFacts, Outcome};
use meshprobe::spec::{CaptureModule, ModuleKind};
use tokio::net::UdpSocket;

use super::inside::{accepting, ask, assert_failed, inside, iptables};

const ROUTED: &str = "ip link set lo up
    ip link add d0 type veth peer name d1
    ip link set d0 up; ip link set d1 up
    ip addr add 10.9.0.2/24 dev d0
    ip route add default dev d0";

async fn capture(enrolled: bool, hbone: SocketAddr) -> Outcome {
    let kind = ModuleKind::Capture(CaptureModule {
        enrolled,
        dns_server: "192.0.2.53:53".parse().expect("an endpoint"),
        decoy: "192.0.2.53:80".parse().expect("an endpoint"),
        hbone: Some(hbone.into()),
    });
    ask(kind, "web.default.svc.cluster.local", Duration::from_secs(1)).await
}

fn found(outcome: &Outcome) -> CaptureFacts {
    outcome.facts.capture.expect("what was found")
}

fn facts(dns: bool, tcp: bool, hbone: bool) -> CaptureFacts {
    CaptureFacts { dns: Some(dns), tcp: Some(tcp), hbone: Some(hbone) }
}

/// Answers every question with NOERROR and nothing else.
async fn dns() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut message = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut message).await {
            message[2] |= 0x80;
            let _ = socket.send_to(&message[..length], peer).await;
        }
    });
    address
}

fn redirect(dns: u16, outbound: u16) {
    iptables(&format!("-t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports {dns}"));
    iptables(&format!(
        "-t nat -A OUTPUT -p tcp ! -d 127.0.0.1/32 -j REDIRECT --to-ports {outbound}"
    ));
}

#[test]
fn capture_rules_are_seen_by_what_they_do() {
    inside(ROUTED, "capture::captured");
    inside(ROUTED, "capture::captured_for_nobody");
    inside(ROUTED, "capture::not_captured");
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn captured() {
    redirect(dns().await.port(), accepting().await.port());
    let hbone = accepting().await;
    let enrolled = capture(true, hbone).await;
    assert_eq!(enrolled.failure, None);
    assert_eq!(found(&enrolled), facts(true, true, true));
    let plain = capture(false, hbone).await;
    assert_failed(&plain, Phase::Processing, Reason::CaptureMismatch);
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn captured_for_nobody() {
    redirect(1, 1);
    let enrolled = capture(true, "127.0.0.1:1".parse().expect("an address")).await;
    assert_failed(&enrolled, Phase::Connect, Reason::Refused);
    assert_eq!(found(&enrolled), facts(false, true, false));
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn not_captured() {
    let hbone = "127.0.0.1:1".parse().expect("an address");
    let plain = capture(false, hbone).await;
    assert_eq!(plain.failure, None);
    assert_eq!(found(&plain), facts(false, false, false));
    let enrolled = capture(true, hbone).await;
    assert_failed(&enrolled, Phase::Processing, Reason::CaptureMismatch);
}

#[test]
fn what_no_table_knows_is_not_taken_for_silence() {
    let script = "ip link set lo up; ip route add blackhole 192.0.2.0/24";
    inside(script, "capture::behind_a_blackhole_route");
}

#[tokio::test]
#[ignore = "runs inside a namespace"]
async fn behind_a_blackhole_route() {
    let outcome = capture(false, "127.0.0.1:1".parse().expect("an address")).await;
    let failure = outcome.failure.as_ref().expect("connect(2) fails with EINVAL");
    assert_eq!(failure.reason, Reason::Unclassified, "{failure}");
    assert_eq!(found(&outcome), CaptureFacts { hbone: Some(false), ..CaptureFacts::default() });
}

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::{CaptureFacts, Outcome};
use meshprobe::probe::Probe;
use meshprobe::spec::{CaptureModule, Module, ModuleKind, Timeouts};
use meshprobe::target::Endpoint;
use tokio::net::UdpSocket;

use super::dns_server::{DnsServer, address, answering, bytes, coded};
use super::http_support::briefly;
use super::support::{
    TIMEOUT, assert_failed, dropping_syns, environment, refused_address, reset, server,
};

const NAME: &str = "web.default.svc.cluster.local";

/// A pod of one kind of capture: what stands behind its three addresses.
struct Pod {
    enrolled: bool,
    dns: SocketAddr,
    decoy: SocketAddr,
    hbone: Option<SocketAddr>,
}

impl Pod {
    async fn ask(&self) -> Outcome {
        let kind = ModuleKind::Capture(CaptureModule {
            enrolled: self.enrolled,
            dns_server: Endpoint::from(self.dns),
            decoy: Endpoint::from(self.decoy),
            hbone: self.hbone.map(Endpoint::from),
        });
        let timeouts = Timeouts::total(TIMEOUT);
        let module = Module { kind, timeouts, expect: Expectation::Reply };
        let spec = module.aim(NAME).expect("a name");
        briefly(Probe::prepare(&spec, &environment()).expect("no files")).await
    }
}

/// ztunnel's DNS proxy, under whatever address.
async fn proxy() -> DnsServer {
    DnsServer::udp(|_, query| vec![bytes(&answering(query, &[address("10.96.0.7")]))]).await
}

/// What a captured connection meets.
async fn accepting() -> SocketAddr {
    server(|stream| async move { drop(stream) }).await
}

/// A DNS server that never answers, as long as its socket lives.
async fn mute() -> (SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
    (socket.local_addr().expect("bound"), socket)
}

fn found(outcome: &Outcome) -> CaptureFacts {
    outcome.facts.capture.expect("what was found")
}

fn facts(dns: bool, tcp: bool, hbone: Option<bool>) -> CaptureFacts {
    CaptureFacts { dns: Some(dns), tcp: Some(tcp), hbone }
}

#[track_caller]
fn assert_mismatch(outcome: &Outcome, words: &str) {
    assert_failed(outcome, Phase::Processing, Reason::CaptureMismatch);
    let failure = outcome.failure.as_ref().expect("just seen");
    assert!(failure.detail.contains(words), "{failure}");
}

#[tokio::test]
async fn an_enrolled_pod_whose_all_is_captured_is_as_stated() {
    let (dns, decoy) = (proxy().await, accepting().await);
    let pod = Pod { enrolled: true, dns: dns.address, decoy, hbone: Some(accepting().await) };
    let outcome = pod.ask().await;
    assert_eq!(outcome.failure, None);
    assert_eq!(found(&outcome), facts(true, true, Some(true)));
    assert_eq!(dns.asked(), [format!("udp {NAME}. A")], "one question in one packet");
    let answer = outcome.facts.dns.as_ref().expect("the reply");
    assert_eq!(answer.answers, ["10.96.0.7"]);
    assert_eq!(answer.rcode.as_deref(), Some("NOERROR"));
    assert_eq!(answer.server, Some(dns.address));
    assert_eq!(outcome.facts.remote_address, Some(decoy));
    assert!(outcome.phases.of(Phase::Connect).is_some());
    assert!(outcome.phases.of(Phase::Processing).is_some());
}

#[tokio::test]
async fn a_plain_pods_silence_is_an_answer_within_the_timeout() {
    let ((dns, _mute), (decoy, _full)) = (mute().await, dropping_syns().await);
    let pod = Pod { enrolled: false, dns, decoy, hbone: Some(refused_address().await) };
    let outcome = pod.ask().await;
    assert_eq!(outcome.failure, None);
    assert_eq!(found(&outcome), facts(false, false, Some(false)));
    assert_eq!(outcome.phases.of(Phase::Connect), None, "nobody was connected");
    assert_eq!(outcome.phases.of(Phase::Processing), None, "nobody answered");
    assert_eq!(outcome.reply_bytes, 0);
}

#[tokio::test]
async fn an_enrolled_pod_without_capture_has_lost_it() {
    let ((dns, _mute), (decoy, _full)) = (mute().await, dropping_syns().await);
    let pod = Pod { enrolled: true, dns, decoy, hbone: Some(refused_address().await) };
    let outcome = pod.ask().await;
    assert_mismatch(&outcome, "capture is lost");
    assert_eq!(found(&outcome), facts(false, false, Some(false)));
}

#[tokio::test]
async fn tcp_that_leaves_an_enrolled_pod_uncaptured_is_named() {
    let (dns, (decoy, _full)) = (proxy().await, dropping_syns().await);
    let hbone = Some(accepting().await);
    let pod = Pod { enrolled: true, dns: dns.address, decoy, hbone };
    assert_mismatch(&pod.ask().await, "TCP is not captured: traffic leaves in plaintext");
}

#[tokio::test]
async fn dns_may_stay_uncaptured_in_an_enrolled_pod() {
    let ((dns, _mute), decoy) = (mute().await, accepting().await);
    let pod = Pod { enrolled: true, dns, decoy, hbone: Some(accepting().await) };
    let outcome = pod.ask().await;
    assert_eq!(outcome.failure, None);
    assert_eq!(found(&outcome), facts(false, true, Some(true)));
}

#[tokio::test]
async fn a_pod_without_ztunnels_sockets_is_told_so() {
    let dns = proxy().await;
    let hbone = Some(refused_address().await);
    let pod = Pod { enrolled: true, dns: dns.address, decoy: accepting().await, hbone };
    assert_mismatch(&pod.ask().await, "ztunnel's sockets are missing");
}

#[tokio::test]
async fn a_capture_rule_that_leads_to_nobody_is_a_dead_ztunnel() {
    let dead = refused_address().await;
    let pod = Pod { enrolled: true, dns: dead, decoy: dead, hbone: Some(dead) };
    let outcome = pod.ask().await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    let failure = outcome.failure.as_ref().expect("just seen");
    assert!(failure.detail.contains("own ztunnel is down"), "{failure}");
    assert_eq!(found(&outcome), facts(false, true, Some(false)));
    assert!(outcome.phases.of(Phase::Connect).is_some());
}

#[tokio::test]
async fn whatever_is_captured_of_a_plain_pod_is_a_mismatch() {
    let ((dns, _mute), (decoy, _full)) = (mute().await, dropping_syns().await);
    let (proxy, accepting, dead) = (proxy().await, accepting().await, refused_address().await);
    let plain = |dns, decoy, hbone| Pod { enrolled: false, dns, decoy, hbone };
    for (pod, words) in [
        (plain(proxy.address, decoy, None), "captured: DNS"),
        (plain(dns, accepting, None), "captured: TCP"),
        (plain(dns, dead, None), "captured: TCP"),
        (plain(dns, decoy, Some(accepting)), "captured: HBONE"),
    ] {
        assert_mismatch(&pod.ask().await, words);
    }
}

#[tokio::test]
async fn an_answer_proves_capture_whatever_it_says() {
    for code in [ResponseCode::NXDomain, ResponseCode::ServFail, ResponseCode::Refused] {
        let reply = move |_, query: &Message| vec![bytes(&coded(query, code))];
        let dns = DnsServer::udp(reply).await;
        let pod = Pod { enrolled: true, dns: dns.address, decoy: accepting().await, hbone: None };
        let outcome = pod.ask().await;
        assert_eq!(outcome.failure, None);
        assert_eq!(found(&outcome), facts(true, true, None));
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_at_once_was_accepted() {
    let dns = proxy().await;
    let decoy = server(|stream| async move { reset(stream) }).await;
    let pod = Pod { enrolled: true, dns: dns.address, decoy, hbone: Some(decoy) };
    let outcome = pod.ask().await;
    assert_eq!(outcome.failure, None);
    assert_eq!(found(&outcome), facts(true, true, Some(true)));
}

#[tokio::test]
async fn datagrams_that_are_no_reply_prove_nothing() {
    let dns = DnsServer::udp(|_, _| vec![b"what?".to_vec()]).await;
    let pod = Pod { enrolled: true, dns: dns.address, decoy: accepting().await, hbone: None };
    let outcome = pod.ask().await;
    assert_failed(&outcome, Phase::Processing, Reason::DnsMalformed);
    assert_eq!(found(&outcome), CaptureFacts { dns: None, tcp: Some(true), hbone: None });
}

#[tokio::test]
async fn a_starved_machine_does_not_take_silence_for_an_answer() {
    let ((dns, _mute), (decoy, _full)) = (mute().await, dropping_syns().await);
    let kind = ModuleKind::Capture(CaptureModule {
        enrolled: true,
        dns_server: Endpoint::from(dns),
        decoy: Endpoint::from(decoy),
        hbone: None,
    });
    let module = Module { kind, timeouts: Timeouts::total(TIMEOUT), expect: Expectation::Reply };
    let spec = module.aim(NAME).expect("a name");
    let probe = Probe::prepare(&spec, &environment()).expect("no files");
    let blocker = async {
        tokio::time::sleep(TIMEOUT / 4).await;
        std::thread::sleep(TIMEOUT * 2);
    };
    let (outcome, ()) = tokio::join!(probe.attempt(), blocker);
    assert_failed(&outcome, Phase::Processing, Reason::ScheduleLag);
    assert_eq!(found(&outcome), CaptureFacts::default());
}

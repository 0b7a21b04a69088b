//! Faults of the field beyond the table of signatures.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshprobe::failure::Reason;
use meshprobe::lab::ca::Authority;
use meshprobe::lab::ztunnel::{Condition, LeafDefect, OtherTrust};
use meshprobe::spec::Verify;
use tokio::io::AsyncReadExt;

use super::support::{
    Bench, Captured, PERMISSIVE, SERVER_ID, STRANGER_ID, STRICT, Seen, ask, ask_with, connect,
    connect_over, open, shake, tunnel,
};

fn server() -> Verify {
    Verify::Spiffe(SERVER_ID.to_owned())
}

#[tokio::test]
async fn missing_sockets_are_refused_while_ztunnel_says_that_it_is_ready() {
    let bench = Bench::start().await;
    let missing = Condition { listeners_missing: true, ..Condition::default() };
    bench.break_there(missing.clone()).await;
    bench.break_here(missing).await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Refused);
    assert_eq!(ask(bench.hbone()).await, Seen::Refused);
    assert_eq!(ask(bench.ambient(Captured::Plain)).await, Seen::Refused);
    let (status, _) = super::own::get(&bench, 15021, "/healthz/ready").await;
    assert_eq!(status, 200);
    bench.break_here(Condition::default()).await;
    bench.break_there(Condition::default()).await;
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply);
}

#[tokio::test]
async fn a_mute_ztunnel_accepts_and_sends_nothing_and_dies_later() {
    let bench = Bench::start().await;
    let mute = Condition { mute: true, ..Condition::default() };
    bench.break_there(mute.clone()).await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Silence);
    let mut held = open(bench.hbone()).await.expect("accepted");
    bench.break_there(Condition { dead: true, ..mute }).await;
    held.ask(b"ping").await.assert_denied();
    assert_eq!(ask(bench.hbone()).await, Seen::Refused);
    bench.break_there(Condition::default()).await;
    bench.break_here(Condition { mute: true, ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Plain)).await, Seen::Silence);
}

#[tokio::test]
async fn a_policy_gap_lets_plaintext_in() {
    let bench = Bench::start().await;
    bench.break_there(Condition { policy_gap: true, ..Condition::default() }).await;
    assert_eq!(ask(bench.plain(STRICT)).await, Seen::Reply);
    let mut open = open(bench.plain(STRICT)).await.expect("accepted");
    assert_eq!(open.ask(b"1").await, Seen::Reply);
    bench.break_there(Condition::default()).await;
    open.ask(b"2").await.assert_denied();
    assert_eq!(ask(bench.plain(STRICT)).await, Seen::Reset);
}

#[tokio::test]
async fn a_denying_policy_is_401_for_hbone() {
    let bench = Bench::start().await;
    bench.break_there(Condition { denies: true, ..Condition::default() }).await;
    assert_eq!(connect(&bench, &bench.plain(PERMISSIVE).to_string()).await, 401);
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reset);
}

#[tokio::test]
async fn a_port_that_closes_is_503_and_reset() {
    let bench = Bench::start().await;
    let closed_ports = BTreeSet::from([(bench.pod("web").ip, PERMISSIVE)]);
    bench.break_there(Condition { closed_ports, ..Condition::default() }).await;
    assert_eq!(connect(&bench, &bench.plain(PERMISSIVE).to_string()).await, 503);
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reset);
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply);
}

#[tokio::test]
async fn half_open_connections_are_silent_while_new_ones_work() {
    let bench = Bench::start().await;
    let mut pooled = open(bench.ambient(Captured::Strict)).await.expect("accepted");
    assert_eq!(pooled.ask(b"1").await, Seen::Reply);
    bench.break_there(Condition { half_open: true, ..Condition::default() }).await;
    assert_eq!(connect(&bench, &bench.plain(STRICT).to_string()).await, 200, "a new one");
    pooled.ask(b"2").await.assert_denied();
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply, "the pool has a new one");
}

#[tokio::test]
async fn two_trust_stores_distrust_each_other() {
    let bench = Bench::start().await;
    let other = OtherTrust(Arc::new(Authority::new("old root").expect("a root")));
    bench.break_there(Condition { trust_split: Some(other.clone()), ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    let fault = shake(&bench, None, server()).await.expect_err("another root");
    assert_eq!(fault.reason, Reason::CertUntrusted);
    bench.break_here(Condition { trust_split: Some(other), ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reply, "both moved");
}

#[tokio::test]
async fn defects_of_the_leaf_are_shown() {
    let bench = Bench::start().await;
    let other = LeafDefect::OtherIdentity(STRANGER_ID.to_owned());
    for (leaf, reason) in [
        (LeafDefect::Expired, Reason::CertExpired),
        (LeafDefect::SignerExpired, Reason::CertExpired),
        (other, Reason::CertNameMismatch),
    ] {
        bench.break_there(Condition { leaf: leaf.clone(), ..Condition::default() }).await;
        let fault = shake(&bench, None, server()).await.expect_err("a bad leaf");
        assert_eq!(fault.reason, reason, "{leaf:?}: {fault:?}");
        assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset, "{leaf:?}");
    }
    bench.break_there(Condition::default()).await;
    shake(&bench, None, server()).await.expect("a good leaf");
}

#[tokio::test]
async fn an_expired_leaf_of_the_caller_is_turned_away() {
    let bench = Bench::start().await;
    for leaf in [LeafDefect::Expired, LeafDefect::SignerExpired] {
        bench.break_here(Condition { leaf, ..Condition::default() }).await;
        assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    }
    let foreign = LeafDefect::OtherIdentity("spiffe://elsewhere/ns/a/sa/b".to_owned());
    bench.break_here(Condition { leaf: foreign, ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
}

#[tokio::test]
async fn large_answers_stall_in_a_black_hole_and_small_ones_pass() {
    let bench = Bench::start().await;
    bench.break_there(Condition { stall_after: Some(1400), ..Condition::default() }).await;
    let large = vec![7; 8192];
    for address in [bench.plain(PERMISSIVE), bench.ambient(Captured::Strict)] {
        let mut held = open(address).await.expect("accepted");
        for _ in 0..5 {
            assert_eq!(held.ask(&large[..1000]).await, Seen::Reply);
        }
        assert_eq!(held.ask(&large).await, Seen::Silence);
    }
    let mut held = open(bench.plain(PERMISSIVE)).await.expect("accepted");
    let heal = async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        bench.break_there(Condition::default()).await;
    };
    let (seen, ()) = tokio::join!(held.ask(&large), heal);
    assert_eq!(seen, Seen::Reply, "what was lost is sent again");
}

#[tokio::test]
async fn a_gray_ztunnel_resets_its_share() {
    let bench = Bench::start().await;
    bench.break_there(Condition { reset_share: 0.25, ..Condition::default() }).await;
    let mut reset = 0;
    for _ in 0..20 {
        match ask(bench.plain(PERMISSIVE)).await {
            Seen::Reply => {}
            seen => {
                seen.assert_denied();
                reset += 1;
            }
        }
    }
    assert_eq!(reset, 5);
    bench.break_there(Condition { reset_share: 1.0, ..Condition::default() }).await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reset);
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reset);
    bench.break_there(Condition::default()).await;
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply);
}

#[tokio::test]
async fn a_gray_ztunnel_resets_streams_of_an_open_tunnel() {
    let bench = Bench::start().await;
    let sender = tunnel(&bench).await;
    bench.break_there(Condition { reset_share: 1.0, ..Condition::default() }).await;
    let authority = bench.plain(STRICT).to_string();
    connect_over(&sender, &authority).await.expect_err("reset");
}

#[tokio::test]
async fn without_a_client_certificate_the_chain_is_shown_and_then_the_alert() {
    let bench = Bench::start().await;
    let mut stream = shake(&bench, None, server()).await.expect("the client's half is done");
    let error = stream.read_u8().await.expect_err("the alert");
    let fault = meshprobe::tls::io_fault(&error);
    assert_eq!(fault.reason, Reason::TlsAlert);
    assert!(fault.detail.to_lowercase().contains("certificate"), "{fault:?}");
}

#[tokio::test]
async fn a_certificate_of_another_trust_domain_is_turned_away() {
    let bench = Bench::start().await;
    let foreign = bench.issue("spiffe://elsewhere/ns/a/sa/b");
    let mut stream = shake(&bench, Some(&foreign), server()).await.expect("the client's half");
    assert!(stream.read_u8().await.is_err());
}

#[tokio::test]
async fn an_own_ztunnel_that_is_mute_leaves_idle_clients_waiting() {
    let bench = Bench::start().await;
    bench.break_here(Condition { mute: true, ..Condition::default() }).await;
    assert_eq!(ask_with(bench.ambient(Captured::Permissive), b"").await, Seen::Silence);
    bench.break_here(Condition::default()).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reply);
}

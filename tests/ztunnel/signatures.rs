//! The table of signatures, row by row: what the ambient and the plain vantage see, and that the
//! default condition heals.

use std::collections::BTreeSet;

use meshprobe::lab::ztunnel::Condition;
use tokio::time::Instant;

use super::support::{
    Bench, Captured, PERMISSIVE, STRICT, Seen, ask, ask_with, connect, open, tunnel,
};

async fn assert_healthy(bench: &Bench) {
    bench.break_here(Condition::default()).await;
    bench.break_there(Condition::default()).await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Plain)).await, Seen::Reply);
    assert_eq!(connect(bench, &bench.plain(STRICT).to_string()).await, 200);
}

#[tokio::test]
async fn a_dead_destination_resets_ambient_callers_and_refuses_plain_ones() {
    let bench = Bench::start().await;
    let mut through = open(bench.ambient(Captured::Strict)).await.expect("accepted");
    assert_eq!(through.ask(b"1").await, Seen::Reply);
    let mut plain = open(bench.plain(PERMISSIVE)).await.expect("accepted");
    assert_eq!(plain.ask(b"1").await, Seen::Reply);
    bench.break_there(Condition { dead: true, ..Condition::default() }).await;
    through.ask(b"2").await.assert_denied();
    plain.ask(b"2").await.assert_denied();
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Refused);
    assert_eq!(ask(bench.hbone()).await, Seen::Refused);
    assert_eq!(
        ask(bench.ambient(Captured::Plain)).await,
        Seen::Reply,
        "not on that node's ztunnel"
    );
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn a_dead_own_ztunnel_refuses_every_destination() {
    let bench = Bench::start().await;
    bench.break_here(Condition { dead: true, ..Condition::default() }).await;
    for to in [Captured::Permissive, Captured::Service, Captured::Plain, Captured::Nobody] {
        assert_eq!(ask(bench.ambient(to)).await, Seen::Refused, "{to:?}");
    }
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn without_a_certificate_hbone_is_reset_and_the_rest_goes_on() {
    let bench = Bench::start().await;
    bench.break_here(Condition { no_certificate: true, ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_eq!(ask(bench.ambient(Captured::Plain)).await, Seen::Reply);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    bench.break_here(Condition::default()).await;
    bench.break_there(Condition { no_certificate: true, ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn an_unknown_own_workload_stalls_and_is_closed() {
    let bench = Bench::start().await;
    bench.break_here(Condition { unknown_workloads: true, ..Condition::default() }).await;
    for to in [Captured::Permissive, Captured::Plain] {
        let began = Instant::now();
        ask(bench.ambient(to)).await.assert_denied();
        assert!(began.elapsed() >= bench.timing.workload, "{to:?}");
    }
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn a_destination_that_is_gone_is_reset_after_a_while_and_silent_for_plain_callers() {
    let bench = Bench::start().await;
    let mut open = open(bench.plain(PERMISSIVE)).await.expect("accepted");
    let gone_pods = BTreeSet::from([bench.pod("web").ip]);
    let gone = Condition { gone_pods, ..Condition::default() };
    bench.break_here(gone.clone()).await;
    bench.break_there(gone).await;
    let began = Instant::now();
    ask(bench.ambient(Captured::Permissive)).await.assert_denied();
    assert!(began.elapsed() >= bench.timing.gone);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::NoAnswer);
    assert_eq!(ask(bench.hbone()).await, Seen::NoAnswer);
    assert_eq!(open.ask(b"1").await, Seen::Silence);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn dropped_hbone_is_reset_after_the_connect_timeout_while_the_plain_port_answers() {
    let bench = Bench::start().await;
    bench.break_there(Condition { hbone_blocked: true, ..Condition::default() }).await;
    let began = Instant::now();
    ask(bench.ambient(Captured::Permissive)).await.assert_denied();
    assert!(began.elapsed() >= bench.timing.connect);
    assert_eq!(ask(bench.hbone()).await, Seen::NoAnswer);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn many_callers_of_a_dropping_port_are_never_refused_nor_accepted() {
    let bench = Bench::start().await;
    for _ in 0..3 {
        let callers: Vec<_> = (0..32).map(|_| tokio::spawn(open(bench.hbone()))).collect();
        bench.break_there(Condition { hbone_blocked: true, ..Condition::default() }).await;
        let late: Vec<_> = (0..8).map(|_| tokio::spawn(open(bench.hbone()))).collect();
        for caller in callers {
            let refused = caller.await.expect("no panic").err() == Some(Seen::Refused);
            assert!(!refused, "the socket stays");
        }
        for caller in late {
            assert_eq!(caller.await.expect("no panic").err(), Some(Seen::NoAnswer));
        }
        assert_healthy(&bench).await;
    }
}

#[tokio::test]
async fn a_frozen_destination_ends_pooled_connections_and_starts_none() {
    let bench = Bench::start().await;
    let mut pooled = open(bench.ambient(Captured::Strict)).await.expect("accepted");
    assert_eq!(pooled.ask(b"1").await, Seen::Reply);
    bench.break_there(Condition { frozen: true, ..Condition::default() }).await;
    let began = Instant::now();
    let (over_pooled, held) =
        tokio::join!(ask(bench.ambient(Captured::Permissive)), pooled.ask(b"2"));
    over_pooled.assert_denied();
    held.assert_denied();
    assert!(began.elapsed() >= bench.timing.ping_timeout);
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Silence, "a new handshake");
    assert_eq!(ask(bench.hbone()).await, Seen::Silence, "the kernel accepts");
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Silence);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn a_frozen_connection_goes_on_where_it_stood() {
    let bench = Bench::start().await;
    let mut plain = open(bench.plain(PERMISSIVE)).await.expect("accepted");
    assert_eq!(plain.ask(b"1").await, Seen::Reply);
    bench.break_there(Condition { frozen: true, ..Condition::default() }).await;
    let heal = async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        bench.break_there(Condition::default()).await;
    };
    let (seen, ()) = tokio::join!(plain.ask(b"2"), heal);
    assert_eq!(seen, Seen::Reply);
}

#[tokio::test]
async fn lost_capture_leaves_in_plaintext() {
    let bench = Bench::start().await;
    bench.break_here(Condition { capture_lost: true, ..Condition::default() }).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Service)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Plain)).await, Seen::Reply);
    ask(bench.ambient(Captured::Strict)).await.assert_denied();
    let dead_too = Condition { capture_lost: true, dead: true, ..Condition::default() };
    bench.break_here(dead_too).await;
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reply, "not ztunnel's affair");
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn a_pod_without_capture_refuses_hbone_and_enforces_nothing() {
    let bench = Bench::start().await;
    bench.break_there(Condition { capture_lost: true, ..Condition::default() }).await;
    assert_eq!(ask(bench.hbone()).await, Seen::Refused);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_eq!(ask(bench.plain(STRICT)).await, Seen::Reply);
    assert_eq!(ask(bench.plain(super::support::CLOSED)).await, Seen::Refused);
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reset);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn strict_being_applied_cuts_plaintext_connections() {
    let bench = Bench::start().await;
    let mut plain = open(bench.plain(PERMISSIVE)).await.expect("accepted");
    let mut ambient = open(bench.ambient(Captured::Permissive)).await.expect("accepted");
    assert_eq!(plain.ask(b"1").await, Seen::Reply);
    assert_eq!(ambient.ask(b"1").await, Seen::Reply);
    let strict = BTreeSet::from([(bench.pod("web").ip, PERMISSIVE)]);
    bench.break_there(Condition { strict, ..Condition::default() }).await;
    plain.ask(b"2").await.assert_denied();
    assert_eq!(ambient.ask(b"2").await, Seen::Reply);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reset);
    assert_eq!(ask_with(bench.plain(PERMISSIVE), b"").await, Seen::Closed);
    assert_healthy(&bench).await;
}

#[tokio::test]
async fn a_pooled_connection_outlives_its_certificate() {
    let bench = Bench::start().await;
    let sender = tunnel(&bench).await;
    let leaf = meshprobe::lab::ztunnel::LeafDefect::Expired;
    bench.break_there(Condition { leaf, ..Condition::default() }).await;
    let authority = bench.plain(STRICT).to_string();
    let status = super::support::connect_over(&sender, &authority).await;
    assert_eq!(status.expect("an answer"), 200);
}

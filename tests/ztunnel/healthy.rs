use super::support::{Bench, CLOSED, Captured, PERMISSIVE, STRICT, Seen, ask, ask_with};

#[tokio::test]
async fn a_healthy_mesh_replies_to_both_vantages() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Permissive)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Service)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::Plain)).await, Seen::Reply);
}

#[tokio::test]
async fn strict_is_for_the_mesh_only() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply);
    assert_eq!(ask(bench.ambient(Captured::StrictService)).await, Seen::Reply);
    assert_eq!(ask(bench.plain(STRICT)).await, Seen::Reset, "bytes were sent");
    assert_eq!(ask_with(bench.plain(STRICT), b"").await, Seen::Closed, "no bytes were sent");
}

#[tokio::test]
async fn a_closed_port_is_accepted_first() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.plain(CLOSED)).await, Seen::Reset);
    assert_eq!(ask(bench.ambient(Captured::Closed)).await, Seen::Reset);
    assert_eq!(ask_with(bench.ambient(Captured::Closed), b"").await, Seen::Closed);
}

#[tokio::test]
async fn a_service_without_an_endpoint_looks_like_a_closed_port() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.ambient(Captured::EmptyService)).await, Seen::Reset);
}

#[tokio::test]
async fn a_captured_connection_is_accepted_whatever_the_destination_does() {
    let bench = Bench::start().await;
    let began = tokio::time::Instant::now();
    assert_eq!(ask(bench.ambient(Captured::Nobody)).await, Seen::Reset);
    assert!(began.elapsed() >= bench.timing.connect, "it was dialled for as long as it takes");
}

#[tokio::test]
async fn raw_hbone_of_an_ambient_pod_is_reset() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.ambient(Captured::RawHbone)).await, Seen::Reset);
}

#[tokio::test]
async fn ztunnels_own_ports_accept_and_close() {
    let bench = Bench::start().await;
    for port in [15001, 15006] {
        ask(bench.plain(port)).await.assert_denied();
    }
    assert_eq!(ask_with(bench.plain(15006), b"").await, Seen::Closed);
    ask_with(bench.hbone(), b"no TLS at all, and longer than a record").await.assert_denied();
}

#[tokio::test]
async fn many_connections_at_once_share_a_tunnel() {
    let bench = Bench::start().await;
    let asked: Vec<_> =
        (0..250).map(|_| tokio::spawn(ask(bench.ambient(Captured::Strict)))).collect();
    for asked in asked {
        assert_eq!(asked.await.expect("no panic"), Seen::Reply);
    }
}

#[tokio::test]
async fn garbage_disturbs_nobody() {
    let bench = Bench::start().await;
    let noise: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..20 {
        let _ = ask_with(bench.hbone(), &noise).await;
        let _ = ask_with(bench.ambient(Captured::RawHbone), &noise).await;
    }
    assert_eq!(ask(bench.ambient(Captured::Strict)).await, Seen::Reply);
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
}

#[tokio::test]
async fn stopping_ends_open_connections() {
    let bench = Bench::start().await;
    let mut through = super::support::open(bench.ambient(Captured::Strict)).await.expect("open");
    assert_eq!(through.ask(b"1").await, Seen::Reply);
    let (client, web) = (bench.ambient(Captured::Strict), bench.plain(PERMISSIVE));
    bench.there.stop().await;
    assert_eq!(ask(web).await, Seen::Refused);
    through.ask(b"2").await.assert_denied();
    bench.here.stop().await;
    assert_eq!(ask(client).await, Seen::Refused);
}

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, PTR, SRV, TXT};
use hickory_proto::rr::{RData, Record};
use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::{DnsFacts, Outcome};
use meshprobe::spec::{DnsModule, ModuleKind, Qtype, Search, Transport};
use meshprobe::target::{Endpoint, Host};
use tokio::net::UdpSocket;

use super::dns_server::{DnsServer, address, answering, bytes, coded, name, reply};
use super::support::{TIMEOUT, assert_failed, attempt};

pub(super) fn module(server: SocketAddr) -> DnsModule {
    DnsModule {
        name: None,
        server: Some(Endpoint { host: Host::Ip(server.ip()), port: server.port() }),
        qtype: Qtype::A,
        transport: Transport::Udp,
        retries: 0,
        search: Search::Off,
        rcodes: vec!["NOERROR".to_owned()],
        min_answers: 1,
        addresses: Vec::new(),
    }
}

pub(super) async fn ask(module: DnsModule, name: &str) -> Outcome {
    attempt(ModuleKind::Dns(module), Expectation::Reply, name).await
}

pub(super) fn facts(outcome: &Outcome) -> &DnsFacts {
    outcome.facts.dns.as_ref().expect("a server was asked")
}

/// Asks a server whose only reply is the one that `answer` makes of the query.
pub(super) async fn ask_one(
    answer: impl Fn(&Message) -> Message + Send + 'static,
) -> (Outcome, DnsServer) {
    let server = DnsServer::udp(move |_, query| vec![bytes(&answer(query))]).await;
    (ask(module(server.address), "svc.example").await, server)
}

#[tokio::test]
async fn an_answer_is_timed_counted_and_told() {
    let (outcome, server) =
        ask_one(|query| answering(query, &[address("10.0.0.2"), address("10.0.0.1")])).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(server.asked(), ["udp svc.example. A"]);
    let facts = facts(&outcome);
    assert_eq!(facts.name, "svc.example.");
    assert_eq!(facts.rcode.as_deref(), Some("NOERROR"));
    assert_eq!(facts.answers, ["10.0.0.2", "10.0.0.1"], "the server's order");
    assert_eq!(facts.sections, Some([2, 0, 0]));
    assert_eq!(facts.server, Some(server.address));
    assert_eq!(facts.transport, Some("udp"));
    assert_eq!(facts.authoritative, Some(false));
    assert_eq!((facts.queries_sent, facts.ignored_replies), (1, 0));
    assert!(!facts.truncated);
    let ran: Vec<_> = outcome.phases.iter().map(|(phase, _)| phase).collect();
    assert_eq!(ran, [Phase::Processing]);
    assert!(outcome.phases.total() <= outcome.duration);
    assert!(outcome.reply_bytes > 12);
}

#[tokio::test]
async fn a_dropped_packet_is_a_timeout_and_nothing_is_sent_again() {
    let server = DnsServer::udp(|number, query| match number {
        1 => Vec::new(),
        _ => vec![bytes(&answering(query, &[address("10.0.0.1")]))],
    })
    .await;
    let outcome = ask(module(server.address), "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert_eq!(server.asked().len(), 1);
    assert_eq!(facts(&outcome).queries_sent, 1);
    assert_eq!(facts(&outcome).rcode, None);
    assert_eq!(outcome.reply_bytes, 0);
}

#[tokio::test]
async fn a_retry_that_was_asked_for_gets_over_a_dropped_packet() {
    let server = DnsServer::udp(|number, query| match number {
        1 => Vec::new(),
        _ => vec![bytes(&answering(query, &[address("10.0.0.1")]))],
    })
    .await;
    let retrying = DnsModule { retries: 1, ..module(server.address) };
    let outcome = ask(retrying, "svc.example").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(server.asked().len(), 2);
    assert_eq!(facts(&outcome).queries_sent, 2);
    let processing = outcome.phases.of(Phase::Processing).expect("ran");
    assert!(processing >= TIMEOUT / 2, "the wait for the lost one counts");
}

#[tokio::test]
async fn retries_end_with_the_deadline() {
    let server = DnsServer::udp(|_, _| Vec::new()).await;
    let retrying = DnsModule { retries: 2, ..module(server.address) };
    let outcome = ask(retrying, "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::Timeout);
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn error_codes_have_their_own_reasons() {
    for (code, reason) in [
        (ResponseCode::NXDomain, Reason::Nxdomain),
        (ResponseCode::NoError, Reason::Nodata),
        (ResponseCode::ServFail, Reason::Servfail),
        (ResponseCode::Refused, Reason::DnsRefused),
        (ResponseCode::NotImp, Reason::DnsMismatch),
        (ResponseCode::FormErr, Reason::DnsMismatch),
        (ResponseCode::BADVERS, Reason::DnsMismatch),
    ] {
        let (outcome, _) = ask_one(move |query| {
            let mut reply = coded(query, code);
            reply.edns = query.edns.clone();
            reply
        })
        .await;
        assert_failed(&outcome, Phase::Processing, reason);
        let rcode = facts(&outcome).rcode.as_deref().expect("a reply");
        assert_eq!(rcode, format!("{code:?}").to_uppercase());
    }
}

#[tokio::test]
async fn a_code_that_was_expected_is_a_good_reply() {
    let server = DnsServer::udp(|_, query| vec![bytes(&coded(query, ResponseCode::NXDomain))]);
    let server = server.await;
    let expecting = DnsModule {
        rcodes: vec!["NXDOMAIN".to_owned(), "REFUSED".to_owned()],
        ..module(server.address)
    };
    assert_eq!(ask(expecting, "gone.example").await.failure, None);
    let (outcome, _) = ask_one(|query| answering(query, &[address("10.0.0.1")])).await;
    assert_eq!(outcome.failure, None);
}

#[tokio::test]
async fn an_answer_where_nxdomain_was_expected_is_a_mismatch() {
    let server =
        DnsServer::udp(|_, query| vec![bytes(&answering(query, &[address("10.0.0.1")]))]).await;
    let expecting = DnsModule { rcodes: vec!["NXDOMAIN".to_owned()], ..module(server.address) };
    let outcome = ask(expecting, "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::DnsMismatch);
}

#[tokio::test]
async fn too_few_answers_are_a_mismatch() {
    let server =
        DnsServer::udp(|_, query| vec![bytes(&answering(query, &[address("10.0.0.1")]))]).await;
    let demanding = DnsModule { min_answers: 2, ..module(server.address) };
    let outcome = ask(demanding, "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::DnsMismatch);
    assert_eq!(facts(&outcome).answers, ["10.0.0.1"]);
}

#[tokio::test]
async fn no_answer_is_good_when_none_is_demanded() {
    let server = DnsServer::udp(|_, query| vec![bytes(&reply(query, Vec::new()))]).await;
    let content = DnsModule { min_answers: 0, ..module(server.address) };
    assert_eq!(ask(content, "svc.example").await.failure, None);
}

#[tokio::test]
async fn one_address_outside_the_expected_networks_is_a_mismatch() {
    let server = DnsServer::udp(|_, query| {
        vec![bytes(&answering(query, &[address("10.0.0.1"), address("192.0.2.1")]))]
    })
    .await;
    let expecting = |networks: &[&str]| DnsModule {
        addresses: networks.iter().map(|it| it.parse().expect("CIDR")).collect(),
        ..module(server.address)
    };
    let outcome = ask(expecting(&["10.0.0.0/8"]), "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::DnsMismatch);
    let outcome = ask(expecting(&["10.0.0.0/8", "192.0.2.1/32"]), "svc.example").await;
    assert_eq!(outcome.failure, None);
}

#[tokio::test]
async fn datagrams_that_are_no_reply_are_malformed_when_nothing_else_comes() {
    type Datagram = fn(&Message) -> Vec<u8>;
    let wrong_id: Datagram = |query| {
        let mut reply = answering(query, &[address("10.0.0.1")]);
        reply.metadata.id = !query.id;
        bytes(&reply)
    };
    let wrong_question: Datagram = |query| {
        let mut reply = answering(query, &[address("10.0.0.1")]);
        reply.queries[0].set_name(name("other.example."));
        bytes(&reply)
    };
    let without_question: Datagram = |query| {
        let mut reply = coded(query, ResponseCode::NoError);
        reply.queries.clear();
        bytes(&reply)
    };
    let echo: Datagram = bytes;
    let garbage: Datagram = |_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let empty: Datagram = |_| Vec::new();
    let half: Datagram = |query| {
        let whole = bytes(&answering(query, &[address("10.0.0.1")]));
        whole[..whole.len() - 2].to_vec()
    };
    for datagram in [wrong_id, wrong_question, without_question, echo, garbage, empty, half] {
        let server = DnsServer::udp(move |_, query| vec![datagram(query)]).await;
        let outcome = ask(module(server.address), "svc.example").await;
        assert_failed(&outcome, Phase::Processing, Reason::DnsMalformed);
        assert_eq!(facts(&outcome).ignored_replies, 1);
        assert_eq!(facts(&outcome).rcode, None);
    }
}

#[tokio::test]
async fn a_reply_behind_a_forged_one_still_counts() {
    let server = DnsServer::udp(|_, query| {
        let good = answering(query, &[address("10.0.0.1")]);
        let mut forged = answering(query, &[address("192.0.2.1")]);
        forged.metadata.id = !query.id;
        vec![bytes(&forged), Vec::new(), bytes(&good)]
    })
    .await;
    let outcome = ask(module(server.address), "svc.example").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(facts(&outcome).answers, ["10.0.0.1"]);
    assert_eq!(facts(&outcome).ignored_replies, 2);
}

#[tokio::test]
async fn a_closed_udp_port_is_refused_not_a_timeout() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("ports");
    let closed = socket.local_addr().expect("bound");
    drop(socket);
    let outcome = ask(module(closed), "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::Refused);
    assert_eq!(facts(&outcome).queries_sent, 1);
}

#[tokio::test]
async fn an_ipv6_server_is_asked() {
    let server = DnsServer::start(IpAddr::V6(Ipv6Addr::LOCALHOST), |_, query| {
        vec![bytes(&answering(query, &[address("2001:db8::1")]))]
    })
    .await;
    let aaaa = DnsModule { qtype: Qtype::Aaaa, ..module(server.address) };
    let outcome = ask(aaaa, "svc.example").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(facts(&outcome).answers, ["2001:db8::1"]);
    let socket = UdpSocket::bind("[::1]:0").await.expect("ports");
    let closed = socket.local_addr().expect("bound");
    drop(socket);
    let outcome = ask(module(closed), "svc.example").await;
    assert_failed(&outcome, Phase::Processing, Reason::Refused);
}

#[tokio::test]
async fn an_alias_is_followed_and_a_circle_of_them_is_malformed() {
    let (outcome, _) = ask_one(|query| {
        let alias = RData::CNAME(CNAME(name("real.example.")));
        let mut reply = answering(query, &[alias]);
        let data = address("10.0.0.1");
        reply.add_answer(Record::from_rdata(name("real.example."), 30, data));
        reply
    })
    .await;
    assert_eq!(outcome.failure, None);
    assert_eq!(facts(&outcome).answers, ["real.example.", "10.0.0.1"]);

    let (outcome, _) = ask_one(|query| {
        let to = |name| RData::CNAME(CNAME(name));
        let mut reply = answering(query, &[to(name("b.example."))]);
        let back = to(query.queries[0].name().clone());
        reply.add_answer(Record::from_rdata(name("b.example."), 30, back));
        reply
    })
    .await;
    assert_failed(&outcome, Phase::Processing, Reason::DnsMalformed);

    let (outcome, _) =
        ask_one(|query| answering(query, &[RData::CNAME(CNAME(name("nowhere.example.")))])).await;
    assert_failed(&outcome, Phase::Processing, Reason::Nodata);
}

#[tokio::test]
async fn every_type_is_asked_for_and_read() {
    for (qtype, data, shown) in [
        (
            Qtype::Srv,
            RData::SRV(SRV::new(1, 2, 15012, name("pod.example."))),
            "1 2 15012 pod.example.",
        ),
        (Qtype::Cname, RData::CNAME(CNAME(name("real.example."))), "real.example."),
        (Qtype::Ptr, RData::PTR(PTR(name("pod.example."))), "pod.example."),
        (Qtype::Txt, RData::TXT(TXT::new(vec!["1.1.0".to_owned()])), "\"1.1.0\""),
    ] {
        let server = DnsServer::udp(move |_, query| {
            vec![bytes(&answering(query, std::slice::from_ref(&data)))]
        })
        .await;
        let typed = DnsModule { qtype, ..module(server.address) };
        let outcome = ask(typed, "svc.example").await;
        assert_eq!(outcome.failure, None);
        assert_eq!(facts(&outcome).answers, [shown]);
        assert_eq!(server.asked(), [format!("udp svc.example. {}", qtype.as_str())]);
    }
}

#[tokio::test]
async fn ptr_of_an_address_asks_for_its_reverse_name() {
    let server = DnsServer::udp(|_, query| {
        vec![bytes(&answering(query, &[RData::PTR(PTR(name("pod.example.")))]))]
    })
    .await;
    let ptr = DnsModule {
        qtype: Qtype::Ptr,
        search: Search::List { domains: vec!["corp".to_owned()], ndots: 5 },
        ..module(server.address)
    };
    for address in ["10.1.2.3", "2001:db8::1"] {
        assert_eq!(ask(ptr.clone(), address).await.failure, None);
    }
    let nibbles = "1.0.0.0.".to_owned() + &"0.".repeat(20) + "8.b.d.0.1.0.0.2";
    assert_eq!(
        server.asked(),
        ["udp 3.2.1.10.in-addr.arpa. PTR".to_owned(), format!("udp {nibbles}.ip6.arpa. PTR"),]
    );
}

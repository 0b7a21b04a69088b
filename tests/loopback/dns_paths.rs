//! DNS beyond one datagram each way: truncation, TCP, search lists, where the server comes from.

use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::net::Resolver;
use meshprobe::net::dns::SearchList;
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{DnsModule, Module, ModuleKind, Search, Timeouts, Transport};
use meshprobe::target::{Endpoint, Host};
use tokio::io::AsyncWriteExt;

use super::dns::{ask, ask_one, facts, module};
use super::dns_server::{DnsServer, address, answering, bytes, coded, framed, reply};
use super::support::{TIMEOUT, assert_failed, refused_address, reset};

/// Asks `svc.example` with `module` in the surroundings of `resolver`.
async fn ask_within(resolver: Resolver, module: DnsModule) -> Outcome {
    let module = Module {
        kind: ModuleKind::Dns(module),
        timeouts: Timeouts::total(TIMEOUT),
        expect: Expectation::Reply,
    };
    let spec = module.aim("svc.example").expect("a good name");
    let environment = Environment { resolver: Arc::new(resolver), ..Environment::default() };
    let probe = Probe::prepare(&spec, &environment).expect("no files");
    probe.attempt().await
}

fn truncated(query: &Message) -> Vec<u8> {
    let mut reply = reply(query, Vec::new());
    reply.metadata.truncation = true;
    bytes(&reply)
}

#[tokio::test]
async fn a_truncated_reply_is_asked_again_over_tcp_and_says_so() {
    let server = DnsServer::both(
        |_, query| vec![truncated(query)],
        |query| answering(query, &[address("10.0.0.1")]),
    )
    .await;
    let outcome = ask(module(server.address), "svc.example").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(server.asked(), ["udp svc.example. A", "tcp svc.example. A"]);
    let facts = facts(&outcome);
    assert!(facts.truncated);
    assert_eq!(facts.transport, Some("tcp"));
    assert_eq!(facts.queries_sent, 2);
    assert!(outcome.phases.of(Phase::Connect).is_some());
    assert!(outcome.facts.tcp.is_some());
}

#[tokio::test]
async fn a_truncated_reply_without_tcp_behind_it_fails_in_connect() {
    let (outcome, _) = ask_one(|query| {
        let mut reply = reply(query, Vec::new());
        reply.metadata.truncation = true;
        reply
    })
    .await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert!(facts(&outcome).truncated);
    assert_eq!(facts(&outcome).queries_sent, 1);
}

#[tokio::test]
async fn over_tcp_one_message_each_way() {
    let server = DnsServer::tcp(|mut stream, query| async move {
        let framed = framed(&answering(&query, &[address("10.0.0.1")]));
        for byte in framed {
            let _ = stream.write_all(&[byte]).await;
        }
    })
    .await;
    let tcp = DnsModule { transport: Transport::Tcp, ..module(server.address) };
    let outcome = ask(tcp, "svc.example").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(server.asked(), ["tcp svc.example. A"]);
    assert_eq!(facts(&outcome).transport, Some("tcp"));
    assert!(!facts(&outcome).truncated);
    assert!(outcome.phases.of(Phase::Connect).is_some());
}

#[tokio::test]
async fn over_tcp_each_end_has_its_reason() {
    type Serve = fn(tokio::net::TcpStream, Message) -> futures::Serving;
    let cases: [(Serve, Reason); 6] = [
        (|stream, _| Box::pin(async { drop(stream) }), Reason::Closed),
        (|stream, _| Box::pin(async { reset(stream) }), Reason::Reset),
        (|stream, _| Box::pin(futures::hold(stream)), Reason::Timeout),
        (
            |mut stream, query| {
                Box::pin(async move {
                    let framed = framed(&answering(&query, &[address("10.0.0.1")]));
                    let _ = stream.write_all(&framed[..framed.len() - 1]).await;
                })
            },
            Reason::Closed,
        ),
        (
            |mut stream, query| {
                Box::pin(async move {
                    let mut reply = answering(&query, &[address("10.0.0.1")]);
                    reply.metadata.id = !query.id;
                    let _ = stream.write_all(&framed(&reply)).await;
                })
            },
            Reason::DnsMalformed,
        ),
        (
            |mut stream, _| {
                Box::pin(async move {
                    let _ = stream.write_all(&[0, 0]).await;
                })
            },
            Reason::DnsMalformed,
        ),
    ];
    for (serve, reason) in cases {
        let server = DnsServer::tcp(serve).await;
        let tcp = DnsModule { transport: Transport::Tcp, ..module(server.address) };
        let outcome = ask(tcp, "svc.example").await;
        assert_failed(&outcome, Phase::Processing, reason);
        assert_eq!(facts(&outcome).queries_sent, 1);
    }
    let tcp = DnsModule { transport: Transport::Tcp, ..module(refused_address().await) };
    let outcome = ask(tcp, "svc.example").await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
    assert_eq!(facts(&outcome).queries_sent, 0);
}

mod futures {
    use std::pin::Pin;

    pub(super) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Keeps a connection open and silent until its peer gives up.
    pub(super) async fn hold(stream: tokio::net::TcpStream) {
        std::future::pending::<()>().await;
        drop(stream);
    }
}

fn search() -> Search {
    Search::List { domains: vec!["ns.svc.local".to_owned(), "svc.local".to_owned()], ndots: 2 }
}

#[tokio::test]
async fn each_name_of_a_search_is_one_query_and_recorded() {
    let server = DnsServer::udp(|_, query| {
        let asked = query.queries[0].name().to_ascii();
        vec![bytes(&match asked.as_str() {
            "web.prod.ns.svc.local." => coded(query, ResponseCode::NXDomain),
            "web.prod.svc.local." => coded(query, ResponseCode::NoError),
            _ => answering(query, &[address("10.0.0.1")]),
        })]
    })
    .await;
    let searching = DnsModule { search: search(), ..module(server.address) };
    let outcome = ask(searching.clone(), "web.prod").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(
        server.asked(),
        ["udp web.prod.ns.svc.local. A", "udp web.prod.svc.local. A", "udp web.prod. A",]
    );
    let told = facts(&outcome);
    assert_eq!(told.name, "web.prod.");
    assert_eq!(told.queries_sent, 3);
    let steps = told.searched.iter().map(|it| (it.name.as_str(), it.rcode.as_str()));
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [("web.prod.ns.svc.local.", "NXDOMAIN"), ("web.prod.svc.local.", "NOERROR"),]
    );
    let outcome = ask(searching, "a.web.prod").await;
    assert_eq!(facts(&outcome).name, "a.web.prod.", "two dots: as it is first");
    assert_eq!(facts(&outcome).searched, []);
}

#[tokio::test]
async fn a_failing_server_ends_a_search() {
    let server =
        DnsServer::udp(|_, query| vec![bytes(&coded(query, ResponseCode::ServFail))]).await;
    let searching = DnsModule { search: search(), ..module(server.address) };
    let outcome = ask(searching, "web").await;
    assert_failed(&outcome, Phase::Processing, Reason::Servfail);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_search_in_which_one_name_exists_without_the_type_ends_as_nodata() {
    let server = DnsServer::udp(|number, query| {
        vec![bytes(&match number {
            1 => coded(query, ResponseCode::NoError),
            _ => coded(query, ResponseCode::NXDomain),
        })]
    })
    .await;
    let searching = DnsModule { search: search(), ..module(server.address) };
    let outcome = ask(searching, "web").await;
    assert_failed(&outcome, Phase::Processing, Reason::Nodata);
    assert_eq!(facts(&outcome).rcode.as_deref(), Some("NXDOMAIN"));
}

#[tokio::test]
async fn without_a_server_the_first_of_resolv_conf_is_asked_with_its_search_list() {
    let server =
        DnsServer::udp(|_, query| vec![bytes(&answering(query, &[address("10.0.0.1")]))]).await;
    let list = SearchList::new(&["corp".to_owned()], 5).expect("a name");
    let by_resolv_conf =
        DnsModule { server: None, search: Search::ResolvConf, ..module(server.address) };
    let resolver = Resolver::with_nameservers(vec![server.address], list);
    let outcome = ask_within(resolver, by_resolv_conf.clone()).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.facts.remote_address, Some(server.address));
    assert_eq!(outcome.phases.of(Phase::Resolve), None);
    assert_eq!(server.asked(), ["udp svc.example.corp. A"]);
    let outcome = ask_within(Resolver::default(), by_resolv_conf).await;
    assert_failed(&outcome, Phase::Resolve, Reason::LocalResource);
}

#[tokio::test]
async fn a_server_given_by_name_takes_a_resolve_phase() {
    let server =
        DnsServer::udp(|_, query| vec![bytes(&answering(query, &[address("127.0.0.1")]))]).await;
    let named = DnsModule {
        server: Some(Endpoint {
            host: Host::Name("kube-dns.kube-system".to_owned()),
            port: server.address.port(),
        }),
        ..module(server.address)
    };
    let resolver = Resolver::with_nameservers(vec![server.address], SearchList::default());
    let outcome = ask_within(resolver, named.clone()).await;
    assert_eq!(outcome.failure, None);
    assert!(outcome.phases.of(Phase::Resolve).is_some());
    assert_eq!(server.asked(), ["udp kube-dns.kube-system. A", "udp svc.example. A"]);
    assert_eq!(facts(&outcome).queries_sent, 1, "of the question itself");
    let nowhere = Resolver::default();
    let outcome = ask_within(nowhere, named).await;
    assert_failed(&outcome, Phase::Resolve, Reason::LocalResource);
    assert_eq!(outcome.facts.dns, None);
}

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::lab::dns::{
    Captured, CapturedCondition, CapturedSetup, Replica, ReplicaCondition, ServiceAddress, Zone,
};
use meshprobe::lab::world::{Service, World};
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{DnsModule, Module, ModuleKind, Qtype, Search, Timeouts, Transport};
use meshprobe::target::{Endpoint, Host};

/// Long enough that only a server that never answers meets it.
const PATIENCE: Duration = Duration::from_millis(500);
const ECHO: &str = "echo.default.svc.cluster.local";

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn zone() -> Zone {
    let service = |name: &str, ip: [u8; 4]| Service {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        ip: IpAddr::from(ip),
        ports: vec![(80, 8080)],
        endpoints: Vec::new(),
    };
    let services = vec![service("echo", [10, 1, 0, 1]), service("other", [10, 1, 0, 2])];
    Zone::of(&World { services, ..World::default() })
}

async fn replica() -> Replica {
    Replica::start(any(), zone()).await.expect("loopback has ports")
}

async fn ask(server: SocketAddr, transport: Transport, qtype: Qtype, name: &str) -> Outcome {
    let module = DnsModule {
        name: None,
        server: Some(Endpoint { host: Host::Ip(server.ip()), port: server.port() }),
        qtype,
        transport,
        retries: 0,
        search: Search::Off,
        rcodes: vec!["NOERROR".to_owned()],
        min_answers: 1,
        addresses: Vec::new(),
    };
    let timeouts = Timeouts::total(PATIENCE);
    let module = Module { kind: ModuleKind::Dns(module), timeouts, expect: Expectation::Reply };
    let spec = module.aim(name).expect("a name");
    Probe::prepare(&spec, &Environment::default()).expect("no files").attempt().await
}

fn answers(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.failure, None);
    outcome.facts.dns.as_ref().expect("facts").answers.clone()
}

fn reason(outcome: &Outcome) -> Option<(Phase, Reason)> {
    outcome.failure.as_ref().map(|failure| (failure.phase, failure.reason))
}

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

#[tokio::test]
async fn a_replica_answers_for_every_service_over_udp_and_tcp() {
    let replica = replica().await;
    for transport in BOTH {
        let asked = |qtype, name| ask(replica.address(), transport, qtype, name);
        assert_eq!(answers(&asked(Qtype::A, ECHO).await), ["10.1.0.1"]);
        let absent = asked(Qtype::A, "absent.default.svc.cluster.local").await;
        assert_eq!(reason(&absent), Some((Phase::Processing, Reason::Nxdomain)));
        let no_such_type = asked(Qtype::Aaaa, ECHO).await;
        assert_eq!(reason(&no_such_type), Some((Phase::Processing, Reason::Nodata)));
        let foreign = asked(Qtype::A, "example.com").await;
        assert_eq!(reason(&foreign), Some((Phase::Processing, Reason::DnsRefused)));
    }
    assert_eq!(replica.questions(), 8);
}

#[tokio::test]
async fn a_replica_fails_as_it_is_told_and_heals() {
    let replica = replica().await;
    let failures = [
        (ReplicaCondition::Silent, Some(Reason::Timeout), Some(Reason::Timeout)),
        (ReplicaCondition::Dropped, Some(Reason::Timeout), Some(Reason::Timeout)),
        (ReplicaCondition::Down, Some(Reason::Refused), Some(Reason::Refused)),
        (ReplicaCondition::Servfail, Some(Reason::Servfail), Some(Reason::Servfail)),
        (ReplicaCondition::Lossy(1), Some(Reason::Timeout), None),
        (ReplicaCondition::Slow(PATIENCE * 4), Some(Reason::Timeout), Some(Reason::Timeout)),
    ];
    for (condition, udp, tcp) in failures {
        replica.set(condition.clone()).await.expect("in force");
        for (transport, expected) in [(Transport::Udp, udp), (Transport::Tcp, tcp)] {
            let outcome = ask(replica.address(), transport, Qtype::A, ECHO).await;
            let found = reason(&outcome).map(|(_, reason)| reason);
            assert_eq!(found, expected, "{condition:?} {transport:?}");
        }
        replica.set(ReplicaCondition::Serves).await.expect("in force");
        for transport in BOTH {
            let outcome = ask(replica.address(), transport, Qtype::A, ECHO).await;
            assert_eq!(outcome.failure, None, "after {condition:?} {transport:?}");
        }
    }
}

#[tokio::test]
async fn a_stale_replica_answers_with_what_once_was() {
    let replica = replica().await;
    let former = zone()
        .with(ECHO, &[IpAddr::from([10, 1, 9, 9])])
        .with("other.default.svc.cluster.local", &[]);
    replica.set(ReplicaCondition::Stale(former)).await.expect("in force");
    let asked = |name| ask(replica.address(), Transport::Udp, Qtype::A, name);
    assert_eq!(answers(&asked(ECHO).await), ["10.1.9.9"]);
    let gone = asked("other.default.svc.cluster.local").await;
    assert_eq!(reason(&gone), Some((Phase::Processing, Reason::Nxdomain)));
}

#[tokio::test]
async fn the_service_address_takes_turns_and_does_not_look_who_is_well() {
    let (first, second) = (replica().await, replica().await);
    let service = ServiceAddress::start(any(), vec![first.address(), second.address()]);
    let service = service.await.expect("loopback has ports");
    for transport in BOTH {
        for _ in 0..4 {
            let outcome = ask(service.address(), transport, Qtype::A, ECHO).await;
            assert_eq!(answers(&outcome), ["10.1.0.1"]);
        }
    }
    assert_eq!((first.questions(), second.questions()), (4, 4));
    second.set(ReplicaCondition::Servfail).await.expect("in force");
    let mut failed = 0;
    for _ in 0..4 {
        let outcome = ask(service.address(), Transport::Udp, Qtype::A, ECHO).await;
        failed += u32::from(reason(&outcome) == Some((Phase::Processing, Reason::Servfail)));
    }
    assert_eq!(failed, 2);
    second.set(ReplicaCondition::Down).await.expect("in force");
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let outcome = ask(service.address(), Transport::Tcp, Qtype::A, ECHO).await;
        reasons.push(reason(&outcome).map(|(_, reason)| reason));
    }
    assert!(reasons.contains(&None), "{reasons:?}");
    assert!(reasons.iter().any(|reason| matches!(reason, Some(Reason::Reset | Reason::Closed))));
}

#[tokio::test]
async fn a_service_address_without_endpoints_answers_nobody() {
    let service = ServiceAddress::start(any(), Vec::new()).await.expect("loopback has ports");
    let outcome = ask(service.address(), Transport::Udp, Qtype::A, ECHO).await;
    assert_eq!(reason(&outcome), Some((Phase::Processing, Reason::Timeout)));
}

async fn captured() -> (Replica, Captured) {
    let coredns = replica().await;
    let view = Captured::start(CapturedSetup {
        resolver: any(),
        decoys: vec![any()],
        services: BTreeMap::from([(ECHO.to_owned(), vec![IpAddr::from([127, 78, 0, 1])])]),
        upstream: coredns.address(),
    });
    (coredns, view.await.expect("loopback has ports"))
}

#[tokio::test]
async fn a_captured_view_answers_for_its_services_itself_and_passes_on_the_rest() {
    let (coredns, view) = captured().await;
    for server in [view.resolver(), view.decoys()[0]] {
        for transport in BOTH {
            let outcome = ask(server, transport, Qtype::A, ECHO).await;
            assert_eq!(answers(&outcome), ["127.78.0.1"], "the alias, not the Service's address");
            let facts = outcome.facts.dns.expect("facts");
            assert_eq!(facts.authoritative, Some(true));
            let other_family = ask(server, transport, Qtype::Aaaa, ECHO).await;
            assert_eq!(reason(&other_family), Some((Phase::Processing, Reason::Nodata)));
        }
    }
    assert_eq!(coredns.questions(), 0);
    for transport in BOTH {
        let other = "other.default.svc.cluster.local";
        let outcome = ask(view.resolver(), transport, Qtype::A, other).await;
        assert_eq!(answers(&outcome), ["10.1.0.2"]);
    }
    assert_eq!(coredns.questions(), 2);
    coredns.set(ReplicaCondition::Down).await.expect("in force");
    for transport in BOTH {
        let outcome = ask(view.resolver(), transport, Qtype::A, "other.default.svc.cluster.local");
        assert_eq!(reason(&outcome.await), Some((Phase::Processing, Reason::Servfail)));
        assert_eq!(ask(view.resolver(), transport, Qtype::A, ECHO).await.failure, None);
    }
}

#[tokio::test]
async fn a_captured_view_fails_as_it_is_told_and_heals() {
    let (_coredns, view) = captured().await;
    let elsewhere = BTreeMap::from([(ECHO.to_owned(), vec![IpAddr::from([127, 78, 9, 9])])]);
    let own = || Ok(vec!["127.78.0.1".to_owned()]);
    let coredns = || Ok(vec!["10.1.0.1".to_owned()]);
    let failed = |reason| Err(reason);
    let conditions = [
        (CapturedCondition::Down, failed(Reason::Refused), failed(Reason::Refused)),
        (CapturedCondition::Serves, own(), own()),
        (CapturedCondition::Silent, failed(Reason::Timeout), failed(Reason::Timeout)),
        (CapturedCondition::Unaware, coredns(), coredns()),
        (
            CapturedCondition::Differs(elsewhere),
            Ok(vec!["127.78.9.9".to_owned()]),
            Ok(vec!["127.78.9.9".to_owned()]),
        ),
        (CapturedCondition::Lost, coredns(), failed(Reason::Timeout)),
        (CapturedCondition::Serves, own(), own()),
    ];
    for (condition, resolver, decoy) in conditions {
        view.set(condition.clone()).await.expect("in force");
        for (server, expected) in [(view.resolver(), resolver), (view.decoys()[0], decoy)] {
            for transport in BOTH {
                let outcome = ask(server, transport, Qtype::A, ECHO).await;
                let found = match reason(&outcome) {
                    Some((_, reason)) => Err(reason),
                    None => Ok(answers(&outcome)),
                };
                assert_eq!(found, expected, "{condition:?} {transport:?}");
            }
        }
    }
}

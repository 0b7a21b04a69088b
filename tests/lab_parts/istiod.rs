use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use meshprobe::failure::Reason;
use meshprobe::istiod::messages::{
    Address, AddressKind, DeltaDiscoveryResponse, TunnelProtocol, Workload,
};
use meshprobe::lab::istiod::{
    Answers, Ca, Certificate, Connection, Http2, IstiodCondition, Stale, Xds,
};
use meshprobe::outcome::Rung;
use prost::Message;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::climber::{Fixture, identity};

/// URI names and seconds of validity left.
fn read(chain_pem: &str) -> (Vec<String>, i64) {
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain_pem.as_bytes()).expect("PEM");
    let (_, certificate) = X509Certificate::from_der(&pem.contents).expect("a certificate");
    let names = certificate.subject_alternative_name().expect("readable").expect("names");
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let left = certificate.validity().not_after.timestamp() - now.as_secs() as i64;
    (uris.collect(), left)
}

/// The only resource, if it is a workload.
fn workload(answer: &DeltaDiscoveryResponse) -> Option<Workload> {
    let [resource] = answer.resources.as_slice() else { return None };
    let any = resource.resource.as_ref().expect("a resource");
    match Address::decode(any.value.as_slice()).expect("an address").kind.expect("a kind") {
        AddressKind::Workload(workload) => Some(workload),
        AddressKind::Service(_) => None,
    }
}

#[tokio::test]
async fn a_healthy_istiod_tells_the_workload_and_signs_for_it() {
    let fixture = Fixture::start().await;
    let top = fixture.climber("ambient").climb().await.expect("every rung");
    assert_eq!(top.answer.removed_resources, Vec::<String>::new());
    let workload = workload(&top.answer).expect("one");
    assert_eq!((workload.name.as_str(), workload.node.as_str()), ("ambient", "node-1"));
    assert_eq!(workload.service_account, "ambient-account");
    assert_eq!(workload.tunnel_protocol(), TunnelProtocol::Hbone);
    assert_eq!(workload.authorization_policies, Vec::<String>::new());
    assert_eq!(top.answer.resources[0].aliases, ["/10.0.0.1"]);
    let (uris, left) = read(&top.signed.chain_pem);
    assert_eq!(uris, ["spiffe://cluster.local/ns/default/sa/ambient-account"]);
    assert!((86_300..=86_400).contains(&left), "{left}");
    assert_eq!(top.signed.roots_pem, fixture.roots);
    assert_eq!(fixture.istiod.totals(), [1, 0, 1]);
}

#[tokio::test]
async fn workloads_say_whether_they_are_in_the_mesh_and_what_denies_plaintext() {
    let fixture = Fixture::start().await;
    for (name, tunnel, policies) in [
        ("strict", TunnelProtocol::Hbone, vec!["istio-system/istio_converted_static_strict"]),
        ("plain", TunnelProtocol::None, vec![]),
    ] {
        let top = fixture.climber(name).climb().await.expect("every rung");
        let workload = workload(&top.answer).expect("one");
        assert_eq!((workload.tunnel_protocol(), workload.authorization_policies), {
            (tunnel, policies.into_iter().map(str::to_owned).collect())
        });
    }
}

#[tokio::test]
async fn names_find_services_and_what_does_not_exist_is_said_to_be_removed() {
    let fixture = Fixture::start().await;
    let mut climber = fixture.climber("plain");
    climber.names = vec![
        "/10.1.0.1".to_owned(),
        "Kubernetes//Pod/default/strict".to_owned(),
        "/10.9.9.9".to_owned(),
    ];
    let top = climber.climb().await.expect("every rung");
    assert_eq!(top.answer.removed_resources, ["/10.9.9.9"]);
    let names: Vec<_> = top.answer.resources.iter().map(|found| found.name.as_str()).collect();
    let service = "default/echo.default.svc.cluster.local";
    assert_eq!(names, ["Kubernetes//Pod/default/strict", service]);
    climber.names = vec!["*".to_owned()];
    let top = climber.climb().await.expect("every rung");
    assert_eq!(top.answer.resources.len(), 4);
}

#[tokio::test]
async fn a_foreign_or_cut_or_ended_token_is_rejected_by_both_calls() {
    let fixture = Fixture::start().await;
    let good = fixture.climber("ambient");
    let foreign = Fixture::start().await.climber("ambient").token;
    let cut = good.token[..good.token.len() - 4].to_owned();
    let ended = meshprobe::lab::istiod::Tokens::default();
    let ended = ended.mint(fixture.pod("ambient"), Duration::ZERO);
    for token in [foreign, cut, ended] {
        let mut climber = good.clone();
        climber.token = token;
        let (rung, reason, detail) = climber.climb().await.err().expect("rejected");
        assert_eq!((rung, reason), (Rung::Xds, Reason::GrpcStatus));
        assert!(detail.contains("Unauthenticated"), "{detail}");
        let (rung, reason, detail) = climber.csr().await.expect_err("rejected");
        assert_eq!((rung, reason), (Rung::Csr, Reason::GrpcStatus));
        assert!(detail.ends_with("Unauthenticated: request authenticate failure"), "{detail}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_the_tokens_may_not_subscribe() {
    let fixture = Fixture::start().await;
    let mut climber = fixture.climber("ambient");
    climber.pod = identity(fixture.pod("strict"));
    let (rung, reason, detail) = climber.climb().await.err().expect("rejected");
    assert_eq!((rung, reason), (Rung::Xds, Reason::GrpcStatus));
    assert!(detail.contains("PermissionDenied"), "{detail}");
}

#[tokio::test]
async fn lifetimes_are_given_up_to_90_days() {
    let fixture = Fixture::start().await;
    let mut climber = fixture.climber("ambient");
    climber.validity = Duration::from_secs(3600);
    let (_, left) = read(&climber.csr().await.expect("signed").chain_pem);
    assert!((3500..=3600).contains(&left), "{left}");
    climber.validity = Duration::from_secs(91 * 86_400);
    let (rung, reason, detail) = climber.csr().await.expect_err("rejected");
    assert_eq!((rung, reason), (Rung::Csr, Reason::GrpcStatus));
    assert!(detail.contains("InvalidArgument"), "{detail}");
}

fn connection(connection: Connection) -> IstiodCondition {
    IstiodCondition { connection, ..IstiodCondition::default() }
}

fn certificate(certificate: Certificate) -> IstiodCondition {
    IstiodCondition { certificate, ..IstiodCondition::default() }
}

fn http2(http2: Http2) -> IstiodCondition {
    IstiodCondition { http2, ..IstiodCondition::default() }
}

fn answers(answers: Answers) -> IstiodCondition {
    IstiodCondition { answers, ..IstiodCondition::default() }
}

fn ca(ca: Ca) -> IstiodCondition {
    IstiodCondition { ca, ..IstiodCondition::default() }
}

fn xds(xds: Xds) -> IstiodCondition {
    IstiodCondition { xds, ..IstiodCondition::default() }
}

#[tokio::test]
async fn every_condition_breaks_its_own_rung_and_heals() {
    let fixture = Fixture::start().await;
    let climber = fixture.climber("ambient");
    for (condition, rung, reason) in [
        (connection(Connection::Refused), Rung::Tcp, Reason::Refused),
        (connection(Connection::Dropped), Rung::Tcp, Reason::Timeout),
        (connection(Connection::Silent), Rung::Tls, Reason::Timeout),
        (connection(Connection::Garbage), Rung::Tls, Reason::TlsProtocol),
        (certificate(Certificate::WrongRoot), Rung::Tls, Reason::CertUntrusted),
        (certificate(Certificate::Expired), Rung::Tls, Reason::CertExpired),
        (certificate(Certificate::OtherName), Rung::Tls, Reason::CertNameMismatch),
        (certificate(Certificate::EndlessChain), Rung::Tls, Reason::TlsProtocol),
        (http2(Http2::Silent), Rung::Http2, Reason::Timeout),
        (http2(Http2::Garbage), Rung::Http2, Reason::HttpMalformed),
        (answers(Answers::Silent), Rung::Xds, Reason::Timeout),
        (answers(Answers::Garbage), Rung::Xds, Reason::HttpMalformed),
        (answers(Answers::NotGrpc), Rung::Xds, Reason::GrpcStatus),
        (xds(Xds::Unavailable), Rung::Xds, Reason::GrpcStatus),
        (xds(Xds::Silent), Rung::Xds, Reason::Timeout),
        (xds(Xds::Huge), Rung::Xds, Reason::BodyTooLarge),
        (ca(Ca::Unavailable), Rung::Csr, Reason::GrpcStatus),
        (ca(Ca::Silent), Rung::Csr, Reason::Timeout),
        (ca(Ca::Empty), Rung::Csr, Reason::CertUntrusted),
    ] {
        fixture.istiod.set(condition.clone()).await.expect("in force");
        let Err((broken, found, detail)) = climber.climb().await else {
            panic!("{condition:?} breaks nothing");
        };
        assert_eq!((broken, found), (rung, reason), "{condition:?}: {detail}");
        fixture.istiod.set(IstiodCondition::default()).await.expect("in force");
        if let Err((rung, reason, detail)) = climber.climb().await {
            panic!("not healed from {condition:?}: {rung} {reason} {detail}");
        }
    }
}

#[tokio::test]
async fn what_istiod_says_of_its_ca_does_not_concern_discovery() {
    let fixture = Fixture::broken(xds(Xds::Silent)).await;
    fixture.climber("ambient").csr().await.expect("signed");
    let fixture = Fixture::broken(answers(Answers::Silent)).await;
    let (rung, reason, _) = fixture.climber("ambient").csr().await.expect_err("silent");
    assert_eq!((rung, reason), (Rung::Csr, Reason::Timeout));
}

#[tokio::test]
async fn a_ca_can_sign_what_was_not_asked_for() {
    let fixture = Fixture::broken(ca(Ca::OtherIdentity)).await;
    let climber = fixture.climber("ambient");
    let (uris, _) = read(&climber.csr().await.expect("signed").chain_pem);
    assert_eq!(uris, ["spiffe://cluster.local/ns/default/sa/somebody-else"]);
    fixture.istiod.set(ca(Ca::Expired)).await.expect("in force");
    let (_, left) = read(&climber.csr().await.expect("signed").chain_pem);
    assert!(left < 0, "{left}");
    fixture.istiod.set(ca(Ca::OtherRoot)).await.expect("in force");
    let signed = climber.csr().await.expect("signed");
    assert_eq!(signed.roots_pem, fixture.istiod.other_root_pem());
    assert_ne!(signed.roots_pem, fixture.roots);
    fixture.istiod.set(ca(Ca::Garbage)).await.expect("in force");
    assert_eq!(climber.csr().await.expect("an answer").chain_pem, "no certificate");
}

#[tokio::test]
async fn discovery_can_be_stale_about_one_pod() {
    let ip = IpAddr::from([10, 0, 0, 1]);
    let stale = |stale| IstiodCondition {
        stale: BTreeMap::from([(ip, stale)]),
        ..IstiodCondition::default()
    };
    let fixture = Fixture::broken(stale(Stale::Plain)).await;
    let climber = fixture.climber("ambient");
    let told = async || workload(&climber.climb().await.expect("every rung").answer);
    assert_eq!(told().await.expect("one").tunnel_protocol(), TunnelProtocol::None);
    fixture.istiod.set(stale(Stale::OnNode("node-9".to_owned()))).await.expect("in force");
    assert_eq!(told().await.expect("one").node, "node-9");
    let former = Stale::Former { name: "gone".to_owned(), service_account: "old".to_owned() };
    fixture.istiod.set(stale(former)).await.expect("in force");
    assert_eq!(told().await.expect("one").name, "gone");
    fixture.istiod.set(stale(Stale::Unknown)).await.expect("in force");
    assert_eq!(told().await, None);
    fixture.climber("plain").climb().await.expect("the others are told truly");
}

#[tokio::test]
async fn one_listener_breaks_alone() {
    let fixture = Fixture::start().await;
    let first = fixture.climber("ambient");
    let mut second = first.clone();
    second.address = fixture.istiod.addresses()[1];
    let dropped = connection(Connection::Dropped);
    fixture.istiod.set_at(1, Some(dropped)).await.expect("in force");
    fixture.istiod.set(ca(Ca::Unavailable)).await.expect("in force");
    let rung = |result: Result<_, (Rung, Reason, String)>| result.err().map(|(rung, ..)| rung);
    assert_eq!(rung(first.csr().await), Some(Rung::Csr));
    assert_eq!(rung(second.csr().await), Some(Rung::Tcp), "its own condition stays");
    fixture.istiod.set_at(1, None).await.expect("in force");
    assert_eq!(rung(second.csr().await), Some(Rung::Csr), "the general one again");
    assert!(fixture.istiod.set_at(2, None).await.is_err(), "no such listener");
}

#[tokio::test]
async fn an_istiod_that_dies_takes_its_connections_with_it() {
    let fixture = Fixture::start().await;
    let mut session = fixture.climber("ambient").session().await.expect("connected");
    fixture.istiod.set(connection(Connection::Refused)).await.expect("in force");
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "YQ.YQ.YQ").expect("written");
    let token = meshprobe::istiod::Token::read(token.path()).await.expect("shaped as one");
    let called = session.create_certificate(&token, "", "", Duration::ZERO).await;
    let reason = called.expect_err("gone").reason;
    assert!(matches!(reason, Reason::Closed | Reason::Reset), "{reason}");
}

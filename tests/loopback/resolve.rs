use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use meshprobe::failure::Reason;
use meshprobe::net::Resolver;
use meshprobe::net::dns::SearchList;
use meshprobe::spec::{IpFamily, IpPreference};
use tempfile::NamedTempFile;

use super::dns_server::{DnsServer, address, answering, bytes, coded, reply};

const V4: IpPreference = IpPreference { family: IpFamily::V4, fallback: true, source: None };
const V6: IpPreference = IpPreference { family: IpFamily::V6, fallback: true, source: None };
const ONLY_V6: IpPreference = IpPreference { family: IpFamily::V6, fallback: false, source: None };

/// Serves A records only; what else is asked gets `otherwise`.
async fn only_v4(otherwise: ResponseCode) -> DnsServer {
    DnsServer::udp(move |_, query| {
        vec![bytes(&match query.queries[0].query_type() {
            RecordType::A => answering(query, &[address("10.0.0.1")]),
            _ => coded(query, otherwise),
        })]
    })
    .await
}

fn resolver(server: &DnsServer) -> Resolver {
    Resolver::with_nameservers(vec![server.address], SearchList::default())
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary directory");
    file.write_all(text.as_bytes()).expect("room on disk");
    file
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[tokio::test]
async fn the_preferred_family_is_asked_alone_when_it_has_an_address() {
    let server = only_v4(ResponseCode::NoError).await;
    let resolved = resolver(&server).resolve("svc.example", V4).await;
    assert_eq!(resolved, Ok(ip("10.0.0.1")));
    assert_eq!(server.asked(), ["udp svc.example. A"]);
}

#[tokio::test]
async fn the_other_family_serves_only_as_fallback() {
    for otherwise in [ResponseCode::NoError, ResponseCode::NXDomain] {
        let server = only_v4(otherwise).await;
        let resolved = resolver(&server).resolve("svc.example", V6).await;
        assert_eq!(resolved, Ok(ip("10.0.0.1")));
        assert_eq!(server.asked(), ["udp svc.example. AAAA", "udp svc.example. A"]);
    }
    let server = only_v4(ResponseCode::NoError).await;
    let resolved = resolver(&server).resolve("svc.example", ONLY_V6).await;
    assert_eq!(resolved.expect_err("no AAAA").reason, Reason::Nodata);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_exist_costs_one_query_per_name_of_the_search() {
    let server =
        DnsServer::udp(|_, query| vec![bytes(&coded(query, ResponseCode::NXDomain))]).await;
    let list = SearchList::new(&["corp".to_owned()], 5).expect("a name");
    let resolver = Resolver::with_nameservers(vec![server.address], list);
    let resolved = resolver.resolve("gone", V4).await;
    assert_eq!(resolved.expect_err("gone").reason, Reason::Nxdomain);
    assert_eq!(server.asked(), ["udp gone.corp. A", "udp gone. A"]);
}

#[tokio::test]
async fn errors_of_the_server_end_the_search_with_their_reason() {
    for (code, reason) in [
        (ResponseCode::ServFail, Reason::Servfail),
        (ResponseCode::Refused, Reason::DnsRefused),
        (ResponseCode::NotImp, Reason::DnsMismatch),
    ] {
        let server = DnsServer::udp(move |_, query| vec![bytes(&coded(query, code))]).await;
        let resolved = resolver(&server).resolve("svc.example", V4).await;
        assert_eq!(resolved.expect_err("an error").reason, reason);
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_truncated_reply_is_asked_again_over_tcp() {
    let truncated = |query: &Message| {
        let mut reply = reply(query, Vec::new());
        reply.metadata.truncation = true;
        bytes(&reply)
    };
    let whole = |query: &Message| answering(query, &[address("10.0.0.1")]);
    let server = DnsServer::both(move |_, query| vec![truncated(query)], whole).await;
    let resolved = resolver(&server).resolve("svc.example", V4).await;
    assert_eq!(resolved, Ok(ip("10.0.0.1")));
}

#[tokio::test]
async fn the_hosts_file_goes_before_the_nameserver() {
    let hosts = file("10.9.9.9 Listed listed.example\n2001:db8::9 listed\n");
    let resolv_conf = file("nameserver 127.0.0.1\nsearch corp\n");
    let resolver = Resolver::load(resolv_conf.path(), hosts.path()).expect("good files");
    assert_eq!(resolver.resolve("listed", V4).await, Ok(ip("10.9.9.9")));
    assert_eq!(resolver.resolve("LISTED.", V6).await, Ok(ip("2001:db8::9")));
    let fallen_back = resolver.resolve("listed.example", V6).await;
    assert_eq!(fallen_back, Ok(ip("10.9.9.9")));
}

#[tokio::test]
async fn localhost_needs_neither_file_nor_server() {
    let resolver = Resolver::default();
    assert_eq!(resolver.resolve("localhost", V4).await, Ok(ip("127.0.0.1")));
    assert_eq!(resolver.resolve("localhost.", ONLY_V6).await, Ok(ip("::1")));
    let fault = resolver.resolve("svc.example", V4).await;
    assert_eq!(fault.expect_err("nobody to ask").reason, Reason::LocalResource);
}

#[test]
fn resolv_conf_gives_nameservers_search_list_and_ndots() {
    let resolv_conf = file(
        "search ns.svc.cluster.local svc.cluster.local\n\
         nameserver 10.96.0.10\nnameserver fd00::a\noptions ndots:5\n",
    );
    let resolver = Resolver::load(resolv_conf.path(), Path::new("/nonexistent/hosts"));
    let resolver = resolver.expect("a missing hosts file is an empty one");
    let servers = resolver.nameservers().iter().map(ToString::to_string);
    assert_eq!(servers.collect::<Vec<_>>(), ["10.96.0.10:53", "[fd00::a]:53"]);
    let domains = ["ns.svc.cluster.local", "svc.cluster.local"].map(str::to_owned);
    let list = SearchList::new(&domains, 5).expect("names");
    assert_eq!(*resolver.search(), list);
}

#[test]
fn resolv_conf_without_a_nameserver_means_this_machine_and_without_the_file_is_an_error() {
    let resolv_conf = file("# nameserver 10.0.0.1\noptions ndots:99\n");
    let resolver = Resolver::load(resolv_conf.path(), Path::new("/nonexistent/hosts"));
    let resolver = resolver.expect("a good file");
    assert_eq!(resolver.nameservers().len(), 1);
    assert!(resolver.nameservers()[0].ip().is_loopback());
    assert_eq!(resolver.search().ndots, 15);
    let nowhere = Path::new("/nonexistent/resolv.conf");
    assert!(Resolver::load(nowhere, nowhere).is_err());
}

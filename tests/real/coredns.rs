//! The dns probe against CoreDNS with two small zones, one of names and one of addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::net::Resolver;
use meshprobe::net::dns::SearchList;
use meshprobe::outcome::{DnsFacts, Outcome};
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{DnsModule, Module, ModuleKind, Qtype, Search, Timeouts, Transport};
use meshprobe::target::{Endpoint, Host};
use tempfile::TempDir;

use super::support::{Daemon, assert_failed, attempt, free_port, temp_dir, tool, write_file};

const ZONE: &str = "\
$ORIGIN mesh.test.
$TTL 30
@           SOA   ns hostmaster 1 7200 3600 86400 30
@           NS    ns
ns          A     127.0.0.1
web         A     10.0.0.1
web         A     10.0.0.2
web         AAAA  2001:db8::1
v4only      A     10.0.0.3
alias       CNAME web
dangling    CNAME elsewhere.invalid.
loop-a      CNAME loop-b
loop-b      CNAME loop-a
_https._tcp SRV   1 2 15012 web
version     TXT   \"dns-version=1.1.0\" \"two \\\"words\\\"\"
web.prod    A     10.0.0.4
";

const REVERSE_ZONE: &str = "\
$ORIGIN 10.in-addr.arpa.
$TTL 30
@     SOA ns.mesh.test. hostmaster.mesh.test. 1 7200 3600 86400 30
@     NS  ns.mesh.test.
1.0.0 PTR web.mesh.test.
";

struct CoreDns {
    address: SocketAddr,
    daemon: Daemon,
    _dir: TempDir,
}

impl CoreDns {
    async fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let dir = temp_dir();
        let string = "x".repeat(200);
        // More than any datagram that the probe allows for.
        let big = format!("big TXT {}\n", format!("\"{string}\" ").repeat(20));
        write_file(&dir, "mesh.zone", format!("{ZONE}{big}"));
        write_file(&dir, "reverse.zone", REVERSE_ZONE);
        let block = |zone: &str, file: &str| {
            let port = address.port();
            format!("{zone}:{port} {{\n bind 127.0.0.1\n errors\n file {file}\n}}\n")
        };
        let corefile = block("mesh.test", "mesh.zone") + &block("10.in-addr.arpa", "reverse.zone");
        let corefile = write_file(&dir, "Corefile", corefile);
        let mut command = Command::new(tool("coredns"));
        command.arg("-conf").arg(corefile).current_dir(dir.path());
        let ready = move || async move {
            let outcome = within(module(address), "web.mesh.test", Duration::from_secs(1)).await;
            outcome.failure.is_none()
        };
        let daemon = Daemon::start_when(command, ready).await;
        Self { address, daemon, _dir: dir }
    }

    async fn ask(&self, qtype: Qtype, name: &str) -> Outcome {
        ask(DnsModule { qtype, ..module(self.address) }, name).await
    }
}

fn module(server: SocketAddr) -> DnsModule {
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

async fn ask(module: DnsModule, name: &str) -> Outcome {
    attempt(ModuleKind::Dns(module), Expectation::Reply, name).await
}

async fn within(module: DnsModule, name: &str, timeout: Duration) -> Outcome {
    let module = Module {
        kind: ModuleKind::Dns(module),
        timeouts: Timeouts::total(timeout),
        expect: Expectation::Reply,
    };
    let spec = module.aim(name).expect("a good name");
    let environment = Environment::default();
    Probe::prepare(&spec, &environment).expect("no files").attempt().await
}

fn facts(outcome: &Outcome) -> &DnsFacts {
    outcome.facts.dns.as_ref().expect("a server was asked")
}

#[track_caller]
fn assert_answers(outcome: &Outcome, expected: &[&str]) {
    assert_eq!(outcome.failure, None);
    let mut answers = facts(outcome).answers.clone();
    // CoreDNS shuffles nothing without `loadbalance`, but promises no order either.
    answers.sort();
    assert_eq!(answers, expected);
    assert_eq!(facts(outcome).queries_sent, 1);
    assert_eq!(facts(outcome).authoritative, Some(true));
}

#[tokio::test]
async fn every_type_is_answered() {
    let server = CoreDns::start().await;
    for (qtype, name, expected) in [
        (Qtype::A, "web.mesh.test", ["10.0.0.1", "10.0.0.2"].as_slice()),
        (Qtype::Aaaa, "web.mesh.test", &["2001:db8::1"]),
        (Qtype::A, "alias.mesh.test", &["10.0.0.1", "10.0.0.2", "web.mesh.test."]),
        (Qtype::Cname, "alias.mesh.test", &["web.mesh.test."]),
        (Qtype::Srv, "_https._tcp.mesh.test", &["1 2 15012 web.mesh.test."]),
        (Qtype::Ptr, "10.0.0.1", &["web.mesh.test."]),
        (Qtype::Ptr, "1.0.0.10.in-addr.arpa.", &["web.mesh.test."]),
        (Qtype::Txt, "version.mesh.test", &[r#""dns-version=1.1.0" "two \"words\"""#]),
    ] {
        assert_answers(&server.ask(qtype, name).await, expected);
    }
}

#[tokio::test]
async fn absence_and_refusal_have_their_reasons() {
    let server = CoreDns::start().await;
    for (qtype, name, reason) in [
        (Qtype::A, "gone.mesh.test", Reason::Nxdomain),
        (Qtype::Ptr, "10.0.0.99", Reason::Nxdomain),
        (Qtype::Aaaa, "v4only.mesh.test", Reason::Nodata),
        (Qtype::A, "dangling.mesh.test", Reason::Nodata),
        (Qtype::A, "web.other.test", Reason::DnsRefused),
    ] {
        let outcome = server.ask(qtype, name).await;
        assert_failed(&outcome, Phase::Processing, reason);
        assert_eq!(facts(&outcome).queries_sent, 1, "{name}");
    }
    let expecting = DnsModule { rcodes: vec!["NXDOMAIN".to_owned()], ..module(server.address) };
    assert_eq!(ask(expecting, "gone.mesh.test").await.failure, None);
}

#[tokio::test]
async fn aliases_in_a_circle_never_look_like_an_answer() {
    let server = CoreDns::start().await;
    let outcome = server.ask(Qtype::A, "loop-a.mesh.test").await;
    assert_failed(&outcome, Phase::Processing, Reason::DnsMalformed);
}

#[tokio::test]
async fn an_answer_too_big_for_a_datagram_comes_over_tcp() {
    let server = CoreDns::start().await;
    let outcome = server.ask(Qtype::Txt, "big.mesh.test").await;
    assert_eq!(outcome.failure, None);
    assert!(facts(&outcome).truncated);
    assert_eq!(facts(&outcome).transport, Some("tcp"));
    assert_eq!(facts(&outcome).queries_sent, 2);
    assert!(facts(&outcome).answers[0].len() > 4000);
    assert!(outcome.reply_bytes > 4000);
}

#[tokio::test]
async fn tcp_from_the_start_is_no_truncation() {
    let server = CoreDns::start().await;
    let tcp = DnsModule { transport: Transport::Tcp, ..module(server.address) };
    let outcome = ask(tcp, "web.mesh.test").await;
    assert_answers(&outcome, &["10.0.0.1", "10.0.0.2"]);
    assert!(!facts(&outcome).truncated);
    assert_eq!(facts(&outcome).transport, Some("tcp"));
    assert!(outcome.phases.of(Phase::Connect).is_some());
    assert_eq!(outcome.facts.tcp.expect("TCP_INFO").retransmits, 0);
}

#[tokio::test]
async fn a_search_list_leads_to_the_service() {
    let server = CoreDns::start().await;
    let domains = vec!["ns.mesh.test".to_owned(), "mesh.test".to_owned()];
    let search = Search::List { domains: domains.clone(), ndots: 5 };
    let outcome = ask(DnsModule { search, ..module(server.address) }, "web.prod").await;
    assert_eq!(outcome.failure, None);
    assert_eq!(facts(&outcome).name, "web.prod.mesh.test.");
    assert_eq!(facts(&outcome).searched.len(), 1);
    assert_eq!(facts(&outcome).searched[0].rcode, "NXDOMAIN");

    let list = SearchList::new(&domains, 5).expect("names");
    let resolver = Resolver::with_nameservers(vec![server.address], list);
    let resolved = resolver.resolve("web.prod", meshprobe::spec::IpPreference::default()).await;
    assert_eq!(resolved, Ok(Ipv4Addr::new(10, 0, 0, 4).into()));
}

#[tokio::test]
async fn a_frozen_server_times_out_over_both_transports_and_recovers() {
    let server = CoreDns::start().await;
    server.daemon.freeze();
    for transport in [Transport::Udp, Transport::Tcp] {
        let asked = DnsModule { transport, ..module(server.address) };
        let outcome = within(asked, "web.mesh.test", Duration::from_millis(300)).await;
        assert_failed(&outcome, Phase::Processing, Reason::Timeout);
        assert_eq!(facts(&outcome).queries_sent, 1);
    }
    server.daemon.signal("CONT");
    assert_eq!(server.ask(Qtype::A, "web.mesh.test").await.failure, None);
}

#[tokio::test]
async fn a_server_that_ended_refuses_over_both_transports() {
    let server = CoreDns::start().await;
    let address = server.address;
    drop(server);
    let outcome = ask(module(address), "web.mesh.test").await;
    assert_failed(&outcome, Phase::Processing, Reason::Refused);
    let tcp = DnsModule { transport: Transport::Tcp, ..module(address) };
    let outcome = ask(tcp, "web.mesh.test").await;
    assert_failed(&outcome, Phase::Connect, Reason::Refused);
}

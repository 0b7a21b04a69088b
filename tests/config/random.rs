//! Any configuration is printed as a text that reads back as an equal one.

#[path = "random/mesh.rs"]
mod mesh;
#[path = "random/slos.rs"]
mod slos;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use meshprobe::config::{
    AdminConfig, Config, ControllersConfig, Identity, Limits, MeshConfig, Origins, ResponderConfig,
};
use meshprobe::expectation::Expectation;
use meshprobe::failure::Phase;
use meshprobe::schedule::Cadence;
use meshprobe::spec::{
    Ask, ClientIdentity, DnsModule, HoldModule, HttpModule, HttpVersion, IpFamily, IpPreference,
    Module, ModuleKind, OwnCertificate, ProbeSpec, Qtype, Roots, Search, TargetSpec, TcpModule,
    Timeouts, TlsModule, TlsSettings, TlsVersion, Transport, Verify,
};
use meshprobe::target::{Endpoint, Host, TargetName, Vantage, Via};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use regex::bytes::Regex;

use super::parse;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_printed_reads_back(config in config()) {
        let printed = config.to_yaml();
        let read = parse(&printed);
        prop_assert!(read.is_ok(), "{}\n{}", read.unwrap_err().join("\n"), printed);
        let read = read.expect("checked above");
        prop_assert_eq!(&read, &config, "{}", printed);
        prop_assert_eq!(read.to_yaml(), printed);
    }
}

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

/// Text that YAML could take for something else.
fn text() -> BoxedStrategy<String> {
    let odd = [
        "true",
        "off",
        "~",
        "null",
        "1.10",
        "0x1f",
        "1e3",
        "- a",
        "a: b",
        "a:",
        "#",
        "a #b",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%",
        "@",
        "`",
        "{",
        "[",
        "\"",
        "'",
        " a",
        "a ",
        "1:30",
        "2026-01-01",
        "=",
        "<<",
        "a\nb",
        "a\tb",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "é",
        "\0",
        "\u{1f600}",
        "5s",
    ];
    prop_oneof![
        select(odd.map(str::to_owned).to_vec()),
        "[a-z]{1,9}",
        "\\PC{1,20}",
        any::<String>().prop_filter("filled", |text| !text.is_empty()),
    ]
    .boxed()
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), 1u16..).prop_map(SocketAddr::from)
}

fn network() -> impl Strategy<Value = IpNet> {
    (any::<IpAddr>(), 0u8..=32).prop_map(|(ip, length)| IpNet::new(ip, length).expect("in range"))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9-]{0,9}(\\.[a-z]{1,5}){0,3}", "[0-9]{1,3}"]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let named = (name(), 1u16..)
        .prop_map(|(name, port)| Endpoint { host: name.parse().unwrap_or(Host::Name(name)), port });
    prop_oneof![named, address().prop_map(Endpoint::from)]
}

fn ip() -> impl Strategy<Value = IpPreference> {
    (select(vec![IpFamily::V4, IpFamily::V6]), any::<bool>())
        .prop_map(|(family, fallback)| IpPreference { family, fallback, source: None })
}

fn regex() -> impl Strategy<Value = Regex> {
    text().prop_map(|text| Regex::new(&regex::escape(&text)).expect("escaped"))
}

fn file() -> impl Strategy<Value = PathBuf> {
    text().prop_map(PathBuf::from)
}

fn tls() -> BoxedStrategy<TlsSettings> {
    let verify = prop_oneof![
        Just(Verify::Name),
        Just(Verify::Chain),
        Just(Verify::Nothing),
        "spiffe://[a-z.]{1,9}(/[a-zA-Z0-9_-]{1,5}){0,4}".prop_map(Verify::Spiffe),
    ];
    let identity = (file(), file())
        .prop_map(|(certificate, key)| OwnCertificate::Files(ClientIdentity { certificate, key }));
    let versions = select(vec![
        (None, None),
        (Some(TlsVersion::V1_2), None),
        (Some(TlsVersion::V1_2), Some(TlsVersion::V1_3)),
        (None, Some(TlsVersion::V1_2)),
    ]);
    let roots = prop_oneof![Just(Roots::System), file().prop_map(Roots::File)];
    let alpn = vec("[!-~]{1,9}", 0..3);
    let remaining = option::of(0.0f64..=1.0);
    let names = option::of(name());
    (roots, names, verify, option::of(identity), alpn, versions, remaining)
        .prop_map(|(roots, server_name, verify, identity, alpn, versions, min_remaining)| {
            TlsSettings {
                roots,
                server_name,
                verify,
                identity,
                alpn,
                min_version: versions.0,
                max_version: versions.1,
                min_remaining,
            }
        })
        .boxed()
}

fn dns() -> BoxedStrategy<DnsModule> {
    let search = prop_oneof![
        Just(Search::Off),
        Just(Search::ResolvConf),
        (vec(name(), 0..3), 0u8..=15).prop_map(|(domains, ndots)| Search::List { domains, ndots }),
    ];
    let rcodes = vec(select(vec!["NOERROR".to_owned(), "NXDOMAIN".to_owned()]), 1..3);
    let aim = prop_oneof![
        Just((None, None)),
        name().prop_map(|name| (Some(name), None)),
        endpoint().prop_map(|server| (None, Some(server))),
    ];
    let qtype = select(Qtype::ALL.to_vec());
    let transport = select(vec![Transport::Udp, Transport::Tcp]);
    let addresses = vec(network(), 0..3);
    (aim, qtype, transport, 0u8..=10, search, rcodes, 0u16..=1000, addresses)
        .prop_map(|(aim, qtype, transport, retries, search, rcodes, min_answers, addresses)| {
            let has_addresses = matches!(qtype, Qtype::A | Qtype::Aaaa);
            DnsModule {
                name: aim.0,
                server: aim.1,
                qtype,
                transport,
                retries: if transport == Transport::Tcp { 0 } else { retries },
                search,
                rcodes,
                min_answers,
                addresses: if has_addresses { addresses } else { Vec::new() },
            }
        })
        .boxed()
}

fn http() -> BoxedStrategy<HttpModule> {
    let header = ("x-[a-j]{1,3}", "[!-~]{0,9}").prop_map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a name");
        (name, HeaderValue::from_str(&value).expect("a value"))
    });
    let headers = vec(header, 0..4).prop_map(|mut headers| {
        // Values of one header stand together.
        headers.sort_by_key(|(name, _)| name.to_string());
        headers
    });
    let version = select(vec![HttpVersion::Auto, HttpVersion::Http1, HttpVersion::Http2]);
    let method = select(vec![Method::GET, Method::POST, Method::OPTIONS]);
    let body = option::of(text().prop_map(String::into_bytes));
    let limits = (0u64..=1 << 30, 0u8..=20, any::<bool>(), any::<bool>());
    (method, headers, body, version, option::of(regex()), limits, tls(), ip())
        .prop_map(|(method, headers, body, version, body_regex, limits, tls, ip)| HttpModule {
            method,
            headers,
            body,
            version,
            body_regex,
            body_limit: limits.0,
            redirects: limits.1,
            decompress: limits.2,
            keepalive: limits.3,
            tls,
            ip,
        })
        .boxed()
}

fn expect(words: &[&str]) -> impl Strategy<Value = Expectation> + use<> {
    let words: Vec<Expectation> = words.iter().map(|w| w.parse().expect("known")).collect();
    select(words)
}

fn kind(mesh: &Option<MeshConfig>) -> BoxedStrategy<(ModuleKind, Expectation)> {
    let send = option::of(text().prop_map(String::into_bytes));
    let tcp = (send, option::of(regex()), ip()).prop_map(|(send, reply_regex, ip)| TcpModule {
        send,
        reply_regex,
        ip,
    });
    let hold = (10u64..=1000, 1000u64..=43_200_000, tls(), ip());
    let hold = hold.prop_map(|(heartbeat, hold, tls, ip)| HoldModule {
        heartbeat: Duration::from_millis(heartbeat),
        hold: Duration::from_millis(hold),
        tls,
        ip,
    });
    prop_oneof![
        1 => (dns().prop_map(ModuleKind::Dns), expect(&["reply"])),
        1 => (tcp.prop_map(ModuleKind::Tcp), expect(&["reply", "denied", "connect"])),
        1 => (
            (tls(), ip()).prop_map(|(tls, ip)| ModuleKind::Tls(TlsModule { tls, ip })),
            expect(&["reply", "denied"])
        ),
        1 => (
            http().prop_map(ModuleKind::Http),
            expect(&["reply", "denied", "status 2xx", "status 200-204,404,5xx"])
        ),
        1 => (hold.prop_map(ModuleKind::Hold), expect(&["reply"])),
        5 => mesh::kind(mesh),
    ]
    .boxed()
}

fn module(mesh: &Option<MeshConfig>) -> BoxedStrategy<Module> {
    let phases = vec(option::of(1u64..=1000), Phase::ALL.len());
    (kind(mesh), 1u64..=40_000_000, phases)
        .prop_map(|((kind, expect), total, phases)| {
            let mut timeouts = Timeouts::total(Duration::from_millis(total));
            for (slot, millis) in timeouts.phases.iter_mut().zip(phases) {
                *slot = millis.map(|millis| Duration::from_millis(millis.min(total)));
            }
            if matches!(kind, ModuleKind::Hold(_)) {
                timeouts.phases[Phase::Transfer as usize] = None;
            }
            if !matches!(kind, ModuleKind::Hbone(_)) {
                timeouts.phases[Phase::Tunnel as usize] = None;
            }
            Module { kind, timeouts, expect }
        })
        .boxed()
}

fn target(mesh: &Option<MeshConfig>) -> BoxedStrategy<TargetSpec> {
    let via = option::of(select(vec![Via::PodIp, Via::ClusterIp, Via::Hbone, Via::External]));
    let cadence = (10u64..=86_400_000, 0.0f64..=0.5);
    let told = (option::of("[A-Za-z0-9._:/-]{1,300}"), option::of("[!-~]{1,253}"));
    (module(mesh), endpoint(), "(/[a-z?=%20]{0,9})?", cadence, 1u32..=1000, via, told)
        .prop_filter_map(
            "hosts such as 1.2 fit into no URL",
            |(module, endpoint, path, (interval, jitter), in_flight, via, (subject, node))| {
                let (address, least) = match &module.kind {
                    ModuleKind::Dns(dns) if dns.name.is_none() => ("a.example.".to_owned(), None),
                    ModuleKind::Dns(_) | ModuleKind::Tcp(_) | ModuleKind::Tls(_) => {
                        (endpoint.to_string(), None)
                    }
                    ModuleKind::Http(_) => (format!("https://{endpoint}{path}"), None),
                    ModuleKind::Hold(hold) => (format!("http://{endpoint}{path}"), Some(hold.hold)),
                    ModuleKind::Hbone(hbone) if hbone.credentialed => {
                        (format!("http://{endpoint}{path}"), None)
                    }
                    ModuleKind::Hbone(_) => (endpoint.to_string(), None),
                    ModuleKind::Istiod(_) => (endpoint.to_string(), Some(Duration::from_secs(5))),
                    ModuleKind::Capture(_) => ("a.example.".to_owned(), None),
                    ModuleKind::Mtu(_) => (format!("https://{endpoint}{path}"), None),
                    ModuleKind::Ztunnel(_) => (endpoint.host.to_string(), None),
                };
                let interval = Duration::from_millis(interval).max(least.unwrap_or_default());
                Some(TargetSpec {
                    name: "unnamed".parse().expect("a name"),
                    probe: module.aim(&address).ok()?,
                    cadence: Cadence::new(interval, jitter).expect("in range"),
                    max_in_flight: in_flight,
                    via,
                    subject: subject.map(|text| text.parse().expect("a subject")),
                    destination_node: node,
                    control: None,
                })
            },
        )
        .boxed()
}

/// Names each target, and gives all that are denied a control at the same place.
fn connected(mut targets: Vec<TargetSpec>) -> Vec<TargetSpec> {
    for (index, target) in targets.iter_mut().enumerate() {
        target.name = format!("ns/t-{index}:x").parse().expect("a name");
    }
    let mut controls = Vec::new();
    for target in &mut targets {
        if target.probe.expect == Expectation::Denied {
            let name: TargetName = format!("{}/control", target.name).parse().expect("a name");
            controls.push(control(name.clone(), &target.probe.ask));
            target.control = Some(name);
        }
    }
    targets.extend(controls);
    targets
}

/// A target that is answered where `denied` is not.
fn control(name: TargetName, denied: &Ask) -> TargetSpec {
    let endpoint = match denied {
        Ask::Tcp { endpoint, .. } | Ask::Tls { endpoint, .. } => endpoint.clone(),
        Ask::Http { url, .. } => url.endpoint(),
        Ask::Hbone { url, .. } => url.as_ref().expect("denied only with a request").endpoint(),
        other => unreachable!("{other:?} is not denied"),
    };
    let module = TcpModule { send: None, reply_regex: None, ip: IpPreference::default() };
    let timeouts = Timeouts::total(Duration::from_secs(1));
    let expect = Expectation::Reply;
    TargetSpec {
        name,
        probe: ProbeSpec { ask: Ask::Tcp { module, endpoint }, timeouts, expect },
        cadence: Cadence::new(Duration::from_secs(1), 0.0).expect("in range"),
        max_in_flight: 1,
        via: None,
        subject: None,
        destination_node: None,
        control: None,
    }
}

fn controllers() -> impl Strategy<Value = ControllersConfig> {
    (vec(endpoint(), 1..4), option::of(file()), option::of(file()))
        .prop_map(|(addresses, key, cache)| ControllersConfig { addresses, key, cache })
}

fn responder() -> BoxedStrategy<ResponderConfig> {
    let listen = prop::collection::hash_set(address(), 1..4);
    let idle = millis(1000..=86_400_000);
    (listen, 1u32..=65_536, 0u64..=64 << 20, 1u32..=1_000_000, idle)
        .prop_map(|(listen, max_connections, max_body, max_requests_per_second, idle_timeout)| {
            ResponderConfig {
                listen: listen.into_iter().collect(),
                max_connections,
                max_body,
                max_requests_per_second,
                idle_timeout,
            }
        })
        .boxed()
}

fn config() -> BoxedStrategy<Config> {
    let vantage = option::of(select(vec![Vantage::Ambient, Vantage::Plain]));
    let identity = ("[!-~]{1,12}", option::of("[!-~]{1,12}"), vantage);
    let identity = identity.prop_map(|(node, zone, vantage)| Identity { node, zone, vantage });
    let admin = (1u32..=65_536, 1u32..=65_536, vec(network(), 0..3));
    let admin = admin.prop_map(|(max_connections, max_probes, probe_networks)| AdminConfig {
        // Nothing of the responder's is ever there.
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        max_connections,
        max_probes,
        probe_networks,
    });
    let limits = (1u32..=65_536, millis(1..=60_000));
    let limits = limits
        .prop_map(|(max_in_flight, max_schedule_lag)| Limits { max_in_flight, max_schedule_lag });
    let buckets = vec(0.0001f64..=3600.0, 1..16).prop_map(|mut buckets| {
        buckets.sort_by(f64::total_cmp);
        buckets.dedup();
        buckets
    });
    let asked = option::of(mesh::mesh()).prop_flat_map(|mesh| {
        let modules = prop::collection::btree_map("[A-Za-z0-9._:/-]{1,9}", module(&mesh), 0..4);
        let targets = vec(target(&mesh), 0..4).prop_map(connected);
        (modules, targets, Just(mesh))
    });
    let servers = (option::of(responder()), option::of(controllers()));
    let measured = buckets.prop_flat_map(|buckets| {
        let slos = slos::slos(&buckets);
        (Just(buckets), slos)
    });
    let parts = (identity, admin, servers, limits, measured, file(), asked);
    parts
        .prop_map(|(identity, admin, servers, limits, measured, resolv_conf, asked)| {
            let (responder, controllers) = servers;
            let (buckets, slos) = measured;
            let (modules, targets, mesh) = asked;
            Config {
                mesh,
                controllers,
                identity,
                admin,
                responder,
                limits,
                buckets,
                slos,
                resolv_conf,
                modules: BTreeMap::from_iter(modules),
                targets,
                origins: Origins::default(),
            }
        })
        .boxed()
}

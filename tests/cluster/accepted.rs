//! Any cluster gives plans that agents accept, within all budgets, whatever its objects hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meshprobe::cluster::mtls::{Mode, PeerAuthentication};
use meshprobe::cluster::{
    Agent, Cluster, ControlPlane, Endpoint, Enrolment, Labels, Node, Pod, Redirection, Service,
};
use meshprobe::fleet::{Budgets, Csr, Fleet, Plan, Question, Settings};
use meshprobe::target::Vantage;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::support::read;

/// Text that objects of hostile users hold: of any characters, and of any length.
fn text() -> impl Strategy<Value = String> {
    let odd =
        ["", "/", "\u{0}", "a\nb", "\u{7f}\u{85}\u{2028}\u{feff}", "{}: [&a *b]", "é", "\"'\\"];
    prop_oneof![
        select(odd.to_vec()).prop_map(str::to_owned),
        "\\PC{0,20}",
        any::<String>(),
        (1usize..9_000).prop_map(|length| "x".repeat(length)),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let odd = ["/a b\t\r\n#f?q", "//other.example/", "/\\..\\@host:1/", "@h/", "/%zz?a=b&c"];
    prop_oneof![
        Just("/".to_owned()),
        select(odd.to_vec()).prop_map(str::to_owned),
        text().prop_map(|text| format!("/{text}")),
        text(),
    ]
}

/// Mostly names that Kubernetes takes.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-c]{1,2}", 1 => "[a-z0-9.-]{240,253}", 1 => text()]
}

fn labels() -> impl Strategy<Value = Labels> {
    let sidecar = Just(("security.istio.io/tlsMode".to_owned(), "istio".to_owned()));
    let pair = prop_oneof![("app|tier", "[ab]"), (text(), text()), sidecar];
    vec(pair, 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        3 => any::<[u8; 4]>().prop_map(IpAddr::from),
        1 => any::<[u8; 16]>().prop_map(IpAddr::from),
        1 => any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_ipv6_mapped().into()),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![6 => select(vec![80, 443, 8080, 9851]), 1 => any::<u16>()]
}

fn pod() -> impl Strategy<Value = Pod> {
    let wanted = select(vec![Enrolment::Ambient, Enrolment::None]);
    let actual = select(vec![Redirection::Enabled, Redirection::Pending, Redirection::Absent]);
    let names = (name(), name(), "[n-s]|node-[0-9]".prop_map(String::from), name());
    let state = (prop::bool::weighted(0.8), wanted, actual, option::weighted(0.2, text()));
    (names, address(), labels(), state).prop_map(|(names, ip, labels, state)| {
        let (name, namespace, node, service_account) = names;
        let (ready, wanted, actual, waypoint) = state;
        Pod { name, namespace, node, ip, service_account, labels, ready, wanted, actual, waypoint }
    })
}

fn agents() -> impl Strategy<Value = Vec<Agent>> {
    let side = select(vec![Vantage::Ambient, Vantage::Plain]);
    let agent = (pod(), side, prop::bool::weighted(0.9)).prop_map(|(mut pod, vantage, sound)| {
        if sound {
            let inside = vantage == Vantage::Ambient;
            pod.wanted = if inside { Enrolment::Ambient } else { Enrolment::None };
            pod.waypoint = None;
        }
        Agent { pod, vantage }
    });
    // No namespace has two pods of one name.
    vec(agent, 1..24).prop_map(|agents| {
        let key = |agent: &Agent| (agent.pod.namespace.clone(), agent.pod.name.clone());
        let named: BTreeMap<_, _> = agents.into_iter().map(|agent| (key(&agent), agent)).collect();
        named.into_values().collect()
    })
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    let endpoint = (pod(), port()).prop_map(|(pod, target_port)| Endpoint { pod, target_port });
    let waypoint = option::weighted(0.2, text());
    let service = (
        name(),
        name(),
        option::weighted(0.8, address()),
        port(),
        path(),
        vec(endpoint, 0..6),
        waypoint,
        vec(pod(), 0..3),
    );
    let service = service.prop_map(|fields| {
        let (namespace, name, cluster_ip, port, path, endpoints, waypoint, pods) = fields;
        let waypoint_pods = if waypoint.is_some() { pods } else { Vec::new() };
        Service {
            namespace,
            name,
            cluster_ip,
            port,
            path,
            endpoints,
            waypoint,
            waypoint_pods,
            uid: None,
        }
    });
    vec(service, 0..6)
}

fn plane() -> impl Strategy<Value = ControlPlane> {
    let at = || (address(), port()).prop_map(|(ip, port)| SocketAddr::new(ip, port.max(1)));
    (option::weighted(0.8, at()), btree_map(name(), at(), 0..20))
        .prop_map(|(service, replicas)| ControlPlane { service, replicas, uid: None })
}

fn policies() -> impl Strategy<Value = Option<Vec<PeerAuthentication>>> {
    let mode = || select(vec![Mode::Unset, Mode::Disable, Mode::Permissive, Mode::Strict]);
    let namespace = prop_oneof!["[a-c]", Just("istio-system".to_owned())];
    let ports = vec((select(vec![80, 8080, 9851, 9852]), mode()), 0..3);
    let policy = (namespace, name(), 0i64..3, option::of(labels()), mode(), ports).prop_map(
        |(namespace, name, created, selector, mode, ports)| PeerAuthentication {
            namespace,
            name,
            created,
            selector,
            mode,
            ports,
        },
    );
    option::weighted(0.9, vec(policy, 0..6))
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let nodes = btree_map("[n-s]|node-[0-9]".prop_map(String::from), option::of(text()), 0..12);
    let ztunnels = btree_map("[n-s]".prop_map(String::from), address(), 0..6);
    (nodes, agents(), services(), plane(), plane(), ztunnels, policies()).prop_map(
        |(nodes, agents, services, coredns, istiod, ztunnels, peer_authentications)| Cluster {
            nodes: nodes
                .into_iter()
                .map(|(name, zone)| (name, Node { zone, ready: true }))
                .collect(),
            agents,
            services,
            coredns,
            istiod,
            ztunnels,
            peer_authentications,
            ..Cluster::default()
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let rate = || prop_oneof![0.0f64..0.001, 0.01f64..2.0, 10.0f64..1000.0];
    let budgets = (rate(), rate(), rate(), rate()).prop_map(|(csr, xds, dns, requests)| Budgets {
        csr_per_second: csr,
        xds_per_second: xds,
        dns_per_second: dns,
        requests_per_second: requests,
    });
    let times = (0u64..200_000_000, 0u64..20_000_000);
    (0usize..100, 0usize..40, 0usize..20, times, budgets).prop_map(
        |(full_mesh_up_to, peers, endpoints_per_service, (interval, timeout), budgets)| Settings {
            full_mesh_up_to,
            peers,
            endpoints_per_service,
            interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(timeout),
            budgets,
            ..Settings::default()
        },
    )
}

/// What a fleet asks of others, per second.
#[derive(Default)]
struct Load {
    csr: f64,
    xds: f64,
    /// By server; resolving istiod's name may meet any.
    dns: BTreeMap<SocketAddr, f64>,
    resolving: f64,
    /// By service.
    requests: BTreeMap<String, f64>,
}

fn add(load: &mut Load, plan: &Plan, services: &[String]) {
    let config = &plan.body.config;
    for target in &config.targets {
        let every = target.interval.unwrap_or(config.defaults.interval).as_secs_f64();
        match &target.question {
            Question::Istiod { csr } => {
                load.xds += 1.0 / every;
                if let Csr::Every(time) = csr {
                    load.csr += 1.0 / time.as_secs_f64();
                }
                if target.address.parse::<SocketAddr>().is_err() {
                    load.resolving += 2.0 / every;
                }
            }
            Question::Dns { server, .. } => *load.dns.entry(*server).or_default() += 1.0 / every,
            Question::Http {} | Question::Hbone { .. } => {
                let name = target.name.as_str();
                let service = services.iter().find(|service| {
                    let prefixes = ["hbone-service/", "service/", "waypoint/"];
                    let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
                    let rest = rest.and_then(|rest| rest.strip_prefix(service.as_str()));
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                });
                if let Some(service) = service {
                    let asked = 1.0 + f64::from(u8::from(target.control.is_some()));
                    *load.requests.entry(service.clone()).or_default() += asked / every;
                }
            }
            Question::Hold { .. }
            | Question::Mtu {}
            | Question::Capture { .. }
            | Question::Ztunnel {} => {}
        }
    }
}

proptest! {
    // Hostile text shrinks slowly.
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..Default::default() })]

    #[test]
    fn every_plan_is_accepted_and_all_stay_within_their_budgets(
        cluster in cluster(), settings in settings(),
    ) {
        let budgets = settings.budgets;
        let names: Vec<String> = cluster.services.iter().map(|service| {
            format!("{}/{}:{}", service.namespace, service.name, service.port)
        }).collect();
        let fleet = Fleet::new(Arc::new(cluster), settings);
        let mut load = Load::default();
        for plan in fleet.plans() {
            let read = read(&plan);
            prop_assert!(read.is_ok(), "{}", read.unwrap_err());
            prop_assert_eq!(read.expect("checked above").targets.len(), plan.body.config.targets.len());
            add(&mut load, &plan, &names);
        }
        let within = |load: f64, budget: f64| load <= budget * 1.000_001;
        prop_assert!(within(load.csr, budgets.csr_per_second), "{} csr", load.csr);
        prop_assert!(within(load.xds, budgets.xds_per_second), "{} xds", load.xds);
        for (server, queries) in &load.dns {
            let all = queries + load.resolving;
            prop_assert!(within(all, budgets.dns_per_second), "{} to {}", all, server);
        }
        for (service, requests) in &load.requests {
            prop_assert!(within(*requests, budgets.requests_per_second), "{} to {}", requests, service);
        }
        for unknown in fleet.unknown() {
            prop_assert!(unknown.message.chars().count() <= 512);
            prop_assert!(!unknown.message.chars().any(char::is_control), "{:?}", unknown.message);
        }
    }

    #[test]
    fn the_order_of_the_objects_does_not_matter(
        (given, agents, services) in cluster().prop_flat_map(|cluster| {
            let agents = Just(cluster.agents.clone()).prop_shuffle();
            let services = Just(cluster.services.clone()).prop_shuffle();
            (Just(cluster), agents, services)
        }),
    ) {
        // Two of one name are one too many: which of them counts is the order's to say.
        let mut keys: Vec<_> = given.services.iter().map(|s| (&s.namespace, &s.name, s.port)).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        prop_assume!(all == keys.len());
        let shuffled = Cluster { agents, services, ..given.clone() };
        let before = Fleet::new(Arc::new(given.clone()), Settings::default());
        let after = Fleet::new(Arc::new(shuffled), Settings::default());
        prop_assert_eq!(before.unknown(), after.unknown());
        for agent in &given.agents {
            prop_assert_eq!(before.plan(agent).to_json(), after.plan(agent).to_json());
        }
    }
}

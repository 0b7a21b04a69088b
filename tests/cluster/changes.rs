//! From PERMISSIVE to STRICT: exactly those expectations change that the policy is about.

use std::collections::BTreeMap;

use meshprobe::cluster::Cluster;
use meshprobe::cluster::mtls::{Mode, PeerAuthentication};

use super::support::{AMBIENT, canary, cluster, fleet, ip, labels, lines, outside, pod, service};

/// Services `web` (two ports), `cart` and `api` in the mesh, `db` outside, on two nodes.
fn mesh() -> Cluster {
    let mut cluster = cluster(2);
    let web = pod("shop", "web-1", "node-0", ip(0x0002_0001));
    let mut monitored = service("shop", "web", vec![(web.clone(), 8081)]);
    monitored.port = 81;
    let cart = pod("shop", "cart-1", "node-1", ip(0x0002_0002));
    let api = pod("bank", "api-1", "node-1", ip(0x0002_0003));
    let db = outside(pod("legacy", "db-1", "node-1", ip(0x0002_0004)));
    cluster.services = vec![
        service("shop", "web", vec![(web, 8080)]),
        monitored,
        service("shop", "cart", vec![(cart, 8080)]),
        service("bank", "api", vec![(api, 8080)]),
        service("legacy", "db", vec![(db, 8080)]),
    ];
    cluster
}

fn policy(
    namespace: &str,
    app: Option<&str>,
    mode: Mode,
    ports: &[(u16, Mode)],
) -> PeerAuthentication {
    PeerAuthentication {
        namespace: namespace.to_owned(),
        name: "default".to_owned(),
        created: 100,
        selector: app.map(|app| labels(&[("app", app)])),
        mode,
        ports: ports.to_vec(),
    }
}

/// Every target of every agent: what it expects, by node, vantage and name.
fn told(cluster: &Cluster) -> BTreeMap<String, String> {
    let fleet = fleet(cluster);
    let of = |plan: meshprobe::fleet::Plan| {
        let who = format!("{} {}", plan.body.vantage, plan.body.node);
        let lines = lines(&plan).into_iter();
        lines.map(move |line| {
            let name = line.split(' ').next().expect("a name").to_owned();
            (format!("{who} {name}"), line)
        })
    };
    fleet.plans().collect::<Vec<_>>().into_iter().flat_map(of).collect()
}

/// What changes, short: `denied`, or `gone`.
fn changes(before: &Cluster, after: &Cluster) -> Vec<String> {
    let (before, after) = (told(before), told(after));
    let added = after.keys().filter(|key| !before.contains_key(*key));
    assert_eq!(added.count(), 0, "a target was added");
    let changed = before.iter().filter_map(|(key, line)| match after.get(key) {
        None => Some(format!("{key} gone")),
        Some(now) if now != line => {
            assert!(now.contains(" denied control hbone"), "{line} became {now}");
            Some(format!("{key} denied"))
        }
        Some(_) => None,
    });
    changed.collect()
}

/// The changes that services make for the plain agents of both nodes.
fn services(names: &[&str]) -> Vec<String> {
    let of = |name: &&str| {
        let (service, pod) = name.split_once(' ').expect("a service and a pod");
        ["node-0", "node-1"].map(|node| {
            let who = format!("plain {node} service/{service}");
            [format!("{who} gone"), format!("{who}/{pod} denied")]
        })
    };
    names.iter().flat_map(of).flatten().collect()
}

#[track_caller]
fn check(policies: Vec<PeerAuthentication>, mut expected: Vec<String>) {
    let before = mesh();
    let mut after = before.clone();
    after.peer_authentications = Some(policies);
    let mut changed = changes(&before, &after);
    changed.sort();
    expected.sort();
    assert_eq!(changed, expected);
    // And back again.
    assert_eq!(told(&before), told(&mesh()));
}

const PEERS: [&str; 2] = ["plain node-0 peer/node-1 denied", "plain node-1 peer/node-0 denied"];

fn peers() -> Vec<String> {
    PEERS.map(str::to_owned).to_vec()
}

#[test]
fn strict_for_the_mesh_changes_every_plaintext_call_into_it() {
    let all =
        ["shop/web:80 web-1", "shop/web:81 web-1", "shop/cart:80 cart-1", "bank/api:80 api-1"];
    let strict = policy("istio-system", None, Mode::Strict, &[]);
    check(vec![canary(), strict], [services(&all), peers()].concat());
}

#[test]
fn strict_for_a_namespace_changes_its_services_only() {
    let strict = policy("shop", None, Mode::Strict, &[]);
    let shop = ["shop/web:80 web-1", "shop/web:81 web-1", "shop/cart:80 cart-1"];
    check(vec![canary(), strict], services(&shop));
}

#[test]
fn strict_for_a_workload_changes_all_ports_of_it_only() {
    let strict = policy("shop", Some("web"), Mode::Strict, &[]);
    check(vec![canary(), strict], services(&["shop/web:80 web-1", "shop/web:81 web-1"]));
}

#[test]
fn strict_for_a_port_changes_the_service_behind_which_it_is_the_target_port() {
    let strict = policy("shop", Some("web"), Mode::Unset, &[(8080, Mode::Strict)]);
    check(vec![canary(), strict], services(&["shop/web:80 web-1"]));
    // The port that callers dial is not meant.
    let strict = policy("shop", Some("web"), Mode::Unset, &[(80, Mode::Strict)]);
    check(vec![canary(), strict], Vec::new());
}

#[test]
fn strict_for_the_agents_changes_the_peers_only() {
    let mut strict = canary();
    strict.ports.push((9851, Mode::Strict));
    check(vec![strict], peers());
    let strict = policy(AMBIENT, None, Mode::Strict, &[]);
    check(vec![canary(), strict], peers());
}

#[test]
fn an_exception_below_strict_leaves_the_call_as_it_was() {
    let mesh = policy("istio-system", None, Mode::Strict, &[]);
    let shop = policy("shop", None, Mode::Permissive, &[]);
    let api = policy("bank", Some("api"), Mode::Unset, &[(8080, Mode::Permissive)]);
    check(vec![canary(), mesh, shop, api], peers());
}

//! The truth table as each agent is told it, and what is left out of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::cluster::mtls::{Mode, PeerAuthentication};
use meshprobe::cluster::{Cluster, Enrolment, Redirection};
use meshprobe::fleet::{Budgets, Fleet, Settings, UnknownReason};
use meshprobe::target::Vantage::{self, Ambient, Plain};

use super::support::{
    AMBIENT, agents, canary, cluster, fleet, ip, line, lines, outside, plan, pod, read, service,
};

fn shop() -> Cluster {
    let mut cluster = cluster(2);
    let web = pod("shop", "web-1", "node-0", ip(0x0002_0001));
    cluster.services.push(service("shop", "web", vec![(web, 8080)]));
    cluster
}

/// STRICT for namespace `shop`.
fn strict_shop(cluster: &mut Cluster) {
    let strict = PeerAuthentication {
        namespace: "shop".to_owned(),
        selector: None,
        ports: Vec::new(),
        mode: Mode::Strict,
        ..canary()
    };
    cluster.peer_authentications.as_mut().expect("read").push(strict);
}

#[test]
fn a_plain_agent_asks_every_row_of_its_side() {
    let told = plan(&fleet(&shop()), Plain, "node-0");
    assert_eq!(
        lines(&told),
        [
            "canary/node-1 http http://10.1.0.2:9852/ denied control hbone-canary/node-1",
            "capture capture kubernetes.default.svc.cluster.local. reply",
            "certificate/node-1 hbone 10.1.0.2:15008 reply",
            "coredns-tcp dns kubernetes.default.svc.cluster.local. reply",
            "coredns-tcp/coredns-a dns kubernetes.default.svc.cluster.local. reply",
            "coredns-tcp/coredns-b dns kubernetes.default.svc.cluster.local. reply",
            "coredns-udp dns kubernetes.default.svc.cluster.local. reply",
            "coredns-udp/coredns-a dns kubernetes.default.svc.cluster.local. reply",
            "coredns-udp/coredns-b dns kubernetes.default.svc.cluster.local. reply",
            "hbone-canary/node-1 hbone http://10.1.0.2:9852/ status 2xx",
            "hbone-service/shop/web:80/web-1 hbone http://10.2.0.1:8080/ reply",
            "hbone/node-1 hbone http://10.1.0.2:9851/ status 2xx",
            "istiod istiod istiod.istio-system.svc.cluster.local.:15012 reply",
            "istiod/istiod-a istiod 10.254.16.1:15012 reply",
            "istiod/istiod-b istiod 10.254.16.2:15012 reply",
            "peer/node-1 http http://10.1.0.2:9851/ status 2xx",
            "plain-peer/node-1 http http://10.1.0.3:9851/ status 2xx",
            "service/shop/web:80 http http://10.255.0.1/ reply",
            "service/shop/web:80/web-1 http http://10.2.0.1:8080/ reply",
            "ztunnel ztunnel 10.128.0.0 reply",
        ]
    );
    assert_eq!(read(&told).expect("accepted").targets.len(), 20);
}

#[test]
fn an_ambient_agent_asks_every_row_of_its_side() {
    let told = plan(&fleet(&shop()), Ambient, "node-0");
    assert_eq!(
        lines(&told),
        [
            "canary/node-1 http http://10.1.0.2:9852/ status 2xx",
            "capture capture kubernetes.default.svc.cluster.local. reply",
            "held/node-1 hold http://10.1.0.2:9851/ reply",
            "istiod istiod istiod.istio-system.svc.cluster.local.:15012 reply",
            "large/node-1 mtu http://10.1.0.2:9851/echo reply",
            "names dns kubernetes.default.svc.cluster.local. reply",
            "own-hbone hbone 127.0.0.1:15008 reply",
            "peer/node-1 http http://10.1.0.2:9851/ status 2xx",
            "plain-peer/node-1 http http://10.1.0.3:9851/ status 2xx",
            "service/shop/web:80 http http://10.255.0.1/ reply",
        ]
    );
    assert_eq!(read(&told).expect("accepted").targets.len(), 10);
}

#[test]
fn every_target_tells_of_whom_it_observes_and_on_which_node() {
    let fleet = fleet(&shop());
    let mut told = BTreeSet::new();
    for vantage in [Ambient, Plain] {
        for target in read(&plan(&fleet, vantage, "node-0")).expect("accepted").targets {
            let subject = target.subject.as_ref().map_or(target.name.as_str(), |it| it.as_str());
            let node = target.destination_node.as_deref().unwrap_or("-");
            told.insert(format!("{} {} {subject} {node}", target.name, target.probe.kind()));
        }
    }
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        [
            "canary/node-1 http peer-strict node-1",
            "capture capture capture node-0",
            "certificate/node-1 hbone certificate node-1",
            "coredns-tcp dns coredns -",
            "coredns-tcp/coredns-a dns coredns/coredns-a -",
            "coredns-tcp/coredns-b dns coredns/coredns-b -",
            "coredns-udp dns coredns -",
            "coredns-udp/coredns-a dns coredns/coredns-a -",
            "coredns-udp/coredns-b dns coredns/coredns-b -",
            "hbone-canary/node-1 hbone peer-strict node-1",
            "hbone-service/shop/web:80/web-1 hbone service/shop/web node-0",
            "hbone/node-1 hbone peer node-1",
            "held/node-1 hold peer node-1",
            "istiod istiod istiod -",
            "istiod/istiod-a istiod istiod/istiod-a -",
            "istiod/istiod-b istiod istiod/istiod-b -",
            "large/node-1 mtu peer node-1",
            "names dns coredns -",
            "own-hbone hbone own-hbone node-0",
            "peer/node-1 http peer node-1",
            "plain-peer/node-1 http underlay node-1",
            "service/shop/web:80 http service/shop/web -",
            "service/shop/web:80/web-1 http service/shop/web node-0",
            "ztunnel ztunnel ztunnel node-0",
        ]
    );
}

#[test]
fn the_document_has_the_keys_that_agents_read() {
    let told = plan(&fleet(&cluster(1)), Plain, "node-0");
    let sent: serde_json::Value = serde_json::from_slice(&told.to_json()).expect("JSON");
    let keys: BTreeSet<&str> =
        sent.as_object().expect("a map").keys().map(String::as_str).collect();
    let expected =
        ["config", "controllers", "grace_seconds", "node", "pod", "revision", "vantage", "version"];
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!(sent["version"], 1);
    assert_eq!(sent["revision"].as_str().map(str::len), Some(32));
    assert_eq!(sent["vantage"], "plain");
    assert_eq!(sent["grace_seconds"], 30);
    assert_eq!(sent["controllers"], serde_json::json!(["10.0.0.8:9854", "10.0.0.9:9854"]));
    let defaults = serde_json::json!({ "interval": "5s", "timeout": "2s", "max_in_flight": 2 });
    assert_eq!(sent["config"]["defaults"], defaults);
}

#[test]
fn the_revision_changes_with_the_plan_and_only_then() {
    let before = plan(&fleet(&shop()), Plain, "node-0");
    assert_eq!(plan(&fleet(&shop()), Plain, "node-0").to_json(), before.to_json());
    let mut other = shop();
    other.agents.reverse();
    other.controllers.reverse();
    assert_eq!(plan(&fleet(&other), Plain, "node-0").revision, before.revision);
    other.services[0].path = "/healthz".to_owned();
    assert_ne!(plan(&fleet(&other), Plain, "node-0").revision, before.revision);
}

#[test]
fn where_controllers_are_is_told_and_makes_no_other_plan() {
    let before = plan(&fleet(&shop()), Plain, "node-0");
    let mut moved = shop();
    moved.controllers[0].set_port(1);
    let fleet = fleet(&moved);
    let after = plan(&fleet, Plain, "node-0");
    assert_eq!(after.revision, before.revision);
    assert_ne!(after.body.controllers, before.body.controllers);
    assert_eq!(after.body.controllers, fleet.controllers());
}

fn reasons(fleet: &Fleet) -> Vec<(&str, &str, Option<Vantage>)> {
    let told = fleet.unknown().iter();
    told.map(|u| (u.reason.as_str(), u.object.name.as_str(), u.vantage)).collect()
}

#[test]
fn a_sound_cluster_leaves_nothing_out() {
    assert_eq!(reasons(&fleet(&shop())), []);
}

#[test]
fn pods_that_are_not_ready_and_agents_of_the_own_node_are_left_out() {
    let mut cluster = shop();
    for agent in cluster.agents.iter_mut().filter(|agent| agent.pod.node == "node-1") {
        agent.pod.ready = false;
    }
    let fleet = fleet(&cluster);
    for vantage in [Ambient, Plain] {
        let told = plan(&fleet, vantage, "node-0");
        assert!(lines(&told).iter().all(|line| !line.contains("/node-")), "{:?}", lines(&told));
    }
}

#[test]
fn a_labelled_pod_that_is_not_captured_is_still_expected_to_deny() {
    let mut cluster = shop();
    strict_shop(&mut cluster);
    cluster.services[0].endpoints[0].pod.actual = Redirection::Absent;
    let told = lines(&plan(&fleet(&cluster), Plain, "node-0"));
    let denied = "service/shop/web:80/web-1 http http://10.2.0.1:8080/ denied \
                  control hbone-service/shop/web:80/web-1";
    assert!(told.iter().any(|line| line == denied), "{told:#?}");
}

/// Names of the plain agent's targets that have to do with service `web`.
fn web(fleet: &Fleet, vantage: Vantage) -> Vec<String> {
    let told = plan(fleet, vantage, "node-0");
    lines(&told).into_iter().filter(|line| line.contains("web:80")).collect()
}

#[test]
fn the_address_of_a_service_with_both_modes_is_called_from_the_mesh_only() {
    let mut cluster = shop();
    let old = outside(pod("shop", "old-1", "node-1", ip(0x0002_0002)));
    let second = service("shop", "web", vec![(old, 8080)]).endpoints.remove(0);
    cluster.services[0].endpoints.push(second);
    strict_shop(&mut cluster);
    let fleet = fleet(&cluster);
    assert_eq!(reasons(&fleet), [("MixedModes", "web", Some(Plain))]);
    assert_eq!(web(&fleet, Ambient), ["service/shop/web:80 http http://10.255.0.1/ reply"]);
    assert_eq!(
        web(&fleet, Plain),
        [
            "hbone-service/shop/web:80/web-1 hbone http://10.2.0.1:8080/ reply",
            "service/shop/web:80/old-1 http http://10.2.0.2:8080/ reply",
            "service/shop/web:80/web-1 http http://10.2.0.1:8080/ denied \
             control hbone-service/shop/web:80/web-1",
        ]
    );
}

#[test]
fn a_headless_service_is_called_by_its_pods() {
    let mut cluster = shop();
    cluster.services[0].cluster_ip = None;
    let pod = "service/shop/web:80/web-1 http http://10.2.0.1:8080/ reply";
    assert_eq!(web(&fleet(&cluster), Ambient), [pod]);
    let tunnel = "hbone-service/shop/web:80/web-1 hbone http://10.2.0.1:8080/ reply";
    assert_eq!(web(&fleet(&cluster), Plain), [tunnel, pod]);
}

#[test]
fn behind_a_waypoint_a_service_is_called_from_the_mesh_only() {
    for of_pod in [false, true] {
        let mut cluster = shop();
        let service = &mut cluster.services[0];
        let place =
            if of_pod { &mut service.endpoints[0].pod.waypoint } else { &mut service.waypoint };
        *place = Some("shop/waypoint".to_owned());
        let fleet = fleet(&cluster);
        assert_eq!(reasons(&fleet), [("Waypoint", "web", Some(Plain))]);
        assert_eq!(web(&fleet, Ambient).len(), 1);
        assert_eq!(web(&fleet, Plain), Vec::<String>::new());
    }
}

#[test]
fn a_known_waypoint_is_gone_through_with_the_services_own_address() {
    let mut cluster = shop();
    let service = &mut cluster.services[0];
    service.waypoint = Some("waypoint".to_owned());
    let mut waypoint = pod("shop", "waypoint-1", "node-1", ip(0x0003_0001));
    waypoint.service_account = "waypoint".to_owned();
    service.waypoint_pods = vec![waypoint];
    let at = service.cluster_ip.expect("it has one");
    let fleet = fleet(&cluster);
    let name = "waypoint/shop/web:80/waypoint-1";
    let told = plan(&fleet, Plain, "node-0");
    let found = told.body.config.targets.iter().find(|target| target.name.as_str() == name);
    let sent = serde_json::to_value(found.expect("it is asked")).expect("JSON");
    assert_eq!(sent["address"], format!("http://{at}/"));
    let peer = serde_json::json!({
        "credentialed": true,
        "peer": "10.3.0.1:15008",
        "tls": { "spiffe_id": "spiffe://cluster.local/ns/shop/sa/waypoint" },
    });
    assert_eq!((&sent["hbone"], &sent["via"]), (&peer, &"hbone".into()));
    read(&told).expect("an agent reads it");
    // What plaintext past it meets is still nobody's to say.
    assert_eq!(reasons(&fleet), [("Waypoint", "web", Some(Plain))]);
    let ambient = plan(&fleet, Ambient, "node-0").body.config.targets;
    assert!(ambient.iter().all(|target| target.name.as_str() != name));
}

#[test]
fn a_sidecar_under_strict_is_not_judged() {
    let mut cluster = shop();
    let web_pod = &mut cluster.services[0].endpoints[0].pod;
    *web_pod = outside(web_pod.clone());
    web_pod.labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
    assert_eq!(reasons(&fleet(&cluster)), []);
    assert_eq!(web(&fleet(&cluster), Plain).len(), 2);
    strict_shop(&mut cluster);
    let fleet = fleet(&cluster);
    let sidecar = |vantage| ("Sidecar", "web", Some(vantage));
    assert_eq!(reasons(&fleet), [sidecar(Ambient), sidecar(Plain)]);
    assert_eq!([web(&fleet, Ambient), web(&fleet, Plain)], [vec![], Vec::<String>::new()]);
}

#[test]
fn without_readable_policies_plaintext_into_the_mesh_is_not_judged() {
    let mut cluster = shop();
    cluster.peer_authentications = None;
    let fleet = fleet(&cluster);
    assert!(reasons(&fleet).iter().all(|(reason, _, _)| *reason == "PoliciesUnreadable"));
    let told = lines(&plan(&fleet, Plain, "node-0"));
    let rows = |start: &str| told.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!([rows("peer/"), rows("canary/"), rows("service/")], [0, 0, 0]);
    assert_eq!([rows("hbone/"), rows("hbone-canary/"), rows("hbone-service/")], [1, 1, 1]);
    assert_eq!([rows("certificate/"), rows("plain-peer/")], [1, 1]);
}

#[test]
fn a_canary_that_denies_nothing_is_told() {
    let mut cluster = shop();
    cluster.peer_authentications = Some(Vec::new());
    let fleet = fleet(&cluster);
    let told = reasons(&fleet);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(reason, _, _)| *reason == "CanaryNotStrict"), "{told:?}");
    let canary = "canary/node-1 http http://10.1.0.2:9852/ status 2xx".to_owned();
    assert!(lines(&plan(&fleet, Plain, "node-0")).contains(&canary));
}

#[test]
fn an_agent_on_the_wrong_side_is_nobodys_peer() {
    let mut cluster = shop();
    for agent in cluster.agents.iter_mut().filter(|agent| agent.pod.node == "node-1") {
        agent.pod.wanted = match agent.vantage {
            Ambient => Enrolment::None,
            Plain => Enrolment::Ambient,
        };
    }
    let fleet = fleet(&cluster);
    assert!(reasons(&fleet).iter().all(|(reason, _, _)| *reason == "WrongSide"));
    assert_eq!(reasons(&fleet).len(), 2);
    for vantage in [Ambient, Plain] {
        let told = plan(&fleet, vantage, "node-0");
        assert!(lines(&told).iter().all(|line| !line.contains("/node-")), "{:?}", lines(&told));
    }
}

#[test]
fn one_service_that_cannot_be_called_leaves_the_others_as_they_are() {
    let sound = fleet(&shop());
    let mut cluster = shop();
    let twin = cluster.services[0].clone();
    let bad = |name: &str, path: String| {
        let bad = pod("shop", "bad-1", "node-0", ip(0x0002_0009));
        let service = service("shop", name, vec![(bad, 8080)]);
        meshprobe::cluster::Service { path, ..service }
    };
    cluster.services.extend([
        twin,
        bad("elsewhere", "@192.0.2.1/".to_owned()),
        bad("huge", format!("/{}", "x".repeat(9000))),
        bad("relative", "healthz".to_owned()),
        service("shop", "empty", vec![]),
    ]);
    let fleet = fleet(&cluster);
    assert_eq!(
        BTreeSet::from_iter(reasons(&fleet)),
        BTreeSet::from([
            ("BadAddress", "elsewhere", None),
            ("BadAddress", "huge", None),
            ("BadAddress", "relative", None),
            ("Duplicate", "web", None),
            ("NoEndpoints", "empty", None),
        ])
    );
    for vantage in [Ambient, Plain] {
        let [told, expected] = [&fleet, &sound].map(|fleet| plan(fleet, vantage, "node-0"));
        assert_eq!(told.revision, expected.revision);
    }
}

#[test]
fn an_agent_does_not_call_a_service_that_it_answers_itself() {
    let mut cluster = cluster(2);
    let own = agents("node-0", 0)[0].pod.clone();
    cluster.services.push(service(AMBIENT, "web", vec![(own, 9851)]));
    let fleet = fleet(&cluster);
    assert_eq!(web(&fleet, Ambient), Vec::<String>::new());
    assert_eq!(web(&fleet, Plain).len(), 3);
}

#[test]
fn a_plan_that_is_full_says_so_and_is_still_read() {
    let mut cluster = shop();
    let web = cluster.services[0].clone();
    cluster.services = (0..2_000)
        .map(|index| meshprobe::cluster::Service {
            name: format!("web-{index:04}"),
            path: format!("/{}", "x".repeat(500)),
            ..web.clone()
        })
        .collect();
    let fleet = fleet(&cluster);
    let full = reasons(&fleet).iter().filter(|(reason, _, _)| *reason == "PlanFull").count();
    assert!((1_000..2_000).contains(&full), "{full}");
    let told = plan(&fleet, Plain, "node-0");
    assert!(told.to_json().len() < meshprobe::config::MAX_BYTES);
    read(&told).expect("accepted");
}

#[test]
fn a_budget_that_is_too_small_for_all_is_told() {
    let budgets = Budgets {
        csr_per_second: 0.0,
        xds_per_second: 0.0,
        dns_per_second: 0.0,
        requests_per_second: 0.0,
    };
    let settings = Settings { budgets, ..Settings::default() };
    let fleet = Fleet::new(Arc::new(shop()), settings);
    let told = fleet.unknown().iter().filter(|u| u.reason == UnknownReason::NoBudget);
    let names: Vec<&str> = told.map(|unknown| unknown.object.name.as_str()).collect();
    assert_eq!(names, ["coredns", "istiod", "istiod", "istiod", "web"]);
    let rest = lines(&plan(&fleet, Plain, "node-0"));
    let start = ["coredns", "istiod", "service/", "hbone-service/"];
    assert!(!rest.iter().any(|line| start.iter().any(|row| line.starts_with(row))), "{rest:#?}");
    assert!(rest.iter().any(|line| line.starts_with("peer/")));
}

#[test]
fn istiod_signs_no_oftener_than_the_budget_allows() {
    let told = plan(&fleet(&cluster(2)), Plain, "node-0");
    let ladder = |name: &str| {
        let targets = &told.body.config.targets;
        let target = targets.iter().find(|target| target.name.as_str() == name).expect(name);
        (
            serde_json::to_value(&target.question).expect("JSON")["istiod"]["csr"].clone(),
            target.interval,
        )
    };
    assert_eq!(ladder("istiod"), ("5m".into(), Some(Duration::from_secs(15))));
    assert_eq!(ladder("istiod/istiod-a"), ("off".into(), Some(Duration::from_secs(15))));
    let many = plan(&fleet(&cluster(400)), Plain, "node-0");
    let text = String::from_utf8(many.to_json()).expect("UTF-8");
    assert!(text.contains(r#""csr":"13m20s""#), "800 agents, one a second");
}

#[test]
fn of_many_pods_each_agent_asks_some_and_the_fleet_asks_all() {
    let mut cluster = cluster(40);
    let web = |n: u32| (pod("shop", &format!("web-{n}"), "node-0", ip(0x0002_0000 + n)), 8080);
    cluster.services.push(service("shop", "web", (1..=12).map(web).collect()));
    let fleet = fleet(&cluster);
    let mut asked = BTreeSet::new();
    for told in fleet.plans().filter(|plan| plan.body.vantage == Plain) {
        let targets = told.body.config.targets.iter().map(line);
        let pods: Vec<_> = targets.filter(|l| l.starts_with("service/shop/web:80/")).collect();
        assert_eq!(pods.len(), 2);
        asked.extend(pods);
    }
    assert_eq!(asked.len(), 12);
}

#[test]
fn controls_of_denials_count_in_the_budget_of_their_service() {
    let mut cluster = cluster(40);
    let web = |n: u32| (pod("shop", &format!("web-{n}"), "node-0", ip(0x0002_0000 + n)), 8080);
    cluster.services.push(service("shop", "web", vec![web(1), web(2)]));
    strict_shop(&mut cluster);
    let mut rate = 0.0;
    for told in fleet(&cluster).plans() {
        for target in told.body.config.targets.iter().filter(|t| line(t).contains("web:80")) {
            let every = target.interval.unwrap_or(told.body.config.defaults.interval);
            let asked = if target.control.is_some() { 2.0 } else { 1.0 };
            rate += asked / every.as_secs_f64();
        }
    }
    // 40 agents in the mesh ask once, and 40 outside two pods thrice, in 31.5 s.
    assert!((8.8..9.0).contains(&rate), "{rate}, and the budget is 10");
}

#[test]
fn resolving_istiod_counts_in_the_budget_of_coredns() {
    let budgets = Budgets { dns_per_second: 20.0, ..Budgets::default() };
    let settings = Settings { budgets, ..Settings::default() };
    let fleet = Fleet::new(Arc::new(cluster(40)), settings);
    let mut rate = 0.0;
    for told in fleet.plans() {
        for target in &told.body.config.targets {
            let every = target.interval.unwrap_or(told.body.config.defaults.interval).as_secs_f64();
            rate += match target.name.as_str() {
                // Both families, at worst.
                "istiod" => 2.0 / every,
                "names" | "coredns-udp" | "coredns-tcp" => 1.0 / every,
                "coredns-udp/coredns-a" | "coredns-tcp/coredns-a" => 1.0 / every,
                _ => 0.0,
            };
        }
    }
    assert!((19.9..20.000_001).contains(&rate), "{rate}, and the budget is 20");
}

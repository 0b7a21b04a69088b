//! Who would break.

use meshprobe::cluster::mtls::Mode;
use meshprobe::cluster::{Enrolment, Labels, Webhook};
use meshprobe::gate::{Check, CheckResult, GateResult};

use super::support::{Fleet, at, flows, plaintext, policy, unmet, why};

#[test]
fn the_tunnel_daemon_is_the_one_thing_in_the_way_until_it_is_enrolled() {
    let mut fleet = Fleet::ready();
    fleet.flows = Some(flows(vec![plaintext(Some("ingress"), Some("cloudflared"))]));
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Plaintext, CheckResult::Fail)].into());
    assert_eq!(
        report.summary,
        "NOT READY for STRICT in default: 1 of 9 checks fails: plaintext from \
         ingress/cloudflared to default/mirai-frontend, 0.25/s, last seen 3 s ago: ingress is not \
         enrolled"
    );
    let [caller] = &report.callers[..] else { panic!("{:?}", report.callers) };
    assert_eq!(caller.source, "ingress/cloudflared");
    assert_eq!((caller.last_seen, caller.opened), (Some(at(-3)), 40));

    // Enrolled, its calls come by mTLS: the count of plaintext stands still.
    fleet.now = at(700);
    for node in &mut fleet.flows.as_mut().expect("flows").nodes {
        node.ztunnel.as_mut().expect("one").last_scrape = Some(at(690));
    }
    fleet.observations.iter_mut().chain(&mut fleet.lately).for_each(|it| it.window_start = at(650));
    let report = fleet.judge();
    assert_eq!(report.result, GateResult::Ready, "{report:#?}");
    let why = why(&report, Check::Plaintext);
    assert!(why.contains("last seen 12 min ago, none in the last 10 min"), "{why}");
}

#[test]
fn probes_are_no_users_and_an_unknown_source_is_told_as_unknown() {
    let mut fleet = Fleet::ready();
    fleet.flows = Some(flows(vec![plaintext(Some("meshprobe-plain"), Some("meshprobe-agent"))]));
    assert_eq!(unmet(&fleet.judge()), [].into());
    fleet.flows = Some(flows(vec![plaintext(None, None)]));
    let report = fleet.judge();
    let why = why(&report, Check::Plaintext);
    assert!(why.starts_with("plaintext from unknown to default/mirai-frontend, 0.25/s"), "{why}");
    assert!(why.contains("a pod on the host's network, a node, or one from outside"), "{why}");
}

#[test]
fn flows_into_other_namespaces_are_theirs() {
    let mut fleet = Fleet::ready();
    let mut flow = plaintext(Some("ingress"), Some("cloudflared"));
    flow.destination.namespace = Some("monitoring".to_owned());
    fleet.flows = Some(flows(vec![flow]));
    assert_eq!(unmet(&fleet.judge()), [].into());
}

#[test]
fn ztunnels_that_nobody_watched_for_long_enough_show_nothing() {
    let mut fleet = Fleet::ready();
    let told = fleet.flows.as_mut().expect("flows");
    told.nodes[0].ztunnel.as_mut().expect("one").watched_since = at(-60);
    told.nodes[1].ztunnel.as_mut().expect("one").last_scrape = Some(at(-500));
    told.nodes[2].dropped_plaintext = 7;
    let report = fleet.judge();
    assert_eq!(unmet(&report)[&Check::Plaintext], CheckResult::NotEnoughEvidence);
    let why = why(&report, Check::Plaintext);
    for line in [
        "what ztunnel counts is not known of node-2",
        "ztunnel is looked at for less than 10 min on node-1",
        "more callers than an agent keeps: not all are known of node-3",
    ] {
        assert!(why.lines().any(|told| told == line), "{line}\n{why}");
    }
}

fn webhook(required: bool) -> Webhook {
    Webhook {
        namespace: "default".to_owned(),
        service: "mirai-frontend".to_owned(),
        port: 80,
        name: "check.mirai.example".to_owned(),
        is_required: required,
    }
}

#[test]
fn a_webhook_behind_strict_fails_unless_its_port_stays_open() {
    let mut fleet = Fleet::ready();
    fleet.cluster.webhooks = Some(vec![webhook(true)]);
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Plaintext, CheckResult::Fail)].into());
    let why = why(&report, Check::Plaintext);
    assert!(why.contains("the API server calls default/mirai-frontend as webhook check.mirai"));
    fleet.cluster.webhooks = Some(vec![webhook(false)]);
    assert_eq!(unmet(&fleet.judge()), [(Check::Plaintext, CheckResult::Warn)].into());

    fleet.cluster.webhooks = Some(vec![webhook(true)]);
    let mut open = policy("default", "webhook", Mode::Unset);
    open.selector = Some(Labels::from([("app".to_owned(), "mirai-frontend".to_owned())]));
    open.ports = vec![(8080, Mode::Permissive)];
    fleet.cluster.peer_authentications.as_mut().expect("policies").push(open);
    assert_eq!(unmet(&fleet.judge()), [(Check::Policies, CheckResult::Warn)].into());

    let mut fleet = Fleet::ready();
    fleet.cluster.webhooks = Some(vec![webhook(true)]);
    fleet.cluster.services[0].endpoints[0].pod.wanted = Enrolment::None;
    assert_eq!(unmet(&fleet.judge()), [].into());
    fleet.cluster.webhooks = None;
    let lack = [(Check::Plaintext, CheckResult::NotEnoughEvidence)];
    assert_eq!(unmet(&fleet.judge()), lack.into());
}

#[test]
fn pods_on_the_hosts_network_are_told() {
    let mut fleet = Fleet::ready();
    let pods = fleet.cluster.pods.get_mut("default").expect("watched");
    (pods.host_network, pods.host_network_names) = (1, vec!["exporter-1".to_owned()]);
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Plaintext, CheckResult::Warn)].into());
    assert!(why(&report, Check::Plaintext).contains("exporter-1"));
}

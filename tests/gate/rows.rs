//! Checks that rest on what agents see.

use meshprobe::cluster::NamespacePods;
use meshprobe::failure::Reason;
use meshprobe::gate::tally::Tally;
use meshprobe::gate::{Check, CheckResult, GateResult, Scope};
use meshprobe::observation::{Expected, Verdicts};
use meshprobe::target::{ProbeKind, Vantage};
use proptest::prelude::*;

use super::support::{Fleet, NODES, at, fails, unmet, why};

#[test]
fn a_fleet_that_shows_enough_is_ready() {
    let report = Fleet::ready().judge();
    assert_eq!(unmet(&report), [].into(), "{report:#?}");
    assert!(report.ok && report.result == GateResult::Ready);
    assert_eq!(report.summary, "READY for STRICT in default: 9 of 9 checks pass");
    assert!(report.checks.iter().all(|check| check.hint.is_none()));
}

#[test]
fn without_observations_nothing_that_rests_on_them_passes() {
    let mut fleet = Fleet::ready();
    fleet.observations.clear();
    fleet.lately.clear();
    fleet.tally = Tally::new(at(-100));
    fleet.flows = None;
    let report = fleet.judge();
    assert_eq!(report.result, GateResult::NotEnoughEvidence);
    let lacking = unmet(&report);
    assert_eq!(lacking.len(), Check::ALL.len(), "{lacking:?}");
    assert!(lacking.values().all(|it| *it == CheckResult::NotEnoughEvidence), "{lacking:?}");
    assert!(!report.ok);
}

#[test]
fn what_was_counted_for_hours_does_not_stand_for_now() {
    let mut fleet = Fleet::ready();
    let silent = |it: &meshprobe::observation::Observation| {
        it.source_node == "node-2" && it.vantage == Some(Vantage::Ambient)
    };
    fleet.observations.retain(|it| !silent(it));
    fleet.lately.retain(|it| !silent(it));
    let agent = fleet.agents.iter_mut().find(|it| it.node == "node-2").expect("an agent");
    agent.linked = false;
    let report = fleet.judge();
    assert_eq!(report.result, GateResult::NotEnoughEvidence);
    let why = why(&report, Check::Connectivity);
    assert!(why.contains("from inside the mesh in the last 5 min: node-2"), "{why}");
    assert!(why.contains("the agent on node-2 is not heard of for 4 s"), "{why}");
}

#[test]
fn a_node_with_too_few_attempts_is_told_with_what_is_missing_and_how_long_it_takes() {
    let mut fleet = Fleet::ready();
    fleet.tally = Tally::new(at(-1_000));
    for mut observation in fleet.observations.clone() {
        observation.window_start = at(-1_000);
        let met = if observation.target == "istiod" { 500 } else { 6_000 };
        observation.verdicts.met = met;
        if !observation.target.starts_with("istiod/") {
            super::support::count(&mut fleet.tally, observation);
        }
    }
    let report = fleet.judge();
    let why = why(&report, Check::Istiod);
    // 1,000 of 2,995 are there, and it took 1,000 s to get them.
    assert!(why.contains("3 of 3 nodes lack attempts for 99.9 % at 95 %"), "{why}");
    assert!(why.contains("needs 1,995 more without a failure, about 34 min"), "{why}");
    let counts = &report.check(Check::Istiod).expect("it is there").counts[0];
    assert_eq!((counts.attempts, counts.nodes, counts.nodes_proven), (3_000, 3, 0));
    assert_eq!((counts.attempts_missing, counts.seconds_missing), (1_995, Some(1_995)));
    assert_eq!(report.result, GateResult::NotEnoughEvidence);
    fleet.settings.objective = 0.99;
    assert_eq!(fleet.judge().result, GateResult::Ready);
}

#[test]
fn a_dead_path_among_many_good_ones_fails_although_rates_are_good() {
    let mut fleet = Fleet::ready();
    fleet.change(
        |it| it.source_node == "node-1" && it.name.as_deref() == Some("peer/node-3"),
        |it| fails(it, Reason::Timeout),
    );
    let report = fleet.judge();
    assert_eq!(report.result, GateResult::NotReady);
    let why = why(&report, Check::Connectivity);
    let line = "node-1 (plain) to peer/node-3: nothing else but failures (timeout)";
    assert!(why.lines().any(|told| told == line), "{why}");
}

#[test]
fn a_path_that_broke_a_moment_ago_fails_before_its_rate_does() {
    let mut fleet = Fleet::ready();
    let broken = fleet.lately.iter_mut();
    let mut broken = broken.filter(|it| it.name.as_deref() == Some("canary/node-3"));
    let path = broken.find(|it| it.vantage == Some(Vantage::Ambient)).expect("it is probed");
    fails(path, Reason::Reset);
    assert_eq!(fleet.judge().check(Check::Canary).expect("it").result, CheckResult::Fail);
}

#[test]
fn one_failure_is_a_warning_and_inconclusive_attempts_are_none() {
    let mut fleet = Fleet::ready();
    let one = fleet.observations.iter_mut().find(|it| it.target == "peer").expect("a peer");
    one.verdicts = Verdicts { met: 59, violated: 1, inconclusive: 0 };
    assert_eq!(unmet(&fleet.judge()), [(Check::Connectivity, CheckResult::Warn)].into());
    let mut fleet = Fleet::ready();
    fleet.change(
        |it| it.target == "peer",
        |it| it.verdicts = Verdicts { met: 1, violated: 0, inconclusive: 59 },
    );
    assert_eq!(unmet(&fleet.judge()), [].into());
    fleet.change(
        |it| it.target != "service/default/mirai-frontend",
        |it| it.verdicts = Verdicts { met: 0, violated: 0, inconclusive: 60 },
    );
    let report = fleet.judge();
    assert_eq!(report.result, GateResult::NotEnoughEvidence, "{report:#?}");
}

#[test]
fn a_canary_that_answers_plaintext_is_an_enforcement_gap() {
    let mut fleet = Fleet::ready();
    fleet.change(
        |it| it.expect == Expected::Denied && it.destination_node.as_deref() == Some("node-2"),
        |it| fails(it, Reason::UnexpectedReply),
    );
    let report = fleet.judge();
    let failing = [(Check::Canary, CheckResult::Fail), (Check::Policies, CheckResult::Fail)];
    assert_eq!(unmet(&report), failing.into());
    let why = why(&report, Check::Policies);
    let line =
        "node-1 (plain) to canary/node-2: enforcement gap, 60 replies where STRICT must deny";
    assert!(why.lines().any(|told| told == line), "{why}");
}

#[test]
fn half_of_an_experiment_proves_nothing() {
    let mut fleet = Fleet::ready();
    let half = |it: &meshprobe::observation::Observation| {
        it.expect == Expected::Denied
            && it.source_node == "node-1"
            && it.destination_node.as_deref() == Some("node-3")
    };
    fleet.observations.retain(|it| !half(it));
    let report = fleet.judge();
    let why = why(&report, Check::Canary);
    assert!(
        why.contains("1 pair of nodes showed no denial of plaintext: node-1 to node-3"),
        "{why}"
    );
}

#[test]
fn a_replica_that_nobody_asked_is_told() {
    let mut fleet = Fleet::ready();
    fleet.observations.retain(|it| it.target != "coredns/coredns-b");
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Coredns, CheckResult::NotEnoughEvidence)].into());
    assert!(why(&report, Check::Coredns).contains("coredns-b"));
}

#[test]
fn roots_that_disagree_are_named_with_both_nodes() {
    let mut fleet = Fleet::ready();
    fleet.change(
        |it| it.name.as_deref() == Some("certificate/node-2") && it.source_node == "node-3",
        |it| fails(it, Reason::CertUntrusted),
    );
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Certificates, CheckResult::Fail)].into());
    let why = why(&report, Check::Certificates);
    assert!(why.contains("node-3 (plain) to certificate/node-2: roots disagree"), "{why}");
}

#[test]
fn ztunnels_are_counted_and_their_own_word_is_heard() {
    let mut fleet = Fleet::ready();
    fleet.cluster.daemon_sets.get_mut("ztunnel").expect("it").ready = 2;
    let flows = fleet.flows.as_mut().expect("flows");
    let ztunnel = flows.nodes[1].ztunnel.as_mut().expect("a ztunnel");
    (ztunnel.ready, ztunnel.pending) = (Some(false), Some("xds".to_owned()));
    let restarted = flows.nodes[2].ztunnel.as_mut().expect("a ztunnel");
    (restarted.restarts, restarted.last_restart) = (2, Some(at(-60)));
    let report = fleet.judge();
    let check = report.check(Check::Ztunnel).expect("it");
    assert_eq!(
        (check.result, check.summary.as_str()),
        (CheckResult::Fail, "2 of 3 ztunnels are ready (and 1 more)")
    );
    let told: Vec<&str> = check.details.iter().map(|it| it.text.as_str()).collect();
    assert!(told.contains(&"node-2: not ready, waits: xds"), "{told:?}");
    assert!(told.contains(&"node-3: 2 restarts, the last 60 s ago"), "{told:?}");
}

#[test]
fn capture_that_is_missing_is_named_and_a_namespace_outside_the_mesh_is_not_ready() {
    let mut fleet = Fleet::ready();
    let pods = fleet.cluster.pods.get_mut("default").expect("watched");
    (pods.captured, pods.uncaptured) = (3, 1);
    pods.uncaptured_names = vec!["mirai-frontend-7".to_owned()];
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Capture, CheckResult::Fail)].into());
    assert!(report.summary.ends_with(
        "1 of 9 checks fails: capture: 1 pod of default labelled and not captured: mirai-frontend-7"
    ));
    *fleet.cluster.pods.get_mut("default").expect("watched") = NamespacePods::default();
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Capture, CheckResult::NotEnoughEvidence)].into());
    fleet.cluster.pods.clear();
    let report = fleet.judge();
    assert!(why(&report, Check::Capture).contains("are not watched"));
}

#[test]
fn the_mesh_reads_the_services_of_every_namespace() {
    let mut fleet = Fleet::ready();
    fleet.scope = Scope::of("monitoring");
    fleet.change(|it| it.target.starts_with("service/"), |it| fails(it, Reason::Reset));
    let monitoring = fleet.judge();
    let connectivity =
        |report: &meshprobe::gate::Report| report.check(Check::Connectivity).expect("it").result;
    assert_eq!(connectivity(&monitoring), CheckResult::Warn, "no service of its own is called");
    fleet.scope = Scope::Mesh;
    assert_eq!(connectivity(&fleet.judge()), CheckResult::Fail);
}

#[test]
fn held_connections_that_break_are_a_word_and_no_rate() {
    let mut fleet = Fleet::ready();
    let mut held = fleet.observations[0].clone();
    held.probe = ProbeKind::Hold;
    fails(&mut held, Reason::Reset);
    fleet.observations.push(held);
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Connectivity, CheckResult::Warn)].into());
    assert!(why(&report, Check::Connectivity).contains("node-1: 60 held connections broke"));
}

proptest! {
    /// Whatever is taken away, what is left makes no better gate.
    #[test]
    fn less_evidence_is_never_a_better_gate(
        keep in prop::collection::vec(any::<bool>(), 120), node in 0usize..3, scope in any::<bool>(),
    ) {
        let mut fleet = Fleet::ready();
        if scope {
            fleet.scope = Scope::Mesh;
        }
        fleet.change(
            |it| it.source_node == NODES[node] && it.target == "istiod",
            |it| fails(it, Reason::Timeout),
        );
        let all = fleet.judge();
        let mut keep = keep.into_iter();
        fleet.observations.retain(|_| keep.next().unwrap_or(true));
        let fewer = fleet.judge();
        prop_assert!(!fewer.ok && !all.ok);
        for check in Check::ALL {
            let result = |report: &meshprobe::gate::Report| report.check(check).expect("it").result;
            prop_assert!(
                result(&fewer) >= CheckResult::NotEnoughEvidence.min(result(&all))
                    || result(&fewer) == result(&all)
            );
        }
    }
}

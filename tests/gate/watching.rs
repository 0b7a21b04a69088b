//! After STRICT was applied: before against after.

use meshprobe::cluster::mtls::Mode;
use meshprobe::failure::Reason;
use meshprobe::gate::change::{Change, History, Recommendation, Shift};
use meshprobe::gate::{Check, Scope};
use meshprobe::observation::Verdicts;

use super::support::{Fleet, MANY, at, count, fails, flows, plaintext, policy};

/// A fleet in which STRICT was applied to `default` at 0, and what is counted until 600.
fn applied(fleet: &mut Fleet) -> History {
    let mut history = History::default();
    let mut observe = |fleet: &mut Fleet, now| {
        let Fleet { cluster, tally, flows, .. } = fleet;
        history.observe(cluster, "istio-system", "meshprobe-ambient", flows.as_ref(), tally, now);
    };
    observe(fleet, at(-10));
    let policies = fleet.cluster.peer_authentications.as_mut().expect("policies");
    policies.push(policy("default", "default", Mode::Strict));
    observe(fleet, at(0));
    observe(fleet, at(5));
    fleet.now = at(600);
    history
}

/// Has `fleet` count what it sees, after `change`, at 300.
fn after(fleet: &mut Fleet, met: u64, change: impl Fn(&mut meshprobe::observation::Observation)) {
    for mut observation in fleet.observations.clone() {
        observation.window_start = at(300);
        observation.verdicts = Verdicts { met, violated: 0, inconclusive: 0 };
        change(&mut observation);
        count(&mut fleet.tally, observation);
    }
}

fn change(fleet: &Fleet, history: &History) -> Change {
    history.change(&fleet.evidence()).expect("a change")
}

#[test]
fn what_was_strict_all_along_is_no_change() {
    let mut fleet = Fleet::ready();
    let mut history = History::default();
    for second in [0, 10] {
        let Fleet { cluster, tally, .. } = &mut fleet;
        history.observe(cluster, "istio-system", "meshprobe-ambient", None, tally, at(second));
    }
    assert_eq!(history.change(&fleet.evidence()), None);
}

#[test]
fn strict_under_which_nothing_got_worse_is_kept() {
    let mut fleet = Fleet::ready();
    let history = applied(&mut fleet);
    let early = change(&fleet, &history);
    assert_eq!(early.recommendation, Recommendation::Wait, "nothing was counted yet");
    after(&mut fleet, MANY, |_| {});
    let change = change(&fleet, &history);
    assert_eq!(change.recommendation, Recommendation::Keep, "{change:#?}");
    assert_eq!(change.at, at(0));
    assert_eq!(change.summary, "KEEP STRICT in default: nothing got worse");
    let peers = change.checks.iter().find(|it| it.check == Check::Connectivity).expect("it");
    assert!(peers.before.attempts > 0 && peers.after.attempts > 0, "{peers:?}");
}

#[test]
fn what_fails_more_than_before_recommends_the_exact_command_back() {
    let mut fleet = Fleet::ready();
    let history = applied(&mut fleet);
    after(&mut fleet, MANY, |it| {
        if it.target == "service/default/mirai-frontend" {
            fails(it, Reason::Reset);
        }
    });
    let change = change(&fleet, &history);
    assert_eq!(change.recommendation, Recommendation::Revert);
    assert!(change.summary.starts_with("REVERT STRICT in default: connectivity: "), "{change:?}");
    let revert = "kubectl -n default delete peerauthentications.security.istio.io default";
    assert_eq!(change.revert, revert);
    let connectivity = change.checks.iter().find(|it| it.check == Check::Connectivity);
    assert_eq!(connectivity.expect("it").result, Shift::Worse);
}

#[test]
fn users_that_are_denied_since_are_evidence() {
    let mut fleet = Fleet::ready();
    let caller = |denied| {
        let mut flow = plaintext(Some("ingress"), Some("cloudflared"));
        flow.denied = denied;
        Some(flows(vec![flow]))
    };
    fleet.flows = caller(2);
    let history = applied(&mut fleet);
    after(&mut fleet, MANY, |_| {});
    assert_eq!(change(&fleet, &history).recommendation, Recommendation::Keep);
    fleet.flows = caller(9);
    let change = change(&fleet, &history);
    assert_eq!(change.recommendation, Recommendation::Revert);
    let told = "7 connections from ingress/cloudflared to default/mirai-frontend denied since";
    assert_eq!(change.evidence, [told]);
}

#[test]
fn the_way_back_restores_what_was_changed_also_by_the_meshs_own_policy() {
    let mut fleet = Fleet::ready();
    let mut history = History::default();
    let mut observe = |fleet: &mut Fleet, now| {
        let Fleet { cluster, tally, .. } = fleet;
        history.observe(cluster, "istio-system", "meshprobe-ambient", None, tally, now);
    };
    let policies = fleet.cluster.peer_authentications.as_mut().expect("policies");
    policies.push(policy("istio-system", "mesh", Mode::Permissive));
    observe(&mut fleet, at(-10));
    let policies = fleet.cluster.peer_authentications.as_mut().expect("policies");
    policies.last_mut().expect("it was pushed").mode = Mode::Strict;
    observe(&mut fleet, at(0));
    for scope in [Scope::Mesh, Scope::of("default")] {
        fleet.scope = scope;
        let revert = change(&fleet, &history).revert;
        assert!(revert.contains("  name: mesh\n  namespace: istio-system\n"), "{revert}");
        assert!(revert.contains("    mode: PERMISSIVE\n"), "{revert}");
    }
}

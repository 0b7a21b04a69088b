//! What is in force, what would stay open, and the commands.

use meshprobe::cluster::Labels;
use meshprobe::cluster::mtls::{Effective, Mode, PeerAuthentication, Policies};
use meshprobe::gate::command::Commands;
use meshprobe::gate::report::Mode as Told;
use meshprobe::gate::{Check, CheckResult, Scope};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Fleet, policy, unmet, why};

#[test]
fn a_narrower_policy_that_stays_open_is_named() {
    let mut fleet = Fleet::ready();
    let narrow = PeerAuthentication {
        selector: Some(Labels::from([("app".to_owned(), "legacy".to_owned())])),
        ..policy("default", "legacy", Mode::Disable)
    };
    fleet.cluster.peer_authentications.as_mut().expect("policies").push(narrow);
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Policies, CheckResult::Warn)].into());
    let why = why(&report, Check::Policies);
    assert!(why.contains("default/legacy for pods with app=legacy stays DISABLE"), "{why}");

    fleet.scope = Scope::Mesh;
    let whole = policy("monitoring", "default", Mode::Permissive);
    fleet.cluster.peer_authentications.as_mut().expect("policies").push(whole);
    let why = super::support::why(&fleet.judge(), Check::Policies);
    assert!(why.contains("monitoring/default for the whole namespace stays PERMISSIVE"), "{why}");
}

#[test]
fn policies_that_cannot_be_read_leave_the_question_open() {
    let mut fleet = Fleet::ready();
    fleet.cluster.peer_authentications = None;
    let report = fleet.judge();
    assert_eq!(unmet(&report), [(Check::Policies, CheckResult::NotEnoughEvidence)].into());
    assert!(report.mode.is_none() && report.commands.is_none());
}

#[test]
fn the_mode_in_force_is_told() {
    let mut fleet = Fleet::ready();
    assert_eq!(fleet.judge().mode, Some(Told::Permissive));
    let policies = fleet.cluster.peer_authentications.as_mut().expect("policies");
    policies.push(policy("istio-system", "default", Mode::Strict));
    assert_eq!(fleet.judge().mode, Some(Told::Strict));
}

#[test]
fn without_a_policy_one_is_made_and_deleted_again() {
    let commands = Commands::of(&Scope::of("default"), &[], "istio-system");
    assert_eq!(
        commands.apply,
        "kubectl apply -f - <<EOF\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata:\n  name: default\n  namespace: default\nspec:\n  mtls:\n    mode: STRICT\nEOF"
    );
    assert_eq!(
        commands.revert,
        "kubectl -n default delete peerauthentications.security.istio.io default"
    );
    let mesh = Commands::of(&Scope::Mesh, &[], "istio-system");
    assert!(mesh.apply.contains("  namespace: istio-system\n"));
}

#[test]
fn the_oldest_policy_is_changed_and_restored_for_a_younger_one_would_have_no_say() {
    let old = PeerAuthentication { created: 1, ..policy("default", "first", Mode::Permissive) };
    let young = policy("default", "default", Mode::Unset);
    let commands = Commands::of(&Scope::of("default"), &[young, old], "istio-system");
    assert!(
        commands.apply.contains("  name: first\n") && commands.apply.contains("mode: STRICT\n")
    );
    assert!(commands.revert.contains("  name: first\n"));
    assert!(commands.revert.contains("mode: PERMISSIVE\n"));
    assert!(
        commands.limit.contains("default/first exists") && commands.limit.contains("1 younger")
    );
}

/// What a manifest in `command` makes of `policies`.
fn applied(command: &str, policies: &[PeerAuthentication]) -> Vec<PeerAuthentication> {
    let value = |key: &str| {
        let line = command.lines().find_map(|line| line.trim().strip_prefix(key));
        line.expect("it is stated").trim().to_owned()
    };
    let (name, namespace) = (value("name:"), value("namespace:"));
    let mode = if value("mode:") == "STRICT" { Mode::Strict } else { Mode::Permissive };
    let mut policies = policies.to_vec();
    match policies.iter_mut().find(|it| it.name == name && it.namespace == namespace) {
        Some(own) => own.mode = mode,
        None => policies
            .push(PeerAuthentication { created: i64::MAX, ..policy(&namespace, &name, mode) }),
    }
    policies
}

proptest! {
    #[test]
    fn the_command_makes_its_scope_strict_whatever_was_there(
        found in prop::collection::vec(
            (
                select(vec!["default", "istio-system", "other"]),
                select(vec!["default", "first", "mine"]),
                0i64..4,
                select(vec![Mode::Unset, Mode::Disable, Mode::Permissive, Mode::Strict]),
            ),
            0..6,
        ),
        mesh in any::<bool>(),
    ) {
        let mut policies: Vec<PeerAuthentication> = Vec::new();
        for (namespace, name, created, mode) in found {
            if !policies.iter().any(|it| it.namespace == namespace && it.name == name) {
                policies.push(PeerAuthentication { created, ..policy(namespace, name, mode) });
            }
        }
        let scope = if mesh { Scope::Mesh } else { Scope::of("default") };
        let after = applied(&Commands::of(&scope, &policies, "istio-system").apply, &policies);
        let namespace = if mesh { "istio-system" } else { "default" };
        let mode = Policies::new(&after, "istio-system").effective(namespace, &Labels::new(), 80);
        prop_assert_eq!(mode, Effective::Strict);
    }
}

//! Istio's precedence of PeerAuthentications, as istiod applies it to ambient workloads.

use std::collections::BTreeMap;

use meshprobe::cluster::Labels;
use meshprobe::cluster::mtls::{Effective, Mode, PeerAuthentication, effective};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const ROOT: &str = "istio-system";

fn policy(namespace: &str, name: &str, mode: Mode) -> PeerAuthentication {
    PeerAuthentication {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        created: 100,
        selector: None,
        mode,
        ports: Vec::new(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn selecting(namespace: &str, name: &str, mode: Mode, ports: &[(u16, Mode)]) -> PeerAuthentication {
    PeerAuthentication {
        selector: Some(labels(&[("app", "web")])),
        ports: ports.to_vec(),
        ..policy(namespace, name, mode)
    }
}

/// At port 80 of a pod `app=web` of namespace `shop`, given in any order.
#[track_caller]
fn holds(policies: &[PeerAuthentication], expected: Effective) {
    let web = labels(&[("app", "web"), ("version", "1")]);
    let backwards: Vec<_> = policies.iter().rev().cloned().collect();
    assert_eq!(effective(policies, ROOT, "shop", &web, 80), expected, "{policies:#?}");
    assert_eq!(effective(&backwards, ROOT, "shop", &web, 80), expected, "{backwards:#?}");
}

use Effective::{Permissive, Strict};

#[test]
fn without_a_policy_plaintext_is_answered() {
    holds(&[], Permissive);
    holds(&[policy("other", "default", Mode::Strict)], Permissive);
}

#[test]
fn levels_override_from_the_mesh_to_the_workload() {
    let stated = [Mode::Unset, Mode::Disable, Mode::Permissive, Mode::Strict];
    for mesh in stated {
        for namespace in stated {
            for workload in stated {
                for port in stated {
                    let written = [port, workload, namespace, mesh];
                    let first = written.iter().find(|mode| **mode != Mode::Unset);
                    let expected = if first == Some(&Mode::Strict) { Strict } else { Permissive };
                    holds(
                        &[
                            policy(ROOT, "default", mesh),
                            policy("shop", "default", namespace),
                            selecting("shop", "web", workload, &[(80, port), (81, Mode::Strict)]),
                        ],
                        expected,
                    );
                }
            }
        }
    }
}

#[test]
fn the_oldest_of_a_level_wins_and_then_the_first_by_name() {
    for namespace in [ROOT, "shop"] {
        let aged =
            |name, created, mode| PeerAuthentication { created, ..policy(namespace, name, mode) };
        holds(&[aged("z", 1, Mode::Strict), aged("a", 2, Mode::Permissive)], Strict);
        holds(&[aged("z", 2, Mode::Strict), aged("a", 1, Mode::Permissive)], Permissive);
        holds(&[aged("z", 1, Mode::Strict), aged("a", 1, Mode::Permissive)], Permissive);
        holds(&[aged("b", 1, Mode::Strict), aged("c", 1, Mode::Permissive)], Strict);
        // The oldest counts also when it says nothing.
        holds(&[aged("z", 1, Mode::Unset), aged("a", 2, Mode::Strict)], Permissive);
    }
    let aged = |name, created, mode, port| PeerAuthentication {
        created,
        ..selecting("shop", name, mode, &[(80, port)])
    };
    holds(
        &[aged("z", 1, Mode::Strict, Mode::Unset), aged("a", 2, Mode::Permissive, Mode::Unset)],
        Strict,
    );
    // Ports of one policy do not mix with the mode of another.
    holds(
        &[aged("z", 1, Mode::Permissive, Mode::Unset), aged("a", 2, Mode::Unset, Mode::Strict)],
        Permissive,
    );
}

#[test]
fn port_modes_count_only_beside_a_selector() {
    let ports = vec![(80, Mode::Strict)];
    for namespace in [ROOT, "shop"] {
        let bare = PeerAuthentication {
            ports: ports.clone(),
            ..policy(namespace, "default", Mode::Unset)
        };
        holds(std::slice::from_ref(&bare), Permissive);
        holds(&[PeerAuthentication { selector: Some(Labels::new()), ..bare }], Permissive);
    }
    holds(&[selecting("shop", "web", Mode::Unset, &ports)], Strict);
    holds(&[selecting("shop", "web", Mode::Strict, &[(81, Mode::Permissive)])], Strict);
}

#[test]
fn a_selector_must_match_every_label() {
    let choosing = |pairs: &[(&str, &str)]| PeerAuthentication {
        selector: Some(labels(pairs)),
        ..policy("shop", "some", Mode::Strict)
    };
    holds(&[choosing(&[("app", "web"), ("version", "1")])], Strict);
    holds(&[choosing(&[("app", "web"), ("version", "2")])], Permissive);
    holds(&[choosing(&[("app", "web"), ("tier", "1")])], Permissive);
}

#[test]
fn an_empty_selector_is_for_its_whole_namespace_and_never_for_the_mesh() {
    let empty = |namespace| PeerAuthentication {
        selector: Some(Labels::new()),
        ..policy(namespace, "empty", Mode::Strict)
    };
    holds(&[empty("shop")], Strict);
    holds(&[empty(ROOT)], Permissive);
    assert_eq!(effective(&[empty(ROOT)], ROOT, ROOT, &Labels::new(), 80), Strict);
}

#[test]
fn in_the_root_namespace_selectors_are_passed_over() {
    let web = labels(&[("app", "web")]);
    let selected = selecting(ROOT, "web", Mode::Strict, &[(80, Mode::Strict)]);
    holds(std::slice::from_ref(&selected), Permissive);
    assert_eq!(effective(&[selected], ROOT, ROOT, &web, 80), Permissive);
    assert_eq!(effective(&[policy(ROOT, "default", Mode::Strict)], ROOT, ROOT, &web, 80), Strict);
}

fn mode() -> impl Strategy<Value = Mode> {
    select(vec![Mode::Unset, Mode::Disable, Mode::Permissive, Mode::Strict])
}

fn some_labels() -> impl Strategy<Value = Labels> {
    let key = select(vec!["app", "tier"]).prop_map(str::to_owned);
    proptest::collection::btree_map(key, "[ab]", 0..3)
}

fn policies() -> impl Strategy<Value = Vec<PeerAuthentication>> {
    let one = (
        select(vec![ROOT, "shop", "other"]),
        0i64..3,
        option::of(some_labels()),
        mode(),
        vec((79u16..82, mode()), 0..3),
    );
    vec(one, 0..8).prop_map(|list| {
        let named = list.into_iter().enumerate().map(|(index, item)| {
            let (namespace, created, selector, mode, ports) = item;
            let ports: BTreeMap<u16, Mode> = ports.into_iter().collect();
            PeerAuthentication {
                namespace: namespace.to_owned(),
                name: format!("policy-{index}"),
                created,
                selector,
                mode,
                ports: ports.into_iter().collect(),
            }
        });
        named.collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_the_policies_does_not_matter(
        (given, shuffled) in policies().prop_flat_map(|list| {
            (Just(list.clone()), Just(list).prop_shuffle())
        }),
        labels in some_labels(),
        namespace in select(vec![ROOT, "shop", "third"]),
        port in 78u16..83,
    ) {
        prop_assert_eq!(
            effective(&given, ROOT, namespace, &labels, port),
            effective(&shuffled, ROOT, namespace, &labels, port)
        );
    }

    #[test]
    fn disable_is_permissive(
        given in policies(), labels in some_labels(), port in 78u16..83,
    ) {
        let lenient = |mode| if mode == Mode::Disable { Mode::Permissive } else { mode };
        let written: Vec<_> = given.iter().cloned().map(|policy| PeerAuthentication {
            mode: lenient(policy.mode),
            ports: policy.ports.into_iter().map(|(port, mode)| (port, lenient(mode))).collect(),
            ..policy
        }).collect();
        prop_assert_eq!(
            effective(&given, ROOT, "shop", &labels, port),
            effective(&written, ROOT, "shop", &labels, port)
        );
    }

    #[test]
    fn strict_comes_only_from_a_policy_that_says_it(
        given in policies(), labels in some_labels(), port in 78u16..83,
    ) {
        let applying = given.iter().filter(|policy| ["shop", ROOT].contains(&policy.namespace.as_str()));
        let says = |policy: &PeerAuthentication| {
            policy.mode == Mode::Strict || policy.ports.contains(&(port, Mode::Strict))
        };
        if effective(&given, ROOT, "shop", &labels, port) == Strict {
            prop_assert!(applying.into_iter().any(says));
        }
    }

    #[test]
    fn other_namespaces_do_not_matter(
        given in policies(), labels in some_labels(), port in 78u16..83,
    ) {
        let own: Vec<_> = given.iter().filter(|policy| policy.namespace != "other").cloned().collect();
        prop_assert_eq!(
            effective(&given, ROOT, "shop", &labels, port),
            effective(&own, ROOT, "shop", &labels, port)
        );
    }
}

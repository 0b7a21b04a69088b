//! What machines ask, and what they get.

use meshprobe::gate::answer::{Ask, BadAsk, Hook, json};
use meshprobe::gate::{Report, Scope, Settings};
use serde_json::{Value, json as value};

use super::support::{Fleet, flows, plaintext};

fn read(query: &str) -> Result<Ask, BadAsk> {
    Ask::read(query, Settings::default())
}

#[test]
fn a_query_states_one_scope_and_its_own_measure() {
    assert_eq!(read("namespace=default").map(|ask| ask.scope), Ok(Scope::of("default")));
    let ask = read("mesh=true&objective=0.99&confidence=0.9").expect("good");
    assert_eq!((ask.scope, ask.settings.objective), (Scope::Mesh, 0.99));
    assert_eq!((ask.settings.confidence, ask.settings.quiet), (0.9, Settings::default().quiet));
    for bad in [
        "",
        "namespace=a&mesh=true",
        "namespace=A",
        "namespace=",
        "namespace=a&objective=1",
        "namespace=a&objective=NaN",
        "namespace=a&confidence=x",
        "namespace=a&b=c",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_webhook_takes_the_namespace_of_its_query_its_metadata_or_its_canary() {
    let body = |metadata: Value| {
        value!({ "name": "podinfo", "namespace": "test", "phase": "Progressing",
                 "metadata": metadata })
        .to_string()
    };
    let hooked = |query: &str, body: &str| {
        Ask::hooked(query, body.as_bytes(), Settings::default()).map(|ask| ask.scope)
    };
    assert_eq!(hooked("", &body(value!({}))), Ok(Scope::of("test")));
    assert_eq!(hooked("", &body(Value::Null)), Ok(Scope::of("test")));
    assert_eq!(hooked("", &body(value!({ "namespace": "shop" }))), Ok(Scope::of("shop")));
    assert_eq!(hooked("namespace=other", &body(value!({}))), Ok(Scope::of("other")));
    assert_eq!(hooked("mesh=true", ""), Ok(Scope::Mesh));
    assert_eq!(hooked("objective=0.99", &body(value!({}))), Ok(Scope::of("test")));
    assert!(hooked("", "{}").is_err() && hooked("", "").is_err());
    assert!(hooked("", &body(value!({ "namespace": "a&mesh=true" }))).is_err());
}

fn reports() -> [Report; 3] {
    let ready = Fleet::ready();
    let mut breaks = Fleet::ready();
    breaks.flows = Some(flows(vec![plaintext(Some("ingress"), Some("cloudflared"))]));
    let mut lacks = Fleet::ready();
    lacks.flows = None;
    [ready.judge(), breaks.judge(), lacks.judge()]
}

#[test]
fn rollouts_need_a_ready_gate_and_are_rolled_back_only_on_evidence() {
    let [ready, breaks, lacks] = reports();
    for hook in [Hook::ConfirmRollout, Hook::PreRollout] {
        let answers = [&ready, &breaks, &lacks].map(|report| hook.approves(Some(report)));
        assert_eq!(answers, [true, false, false], "{hook:?}");
        assert!(!hook.approves(None));
    }
    let answers = [&ready, &breaks, &lacks].map(|it| Hook::Rollback.approves(Some(it)));
    assert_eq!(answers, [false, true, false]);
    assert!(!Hook::Rollback.approves(None));
}

#[test]
fn the_json_has_the_documented_keys_and_reads_back() {
    for report in reports() {
        let text = json(&Ok(report.clone()));
        let read: Report = serde_json::from_str(&text).expect("a report");
        assert_eq!(read, report);
        let read: Value = serde_json::from_str(&text).expect("JSON");
        for key in ["ok", "result", "summary", "checks", "callers", "commands", "scope"] {
            assert!(read.get(key).is_some(), "{key}");
        }
        let checks = read["checks"].as_array().expect("a list");
        assert_eq!(checks.len(), 9);
    }
    let [_, breaks, _] = reports();
    let read: Value = serde_json::from_str(&json(&Ok(breaks))).expect("JSON");
    assert_eq!((&read["ok"], &read["result"]), (&value!(false), &value!("not_ready")));
    assert_eq!(read["scope"], value!({ "kind": "namespace", "namespace": "default" }));
    assert_eq!(read["callers"][0]["source"], "ingress/cloudflared");
    let problem = json(&Err("objective=2: too much".to_owned()));
    let read: Value = serde_json::from_str(&problem).expect("JSON");
    assert_eq!((&read["ok"], &read["result"]), (&value!(false), &value!("not_enough_evidence")));
    assert_eq!(read["error"], "objective=2: too much");
}

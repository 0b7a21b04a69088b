use meshprobe::cluster::mtls::{Mode, PeerAuthentication};
use meshprobe::cluster::{Finding, FindingReason};
use meshprobe::discovery::Settings;
use meshprobe::discovery::peer_authentication::peer_authentication;
use meshprobe::discovery::seen::Seen;
use meshprobe::discovery::watched::{REFUSED_FOR, Standing};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::{World, listed, object, only};

fn read(spec: Value) -> Result<PeerAuthentication, Box<Finding>> {
    peer_authentication(object(json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {
            "namespace": "shop", "name": "p", "uid": "u",
            "creationTimestamp": "1970-01-01T00:01:00Z",
        },
        "spec": spec,
    })))
}

#[test]
fn a_policy_is_read_with_selector_mode_and_ports() {
    let policy = read(json!({
        "selector": { "matchLabels": { "app": "a" } },
        "mtls": { "mode": "STRICT" },
        "portLevelMtls": { "8080": { "mode": "DISABLE" }, "9090": {}, "9091": null },
        "somethingNew": [1, 2],
    }));
    let expected = PeerAuthentication {
        namespace: "shop".to_owned(),
        name: "p".to_owned(),
        created: 60,
        selector: Some([("app".to_owned(), "a".to_owned())].into()),
        mode: Mode::Strict,
        ports: vec![(8080, Mode::Disable), (9090, Mode::Unset), (9091, Mode::Unset)],
    };
    assert_eq!(policy, Ok(expected));
}

#[test]
fn an_empty_policy_inherits_and_an_empty_selector_is_none() {
    for spec in
        [json!(null), json!({}), json!({ "mtls": {} }), json!({ "mtls": { "mode": "UNSET" } })]
    {
        assert_eq!(read(spec).expect("good").mode, Mode::Unset);
    }
    let empty = read(json!({ "selector": { "matchLabels": {} } })).expect("good");
    assert_eq!(empty.selector, None);
}

#[test]
fn a_bad_policy_is_a_finding_on_it() {
    for (spec, part) in [
        (json!({ "mtls": { "mode": "strict" } }), "spec.mtls.mode is \"strict\": write"),
        (json!({ "mtls": "STRICT" }), "spec: "),
        (json!("STRICT"), "spec: "),
        (json!({ "portLevelMtls": { "http": {} } }), "names port \"http\": write 1 to 65535"),
        (json!({ "portLevelMtls": { "0": {} } }), "names port \"0\""),
        (
            json!({ "portLevelMtls": { "80": { "mode": "\n" } } }),
            "portLevelMtls[80].mode is \"\\n\"",
        ),
    ] {
        let finding = read(spec.clone()).expect_err("bad");
        assert_eq!(finding.reason, FindingReason::BadObject);
        assert_eq!(finding.object.uid.as_deref(), Some("u"));
        assert!(finding.message.contains(part), "{spec}: {}", finding.message);
    }
}

fn policies(seen: Seen) -> World {
    World { settings: Settings::default(), seen }
}

#[test]
fn a_bad_policy_does_not_hide_the_good_ones() {
    let good = read(json!({ "mtls": { "mode": "STRICT" } }));
    let bad = read(json!({ "mtls": { "mode": "?" } }));
    let of = |name: &str, policy| ("shop".to_owned(), name.to_owned(), policy);
    let seen = Seen {
        peer_authentications: listed([of("bad", bad), of("good", good)]),
        ..Seen::default()
    };
    let cluster = policies(seen).cluster();
    assert_eq!(cluster.peer_authentications.as_ref().map(Vec::len), Some(1));
    assert_eq!(only(&cluster).reason, FindingReason::BadObject);
}

#[test]
fn without_the_kind_or_the_right_to_read_it_policies_are_unknown_and_not_none() {
    let policy = read(json!({ "mtls": { "mode": "STRICT" } }));
    let mut seen = Seen {
        peer_authentications: listed([("shop".to_owned(), "p".to_owned(), policy)]),
        ..Seen::default()
    };
    assert!(policies(seen.clone()).cluster().peer_authentications.is_some());
    let now = Instant::now();
    for now in [now, now + REFUSED_FOR] {
        seen.peer_authentications.fail(Some(Standing::Forbidden), String::new(), now);
    }
    let cluster = policies(seen.clone()).cluster();
    assert_eq!(cluster.peer_authentications, None);
    assert_eq!(only(&cluster).reason, FindingReason::Forbidden);
    seen.peer_authentications.fail(Some(Standing::Absent), String::new(), now);
    let cluster = policies(seen.clone()).cluster();
    assert_eq!((cluster.peer_authentications, cluster.findings), (None, vec![]));
    seen.peer_authentications.replace([].into(), now);
    assert_eq!(policies(seen).cluster().peer_authentications, Some(vec![]));
}

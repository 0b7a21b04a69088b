use meshprobe::cluster::FindingReason;
use meshprobe::discovery::{MAX_MESSAGE, Settings};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{World, pod, service_with, slice};

fn world(annotations: Value) -> World {
    let good = json!({ "meshprobe.dev/probe": "true" });
    let services = [
        service_with("bad", annotations, &[("http", 80)]),
        service_with("good", good, &[("http", 80)]),
    ];
    let slices = ["bad", "good"].map(|name| slice(name, &[("http", 8080)], &[("p", "10.0.0.1")]));
    let pods = [pod("shop", "p", "node-a", "10.0.0.1")];
    World::new(Settings::default()).services(&services).behind("shop", &pods, &slices)
}

#[track_caller]
fn told(annotations: Value, bad_is_called: bool, mistakes: usize) {
    let cluster = world(annotations).cluster();
    let names: Vec<&str> = cluster.services.iter().map(|service| service.name.as_str()).collect();
    let expected: &[&str] = if bad_is_called { &["bad", "good"] } else { &["good"] };
    assert_eq!(names, expected);
    assert_eq!(cluster.findings.len(), mistakes, "{:#?}", cluster.findings);
    for finding in &cluster.findings {
        assert_eq!(finding.reason, FindingReason::BadAnnotation);
        assert_eq!(finding.object.name, "bad");
        assert!(finding.message.chars().count() <= MAX_MESSAGE, "{}", finding.message);
        assert!(!finding.message.chars().any(char::is_control), "{:?}", finding.message);
    }
}

#[test]
fn a_bad_annotation_is_told_in_one_printable_line_and_costs_nobody_else_anything() {
    let probe = |text: &str| json!({ "meshprobe.dev/probe": text });
    told(probe(""), false, 1);
    told(probe("yes please"), false, 1);
    told(probe("0"), false, 1);
    told(probe("65536"), false, 1);
    told(probe("-1"), false, 1);
    told(probe("http,\u{1b}[2J\n\r\u{202e}"), true, 1);
    told(probe(&"x".repeat(200_000)), false, 1);
    let many: String = (0..400).map(|n| format!("_{n},")).collect();
    told(probe(&many), false, 32);
    let path = |text: &str| json!({ "meshprobe.dev/probe": "true", "meshprobe.dev/path": text });
    told(path("no-slash"), true, 1);
    told(path("/a b"), true, 1);
    told(path("/\r\nHost: elsewhere"), true, 1);
    told(path(&format!("/{}", "x".repeat(2000))), true, 1);
    told(path("/ü"), true, 1);
    told(path("/fine?a=b&c=%20"), true, 0);
}

#[test]
fn a_bad_path_leaves_the_root_to_be_asked_for() {
    let annotations = json!({ "meshprobe.dev/probe": "true", "meshprobe.dev/path": "nonsense" });
    assert_eq!(world(annotations).cluster().services[0].path, "/");
}

proptest! {
    #[test]
    fn whatever_the_annotations_say_the_other_service_is_called(
        probe in "(?s).{0,300}", path in "(?s).{0,300}",
    ) {
        let annotations = json!({ "meshprobe.dev/probe": probe, "meshprobe.dev/path": path });
        let cluster = world(annotations).cluster();
        prop_assert!(cluster.services.iter().any(|service| service.name == "good"));
        for service in &cluster.services {
            prop_assert!(service.path.starts_with('/') && service.path.is_ascii());
        }
        for finding in &cluster.findings {
            prop_assert!(finding.message.chars().count() <= MAX_MESSAGE);
            prop_assert!(!finding.message.chars().any(char::is_control));
        }
    }
}

//! Bad input: each mistake in its exact words, all of them at once, in the order of the text.

#[path = "bad/agent.rs"]
mod agent;
#[path = "bad/controller.rs"]
mod controller;
#[path = "bad/mesh.rs"]
mod mesh;
#[path = "bad/modules.rs"]
mod modules;
#[path = "bad/targets.rs"]
mod targets;

use std::collections::BTreeMap;
use std::path::Path;

use meshprobe::config::{self, MAX_BYTES, MAX_TARGETS, tidy};
use proptest::prelude::*;

use super::{good, parse};

/// `text` gives exactly these mistakes.
#[track_caller]
pub(super) fn refused(text: &str, expected: &[&str]) {
    let mistakes = parse(text).expect_err("the text is bad");
    let start: String = text.chars().take(2000).collect();
    assert_eq!(mistakes, expected, "\n{start}\n");
}

#[test]
fn mistakes_name_file_line_field_value_and_fix() {
    let text = "targets:\n- name: a\n  address: a:1\n  tcp: {}\n  interval: 5 minutes\n";
    let mistakes = config::parse(text, &BTreeMap::new()).expect_err("the text is bad");
    assert_eq!(mistakes.len(), 1);
    assert_eq!(
        mistakes[0].in_file("config.yaml").to_string(),
        "config.yaml:5:13: targets[0].interval: \"5 minutes\" is not a duration; \
         write a number with ms, s, m or h, e.g. 5s"
    );
    assert_eq!((mistakes[0].line, mistakes[0].column), (5, 13));
    assert_eq!(mistakes[0].path, "targets[0].interval");
    assert_eq!(mistakes[0].value.as_deref(), Some("\"5 minutes\""));
}

#[test]
fn the_environment_is_checked_only_where_the_text_is_silent() {
    let environment =
        [("MESHPROBE_NODE", "a b"), ("MESHPROBE_ZONE", "é"), ("MESHPROBE_VANTAGE", "inside")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let mistakes = config::parse("buckets: []", &environment).expect_err("bad");
    let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        mistakes,
        [
            "1:10: buckets: has 0 bounds; write 1 to 32 of them",
            "node: the value of environment variable MESHPROBE_NODE cannot be a label value; \
             write 1 to 253 visible ASCII characters",
            "zone: the value of environment variable MESHPROBE_ZONE cannot be a label value; \
             write 1 to 253 visible ASCII characters",
            "vantage: \"inside\" of environment variable MESHPROBE_VANTAGE is not a vantage; \
             write ambient or plain",
        ]
    );
    assert!(config::parse("{node: a, zone: b, vantage: plain}", &environment).is_ok());
}

#[test]
fn a_file_that_cannot_be_used_is_told_at_the_field_that_names_it() {
    let config = good(
        "modules:\n  web:\n    http:\n      tls: {ca: gone.pem}\ntargets:\n\
         - {name: a, address: a, module: web}\n\
         - {name: b, address: b, module: web}\n\
         - {name: c, address: 'c:1', tls: {cert: c.pem, key: c.key}}\n",
    );
    let of_target = |index: usize, field, file| {
        let name = &config.targets[index].name;
        config.origins.of_target(name, field, Path::new(file), "No such file")
    };
    let mistakes = tidy(vec![
        of_target(2, "tls.server_name", ""),
        of_target(2, "tls.key", "c.key"),
        of_target(0, "tls.ca", "gone.pem"),
        of_target(1, "tls.ca", "gone.pem"),
        config.origins.of_module("web", "tls.ca", Path::new("gone.pem"), "No such file"),
    ]);
    let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        mistakes,
        [
            "4:17: modules.web.http.tls.ca: \"gone.pem\" cannot be used: No such file; \
             name a readable PEM file with one or more CA certificates",
            "8:34: targets[2].tls.server_name: cannot be used: No such file; write another value",
            "8:53: targets[2].tls.key: \"c.key\" cannot be used: No such file; \
             name a readable PEM file with the certificate's private key",
        ]
    );
}

#[test]
fn an_unreadable_file_is_a_mistake_and_not_a_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let load = |name: &str, bytes: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).expect("written");
        }
        let mistakes = config::load(&path, &BTreeMap::new()).expect_err("bad");
        mistakes.iter().map(|m| m.in_file(name).to_string()).collect::<Vec<_>>().join("\n")
    };
    let fix = "; name a readable YAML file of at most 1 MiB";
    assert_eq!(
        load("none.yaml", None),
        format!("none.yaml: cannot be read: No such file or directory (os error 2){fix}")
    );
    assert_eq!(
        load("latin.yaml", Some(b"node: \xe9")),
        format!("latin.yaml: cannot be read: not UTF-8, from byte 6 on{fix}")
    );
    assert_eq!(
        load("huge.yaml", Some(&vec![b'#'; MAX_BYTES + 1])),
        format!("huge.yaml: cannot be read: larger than 1 MiB{fix}")
    );
}

#[test]
fn size_and_number_of_targets_are_bounded() {
    refused(
        &"#".repeat(MAX_BYTES + 1),
        &["the text has 1048577 bytes, more than 1 MiB; use modules, anchors, or fewer targets"],
    );
    let targets = |count| {
        let target = |n| format!("- {{name: t{n}, address: 'a:1', module: m}}\n");
        let targets: String = (0..count).map(target).collect();
        format!("modules: {{m: {{tcp: {{}}}}}}\ntargets:\n{targets}")
    };
    assert_eq!(good(&targets(MAX_TARGETS)).targets.len(), MAX_TARGETS);
    refused(&targets(MAX_TARGETS + 1), &["3:3: targets: has 10001 targets; write at most 10000"]);
}

#[test]
fn a_thousand_mistakes_are_told_and_the_others_counted() {
    let lines: String = (0..1500).map(|n| format!("key{n}: 1\n")).collect();
    let mistakes = parse(&lines).expect_err("bad");
    assert_eq!(mistakes.len(), 1001);
    assert_eq!(mistakes[1000], "500 more mistakes are not shown; mend these first");
}

/// Pieces from which texts near to a configuration are made.
const PIECES: [&str; 40] = [
    "targets",
    "modules",
    "admin",
    "responder",
    "defaults",
    "name",
    "address",
    "http",
    "tls",
    "dns",
    "hold",
    "tcp",
    "headers",
    "authorization",
    "interval",
    "timeouts",
    "control",
    "buckets",
    ":",
    ": ",
    "\n",
    "\n  ",
    "\n- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "<<: *a",
    "5s",
    "1.5",
    "-1",
    "true",
    "~",
    "\"x\"",
    "!!str ",
    "#",
    "\u{feff}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        told_on_one_line(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces_are_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
    ) {
        told_on_one_line(&pieces.concat());
    }
}

fn told_on_one_line(text: &str) {
    for mistake in parse(text).err().into_iter().flatten() {
        assert!(!mistake.contains('\n'), "{mistake:?}");
    }
}

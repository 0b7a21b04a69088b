//! The house rules that a machine can check: who may import whom, who may name which crate, how
//! long a file and a function may be, and that what is documented is what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer, lowest first. A module imports itself, its children and lower layers; within
/// a layer only what `WITHIN_LAYER` names.
const LAYERS: &[&[&str]] = &[
    &[
        "target",
        "failure",
        "outcome",
        "expectation",
        "attempt",
        "schedule",
        "spec",
        "cluster",
        "topology",
        "digest",
        "observation",
        "flow",
        "slo",
        "inert",
        "markdown",
    ],
    &["config", "net", "tls", "istiod", "channel", "drain", "telemetry"],
    &["probe", "identity", "discovery", "metrics", "responder", "window", "promql"],
    &[
        "runner",
        "plan",
        "fleet",
        "evidence",
        "detection",
        "diagnosis",
        "incident",
        "analysis",
        "gate",
        "rules",
        "dashboards",
        "report",
    ],
    &["agent", "controller", "lab", "page"],
    &["cli"],
];

/// The vocabulary is one language: its files name each other. TLS runs over our own sockets. The
/// lab starts the agent that it shows. A controller and a lab serve the same page.
const WITHIN_LAYER: &[(&str, &str)] = &[
    ("tls", "net"),
    ("istiod", "net"),
    ("istiod", "tls"),
    ("channel", "net"),
    ("channel", "tls"),
    ("lab", "agent"),
    ("lab", "page"),
    ("controller", "page"),
    ("runner", "plan"),
    ("analysis", "detection"),
    ("analysis", "diagnosis"),
    ("analysis", "incident"),
    ("report", "incident"),
];

/// Foreign crates that only these modules may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("metrics_exporter_prometheus", &["metrics"]),
    ("metrics_util", &["metrics"]),
    ("hickory_proto", &["net", "lab"]),
    ("hickory_resolver", &["net"]),
    ("nix", &["net", "lab"]),
    ("socket2", &["net", "lab"]),
    ("libc", &["net"]),
    ("rustls", &["tls", "lab"]),
    ("tokio_rustls", &["tls", "probe", "istiod", "lab"]),
    ("tonic", &["istiod", "lab"]),
    ("tonic_prost", &["istiod", "lab"]),
    ("prost", &["istiod", "lab"]),
    ("rcgen", &["tls", "lab"]),
    ("x509_parser", &["tls", "lab"]),
    ("aws_lc_rs", &["tls"]),
    ("h2", &["probe", "istiod", "lab"]),
    ("flate2", &["probe"]),
    ("kube", &["discovery"]),
    ("maud", &["page", "report"]),
    ("k8s_openapi", &["discovery"]),
    ("quinn", &["channel"]),
    ("serde_saphyr", &["config", "rules"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("anyhow", &["agent", "controller", "lab", "cli"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// What the vocabulary may not know.
const IMPURE: &[&str] =
    &["tokio", "hyper", "hyper_util", "metrics", "kube", "rustls", "hickory_proto", "tracing"];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &str) -> Vec<(String, String)> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(directory), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            (name, fs::read_to_string(path).expect("readable UTF-8"))
        })
        .collect()
}

/// `src/net/stream.rs` → `net`; `None` for `lib.rs` and `main.rs`.
fn module_of(file: &str) -> Option<&str> {
    let inner = file.strip_prefix("src/")?.strip_suffix(".rs")?;
    let top = inner.split('/').next().expect("split yields one part");
    (top != "lib" && top != "main").then_some(top)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Code without comments and without its `#[cfg(test)]` tail.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Every identifier that is followed by `::` or named in a `use`.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let bytes = line.as_bytes();
    line.match_indices("::").filter_map(move |(at, _)| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let start = (0..at).rev().take_while(|index| word(bytes[*index])).last()?;
        let joined = start >= 2 && &line[start - 2..start] == "::";
        (!joined).then_some(&line[start..at])
    })
}

/// The modules that `line` imports: `crate::a`, also in a `use crate::{a, b::c}` of one line.
fn imported(text: &str) -> BTreeSet<String> {
    let joined: String = code(text).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in joined.match_indices("crate::") {
        let rest = &joined[at + "crate::".len()..];
        let listed = rest.strip_prefix('{').map(|list| {
            let end = list.find("};").unwrap_or(list.len());
            top_level_items(&list[..end])
        });
        let single = || vec![first_word(rest).to_owned()];
        found.extend(listed.unwrap_or_else(single));
    }
    found.retain(|module| layer_of(module).is_some());
    found
}

fn top_level_items(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for character in list.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().expect("never empty").push(character),
            _ => {}
        }
    }
    items.iter().map(|item| first_word(item.trim()).to_owned()).collect()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[track_caller]
fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let files = rust_files("src");
    let modules = files.iter().filter_map(|(file, _)| Some((file, module_of(file)?)));
    let homeless = modules.filter(|(_, module)| layer_of(module).is_none());
    assert_none(homeless.map(|(file, module)| format!("{file}: no layer for {module}")).collect());
}

#[test]
fn imports_go_downwards_only() {
    let mut complaints = Vec::new();
    for (file, text) in rust_files("src") {
        let Some(module) = module_of(&file) else { continue };
        let layer = layer_of(module).expect("checked by its own test");
        for target in imported(&text) {
            let below = layer_of(&target).expect("imported() keeps known modules") < layer;
            let vocabulary = layer == 0 && layer_of(&target) == Some(0);
            let allowed = WITHIN_LAYER.contains(&(module, target.as_str()));
            if !(below || vocabulary || allowed || target == module) {
                complaints.push(format!("{file}: {module} may not import {target}"));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut complaints = Vec::new();
    for (file, text) in rust_files("src") {
        let module = module_of(&file).unwrap_or("main");
        for name in code(&text).flat_map(paths).collect::<BTreeSet<_>>() {
            if let Some((_, rooms)) = ONLY_IN.iter().find(|(only, _)| *only == name)
                && !rooms.contains(&module)
            {
                complaints.push(format!("{file}: only {rooms:?} may name {name}"));
            }
            if layer_of(module) == Some(0) && IMPURE.contains(&name) {
                complaints.push(format!("{file}: the vocabulary may not know {name}"));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn files_and_functions_stay_short() {
    let mut complaints = Vec::new();
    for directory in ["src", "tests"] {
        for (file, text) in rust_files(directory) {
            let lines = text.lines().count();
            if lines > MAX_FILE_LINES {
                complaints.push(format!("{file}: {lines} lines, at most {MAX_FILE_LINES}"));
            }
            for (name, length) in functions(&text).into_iter().filter(|_| directory == "src") {
                if length > MAX_FUNCTION_LINES {
                    complaints.push(format!("{file}: fn {name} has {length} lines"));
                }
            }
        }
    }
    assert_none(complaints);
}

/// Names and lengths of functions, by rustfmt's indentation: a function ends at the brace that
/// stands under its first line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(at) = trimmed.find("fn ") else { continue };
        let head = &trimmed[..at];
        if !head.split_whitespace().all(|word| {
            word.starts_with("pub") || ["async", "const", "in", "super)"].contains(&word)
        }) {
            continue;
        }
        let indent = &line[..line.len() - trimmed.len()];
        let closing = format!("{indent}}}");
        let end = lines[start..].iter().position(|line| **line == closing);
        if let Some(length) = end.filter(|_| !line.ends_with('}')) {
            found.push((first_word(&trimmed[at + 3..]).to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust_files("src").into_iter().filter(|(_, text)| !text.starts_with("//!"));
    assert_none(silent.map(|(file, _)| format!("{file}: no //! at the top")).collect());
}

#[test]
fn there_is_no_mod_rs() {
    let named = rust_files("src").into_iter().filter(|(file, _)| file.ends_with("/mod.rs"));
    assert_none(named.map(|(file, _)| format!("{file}: write foo.rs beside foo/")).collect());
}

#[test]
fn unsafe_is_allowed_in_exactly_one_file() {
    let allowing: Vec<String> = rust_files("src")
        .into_iter()
        .filter(|(_, text)| text.contains("unsafe_code"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(allowing, ["src/net/tcp_info.rs"]);
}

#[test]
fn every_reason_is_documented_with_its_hint() {
    let page = fs::read_to_string(root().join("docs/reasons.md")).expect("docs/reasons.md");
    let documented: BTreeMap<&str, &str> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            Some((name, cells.last()?.strip_suffix(" |")?))
        })
        .collect();
    let known: BTreeMap<&str, &str> = meshprobe::failure::Reason::ALL
        .iter()
        .map(|reason| (reason.as_str(), reason.hint()))
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn every_reason_is_produced_in_a_test_against_a_real_server() {
    let tests: String = ["tests/loopback", "tests/real"]
        .iter()
        .flat_map(|directory| rust_files(directory))
        .chain(rust_files("tests").into_iter().filter(|(file, _)| !file.contains("tidy")))
        .map(|(_, text)| text)
        .collect();
    let unproduced = meshprobe::failure::Reason::ALL.iter().filter(|reason| {
        !tests.contains(&format!("Reason::{reason:?}")) && !tests.contains(&format!("\"{reason}\""))
    });
    assert_none(unproduced.map(|reason| format!("{reason}: no test produces it")).collect());
}

#[test]
fn metric_names_in_the_documentation_are_those_in_the_code() {
    let page = fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md");
    let code: String = rust_files("src")
        .into_iter()
        .filter(|(file, _)| module_of(file) == Some("metrics"))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(metric_names(&page), metric_names(&code));
}

/// Every `meshprobe_…` word; series of histograms count as their histogram.
fn metric_names(text: &str) -> BTreeSet<&str> {
    text.match_indices("meshprobe_")
        .map(|(at, _)| first_word(&text[at..]))
        .map(|name| {
            let suffix = ["_bucket", "_sum", "_count"].iter().find(|s| name.ends_with(**s));
            suffix.map_or(name, |suffix| &name[..name.len() - suffix.len()])
        })
        .filter(|name| *name != "meshprobe_")
        .collect()
}

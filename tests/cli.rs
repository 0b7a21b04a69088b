//! The binary as an operator meets it: first lines, exit codes, JSON, completions.

use std::process::{Command, Output};

use serde_json::Value;

fn meshprobe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meshprobe")).args(arguments).output().expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// An HTTP server on loopback that answers `status` to everything.
fn http_server(status: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
            );
        }
    });
    address
}

#[test]
fn a_met_expectation_exits_0_and_says_so_first() {
    let url = format!("http://{}/", http_server("200 OK"));
    let output = meshprobe(&["probe", "http", &url]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("√ http http://127.0.0.1:"), "{output:?}");
}

#[test]
fn a_violated_expectation_exits_2_with_reason_and_hint() {
    let url = format!("http://{}/", http_server("503 Service Unavailable"));
    let output = meshprobe(&["probe", "http", &url, "--status", "2xx"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.starts_with("× http"), "{shown}");
    assert!(shown.contains("status in processing: status 503, expected 2xx"), "{shown}");
    assert!(shown.contains("hint: "), "{shown}");
}

#[test]
fn a_denial_without_a_control_exits_3() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let output = meshprobe(&["probe", "tcp", &address, "--expect", "denied", "-o", "json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let attempt: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(attempt["verdict"], "inconclusive");
    assert_eq!(attempt["because"], "no positive control: denied or dead");
}

#[test]
fn a_reply_where_a_denial_was_stated_is_an_enforcement_gap() {
    let url = format!("http://{}/", http_server("200 OK"));
    let output = meshprobe(&["probe", "http", &url, "--expect", "denied", "-o", "json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let attempt: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(attempt["failure"]["reason"], "unexpected_reply");
}

#[test]
fn json_has_every_field_of_the_contract_and_no_null_facts() {
    let url = format!("http://{}/", http_server("200 OK"));
    let output = meshprobe(&["probe", "http", &url, "-o", "json", "--vantage", "plain"]);
    let attempt: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for field in [
        "probe",
        "target",
        "vantage",
        "started_at",
        "duration_seconds",
        "schedule_lag_seconds",
        "phases",
        "success",
        "expect",
        "verdict",
        "facts",
    ] {
        assert!(!attempt[field].is_null(), "{field}: {attempt}");
    }
    assert_eq!(attempt["failure"], Value::Null);
    assert_eq!(attempt["facts"]["http"]["status"], 200);
    for address in ["remote_address", "local_address"] {
        assert!(attempt["facts"][address].is_string(), "{address}: {attempt}");
    }
    assert!(attempt["phases"]["resolve"].is_null(), "no name, no resolve phase: {attempt}");
    assert!(!attempt["facts"].to_string().contains("null"), "{attempt}");
}

#[test]
fn a_count_prints_one_attempt_a_line() {
    let url = format!("http://{}/", http_server("200 OK"));
    let output =
        meshprobe(&["probe", "http", &url, "-o", "json", "--count", "3", "--interval", "10ms"]);
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    assert_eq!(lines.len(), 3);
}

#[test]
fn bad_usage_exits_64_and_names_the_word() {
    for (arguments, word) in [
        (vec!["probe", "http", "http://127.0.0.1:1/", "--timeout", "fast"], "--timeout"),
        (vec!["probe", "tcp", "127.0.0.1"], "127.0.0.1"),
        (vec!["probe", "tcp", "127.0.0.1:1", "--expect", "2xx"], "--expect"),
        (vec!["probe", "tcp", "127.0.0.1:1", "--expect", "status 2xx"], "--expect"),
        (vec!["probe", "http", "ftp://127.0.0.1/"], "ftp://127.0.0.1/"),
        (vec!["probe", "tls", "127.0.0.1:1", "--cert", "x"], "--key"),
        (vec!["probe", "tls", "127.0.0.1:1", "--ca", "/does/not/exist"], "/does/not/exist"),
        (vec!["probe", "http", "http://127.0.0.1:1/", "--body-regex", "("], "--body-regex"),
        (vec!["probe", "dns", "a", "--address", "10.0.0.0/40"], "--address"),
        (vec!["probe", "hbone", "https://127.0.0.1:1/"], "https://127.0.0.1:1/"),
        (vec!["probe", "hbone", "127.0.0.1", "--uncredentialed", "--peer", "a"], "--peer"),
        (vec!["probe", "hbone", "127.0.0.1", "--uncredentialed", "--body-limit", "1"], "--body"),
        (vec!["probe", "hbone", "127.0.0.1", "--uncredentialed", "--expect", "denied"], "--expect"),
        (vec!["probe", "hbone", "127.0.0.1", "--cert", "x"], "--key"),
        (vec!["probe", "istiod", "127.0.0.1", "--csr", "9s"], "--csr"),
        (vec!["probe", "istiod", "127.0.0.1", "--pod-name", "a"], "--pod-namespace"),
        (vec!["probe", "istiod", "127.0.0.1", "--expect", "denied"], "--expect"),
        (vec!["probe", "capture", "a.example"], "--enrolled"),
        (vec!["probe", "capture", "a", "--enrolled", "yes", "--decoy", "a.example"], "--decoy"),
        (vec!["probe", "mtu", "127.0.0.1", "--small", "1201"], "--small"),
        (vec!["probe", "ztunnel", "127.0.0.1", "--metrics-port", "0"], "--metrics-port"),
        (vec!["frobnicate"], "frobnicate"),
        (vec![], "Usage"),
    ] {
        let output = meshprobe(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {output:?}");
    }
}

#[test]
fn help_teaches_exit_codes_and_examples() {
    let output = meshprobe(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    for taught in ["Exit codes", "inconclusive", "meshprobe lab", "meshprobe check"] {
        assert!(shown.contains(taught), "{taught}: {shown}");
    }
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = meshprobe(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("meshprobe"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let output = Command::new("sh")
        .args(["-c", "$M completions bash | head -c 1 >/dev/null"])
        .env("M", env!("CARGO_BIN_EXE_meshprobe"))
        .output()
        .expect("sh");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn proxy_variables_are_not_honoured() {
    let url = format!("http://{}/", http_server("200 OK"));
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["probe", "http", &url])
        .env("http_proxy", "http://127.0.0.1:1/")
        .env("HTTP_PROXY", "http://127.0.0.1:1/")
        .env("ALL_PROXY", "http://127.0.0.1:1/")
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn no_free_file_descriptor_is_our_own_fault() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = silent.local_addr().expect("bound");
    let mut config = "resolv_conf: /dev/null\ndefaults: { timeout: 300ms }\ntargets:\n".to_owned();
    for n in 0..12 {
        config += &format!("  - {{ name: t{n}, address: \"{address}\", tcp: {{}} }}\n");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, config).expect("writable");
    // How many descriptors the runtime itself takes may change: enough for it and for some of
    // the targets, not for all.
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 16; exec $M check --config $F -o json"])
        .env("M", env!("CARGO_BIN_EXE_meshprobe"))
        .env("F", &file)
        .output()
        .expect("sh");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let attempts = report["attempts"].as_array().expect("a list");
    let reasons: Vec<&str> =
        attempts.iter().map(|a| a["failure"]["reason"].as_str().unwrap_or("none")).collect();
    let count = |reason| reasons.iter().filter(|given| **given == reason).count();
    assert!(count("local_resource") > 0 && count("timeout") > 0, "{reasons:?}");
    assert_eq!(count("local_resource") + count("timeout"), 12, "{reasons:?}");
    for attempt in attempts.iter().filter(|a| a["failure"]["reason"] == "local_resource") {
        assert_eq!(attempt["verdict"], "inconclusive", "{attempt}");
    }
}

#[test]
fn config_check_tells_mistakes_of_text_and_of_files_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.yaml");
    let yaml = "\
targets:
  - { name: a, address: 127.0.0.1:1, interval: 5ms, tcp: {} }
  - { name: b, address: 127.0.0.1:1, tls: { ca: /does/not/exist } }
  - { name: b, address: 127.0.0.1:1, tcp: { reply_regex: '(' } }
  - { name: c, address: 127.0.0.1:1, tcp: {}, frequency: 1s }
";
    std::fs::write(&file, yaml).expect("writable");
    let output = meshprobe(&["config", "check", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let told = text(&output.stderr);
    for word in ["5ms", "/does/not/exist", "the name of", "reply_regex", "frequency"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(told.contains("targets[1].tls.ca"), "at its own target: {told}");
    let places: Vec<&str> = told.lines().filter_map(|line| line.split(':').nth(1)).collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!(places, sorted, "in the order of the file: {told}");
}

#[test]
fn as_kubectls_plugin_it_is_called_as_kubectl_calls_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let plugin = dir.path().join("kubectl-meshprobe");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_meshprobe"), &plugin).expect("a link");
    let help = Command::new(&plugin).args(["check", "--help"]).output().expect("the binary");
    assert_eq!(help.status.code(), Some(0), "{help:?}");
    assert!(text(&help.stdout).contains("Usage: kubectl meshprobe check"), "{help:?}");
    // Without a kubeconfig it says what to give.
    let lost = Command::new(&plugin).arg("check").env_clear().output().expect("the binary");
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    let told = text(&lost.stderr);
    assert!(told.contains("--server") && told.contains("kubeconfig"), "{told}");
}

#[test]
fn dashboards_are_written_where_they_are_wanted_and_nowhere_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let folder = dir.path().join("a/b");
    let out = folder.to_str().expect("UTF-8");
    let output = meshprobe(&["dashboards", "--out", out, "--runbooks", "https://r.example/"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let written = text(&output.stdout);
    assert_eq!(written.lines().count(), 6, "{written}");
    for file in written.lines() {
        let json = std::fs::read_to_string(file).expect("it was written");
        let board: Value = serde_json::from_str(&json).expect("JSON");
        assert!(file.ends_with(&format!("{}.json", board["uid"].as_str().expect("text"))));
        assert!(!json.contains("docs/runbooks"), "{file}");
    }
    let file = written.lines().next().expect("six");
    let refused = meshprobe(&["dashboards", "--out", file]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).starts_with(&format!("error: {file}: ")), "{refused:?}");
}

//! The binary under an operator's hands at three in the morning: signals, bad words, hostile bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn meshprobe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
    command.args(arguments).env_remove("MESHPROBE_VANTAGE").env_remove("NO_COLOR");
    command
}

fn run(arguments: &[&str]) -> Output {
    meshprobe(arguments).output().expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn tell(child: &Child, signal: &str) {
    let command = format!("kill -s {signal} {}", child.id());
    let told = Command::new("sh").args(["-c", &command]).status().expect("sh");
    assert!(told.success(), "{command}");
}

/// A port of loopback where nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    listener.local_addr().expect("bound").to_string()
}

/// A configuration file with one target, and its directory.
fn configuration(admin: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("config.yaml");
    let yaml = format!(
        "admin: {{ listen: \"{admin}\" }}\nresolv_conf: /dev/null\ntargets:\n  \
         - {{ name: one, address: \"{}\", tcp: {{}} }}\n",
        closed_port()
    );
    std::fs::write(&file, yaml).expect("writable");
    let name = file.to_str().expect("UTF-8").to_owned();
    (directory, name)
}

#[test]
fn an_interrupt_between_two_attempts_ends_the_row_with_its_count() {
    let address = closed_port();
    let mut child = meshprobe(&["probe", "tcp", &address, "-c", "2", "--interval", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("a line per attempt");
    tell(&child, "INT");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
    assert_eq!(rest, "1 attempt: 0 met, 1 violated, 0 inconclusive\n", "after {first}");
}

#[test]
fn what_was_typed_cannot_steer_the_terminal() {
    for arguments in [
        ["probe", "tcp", "127.0.0.1\x1b[31m:80"].as_slice(),
        &["probe", "tcp", "127.0.0.1:80", "--expect", "\x1b]0;title\x07"],
        &["\x1b[2J"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let shown = text(&output.stderr);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }
    let output = run(&["probe", "tcp", "127.0.0.1\x1b[31m:80"]);
    assert!(text(&output.stderr).contains("\\u{1b}[31m"), "{output:?}");
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_flag() {
    for (flag, file) in [("--ca", "/dev/null"), ("--resolv-conf", "/does/not/exist")] {
        let output = run(&["probe", "tls", "127.0.0.1:1", flag, file]);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let shown = text(&output.stderr);
        assert!(shown.contains(flag) && shown.contains(file), "{shown}");
    }
}

#[test]
fn a_vantage_of_the_environment_that_is_none_is_bad_usage() {
    let address = closed_port();
    let mut command = meshprobe(&["probe", "tcp", &address]);
    let output = command.env("MESHPROBE_VANTAGE", "sideways").output().expect("the binary");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(text(&output.stderr).contains("MESHPROBE_VANTAGE=`sideways`"), "{output:?}");
}

#[test]
fn durations_out_of_range_are_refused_with_the_range() {
    for (arguments, range) in [
        (["probe", "tcp", "127.0.0.1:1", "--timeout", "25h"], "24h"),
        (["probe", "hold", "127.0.0.1:1", "--hold", "13h"], "12h"),
        (["probe", "hold", "127.0.0.1:1", "--heartbeat", "1ms"], "10ms"),
        (["probe", "hold", "127.0.0.1:1", "--heartbeat", "1m"], "--hold"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(text(&output.stderr).contains(range), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_name_that_no_target_has_is_bad_usage_and_the_names_are_told() {
    let (_directory, file) = configuration("127.0.0.1:0");
    let output = run(&["check", "--config", &file, "--target", "two"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(text(&output.stderr).contains("`two`; the names are one"), "{output:?}");
}

#[test]
fn a_busy_port_is_told_with_its_mend() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = taken.local_addr().expect("bound").to_string();
    let (_directory, file) = configuration(&address);
    let output = run(&["agent", "--config", &file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = text(&output.stderr);
    assert!(shown.contains(&address) && shown.contains("change admin.listen"), "{shown}");
}

#[test]
fn the_agents_log_in_a_file_has_no_colours_and_sigterm_ends_it_with_0() {
    let (_directory, file) = configuration("127.0.0.1:0");
    let mut child = meshprobe(&["agent", "--config", &file])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut first = String::new();
    log.read_line(&mut first).expect("a line when it probes");
    tell(&child, "TERM");
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{first}{rest}");
    assert!(first.contains("probing") && rest.contains("ending"), "{first}{rest}");
    assert!(!first.contains('\x1b') && !rest.contains('\x1b'), "{first}{rest}");
}

#[cfg(feature = "lab")]
#[test]
fn a_slow_lab_is_a_lab_too() {
    let output = run(&["lab", "--nodes", "1", "--interval", "20s", "--duration", "1ms"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn closed_sets_of_words_are_told_by_help_and_completions() {
    let help = text(&run(&["probe", "dns", "--help"]).stdout);
    let script = text(&run(&["completions", "bash"]).stdout);
    for words in ["A, AAAA, SRV, CNAME, PTR, TXT", "udp, tcp", "ambient, plain"] {
        assert!(help.contains(words), "{words}: {help}");
        assert!(script.contains(&words.replace(", ", " ")), "{words}");
    }
    let address = closed_port();
    let output = run(&["probe", "dns", "a.", "--server", &address, "--qtype", "aaaa"]);
    assert_eq!(output.status.code(), Some(2), "lower case is understood: {output:?}");
}

#[test]
fn an_interrupt_during_an_attempt_is_not_the_targets_fault() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = silent.local_addr().expect("bound").to_string();
    let child = meshprobe(&["probe", "tcp", &address, "--timeout", "1h", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary");
    let _connection = silent.accept().expect("the attempt is under way");
    tell(&child, "INT");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stdout).contains("\"reason\":\"cancelled\""), "{output:?}");
}

/// The body of the answer to a GET of `path` at `address`, once somebody listens there.
fn fetched(address: &str, path: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    answer
}

#[test]
fn a_controller_that_never_read_the_cluster_shows_no_instant_that_is_over() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [api, channel, apiserver, prometheus] = std::array::from_fn(|_| closed_port());
    let write = |name: &str, text: String| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("writable");
        file
    };
    let config = write(
        "controller.yaml",
        format!(
            "listen: \"{api}\"\nchannel: {{ listen: \"{channel}\" }}\n\
             prometheus: {{ url: \"http://{prometheus}\" }}\n"
        ),
    );
    let kubeconfig = write(
        "kubeconfig",
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
             contexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
             clusters: [{{ name: a, cluster: {{ server: \"http://{apiserver}\" }} }}]\n\
             users: [{{ name: a, user: {{}} }}]\n"
        ),
    );
    let mut controller = meshprobe(&["controller"])
        .arg("--config")
        .arg(config)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let page = fetched(&api, "/?at=2026-01-02T03:04:05Z");
    let _ = controller.kill();
    let _ = controller.wait();
    assert!(page.starts_with("HTTP/1.1 502 "), "{page}");
    assert!(page.contains("unknown: that instant cannot be told"), "{page}");
    assert!(page.contains("has not read the cluster yet"), "{page}");
}

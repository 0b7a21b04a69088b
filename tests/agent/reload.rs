//! The agent as a process, with its file on disk.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::support::{Response, connect, send, value};

/// A running agent that does not outlive its test.
struct Process {
    child: Child,
    admin: SocketAddr,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Process {
    async fn start(targets: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.yaml");
        // Free now, and nobody else asks for this very port.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let admin = listener.local_addr().expect("bound");
        drop(listener);
        let process = |child| Self { child, admin, file: file.clone(), _directory: directory };
        write(&file, admin, targets);
        let child = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
            .args(["agent", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut process = process(child);
        process.until(|page| page.contains("meshprobe_build_info")).await;
        process
    }

    fn write(&self, targets: &str) {
        write(&self.file, self.admin, targets);
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Scrapes until `seen`; fails when the agent ends.
    async fn until(&mut self, seen: impl Fn(&str) -> bool) -> String {
        loop {
            assert_eq!(self.child.try_wait().expect("our child"), None, "the agent has ended");
            if let Some(page) = self.get("/metrics").await
                && seen(&page.body)
            {
                return page.body;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, path: &str) -> Option<Response> {
        // Not yet listening is nothing wrong.
        connect(self.admin).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        send(self.admin, request.as_bytes()).await
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replaces the file as a whole, as careful writers do.
fn write(file: &Path, admin: SocketAddr, targets: &str) {
    let text = format!("node: n\nadmin: {{ listen: '{admin}' }}\n{targets}\n");
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("writable");
    std::fs::rename(&new, file).expect("writable");
}

fn target(name: &str, interval: &str) -> String {
    format!(
        "targets: [{{ name: {name}, tcp: {{}}, address: '127.0.0.1:1', interval: {interval} }}]"
    )
}

fn reloads(page: &str, result: &str) -> Option<f64> {
    value(page, "meshprobe_config_reloads_total", &[&format!("result=\"{result}\"")])
}

#[tokio::test]
async fn a_good_change_is_taken_and_a_bad_one_leaves_the_old_running() {
    let mut agent = Process::start(&target("old", "20ms")).await;
    agent.write(&target("new", "20ms"));
    let page = agent.until(|page| page.contains("target=\"new\"")).await;
    assert!(!page.contains("target=\"old\""), "{page}");
    assert_eq!(value(&page, "meshprobe_config_last_reload_successful", &[]), Some(1.0));

    agent.write("targets: [{ name: bad, tcp: {}, address: nowhere }]");
    let page = agent.until(|page| reloads(page, "failure") == Some(1.0)).await;
    assert_eq!(value(&page, "meshprobe_config_last_reload_successful", &[]), Some(0.0));
    let refused = ["target=\"new\"", "verdict=\"violated\""];
    let attempts = |page: &str| value(page, "meshprobe_attempts_total", &refused);
    let before = attempts(&page);
    agent.until(|page| attempts(page) > before).await;
    assert_eq!(agent.get("/readyz").await.map(|response| response.status), Some(200));

    agent.write(&target("newer", "20ms"));
    let page = agent.until(|page| page.contains("target=\"newer\"")).await;
    assert_eq!(value(&page, "meshprobe_config_last_reload_successful", &[]), Some(1.0));
    assert_eq!(reloads(&page, "failure"), Some(1.0));
}

#[tokio::test]
async fn reloads_are_seen_while_attempts_come_thick_and_fast() {
    let list: String = (0..50)
        .map(|n| {
            format!("  - {{ name: t{n}, tcp: {{}}, address: '127.0.0.1:1', interval: 10ms }}\n")
        })
        .collect();
    let mut agent = Process::start(&format!("targets:\n{list}")).await;
    agent.write(&target("new", "24h"));
    agent.until(|page| page.contains("target=\"new\"")).await;
}

#[tokio::test]
async fn sighup_reads_the_configuration_again_and_sigterm_ends_in_order() {
    let mut agent = Process::start(&target("t", "24h")).await;
    agent.signal("HUP");
    agent.until(|page| reloads(page, "success") == Some(2.0)).await;
    agent.signal("TERM");
    assert!(agent.ended().success());
}

#[tokio::test]
async fn a_bad_configuration_at_the_start_exits_64() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "targets: [{ name: t }]\nnonsense: 1\n").expect("writable");
    let output = Command::new(env!("CARGO_BIN_EXE_meshprobe"))
        .args(["agent", "--config"])
        .arg(&file)
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("nonsense") && told.contains("targets[0]"), "{told}");
}

//! The prober as a word of the real kubectl.
//!
//! With `--server`: a port-forward needs a kubelet.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use super::chart::{good, mesh};
use super::control_plane::ControlPlane;
use super::controlled::Controlled;
use super::support::{temp_dir, tool};

/// Runs kubectl where `kubectl-meshprobe` is all that the PATH has.
fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> Output {
    let dir = temp_dir();
    let named = dir.path().join("kubectl-meshprobe");
    symlink(env!("CARGO_BIN_EXE_meshprobe"), named).expect("a fresh directory is writable");
    let mut command = Command::new(tool("kubectl"));
    command.env("PATH", dir.path()).env("KUBECONFIG", plane.kubeconfig());
    command.args(arguments).output().expect("kubectl runs")
}

#[tokio::test]
async fn kubectl_meshprobe_check_says_what_meshprobe_check_says() {
    let (plane, _) = mesh(2).await;
    let controlled = Controlled::start(&plane).await;
    let plugins = good(&kubectl(&plane, &["plugin", "list"]));
    assert!(plugins.contains("kubectl-meshprobe\n"), "{plugins}");

    let server = controlled.server();
    let output = kubectl(&plane, &["meshprobe", "check", "--server", &server]);
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    // No agent runs, and a Service is missing.
    assert_eq!(output.status.code(), Some(2), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(shown, String::from_utf8(controlled.check(&[]).stdout).expect("UTF-8"));
    assert!(shown.contains("node-1 (zone-b), plain\n"), "{shown}");

    let help = good(&kubectl(&plane, &["meshprobe", "--help"]));
    assert!(help.contains("Usage: kubectl meshprobe "), "{help}");
}

//! Tests whose servers have to stand in the namespace themselves: this binary runs again inside.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{Module, ModuleKind, Timeouts};

/// Set in a namespace of our own: without it, nobody may touch the packet filter.
const INSIDE: &str = "MESHPROBE_TEST_INSIDE";

/// Runs the ignored test `name` of this binary in a fresh namespace, after `script`.
#[track_caller]
pub(crate) fn inside(script: &str, name: &str) {
    let binary = std::env::current_exe().expect("this binary");
    let run =
        format!("{script}\n{INSIDE}=1 '{}' --ignored --exact netns::{name}", binary.display());
    let output = crate::in_namespace(&run);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && stdout.contains(" 1 passed");
    assert!(passed, "{stdout}{}", String::from_utf8_lossy(&output.stderr));
}

/// Changes the packet filter of this namespace.
#[track_caller]
pub(crate) fn iptables(arguments: &str) {
    assert!(std::env::var_os(INSIDE).is_some(), "not in a namespace of our own");
    let output = Command::new("iptables").arg("-w").args(arguments.split(' ')).output();
    let output = output.expect("iptables is needed here");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "iptables {arguments}: {complaints}");
}

/// Asks until a deadline is met while this machine is not too busy to notice in time.
pub(crate) async fn ask(kind: ModuleKind, address: &str, timeout: Duration) -> Outcome {
    let module = Module { kind, timeouts: Timeouts::total(timeout), expect: Expectation::Reply };
    let spec = module.aim(address).expect("a good address");
    let probe = Probe::prepare(&spec, &Environment::default()).expect("good files");
    loop {
        let outcome = probe.attempt().await;
        if outcome.failure.as_ref().map(|failure| failure.reason) != Some(Reason::ScheduleLag) {
            return outcome;
        }
    }
}

#[track_caller]
pub(crate) fn assert_failed(outcome: &Outcome, phase: Phase, reason: Reason) {
    let failure = outcome.failure.as_ref().expect("the attempt must fail");
    assert_eq!((failure.phase, failure.reason), (phase, reason), "{failure}");
}

/// An address on loopback that accepts and says nothing; it ends with the test's runtime.
pub(crate) async fn accepting() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

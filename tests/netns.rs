//! What only the kernel can produce, in network namespaces that each test makes for itself: they
//! vanish with the test's last process. Needs `unshare` (util-linux), `ip` (iproute2) and
//! `iptables`, and root or unprivileged user namespaces; without them the tests fail and say so.

mod netns {
    mod capture;
    mod inside;
    mod mtu;
}

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `script` in a fresh network namespace, `$M` being the prober.
fn in_namespace(script: &str) -> Output {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut unshare = Command::new("unshare");
    if !root {
        unshare.arg("--map-root-user");
    }
    let output = unshare
        .args(["--net", "--pid", "--fork", "--kill-child", "sh", "-euc", script])
        .env("M", env!("CARGO_BIN_EXE_meshprobe"))
        .output()
        .expect("unshare of util-linux");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("unshare"), "network namespaces are needed here: {stderr}");
    output
}

/// The last attempt that `script` prints, and its exit code.
#[track_caller]
fn attempt(script: &str) -> (Value, Option<i32>) {
    let output = in_namespace(script);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or_default();
    let attempt = serde_json::from_str(last).unwrap_or_else(|error| {
        panic!("{error}: {stdout}{}", String::from_utf8_lossy(&output.stderr))
    });
    (attempt, output.status.code())
}

#[track_caller]
fn assert_fails(script: &str, phase: &str, reason: &str, verdict: &str, code: i32) {
    let (attempt, exit) = attempt(script);
    assert_eq!(attempt["failure"]["phase"], phase, "{attempt}");
    assert_eq!(attempt["failure"]["reason"], reason, "{attempt}");
    assert_eq!(attempt["verdict"], verdict, "{attempt}");
    assert_eq!(exit, Some(code), "{attempt}");
}

#[test]
fn without_a_route_an_address_is_unreachable() {
    let script = "ip link set lo up; $M probe tcp 192.0.2.1:80 -o json";
    assert_fails(script, "connect", "unreachable", "violated", 2);
    let script = "ip link set lo up; $M probe tcp '[2001:db8::1]:80' -o json";
    assert_fails(script, "connect", "unreachable", "violated", 2);
}

#[test]
fn unreachable_and_prohibit_routes_are_unreachable() {
    for kind in ["unreachable", "prohibit"] {
        let script = format!(
            "ip link set lo up; ip route add {kind} 192.0.2.0/24; $M probe tcp 192.0.2.1:80 -o json"
        );
        assert_fails(&script, "connect", "unreachable", "violated", 2);
    }
}

#[test]
fn an_errno_that_no_table_knows_is_unclassified_and_blames_nobody() {
    // A blackhole route makes connect(2) fail with EINVAL, which has a dozen other causes.
    let script =
        "ip link set lo up; ip route add blackhole 192.0.2.0/24; $M probe tcp 192.0.2.1:80 -o json";
    assert_fails(script, "connect", "unclassified", "inconclusive", 3);
}

#[test]
fn a_neighbour_that_never_answers_arp_is_unreachable() {
    let script = "ip link set lo up; ip link add d0 type veth peer name d1; \
                  ip link set d0 up; ip link set d1 up; \
                  ip addr add 192.0.2.1/24 dev d0; \
                  $M probe tcp 192.0.2.9:80 --timeout 10s -o json";
    let (attempt, _) = attempt(script);
    let reason = &attempt["failure"]["reason"];
    assert!(reason == "unreachable" || reason == "timeout", "{attempt}");
}

#[test]
fn no_free_local_port_is_our_own_fault() {
    let script = r#"
        ip link set lo up
        echo '40000 40000' > /proc/sys/net/ipv4/ip_local_port_range
        config=$(mktemp); trap 'rm -f "$config"' EXIT
        printf 'admin: { listen: "127.0.0.1:9850" }\nresponder: { listen: ["127.0.0.1:9851"] }\ntargets: []\n' > "$config"
        $M agent --config "$config" >/dev/null 2>&1 &
        for n in $(seq 100); do $M probe http http://127.0.0.1:9851/ >/dev/null && break; sleep 0.05; done
        $M probe hold http://127.0.0.1:9851/ --hold 20s >/dev/null &
        for n in $(seq 100); do grep -q ':9C40 .* 01 ' /proc/net/tcp && break; sleep 0.05; done
        $M probe http http://127.0.0.1:9851/ -o json
    "#;
    assert_fails(script, "connect", "local_resource", "inconclusive", 3);
}

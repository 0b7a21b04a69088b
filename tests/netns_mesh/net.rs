//! Network namespaces joined by a bridge, one per pod, each with a thread that lives in it.
//!
//! Needs `unshare` (util-linux), `ip` (iproute2) and `iptables`, and root or unprivileged user
//! namespaces. Everything vanishes with the process. Addresses are of 198.18.0.0/15, which RFC 2544
//! sets aside for tests.
#![allow(dead_code, reason = "each test needs another part of it")]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tokio::sync::{mpsc as tokio_mpsc, oneshot};

/// Says to a process of this binary that it is the one inside.
const INSIDE: &str = "MESHPROBE_TEST_IN_NAMESPACE";

/// The first three octets of pods' addresses.
const PODS: [u8; 3] = [198, 18, 0];

/// The address of whoever is in the process's own namespace, as pods see it.
pub(crate) const OUTSIDE: Ipv4Addr = address(1);

/// Runs `body` as the test `name` in a process of its own, in fresh network (and, without root,
/// user) namespaces; gives what it printed, and nothing inside.
pub(crate) fn isolated(name: &str, body: impl AsyncFnOnce()) -> String {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(body());
        return String::new();
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut command = Command::new("unshare");
    if !root {
        command.arg("--map-root-user");
    }
    let output = command
        .args(["--net", "--fork", "--kill-child", "--"])
        .arg(std::env::current_exe().expect("this very test"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "yes")
        .output()
        .expect("unshare of util-linux");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("unshare:"), "network namespaces are needed here: {stderr}");
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
    stdout.into_owned()
}

/// The address of pod `number`.
pub(crate) const fn address(number: u8) -> Ipv4Addr {
    let [a, b, c] = PODS;
    Ipv4Addr::new(a, b, c, number)
}

/// Runs `line`, split at blanks, in the namespace of the calling thread.
#[track_caller]
pub(crate) fn run(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed here: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {stderr}");
}

/// The bridge that pods are joined by, in the process's own namespace.
pub(crate) fn bridge() {
    run("ip link set lo up");
    run("ip link add br0 type bridge");
    run(&format!("ip addr add {OUTSIDE}/24 dev br0"));
    run("ip link set br0 up");
}

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A network namespace at [`address`] `number`, with a thread in it that runs what it is given.
pub(crate) struct Pod {
    number: u8,
    jobs: tokio_mpsc::UnboundedSender<Job>,
}

impl Pod {
    pub(crate) async fn start(number: u8) -> Self {
        let (jobs, mut incoming) = tokio_mpsc::unbounded_channel::<Job>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces are needed here");
            tell.send(nix::unistd::gettid()).expect("the test waits");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.expect("a runtime"), async move {
                while let Some(job) = incoming.recv().await {
                    tokio::task::spawn_local(job());
                }
            });
        });
        let thread = told.recv().expect("the pod's thread");
        run(&format!("ip link add v{number} type veth peer name eth0 netns {thread}"));
        run(&format!("ip link set v{number} master br0 up"));
        let pod = Self { number, jobs };
        pod.command("ip link set lo up").await;
        pod.command(&format!("ip addr add {}/24 dev eth0", pod.ip())).await;
        pod.command("ip link set eth0 up").await;
        pod.command(&format!("ip route add default via {OUTSIDE}")).await;
        pod
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        address(self.number)
    }

    /// Runs `work` in the pod, on its own runtime.
    pub(crate) async fn within<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            Box::pin(async move {
                // The test may have ended.
                let _ = tell.send(work().await);
            })
        });
        self.jobs.send(job).expect("the pod's thread lives");
        told.await.expect("no panic in the pod")
    }

    /// Runs a program in the pod, which must succeed. Threads that a pod's thread starts are in its
    /// namespace, too.
    pub(crate) async fn command(&self, line: &str) {
        let line = line.to_owned();
        let done = self.within(move || tokio::task::spawn_blocking(move || run(&line))).await;
        done.expect("the command succeeds");
    }

    /// One attempt of the prober, as a process in the pod.
    pub(crate) async fn probe(&self, words: &str) -> Value {
        let words = words.to_owned();
        let output = self.within(move || {
            tokio::task::spawn_blocking(move || {
                let mut command = Command::new(env!("CARGO_BIN_EXE_meshprobe"));
                command.arg("probe").args(words.split_whitespace()).args(["-o", "json"]).output()
            })
        });
        let output = output.await.expect("no panic").expect("the prober runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
        })
    }

    /// One HTTP request of the prober to `address`.
    pub(crate) async fn get(&self, address: impl std::fmt::Display) -> Value {
        self.probe(&format!("http http://{address}/ --timeout 20s")).await
    }

    /// The rules by which an ambient pod's TCP goes through its ztunnel.
    pub(crate) async fn capture(&self) {
        let ours = "-m mark ! --mark 0x539/0xfff";
        for rule in [
            "OUTPUT -d 169.254.7.127/32 -p tcp -j ACCEPT".to_owned(),
            "OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT".to_owned(),
            "OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT".to_owned(),
            format!("OUTPUT ! -d 127.0.0.1/32 -p tcp {ours} -j REDIRECT --to-ports 15001"),
            "PREROUTING -s 169.254.7.127/32 -p tcp -j ACCEPT".to_owned(),
            format!(
                "PREROUTING ! -d 127.0.0.1/32 -p tcp ! --dport 15008 {ours} -j REDIRECT --to-ports 15006"
            ),
        ] {
            self.command(&format!("iptables -w -t nat -A {rule}")).await;
        }
        // Answers to an application's caller go back to ztunnel, which called in its name.
        for line in [
            "iptables -w -t mangle -A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff",
            "iptables -w -t mangle -A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark",
            "ip rule add fwmark 0x111/0xfff lookup 100",
            "ip route add local default dev lo table 100",
        ] {
            self.command(line).await;
        }
    }

    /// The rules by which its DNS goes to whoever listens on port 15053 in it.
    pub(crate) async fn capture_dns(&self) {
        let ours = "-m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053";
        for transport in ["udp", "tcp"] {
            let rule = format!("OUTPUT 1 ! -d 127.0.0.1/32 -p {transport} --dport 53 {ours}");
            self.command(&format!("iptables -w -t nat -I {rule}")).await;
        }
    }

    /// kube-proxy's part: what goes to `service` ends at `endpoint`.
    pub(crate) async fn forward(&self, transport: &str, service: SocketAddr, endpoint: SocketAddr) {
        let (ip, port) = (service.ip(), service.port());
        let rule = format!(
            "OUTPUT -d {ip}/32 -p {transport} --dport {port} -j DNAT --to-destination {endpoint}"
        );
        self.command(&format!("iptables -w -t nat -A {rule}")).await;
    }
}

//! Pods as network namespaces on one bridge, with the capture rules of ambient ones.

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::sched::{CloneFlags, setns};

/// A pod of the small mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PodSpec {
    pub(crate) name: &'static str,
    pub(crate) ip: Ipv4Addr,
    pub(crate) ambient: bool,
}

const fn pod(name: &'static str, last: u8, ambient: bool) -> PodSpec {
    PodSpec { name, ip: Ipv4Addr::new(10, 77, 0, last), ambient }
}

pub(crate) const PODS: [PodSpec; 5] = [
    pod("amb1", 11, true),
    pod("amb2", 12, true),
    pod("amb3", 13, true),
    pod("plain1", 21, false),
    pod("plain2", 22, false),
];
/// In the world, and nowhere else: its node is gone.
pub(crate) const GONE: PodSpec = pod("gone", 14, true);
/// The namespace of the bridge, where istiod is.
pub(crate) const SWITCH: &str = "switch";
/// istiod as pods reach it.
pub(crate) const ISTIOD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// istiod as ztunnels reach it: past capture, as from a pod of their own.
pub(crate) const ISTIOD_OF_ZTUNNELS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Capture as istio-cni sets it up in a pod (marks 0x539 and 0x111, ports 15001,
/// 15006, 15008, 15053), and the way past it for ztunnel's own calls to istiod.
const CAPTURE: &str = "\
*mangle
-A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark
COMMIT
*nat
-A PREROUTING -p tcp ! -d 127.0.0.1/32 ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A OUTPUT -p tcp -d 10.77.0.2/32 -j ACCEPT
-A OUTPUT -o lo ! -d 127.0.0.1/32 -j ACCEPT
-A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A OUTPUT -p udp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
-A OUTPUT -p tcp --dport 53 ! -d 127.0.0.1/32 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053
-A OUTPUT -p tcp ! -d 127.0.0.1/32 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
";
/// kube-proxy's part in plain pods: the two Services, to amb2.
const SERVICES: &str = "\
*nat
-A OUTPUT -p tcp -d 10.78.0.1/32 --dport 80 -j DNAT --to-destination 10.77.0.12:8080
-A OUTPUT -p tcp -d 10.78.0.2/32 --dport 80 -j DNAT --to-destination 10.77.0.12:8081
COMMIT
";

/// The namespaces of one side; dropping it removes them.
pub(crate) struct Network {
    side: &'static str,
}

impl Network {
    /// Makes every namespace; what an interrupted run left behind is removed first.
    pub(crate) fn up(side: &'static str) -> Self {
        let network = Self { side };
        network.down();
        network.add(SWITCH);
        let script = "ip link add br0 type bridge && ip link set br0 up && \
                      ip addr add 10.77.0.1/24 dev br0 && ip addr add 10.77.0.2/24 dev br0";
        network.sh(SWITCH, script);
        for PodSpec { name, ip, ambient } in PODS {
            network.add(name);
            let (switch, pod) = (network.namespace(SWITCH), network.namespace(name));
            run(Command::new("ip")
                .args(["-n", &switch, "link", "add", name])
                .args(["type", "veth", "peer", "name", "eth0", "netns", &pod]));
            network.sh(SWITCH, &format!("ip link set {name} master br0 up"));
            let script = format!(
                "ip addr add {ip}/24 dev eth0 && ip link set eth0 up && \
                 ip route add default via {ISTIOD}"
            );
            network.sh(name, &script);
            if ambient {
                network.capture(name);
            } else {
                network.restore(name, SERVICES);
            }
        }
        network
    }

    fn add(&self, name: &str) {
        run(Command::new("ip").args(["netns", "add", &self.namespace(name)]));
        self.sh(name, "ip link set lo up");
    }

    pub(crate) fn capture(&self, pod: &str) {
        self.restore(pod, CAPTURE);
        let back = "ip rule add fwmark 0x111/0xfff lookup 100; \
                    ip route replace local default dev lo table 100";
        self.sh(pod, back);
    }

    /// What a reboot without istio-cni leaves.
    pub(crate) fn lose_capture(&self, pod: &str) {
        self.sh(pod, "iptables -t nat -F && iptables -t mangle -F");
        self.sh(pod, "ip rule del fwmark 0x111/0xfff lookup 100");
    }

    /// A NetworkPolicy that knows nothing of HBONE.
    pub(crate) fn block_hbone(&self, pod: &str, block: bool) {
        let what = if block { "-I" } else { "-D" };
        self.sh(pod, &format!("iptables {what} INPUT -p tcp --dport 15008 -i eth0 -j DROP"));
    }

    fn restore(&self, pod: &str, rules: &str) {
        let mut command = self.command(pod);
        command.args(["iptables-restore", "--noflush"]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("iptables-restore of iptables");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(rules.as_bytes()).expect("read by iptables-restore");
        drop(stdin);
        assert!(child.wait().expect("ends").success(), "rules of {pod}");
    }

    /// A command in the namespace of `pod`; its arguments are still to be added.
    pub(crate) fn command(&self, pod: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(pod)]);
        command
    }

    fn sh(&self, pod: &str, script: &str) {
        run(self.command(pod).args(["sh", "-c", script]));
    }

    /// Starts something that lives in the namespace of `pod` as long as this process does.
    ///
    /// All its sockets are made on one thread, which is in that namespace; what `start` gives can
    /// be used from anywhere.
    pub(crate) fn settle<T, F>(&self, pod: &str, start: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(pod)));
        let namespace = namespace.expect("made above");
        let (sender, started) = mpsc::channel();
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter namespaces");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let _ = sender.send(start().await);
                std::future::pending::<()>().await;
            });
        });
        started.recv().expect("it starts")
    }

    fn namespace(&self, pod: &str) -> String {
        format!("meshprobe-{}-{pod}", self.side)
    }

    fn down(&self) {
        for name in PODS.iter().map(|pod| pod.name).chain([SWITCH]) {
            let delete = Command::new("ip").args(["netns", "del", &self.namespace(name)]).output();
            // Usually there is none.
            drop(delete);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.down();
    }
}

/// The pod of that name.
pub(crate) fn spec(name: &str) -> PodSpec {
    PODS.into_iter().chain([GONE]).find(|pod| pod.name == name).expect("a pod of this mesh")
}

pub(crate) fn ip(name: &str) -> IpAddr {
    spec(name).ip.into()
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("iproute2 and iptables are needed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}

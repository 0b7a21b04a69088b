//! The side with a real ztunnel in each ambient pod.

use std::fmt::Write;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meshprobe::lab::istiod::{Ca, IstiodCondition};
use meshprobe::lab::world::World;

use super::mesh::{Base, Mesh, STRICT};
use super::network::{ISTIOD_OF_ZTUNNELS, PODS};

const READY: Duration = Duration::from_secs(20);

pub(crate) struct Real {
    base: Base,
    binary: PathBuf,
    /// One for each pod.
    running: Vec<(String, Child)>,
}

impl Real {
    pub(crate) fn up(binary: &Path) -> Self {
        let base = Base::up("real");
        let mut real = Self { base, binary: binary.to_owned(), running: Vec::new() };
        for pod in PODS.iter().filter(|pod| pod.ambient) {
            // There is none before the first run.
            let _ = std::fs::remove_file(log_of(pod.name));
            real.start(pod.name);
        }
        real
    }

    /// Starts the ztunnel of `pod`, which knows all workloads but `without`.
    fn launch(&mut self, pod: &str, without: Option<&str>) {
        self.kill(pod);
        let directory = self.base.directory();
        let known = directory.join(format!("{pod}-world.yaml"));
        std::fs::write(&known, local_world(&self.base.world, without)).expect("written");
        let log = File::options().create(true).append(true).open(log_of(pod)).expect("a log");
        let mut command = self.base.network.command(pod);
        command
            .arg(&self.binary)
            .current_dir(directory)
            .env("PROXY_MODE", "dedicated")
            .env("PROXY_WORKLOAD_INFO", format!("default/{pod}/{pod}"))
            .env("NODE_NAME", format!("node-{pod}"))
            .env("PACKET_MARK", "1337")
            .env("ZTUNNEL_WORKER_THREADS", "1")
            .env("ISTIO_META_DNS_CAPTURE", "true")
            .env("XDS_ADDRESS", "")
            .env("LOCAL_XDS_PATH", known)
            .env("CA_ADDRESS", format!("https://{ISTIOD_OF_ZTUNNELS}:15012"))
            .env("ALT_CA_HOSTNAME", "istiod.istio-system.svc")
            .env("CA_ROOT_CA", self.base.roots())
            .env("AUTH_TOKEN", self.base.file(pod, "token"))
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .stdin(Stdio::null());
        self.running.push((pod.to_owned(), command.spawn().expect("ip of iproute2")));
        self.await_ready(pod);
    }

    fn await_ready(&self, pod: &str) {
        let until = Instant::now() + READY;
        while Instant::now() < until {
            let asked = self
                .base
                .network
                .command(pod)
                .arg(env!("CARGO_BIN_EXE_meshprobe"))
                .args(["probe", "http", "http://127.0.0.1:15021/healthz/ready", "--status", "200"])
                .output()
                .expect("the binary");
            if asked.status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(log_of(pod)).unwrap_or_default();
        panic!("the ztunnel of {pod} is not ready:\n{log}");
    }

    fn signal(&self, pod: &str, signal: &str) {
        let (_, child) = self.running.iter().find(|(name, _)| name == pod).expect("running");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill").success(), "{signal} to the ztunnel of {pod}");
    }
}

/// Stays after the run: what ztunnel says of itself explains what a row saw.
fn log_of(pod: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mesh_netns-{pod}-ztunnel.log"))
}

impl Mesh for Real {
    fn base(&self) -> &Base {
        &self.base
    }

    fn pages(&self) -> Ipv4Addr {
        super::network::spec("amb1").ip
    }

    fn kill(&mut self, pod: &str) {
        self.running.retain_mut(|(name, child)| {
            if name == pod {
                let _ = child.kill();
                let _ = child.wait();
            }
            name != pod
        });
    }

    fn start(&mut self, pod: &str) {
        self.launch(pod, None);
    }

    fn freeze(&mut self, pod: &str) {
        self.signal(pod, "-STOP");
    }

    fn thaw(&mut self, pod: &str) {
        self.signal(pod, "-CONT");
    }

    fn start_unknown(&mut self, pod: &str) {
        self.launch(pod, Some(pod));
    }

    fn start_without_certificate(&mut self, pod: &str) {
        let unavailable = IstiodCondition { ca: Ca::Unavailable, ..IstiodCondition::default() };
        let broken = self.base.istiod.set(unavailable);
        self.base.runtime.block_on(broken).expect("in force");
        self.launch(pod, None);
    }

    fn heal_ca(&mut self) {
        let healed = self.base.istiod.set(IstiodCondition::default());
        self.base.runtime.block_on(healed).expect("in force");
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The world as ztunnel reads it from a file.
fn local_world(world: &World, without: Option<&str>) -> String {
    let mut yaml = "workloads:\n".to_owned();
    for pod in world.pods.iter().filter(|pod| Some(pod.name.as_str()) != without) {
        let (name, namespace, ip, node) = (&pod.name, &pod.namespace, pod.ip, &pod.node);
        let protocol = if pod.ambient { "HBONE" } else { "TCP" };
        let services: Vec<String> = world
            .services
            .iter()
            .filter(|service| service.namespace == *namespace && service.endpoints.contains(name))
            .map(|service| {
                let ports: Vec<_> =
                    service.ports.iter().map(|(from, to)| format!("{from}: {to}")).collect();
                format!("\"{namespace}/{}\": {{{}}}", service.hostname(), ports.join(", "))
            })
            .collect();
        // Writing to a String does not fail.
        let _ = writeln!(
            yaml,
            "- {{uid: Kubernetes//Pod/{namespace}/{name}, name: {name}, namespace: {namespace}, \
             serviceAccount: {}, trustDomain: cluster.local, workloadIps: [\"{ip}\"], protocol: {protocol}, node: {node}, \
             network: \"\", services: {{{}}}}}",
            pod.service_account,
            services.join(", "),
        );
    }
    yaml.push_str("services:\n");
    for service in &world.services {
        let ports: Vec<_> =
            service.ports.iter().map(|(from, to)| format!("{from}: {to}")).collect();
        let _ = writeln!(
            yaml,
            "- {{name: {}, namespace: {}, hostname: {}, vips: [\"/{}\"], ports: {{{}}}}}",
            service.name,
            service.namespace,
            service.hostname(),
            service.ip,
            ports.join(", "),
        );
    }
    let _ = writeln!(
        yaml,
        "policies:\n- {{name: strict, namespace: default, scope: Namespace, action: Deny, \
         dryRun: false, rules: [[[{{notPrincipals: [!Presence []]}}], \
         [{{destinationPorts: [{STRICT}]}}]]]}}"
    );
    yaml
}

//! What is asked, from where, and what is broken in between: the truth table, then the signature
//! table, in an order in which nothing is left over for the next.

use serde_json::Value;

use super::mesh::{Mesh, OPEN, STRICT};
use super::network::ip;
use super::seen::Seen;

/// Longer than a real ztunnel takes to notice a frozen peer.
const PATIENT: &str = "35s";

/// Flags with a file, the same in every row.
const FILES: [&str; 4] = ["--ca", "--cert", "--key", "--token"];

/// Asks every row of one side.
pub(crate) fn run(mesh: &mut dyn Mesh) -> Vec<Seen> {
    let pages = format!("ztunnel {}", mesh.pages());
    let mut column = Column { mesh, pages, seen: Vec::new() };
    column.healthy();
    column.hbone();
    column.inside();
    column.nobody();
    column.dead();
    column.unknown();
    column.without_certificate();
    column.blocked();
    column.frozen();
    column.not_captured();
    column.seen
}

struct Column<'a> {
    mesh: &'a mut dyn Mesh,
    /// Differs between the columns, and is no difference.
    pages: String,
    seen: Vec<Seen>,
}

fn url(pod: &str, port: u16) -> String {
    format!("http://{}:{port}/", ip(pod))
}

impl Column<'_> {
    /// Runs one probe in the namespace of `from`.
    fn ask(&mut self, when: &str, from: &str, arguments: &[&str]) {
        let base = self.mesh.base();
        let pod = base.pod(from);
        let asked = base
            .network
            .command(from)
            .arg(env!("CARGO_BIN_EXE_meshprobe"))
            .arg("probe")
            .args(arguments)
            .args(["-o", "json"])
            .env("MESHPROBE_POD_NAME", &pod.name)
            .env("MESHPROBE_POD_NAMESPACE", &pod.namespace)
            .env("MESHPROBE_POD_SERVICE_ACCOUNT", &pod.service_account)
            .env("MESHPROBE_POD_IP", pod.ip.to_string())
            .output()
            .expect("the binary");
        let stdout = String::from_utf8_lossy(&asked.stdout);
        let attempt: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {stdout}{}", String::from_utf8_lossy(&asked.stderr))
        });
        let file = |word: &&&str| word.starts_with('/') || FILES.contains(*word);
        let shown: Vec<&str> = arguments.iter().filter(|word| !file(word)).copied().collect();
        let shown = shown.join(" ").replace("http://", "").replace(&self.pages, "ztunnel");
        let row = format!("{when}: {from}> {shown}");
        self.seen.push(Seen::new(row, &attempt));
    }

    fn http(&mut self, when: &str, from: &str, to: &str, port: u16) {
        self.ask(when, from, &["http", &url(to, port)]);
    }

    fn patient(&mut self, when: &str, from: &str, to: &str) {
        self.ask(when, from, &["http", &url(to, OPEN), "--timeout", PATIENT]);
    }

    /// With a certificate of its own.
    fn tunnel(&mut self, when: &str, from: &str, target: &str, more: &[&str]) {
        let base = self.mesh.base();
        let files = [base.roots(), base.file(from, "cert"), base.file(from, "key")];
        let [ca, cert, key] = files.map(|path| path.display().to_string());
        let own = ["--ca", &ca, "--cert", &cert, "--key", &key];
        self.ask(when, from, &[&["hbone", target][..], more, &own].concat());
    }

    fn knock(&mut self, when: &str, from: &str, to: &str, more: &[&str]) {
        let roots = self.mesh.base().roots().display().to_string();
        let fixed = ["hbone", to, "--uncredentialed", "--ca", &roots];
        self.ask(when, from, &[&fixed[..], more].concat());
    }

    fn healthy(&mut self) {
        for from in ["amb1", "plain1"] {
            self.http("healthy", from, "amb2", OPEN);
            self.http("healthy", from, "amb2", OPEN);
            self.http("healthy, STRICT", from, "amb2", STRICT);
            self.http("healthy, closed port", from, "amb2", 9999);
            self.http("healthy", from, "plain2", OPEN);
            self.http("healthy, closed port", from, "plain2", 9999);
            self.ask("healthy, Service", from, &["http", "http://10.78.0.1/"]);
            self.ask("healthy, Service, STRICT", from, &["http", "http://10.78.0.2/"]);
            let source = format!("\"remote_address\":\"{}:", ip(from));
            let kept = ["http", &url("amb2", OPEN), "--body-regex", &source];
            self.ask("healthy, source kept", from, &kept);
            let tcp = format!("{}:{STRICT}", ip("amb2"));
            self.ask("STRICT, idle client", from, &["tcp", &tcp]);
            self.ask("mtu", from, &["mtu", &format!("{}echo", url("amb2", OPEN))]);
        }
    }

    fn hbone(&mut self) {
        let (amb2, amb3) = (ip("amb2"), ip("amb3"));
        let id = "spiffe://cluster.local/ns/default/sa/amb2";
        self.knock("hbone", "plain1", &amb2.to_string(), &["--spiffe-id", id]);
        self.tunnel("hbone", "plain1", &url("amb2", OPEN), &[]);
        self.tunnel("hbone, STRICT", "plain1", &url("amb2", STRICT), &[]);
        self.tunnel("hbone, closed port", "plain1", &url("amb2", 9999), &[]);
        let peer = ["--peer", &amb2.to_string()];
        self.tunnel("hbone, other pod", "plain1", &format!("http://{amb3}:{OPEN}/"), &peer);
        self.tunnel("hbone, address of a Service", "plain1", "http://10.78.0.1/", &peer);
        let hostname = "http://echo.default.svc.cluster.local/";
        self.tunnel("hbone, hostname", "plain1", hostname, &peer);
        self.tunnel("hbone, port of ztunnel", "plain1", &url("amb2", 15006), &[]);
        let base = self.mesh.base();
        let files = [base.roots(), base.file("plain1", "token")];
        let [ca, token] = files.map(|path| path.display().to_string());
        let own = ["--istiod", "10.77.0.1", "--ca", &ca, "--token", &token];
        let target = url("amb2", OPEN);
        let arguments = [&["hbone", &target][..], &own].concat();
        self.ask("hbone, certificate from istiod", "plain1", &arguments);
        self.knock("hbone to a plain pod", "plain1", &ip("plain2").to_string(), &[]);
        for port in ["15001", "15006"] {
            let to = format!("{amb2}:{port}");
            self.ask("ports of ztunnel", "plain1", &["tcp", &to, "--send", "x"]);
        }
        self.knock("hbone from an ambient pod", "amb1", &amb2.to_string(), &[]);
    }

    fn inside(&mut self) {
        self.knock("own ztunnel", "amb1", "127.0.0.1", &[]);
        let service = "echo.default.svc.cluster.local";
        for (from, enrolled) in [("amb1", "yes"), ("plain1", "no")] {
            self.ask("capture", from, &["capture", service, "--enrolled", enrolled]);
        }
        for transport in [&[][..], &["--transport", "tcp"]] {
            let fixed = ["dns", service, "--server", "192.0.2.53"];
            self.ask("captured DNS", "amb1", &[&fixed[..], transport].concat());
        }
        let pages = self.mesh.pages().to_string();
        self.ask("readiness and metrics", "plain1", &["ztunnel", &pages]);
        let roots = self.mesh.base().roots().display().to_string();
        for from in ["amb1", "plain1"] {
            let token = self.mesh.base().file(from, "token").display().to_string();
            let istiod = ["istiod", "10.77.0.1", "--ca", &roots, "--token", &token];
            self.ask("istiod", from, &istiod);
        }
    }

    fn nobody(&mut self) {
        for from in ["amb1", "plain1"] {
            self.ask("no such host", from, &["http", "http://10.77.0.99:8080/"]);
            self.ask("pod gone", from, &["http", &url("gone", OPEN), "--timeout", "15s"]);
        }
    }

    fn dead(&mut self) {
        self.mesh.kill("amb2");
        self.http("ztunnel of amb2 dead", "amb1", "amb2", OPEN);
        self.http("ztunnel of amb2 dead", "plain1", "amb2", OPEN);
        self.knock("ztunnel of amb2 dead", "plain1", &ip("amb2").to_string(), &[]);
        self.http("ztunnel of amb2 dead", "amb2", "plain2", OPEN);
        self.http("ztunnel of amb2 dead", "amb2", "amb3", OPEN);
        self.mesh.start("amb2");
        self.http("healed", "amb1", "amb2", OPEN);
    }

    fn unknown(&mut self) {
        self.mesh.start_unknown("amb1");
        self.patient("amb1 unknown to its ztunnel", "amb1", "amb2");
        self.patient("amb1 unknown to its ztunnel", "amb1", "plain2");
        self.patient("amb1 unknown to its ztunnel", "plain1", "amb1");
        self.knock("amb1 unknown to its ztunnel", "plain1", &ip("amb1").to_string(), &[]);
        self.mesh.start("amb1");
    }

    fn without_certificate(&mut self) {
        let when = "amb1 without certificate";
        self.mesh.start_without_certificate("amb1");
        self.patient(when, "amb1", "amb2");
        self.patient(when, "amb1", "amb2");
        self.http(when, "amb1", "plain2", OPEN);
        self.http(when, "plain1", "amb1", OPEN);
        self.knock(when, "plain1", &ip("amb1").to_string(), &[]);
        self.mesh.heal_ca();
        self.mesh.start("amb1");
        self.http("healed", "amb1", "amb2", OPEN);
    }

    fn blocked(&mut self) {
        self.mesh.base().network.block_hbone("amb2", true);
        // Pooled connections would stall instead.
        self.mesh.start("amb1");
        self.patient("15008 of amb2 dropped", "amb1", "amb2");
        self.http("15008 of amb2 dropped", "plain1", "amb2", OPEN);
        self.knock("15008 of amb2 dropped", "plain1", &ip("amb2").to_string(), &[]);
        self.mesh.base().network.block_hbone("amb2", false);
        self.http("healed", "amb1", "amb2", OPEN);
    }

    fn frozen(&mut self) {
        let when = "ztunnel of amb2 frozen";
        self.mesh.start("amb1");
        self.http("pooled", "amb1", "amb2", OPEN);
        self.mesh.freeze("amb2");
        self.patient(&format!("{when}, pooled"), "amb1", "amb2");
        self.patient(&format!("{when}, fresh"), "amb3", "amb2");
        self.http(when, "plain1", "amb2", OPEN);
        self.knock(when, "plain1", &ip("amb2").to_string(), &[]);
        self.http(when, "amb2", "plain2", OPEN);
        self.mesh.thaw("amb2");
        self.mesh.start("amb1");
        self.mesh.start("amb3");
        self.http("healed", "amb1", "amb2", OPEN);
    }

    fn not_captured(&mut self) {
        let when = "capture of amb1 lost";
        self.mesh.base().network.lose_capture("amb1");
        self.http(when, "amb1", "amb2", OPEN);
        self.http(when, "amb1", "amb2", STRICT);
        self.http(when, "plain1", "amb1", STRICT);
        let service = "echo.default.svc.cluster.local";
        self.ask(when, "amb1", &["capture", service, "--enrolled", "yes"]);
        self.mesh.base().network.capture("amb1");
        self.http("healed", "amb1", "amb2", STRICT);
    }
}

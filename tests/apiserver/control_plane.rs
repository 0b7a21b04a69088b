//! A real etcd and a real kube-apiserver on loopback, and clients of them.
//!
//! RBAC decides, nobody is anonymous, admission is as by default. There is no controller manager,
//! no scheduler and no kubelet: what those would write (default ServiceAccounts, EndpointSlices,
//! pods and every status), the tests write themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pki::Pki;
use super::support::{Daemon, fetch, free_port, temp_dir, tool, write_file};

/// Who issues ServiceAccounts' tokens, and the audience that the API server itself accepts.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A control plane of its own for each test; ended on drop.
pub(crate) struct ControlPlane {
    // In the order in which they end.
    apiserver: Option<Daemon>,
    _etcd: Daemon,
    etcd_port: u16,
    port: u16,
    services: &'static str,
    pki: Pki,
    kubeconfig: PathBuf,
    dir: TempDir,
}

impl ControlPlane {
    /// Starts both, and returns when `/readyz` says ok.
    pub(crate) async fn start() -> Self {
        Self::start_with("10.96.0.0/16").await
    }

    /// The same, with ClusterIPs of `services`.
    pub(crate) async fn start_with(services: &'static str) -> Self {
        let dir = temp_dir();
        let pki = Pki::create(&dir);
        let (etcd_port, port) = (free_port(), free_port());
        let etcd = start_etcd(&dir, etcd_port).await;
        let admin = json!({
            "client-certificate": pki.admin.certificate,
            "client-key": pki.admin.key,
        });
        let text = kubeconfig(&pki, port, &admin).to_string();
        // JSON is YAML: kubectl reads it too.
        let kubeconfig = write_file(&dir, "admin.kubeconfig", text);
        let mut plane =
            Self { apiserver: None, _etcd: etcd, etcd_port, port, services, pki, kubeconfig, dir };
        plane.start_apiserver(port).await;
        plane
    }

    /// The port that every client and the kubeconfig use.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the API server; etcd keeps what it knew.
    pub(crate) fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts the API server again, on `port`: on another than `port()` no client of before sees
    /// it, as if the network were cut between them.
    pub(crate) async fn start_apiserver(&mut self, port: u16) {
        assert!(self.apiserver.is_none(), "stop the other one first");
        let admin = client(&self.kubeconfig_for(port)).await;
        let command = self.apiserver_command(port);
        let ready = || async {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a good request");
            admin.request_text(request).await.is_ok_and(|body| body == "ok")
        };
        self.apiserver = Some(Daemon::start_when(command, ready).await);
    }

    /// The administrator's kubeconfig, for kubectl.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client that may do everything.
    pub(crate) async fn admin(&self) -> Client {
        self.admin_at(self.port).await
    }

    /// The same, at an API server on another port.
    pub(crate) async fn admin_at(&self, port: u16) -> Client {
        client(&self.kubeconfig_for(port)).await
    }

    /// A client that shows `token`.
    pub(crate) async fn client_of(&self, token: &str) -> Client {
        client(&kubeconfig(&self.pki, self.port, &json!({ "token": token }))).await
    }

    /// A kubeconfig file that shows `token`.
    pub(crate) fn kubeconfig_of(&self, token: &str) -> PathBuf {
        let text = kubeconfig(&self.pki, self.port, &json!({ "token": token })).to_string();
        write_file(&self.dir, "token.kubeconfig", text)
    }

    /// A token of a ServiceAccount for the API server, by the TokenRequest API.
    pub(crate) async fn token(&self, namespace: &str, service_account: &str) -> String {
        let spec = TokenRequestSpec {
            audiences: vec![ISSUER.to_owned()],
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        Api::<ServiceAccount>::namespaced(self.admin().await, namespace)
            .create_token_request(service_account, &PostParams::default(), &request)
            .await
            .expect("the ServiceAccount exists")
            .status
            .expect("the answer holds a token")
            .token
    }

    /// Makes etcd forget everything but the present: older watches end in 410 once the API
    /// server's own cache does not know better.
    pub(crate) async fn compact(&self, port: u16) {
        let list = ListParams::default().limit(1);
        let namespaces = Api::<Namespace>::all(self.admin_at(port).await);
        let present = namespaces.list(&list).await.expect("an API server");
        let revision = present.metadata.resource_version.expect("a list has one");
        // Its gRPC gateway writes 64-bit numbers as strings, as JSON of protobuf does.
        let body = json!({ "revision": revision, "physical": true }).to_string();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.etcd_port));
        let mut stream = meshprobe::net::connect(address).await.expect("etcd listens");
        let request = format!(
            "POST /v3/kv/compaction HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("etcd reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("etcd answers");
        let status = response.split(' ').nth(1);
        assert_eq!(status, Some("200"), "etcd did not compact: {response}");
    }

    fn kubeconfig_for(&self, port: u16) -> Value {
        let text = std::fs::read_to_string(&self.kubeconfig).expect("our own file");
        let mut config: Value = serde_json::from_str(&text).expect("our own JSON");
        config["clusters"][0]["cluster"]["server"] = json!(server(port));
        config
    }

    fn apiserver_command(&self, port: u16) -> Command {
        let mut command = program("kube-apiserver");
        let pki = &self.pki;
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            // Compaction is the tests' own.
            .arg("--etcd-compaction-interval=0")
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={port}"))
            // It wants an address that is not loopback, and would write it into the endpoints of
            // Service `kubernetes`.
            .args(["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"])
            .arg(format!("--service-cluster-ip-range={}", self.services))
            .args(["--authorization-mode=RBAC", "--anonymous-auth=false"])
            // As every cluster with a CNI plugin in a DaemonSet.
            .arg("--allow-privileged=true")
            .arg(format!("--service-account-issuer={ISSUER}"));
        for (flag, path) in [
            ("--client-ca-file", &pki.root),
            ("--tls-cert-file", &pki.server.certificate),
            ("--tls-private-key-file", &pki.server.key),
            ("--service-account-signing-key-file", &pki.token_key),
            ("--service-account-key-file", &pki.token_public_key),
        ] {
            command.arg(flag).arg(path);
        }
        command
    }
}

/// A program of ours that ends with the thread that starts it, even when that is killed and drops
/// nothing: left behind, an API server takes a core and half a gigabyte.
fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(tool(name));
    command
}

async fn start_etcd(dir: &TempDir, port: u16) -> Daemon {
    let (client, peer) =
        (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
    let mut command = program("etcd");
    command
        .arg("--data-dir")
        .arg(dir.path().join("etcd"))
        // Nothing here outlives the machine.
        .arg("--unsafe-no-fsync")
        .args(["--log-level", "warn"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Daemon::start_when(command, || async move {
        fetch(address, "/health").await.is_some_and(|(status, _)| status == 200)
    })
    .await
}

fn server(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn kubeconfig(pki: &Pki, port: u16, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "test",
            "cluster": { "server": server(port), "certificate-authority": pki.root },
        }],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    })
}

async fn client(kubeconfig: &Value) -> Client {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig.clone()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("its files exist");
    Client::try_from(config).expect("good certificates")
}

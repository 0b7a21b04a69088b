//! How the tests climb the ladder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::expectation::{Expectation, Verdict, rung_verdicts};
use meshprobe::failure::{Failure, Phase, Reason};
use meshprobe::istiod::messages::{TunnelProtocol, Workload};
use meshprobe::lab::ca::Authority;
use meshprobe::outcome::{IstiodFacts, Outcome, Rung};
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{
    ExpectedWorkload, IpPreference, IstiodModule, Module, ModuleKind, PodIdentity, Roots, Timeouts,
    TlsSettings,
};
use tempfile::TempDir;

use super::server::{Istiod, NAME};

/// Long enough that no attempt on a busy machine meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough that only a server which never answers meets it.
pub(crate) const SHORT: Duration = Duration::from_millis(1500);

/// A token whose parts are long enough to be hidden.
pub(crate) const TOKEN: &str = "aGVhZGVyLW9mLWE.cGF5bG9hZC1vZi1h.c2lnbmF0dXJlLW9mLWE";

/// A server with its authority, and the files of an agent that asks it.
pub(crate) struct Mesh {
    pub(crate) authority: Arc<Authority>,
    pub(crate) istiod: Istiod,
    pub(crate) dir: TempDir,
    pub(crate) environment: Environment,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        let authority = Arc::new(Authority::new("root").expect("an authority"));
        let istiod = Istiod::start(&authority).await;
        Self::with(authority, istiod)
    }

    pub(crate) fn with(authority: Arc<Authority>, istiod: Istiod) -> Self {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        let environment = Environment::default();
        environment.mesh.trust(authority.root_pem().as_bytes()).expect("a good root");
        std::fs::write(dir.path().join("token"), TOKEN).expect("written");
        istiod.knows(Some(workload()));
        Self { authority, istiod, dir, environment }
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    pub(crate) fn module(&self) -> IstiodModule {
        IstiodModule {
            tls: TlsSettings {
                roots: Roots::Mesh,
                server_name: Some(NAME.to_owned()),
                ..TlsSettings::default()
            },
            token: self.token(),
            cluster_id: "Kubernetes".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            pod: Some(pod()),
            xds: true,
            workload: ExpectedWorkload { hbone: Some(false), node: Some("node-1".to_owned()) },
            csr: Some(Duration::from_secs(3600)),
            ip: IpPreference::default(),
        }
    }

    pub(crate) fn prepare(&self, module: IstiodModule, timeout: Duration) -> Probe {
        self.aim(module, timeout, &self.istiod.address.to_string())
    }

    pub(crate) fn aim(&self, module: IstiodModule, timeout: Duration, address: &str) -> Probe {
        let kind = ModuleKind::Istiod(Box::new(module));
        let module =
            Module { kind, timeouts: Timeouts::total(timeout), expect: Expectation::Reply };
        let spec = module.aim(address).expect("a good address");
        Probe::prepare(&spec, &self.environment).expect("good files")
    }

    /// One attempt that no deadline ends.
    pub(crate) async fn climb(&self) -> Outcome {
        self.prepare(self.module(), PATIENCE).attempt().await
    }

    /// One attempt at a server that never answers.
    pub(crate) async fn climb_briefly(&self) -> Outcome {
        self.prepare(self.module(), SHORT).attempt().await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.istiod.address
    }
}

pub(crate) fn pod() -> PodIdentity {
    PodIdentity {
        name: "meshprobe-x".to_owned(),
        namespace: "monitoring".to_owned(),
        service_account: "meshprobe".to_owned(),
        ip: "10.0.0.7".parse().expect("an address"),
        network: String::new(),
    }
}

/// What the server knows of [`pod`].
pub(crate) fn workload() -> Workload {
    Workload {
        name: "meshprobe-x".to_owned(),
        namespace: "monitoring".to_owned(),
        service_account: "meshprobe".to_owned(),
        addresses: vec![vec![10, 0, 0, 7]],
        node: "node-1".to_owned(),
        tunnel_protocol: TunnelProtocol::None.into(),
        authorization_policies: vec!["istio-system/istio_converted_static_strict".to_owned()],
        ..Workload::default()
    }
}

#[track_caller]
pub(crate) fn ladder(outcome: &Outcome) -> &IstiodFacts {
    outcome.facts.istiod.as_ref().expect("the ladder is told, however far it went")
}

/// Asserts that `rung` broke, and that every rung below stands and every one above is open.
#[track_caller]
pub(crate) fn assert_broken(outcome: &Outcome, rung: Rung, reason: Reason) -> &Failure {
    let failure = outcome.failure.as_ref().expect("the attempt must fail");
    assert_eq!(failure.reason, reason, "{failure}");
    let facts = ladder(outcome);
    let last = facts.rungs.last().expect("a rung was tried");
    assert_eq!(last.rung, rung, "{failure}");
    assert_eq!(last.failure.as_ref(), Some(failure));
    let phase = match rung {
        Rung::Resolve => Phase::Resolve,
        Rung::Tcp => Phase::Connect,
        Rung::Tls => Phase::Tls,
        Rung::Http2 | Rung::Xds | Rung::Csr => Phase::Processing,
    };
    assert_eq!(failure.phase, phase);
    for (judged, verdict) in rung_verdicts(facts) {
        match judged.cmp(&rung) {
            std::cmp::Ordering::Less => assert_eq!(verdict, Verdict::Met, "{judged}"),
            std::cmp::Ordering::Equal => assert_ne!(verdict, Verdict::Met, "{judged}"),
            std::cmp::Ordering::Greater => assert_eq!(verdict, Verdict::Inconclusive, "{judged}"),
        }
    }
    failure
}

#[track_caller]
pub(crate) fn assert_good(outcome: &Outcome) {
    assert_eq!(outcome.failure, None);
}

//! The agent's own certificate and the roots that it trusts, while both change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meshprobe::config::MeshConfig;
use meshprobe::failure::{Phase, Reason};
use meshprobe::identity::{Identity, Status};
use meshprobe::lab::ca::Authority;
use meshprobe::net::Resolver;
use meshprobe::tls;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::server::{Conduct, NAME, SPIFFE_ID};
use super::support::{Mesh, PATIENCE, TOKEN, pod};

fn config(mesh: &Mesh) -> MeshConfig {
    let address = mesh.address().to_string();
    MeshConfig {
        istiod: address.parse().expect("an endpoint"),
        server_name: NAME.to_owned(),
        ca: mesh.dir.path().join("root-cert.pem"),
        token: mesh.token(),
        cluster_id: "Kubernetes".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        pod: Some(pod()),
        certificate: true,
    }
}

/// A mesh whose root is in the file that the configuration names.
async fn mounted() -> (Mesh, MeshConfig) {
    let mesh = Mesh::start().await;
    let config = config(&mesh);
    fs::write(&config.ca, mesh.authority.root_pem()).expect("written");
    (mesh, config)
}

struct Running {
    identity: Identity,
    status: watch::Receiver<Status>,
    mesh: Arc<tls::Mesh>,
}

fn start(config: &MeshConfig) -> Running {
    let mesh = Arc::<tls::Mesh>::default();
    let identity =
        Identity::start(config, Arc::<Resolver>::default(), Arc::clone(&mesh)).expect("started");
    Running { status: identity.status(), identity, mesh }
}

impl Running {
    async fn until(&mut self, wanted: impl FnMut(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        let reached = timeout_at(deadline, self.status.wait_for(wanted)).await;
        reached.expect("it comes in time").expect("it runs").clone()
    }
}

async fn once(config: &MeshConfig) -> Result<(), meshprobe::failure::Failure> {
    Identity::once(config, Arc::default(), Arc::default(), PATIENCE).await
}

#[tokio::test]
async fn the_agent_gets_a_certificate_for_its_own_identity() {
    let (mesh, config) = mounted().await;
    let mut running = start(&config);
    assert_eq!(running.status.borrow().roots, 1, "the roots are read before anything else");
    let status = running.until(|status| status.renewals == 1).await;
    let certificate = status.certificate.expect("obtained");
    assert_eq!(certificate.spiffe_id.as_deref(), Some(SPIFFE_ID));
    assert_eq!((status.last_failure, status.failed_renewals), (None, 0));
    let own = running.mesh.credential().expect("shown");
    assert_eq!((own.spiffe_id.as_deref(), own.not_after), (Some(SPIFFE_ID), certificate.not_after));
    let seen = mesh.istiod.seen();
    assert_eq!(seen.authorizations, [format!("Bearer {TOKEN}")]);
    running.identity.stop().await;
    assert!(running.mesh.credential().is_some(), "what was obtained stays");
}

#[tokio::test]
async fn a_certificate_is_renewed_with_the_token_of_then() {
    let (mesh, config) = mounted().await;
    mesh.istiod.sign_for(Duration::from_secs(4));
    let mut running = start(&config);
    let first = running.until(|status| status.renewals == 1).await;
    let rotated = "aGVhZGVyLW9mLWI.cGF5bG9hZC1vZi1i.c2lnbmF0dXJlLW9mLWI";
    fs::write(&config.token, rotated).expect("written");
    mesh.istiod.sign_for(Duration::from_secs(3600));
    let second = running.until(|status| status.renewals == 2).await;
    let end = |status: &Status| status.certificate.as_ref().and_then(|it| it.not_after);
    assert!(end(&second) > end(&first));
    let told = mesh.istiod.seen().authorizations;
    assert_eq!(told.last(), Some(&format!("Bearer {rotated}")));
}

#[tokio::test]
async fn the_last_good_certificate_is_kept_when_renewal_fails() {
    let (mesh, config) = mounted().await;
    mesh.istiod.sign_for(Duration::from_secs(6));
    let mut running = start(&config);
    let first = running.until(|status| status.renewals == 1).await;
    mesh.istiod.conduct(Conduct::NoSigning);
    let failed = running.until(|status| status.failed_renewals > 0).await;
    assert_eq!(failed.certificate, first.certificate);
    let failure = failed.last_failure.expect("told");
    assert_eq!((failure.phase, failure.reason), (Phase::Processing, Reason::GrpcStatus));
    let end = first.certificate.and_then(|it| it.not_after);
    assert_eq!(running.mesh.credential().expect("kept").not_after, end);
    mesh.istiod.conduct(Conduct::Good);
    let mended = running.until(|status| status.renewals == 2).await;
    assert_eq!(mended.last_failure, None);
}

#[tokio::test]
async fn a_bad_certificate_is_never_shown() {
    for (conduct, reason) in [
        (Conduct::WrongRoot, Reason::CertUntrusted),
        (Conduct::OtherIdentity, Reason::CertNameMismatch),
        (Conduct::OtherKey, Reason::CertNameMismatch),
        (Conduct::Expired, Reason::CertExpired),
        (Conduct::EndlessChain, Reason::CertUntrusted),
        (Conduct::Huge, Reason::BodyTooLarge),
        (Conduct::Unauthenticated, Reason::GrpcStatus),
    ] {
        let (mesh, config) = mounted().await;
        mesh.istiod.conduct(conduct);
        let mut running = start(&config);
        let status = running.until(|status| status.failed_renewals > 0).await;
        let failure = status.last_failure.expect("told");
        assert_eq!((failure.phase, failure.reason), (Phase::Processing, reason), "{conduct:?}");
        assert!(running.mesh.credential().is_none() && status.certificate.is_none());
        let shown = format!("{failure} {:?} {:?}", running.status, running.identity);
        assert!(TOKEN.split('.').all(|part| !shown.contains(part)), "{shown}");
    }
}

#[tokio::test]
async fn an_istiod_that_hangs_ends_at_the_deadline() {
    let (mesh, config) = mounted().await;
    for (conduct, phase) in [
        (Conduct::NoHandshake, Phase::Tls),
        (Conduct::NoSettings, Phase::Processing),
        (Conduct::NoAnswer, Phase::Processing),
    ] {
        mesh.istiod.conduct(conduct);
        let brief = Duration::from_millis(1500);
        let failed = Identity::once(&config, Arc::default(), Arc::default(), brief).await;
        let failure = failed.expect_err("it hangs");
        assert_eq!((failure.phase, failure.reason), (phase, Reason::Timeout), "{conduct:?}");
    }
}

#[tokio::test]
async fn what_is_missing_here_is_told_before_istiod_is_asked() {
    let (mesh, config) = mounted().await;
    let nobody = MeshConfig { pod: None, ..config.clone() };
    let failure = once(&nobody).await.expect_err("nobody");
    assert_eq!(failure.reason, Reason::NoIdentity);
    fs::remove_file(&config.token).expect("removed");
    let failure = once(&config).await.expect_err("no token");
    assert_eq!((failure.phase, failure.reason), (Phase::Processing, Reason::NoIdentity));
    assert!(failure.detail.contains("token"), "{failure}");
    fs::remove_file(&config.ca).expect("removed");
    let failure = once(&config).await.expect_err("no roots");
    assert_eq!((failure.phase, failure.reason), (Phase::Tls, Reason::NoIdentity));
    assert!(failure.detail.contains("root-cert.pem"), "{failure}");
    assert_eq!(mesh.istiod.seen().connections, 0);
}

#[tokio::test]
async fn one_certificate_can_be_had_at_once() {
    let (mesh, config) = mounted().await;
    let own = Arc::<tls::Mesh>::default();
    let got = Identity::once(&config, Arc::default(), Arc::clone(&own), PATIENCE).await;
    assert_eq!(got, Ok(()));
    assert_eq!(own.credential().expect("obtained").spiffe_id.as_deref(), Some(SPIFFE_ID));
    let plain = MeshConfig { certificate: false, ..config };
    assert_eq!(once(&plain).await, Ok(()));
    assert_eq!(mesh.istiod.seen().csrs, 1, "only the roots are wanted");
}

#[tokio::test]
async fn a_certificate_that_is_not_wanted_is_not_asked_for() {
    let (mesh, config) = mounted().await;
    let mut running = start(&MeshConfig { certificate: false, ..config.clone() });
    let two = format!("{0}{0}", mesh.authority.root_pem());
    fs::write(&config.ca, two).expect("written");
    running.until(|status| status.roots == 2).await;
    assert_eq!(mesh.istiod.seen().connections, 0);
}

/// A ConfigMap volume as kubelet writes it: the file is a link into `..data`, a link to a folder.
fn mount(dir: &Path, version: &str, text: &str) {
    fs::create_dir(dir.join(version)).expect("created");
    fs::write(dir.join(version).join("root-cert.pem"), text).expect("written");
    symlink(version, dir.join("..data_tmp")).expect("linked");
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("swapped");
}

#[tokio::test]
async fn a_rotated_trust_bundle_is_trusted_and_a_broken_one_is_not() {
    let mesh = Mesh::start().await;
    let config = config(&mesh);
    let dir = mesh.dir.path();
    let old = mesh.authority.root_pem();
    mount(dir, "..1", old);
    symlink("..data/root-cert.pem", &config.ca).expect("linked");
    let mut running = start(&config);
    running.until(|status| status.renewals == 1).await;

    let new = Arc::new(Authority::new("new root").expect("an authority"));
    mount(dir, "..2", &format!("{old}{}", new.root_pem()));
    let both = running.until(|status| status.roots == 2).await;
    assert_eq!(both.roots_problem, None);

    mount(dir, "..3", "-----BEGIN CERTIFICATE-----\n!!!\n");
    let broken = running.until(|status| status.roots_problem.is_some()).await;
    assert_eq!(broken.roots, 2, "the old trust stays");
    fs::remove_file(dir.join("..data")).expect("removed");
    let gone = running.until(|status| {
        status.roots_problem.as_ref().is_some_and(|problem| problem.contains("No such file"))
    });
    assert_eq!(gone.await.roots, 2);
}

#[tokio::test]
async fn a_certificate_that_no_longer_stands_is_replaced_at_once() {
    let (mesh, config) = mounted().await;
    let mut running = start(&config);
    running.until(|status| status.renewals == 1).await;
    // Only the signing authority is another one: what istiod itself shows is under the old root.
    let new = Arc::new(Authority::new("new root").expect("an authority"));
    mesh.istiod.sign_by(&new);
    let both = format!("{}{}", mesh.authority.root_pem(), new.root_pem());
    fs::write(&config.ca, &both).expect("written");
    let status = running.until(|status| status.roots == 2).await;
    assert_eq!(status.renewals, 1, "it still stands");
    // The old root is still needed for the handshake, so that a renewal fails, at once.
    fs::write(&config.ca, new.root_pem()).expect("written");
    let status = running.until(|status| status.failed_renewals > 0).await;
    assert_eq!(status.last_failure.expect("told").reason, Reason::CertUntrusted);
    fs::write(&config.ca, &both).expect("written");
    running.until(|status| status.renewals == 2).await;
}

//! The agent keeps its identity as its configuration states, also when that changes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use meshprobe::agent::Agent;
use meshprobe::config::{self, Config, MeshConfig};
use meshprobe::net::Resolver;
use tokio::time::{Instant, timeout_at};

use super::server::NAME;
use super::support::{Mesh, PATIENCE, pod};

fn configured(mesh: Option<MeshConfig>) -> Config {
    let text = "node: node-1\nadmin:\n  listen: 127.0.0.1:0\ntargets: []\n";
    let config = config::parse(text, &BTreeMap::new()).expect("a good configuration");
    Config { mesh, ..config }
}

async fn certified(agent: &Agent) {
    let mut status = agent.identity().expect("it takes part");
    let reached = status.wait_for(|status| status.certificate.is_some());
    let reached = timeout_at(Instant::now() + PATIENCE, reached).await;
    reached.expect("in time").expect("it runs");
}

#[tokio::test]
async fn the_identity_is_begun_anew_only_when_the_mesh_block_changes() {
    let mesh = Mesh::start().await;
    let ca = mesh.dir.path().join("root-cert.pem");
    fs::write(&ca, mesh.authority.root_pem()).expect("written");
    let block = MeshConfig {
        istiod: mesh.address().to_string().parse().expect("an endpoint"),
        server_name: NAME.to_owned(),
        ca,
        token: mesh.token(),
        cluster_id: "Kubernetes".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        pod: Some(pod()),
        certificate: true,
    };
    let resolver = Some(Resolver::default());
    let mut agent = Agent::start(configured(Some(block.clone())), resolver).await.expect("started");
    certified(&agent).await;
    let first = agent.identity().expect("it takes part");

    agent.apply(configured(Some(block.clone()))).await.expect("applied");
    assert!(first.has_changed().is_ok(), "the same block leaves it alone");

    let other = MeshConfig { cluster_id: "other".to_owned(), ..block };
    agent.apply(configured(Some(other))).await.expect("applied");
    assert!(first.has_changed().is_err(), "the old one has ended");
    let kept = agent.identity().expect("it takes part").borrow().certificate.clone();
    assert!(kept.is_some(), "the last good certificate is kept meanwhile");
    let seen = mesh.istiod.until(|seen| seen.signed == 2).await;
    assert_eq!(seen.clusters, ["Kubernetes", "other"]);

    agent.apply(configured(None)).await.expect("applied");
    assert!(agent.identity().is_none());
    agent.stop(Duration::from_secs(5)).await;
}

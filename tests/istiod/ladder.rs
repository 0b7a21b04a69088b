//! The ladder against a good istiod, and what it says of the own workload.

use std::time::Duration;

use meshprobe::expectation::{Verdict, rung_verdicts};
use meshprobe::failure::{Phase, Reason};
use meshprobe::istiod::messages::{TunnelProtocol, Workload};
use meshprobe::outcome::Rung;
use meshprobe::spec::{ExpectedWorkload, IstiodModule, TlsSettings};

use super::server::SPIFFE_ID;
use super::support::{Mesh, PATIENCE, TOKEN, assert_broken, assert_good, ladder, pod, workload};

#[tokio::test]
async fn every_rung_is_told_with_its_time_and_its_facts() {
    let mesh = Mesh::start().await;
    let target = format!("localhost:{}", mesh.address().port());
    let outcome = mesh.aim(mesh.module(), PATIENCE, &target).attempt().await;
    assert_good(&outcome);
    let facts = ladder(&outcome);
    let tried: Vec<_> = facts.rungs.iter().map(|rung| rung.rung).collect();
    assert_eq!(tried, Rung::ALL);
    assert!(rung_verdicts(facts).iter().all(|(_, verdict)| *verdict == Verdict::Met));
    let sum = |rungs: &[Rung]| -> Duration {
        let counted = facts.rungs.iter().filter(|rung| rungs.contains(&rung.rung));
        counted.map(|rung| rung.duration).sum()
    };
    let processing = sum(&[Rung::Http2, Rung::Xds, Rung::Csr]);
    assert_eq!(outcome.phases.of(Phase::Processing), Some(processing));
    assert_eq!(outcome.phases.of(Phase::Tls), Some(sum(&[Rung::Tls])));
    assert!(facts.rungs.iter().all(|rung| rung.duration > Duration::ZERO));

    let xds = facts.xds.as_ref().expect("answered");
    let found = xds.workload.as_ref().expect("known");
    assert_eq!((found.node.as_str(), found.tunnel_protocol.as_str()), ("node-1", "NONE"));
    assert_eq!(found.authorization_policies, ["istio-system/istio_converted_static_strict"]);
    let csr = facts.csr.as_ref().expect("signed");
    assert_eq!((csr.spiffe_id.as_deref(), csr.roots), (Some(SPIFFE_ID), 2));
    assert!(csr.not_after.is_some());
    assert!(
        outcome
            .facts
            .tls
            .expect("shown")
            .peer_names
            .contains(&"istiod.istio-system.svc".to_owned())
    );
    assert!(outcome.facts.tcp.is_some() && outcome.reply_bytes > 0);
}

#[tokio::test]
async fn istiod_is_told_who_asks_and_its_answer_is_acknowledged() {
    let mesh = Mesh::start().await;
    assert_good(&mesh.climb().await);
    let seen = mesh.istiod.until(|seen| !seen.acknowledgements.is_empty()).await;
    assert!(seen.authorizations.iter().all(|value| *value == format!("Bearer {TOKEN}")));
    assert_eq!(seen.clusters, ["Kubernetes", "Kubernetes"]);
    let first = &seen.subscriptions[0];
    assert_eq!(first.resource_names_subscribe, ["/10.0.0.7"]);
    let node = first.node.as_ref().expect("stated");
    assert_eq!(node.id, "ztunnel~10.0.0.7~meshprobe-x.monitoring~monitoring.svc.cluster.local");
    let fields = &node.metadata.as_ref().expect("stated").fields;
    let field = |name: &str| fields[name].string_value.as_deref();
    assert_eq!(field("NAMESPACE"), Some("monitoring"));
    assert_eq!(field("SERVICE_ACCOUNT"), Some("meshprobe"));
    assert_eq!(seen.acknowledgements[0].response_nonce, "nonce-1");
    assert_eq!(seen.acknowledgements[0].error_detail, None);
    assert_eq!(seen.connections, 1, "one connection carries the whole ladder");
}

#[tokio::test]
async fn a_certificate_is_asked_for_once_in_its_interval() {
    let mesh = Mesh::start().await;
    let probe = mesh.prepare(mesh.module(), PATIENCE);
    let (first, second) = (probe.attempt().await, probe.attempt().await);
    assert_good(&first);
    assert_good(&second);
    assert_eq!(ladder(&first).rungs.last().map(|rung| rung.rung), Some(Rung::Csr));
    assert_eq!(ladder(&second).rungs.last().map(|rung| rung.rung), Some(Rung::Xds));
    assert!(rung_verdicts(ladder(&second)).iter().all(|(rung, _)| *rung != Rung::Csr));
    assert_eq!(mesh.istiod.seen().csrs, 1);

    let often = IstiodModule { csr: Some(Duration::ZERO), ..mesh.module() };
    let probe = mesh.prepare(often, PATIENCE);
    assert_good(&probe.attempt().await);
    assert_good(&probe.attempt().await);
    assert_eq!(mesh.istiod.seen().csrs, 3);
}

#[tokio::test]
async fn without_a_pod_the_ladder_ends_at_http2() {
    let mesh = Mesh::start().await;
    let module = IstiodModule { pod: None, token: "/nonexistent".into(), ..mesh.module() };
    let outcome = mesh.prepare(module, PATIENCE).attempt().await;
    assert_good(&outcome);
    let tried: Vec<_> = ladder(&outcome).rungs.iter().map(|rung| rung.rung).collect();
    assert_eq!(tried, [Rung::Tcp, Rung::Tls, Rung::Http2]);
    assert_eq!(ladder(&outcome).due, tried);
    assert!(mesh.istiod.seen().authorizations.is_empty());
}

#[tokio::test]
async fn a_rung_that_is_not_asked_for_is_not_climbed() {
    let mesh = Mesh::start().await;
    let outcome =
        mesh.prepare(IstiodModule { xds: false, ..mesh.module() }, PATIENCE).attempt().await;
    assert_good(&outcome);
    let tried: Vec<_> = ladder(&outcome).rungs.iter().map(|rung| rung.rung).collect();
    assert_eq!(tried, [Rung::Tcp, Rung::Tls, Rung::Http2, Rung::Csr]);
    assert!(mesh.istiod.seen().subscriptions.is_empty());
}

async fn mismatch(known: Option<Workload>, expected: ExpectedWorkload) -> String {
    let mesh = Mesh::start().await;
    mesh.istiod.knows(known);
    let module = IstiodModule { workload: expected, ..mesh.module() };
    let outcome = mesh.prepare(module, PATIENCE).attempt().await;
    let failure = assert_broken(&outcome, Rung::Xds, Reason::WorkloadMismatch);
    assert!(ladder(&outcome).xds.is_some(), "what was answered is told all the same");
    assert_eq!(mesh.istiod.seen().csrs, 0);
    failure.detail.clone()
}

#[tokio::test]
async fn what_istiod_says_of_the_own_workload_must_be_as_stated() {
    let on_node = |node: &str| ExpectedWorkload { hbone: None, node: Some(node.to_owned()) };
    let told = mismatch(None, ExpectedWorkload::default()).await;
    assert_eq!(told, "istiod knows no workload at 10.0.0.7");
    let told = mismatch(Some(workload()), on_node("node-2")).await;
    assert_eq!(told, "istiod says node `node-1`, expected `node-2`");
    let hbone = ExpectedWorkload { hbone: Some(true), node: None };
    let told = mismatch(Some(workload()), hbone).await;
    assert_eq!(told, "istiod says tunnel protocol NONE, expected HBONE");
    let enrolled = Workload { tunnel_protocol: TunnelProtocol::Hbone.into(), ..workload() };
    let plain = ExpectedWorkload { hbone: Some(false), node: None };
    let told = mismatch(Some(enrolled), plain).await;
    assert_eq!(told, "istiod says tunnel protocol HBONE, expected no HBONE");
    let elsewhere = Workload { addresses: vec![vec![10, 0, 0, 9]], ..workload() };
    let told = mismatch(Some(elsewhere), ExpectedWorkload::default()).await;
    assert_eq!(told, "istiod knows no workload at 10.0.0.7");
}

#[tokio::test]
async fn the_lower_rungs_break_each_in_its_own_way() {
    let mesh = Mesh::start().await;
    let nowhere = mesh.aim(mesh.module(), PATIENCE, "istiod.example:15012");
    let outcome = nowhere.attempt().await;
    assert_broken(&outcome, Rung::Resolve, Reason::LocalResource);

    let refused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("bound").to_string()
    };
    let outcome = mesh.aim(mesh.module(), PATIENCE, &refused).attempt().await;
    assert_broken(&outcome, Rung::Tcp, Reason::Refused);

    let misnamed = IstiodModule {
        tls: TlsSettings { server_name: Some("istiod.other.svc".to_owned()), ..mesh.module().tls },
        ..mesh.module()
    };
    let outcome = mesh.prepare(misnamed, PATIENCE).attempt().await;
    assert_broken(&outcome, Rung::Tls, Reason::CertNameMismatch);

    let soon = IstiodModule {
        tls: TlsSettings { min_remaining: Some(1.0), ..mesh.module().tls },
        pod: Some(pod()),
        ..mesh.module()
    };
    let outcome = mesh.prepare(soon, PATIENCE).attempt().await;
    assert_broken(&outcome, Rung::Tls, Reason::CertExpiring);
}

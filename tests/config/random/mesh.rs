//! Random questions that know the mesh, and the mesh that they know.

use std::net::IpAddr;
use std::time::Duration;

use meshprobe::config::MeshConfig;
use meshprobe::expectation::Expectation;
use meshprobe::spec::{
    CaptureModule, ClientIdentity, ExpectedWorkload, HboneModule, HttpModule, HttpVersion,
    IstiodModule, ModuleKind, MtuModule, OwnCertificate, PodIdentity, Roots, TlsSettings, Verify,
    ZtunnelModule,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{address, endpoint, expect, file, http, ip, name, tls};

pub(super) fn mesh() -> BoxedStrategy<MeshConfig> {
    let kubernetes = || "[a-z0-9][a-z0-9.-]{0,9}";
    let pod = (kubernetes(), kubernetes(), kubernetes(), any::<IpAddr>(), "[a-zA-Z0-9._-]{0,9}");
    let pod = pod.prop_map(|(name, namespace, service_account, ip, network)| PodIdentity {
        name,
        namespace,
        service_account,
        ip,
        network,
    });
    let names = (name(), "[!-~]{1,9}", "[a-z.]{1,9}");
    (endpoint(), names, file(), file(), option::weighted(0.8, pod), any::<bool>())
        .prop_map(|(istiod, names, ca, token, pod, certificate)| MeshConfig {
            istiod,
            server_name: names.0,
            ca,
            token,
            cluster_id: names.1,
            trust_domain: names.2,
            pod,
            certificate,
        })
        .boxed()
}

/// Questions as a configuration with `mesh` can ask them.
pub(super) fn kind(mesh: &Option<MeshConfig>) -> BoxedStrategy<(ModuleKind, Expectation)> {
    let (of_hbone, of_istiod) = (mesh.clone(), mesh.clone());
    let hbone = hbone().prop_map(move |module| fit_hbone(module, of_hbone.as_ref()));
    let hbone = hbone.prop_flat_map(|module| {
        let words: &[&str] =
            if module.credentialed { &["reply", "status 2xx", "denied"] } else { &["reply"] };
        (Just(ModuleKind::Hbone(Box::new(module))), expect(words))
    });
    let istiod = istiod().prop_map(move |module| fit_istiod(module, of_istiod.as_ref()));
    let istiod = istiod.prop_map(|module| ModuleKind::Istiod(Box::new(module)));
    let mtu = (1u32..=1200, 2048u32..=1 << 20, tls(), ip());
    let mtu = mtu.prop_map(|(small, large, tls, ip)| MtuModule { small, large, tls, ip });
    let ztunnel = (1u16.., option::of(1u16..), ip());
    let ztunnel = ztunnel.prop_map(|(readiness_port, metrics_port, ip)| ZtunnelModule {
        readiness_port,
        metrics_port,
        ip,
    });
    prop_oneof![
        hbone,
        (istiod, expect(&["reply"])),
        (capture().prop_map(ModuleKind::Capture), expect(&["reply"])),
        (mtu.prop_map(ModuleKind::Mtu), expect(&["reply"])),
        (ztunnel.prop_map(ModuleKind::Ztunnel), expect(&["reply"])),
    ]
    .boxed()
}

fn roots() -> impl Strategy<Value = Roots> {
    prop_oneof![Just(Roots::Mesh), file().prop_map(Roots::File)]
}

fn hbone() -> impl Strategy<Value = HboneModule> {
    let verify = prop_oneof![
        Just(Verify::Chain),
        Just(Verify::Nothing),
        "spiffe://[a-z.]{1,9}(/[a-zA-Z0-9_-]{1,5}){0,4}".prop_map(Verify::Spiffe),
    ];
    let files = (file(), file())
        .prop_map(|(certificate, key)| OwnCertificate::Files(ClientIdentity { certificate, key }));
    let own = prop_oneof![Just(OwnCertificate::Mesh), files];
    let tls = (roots(), verify, own, option::of(0.0f64..=1.0));
    let flags = (any::<bool>(), any::<bool>());
    (flags, tls, option::of(endpoint()), http(), ip()).prop_map(
        |((credentialed, warm), (roots, verify, own, min_remaining), peer, request, ip)| {
            let plain = HttpModule {
                version: HttpVersion::Auto,
                redirects: 0,
                decompress: false,
                keepalive: false,
                tls: TlsSettings::default(),
                ip,
                ..request
            };
            let unasked = HttpModule {
                method: http::Method::GET,
                headers: Vec::new(),
                body: None,
                body_regex: None,
                body_limit: 1 << 20,
                ..plain.clone()
            };
            let identity = credentialed.then_some(own);
            let tls = TlsSettings { roots, verify, identity, min_remaining, ..Default::default() };
            HboneModule {
                credentialed,
                tls,
                peer: peer.filter(|_| credentialed),
                request: if credentialed { plain } else { unasked },
                warm: warm && credentialed,
                ip,
            }
        },
    )
}

/// Files for what `mesh` has not.
fn fit(tls: &mut TlsSettings, mesh: Option<&MeshConfig>) {
    if mesh.is_none() && tls.verify != Verify::Nothing && tls.roots == Roots::Mesh {
        tls.roots = Roots::File("ca.pem".into());
    }
    if tls.identity == Some(OwnCertificate::Mesh) && !mesh.is_some_and(|mesh| mesh.certificate) {
        let files = ClientIdentity { certificate: "cert.pem".into(), key: "key.pem".into() };
        tls.identity = Some(OwnCertificate::Files(files));
    }
}

fn fit_hbone(mut module: HboneModule, mesh: Option<&MeshConfig>) -> HboneModule {
    fit(&mut module.tls, mesh);
    module
}

fn istiod() -> impl Strategy<Value = IstiodModule> {
    let workload = (option::of(any::<bool>()), option::of("[!-~]{1,12}"))
        .prop_map(|(hbone, node)| ExpectedWorkload { hbone, node });
    let csr = option::of((10_000u64..=86_400_000).prop_map(Duration::from_millis));
    let tls = (roots(), name(), tls());
    let words = (file(), "[!-~]{1,9}", "[a-z0-9._-]{1,9}");
    (tls, words, any::<bool>(), workload, csr, ip()).prop_map(
        |((roots, name, tls), (token, cluster_id, trust_domain), xds, workload, csr, ip)| {
            IstiodModule {
                tls: TlsSettings {
                    roots,
                    server_name: Some(name),
                    identity: None,
                    alpn: Vec::new(),
                    min_version: None,
                    max_version: None,
                    ..tls
                },
                token,
                cluster_id,
                trust_domain,
                pod: None,
                xds,
                workload,
                csr,
                ip,
            }
        },
    )
}

/// The pod is the mesh's, and without one neither xDS nor a certificate is asked for.
fn fit_istiod(mut module: IstiodModule, mesh: Option<&MeshConfig>) -> IstiodModule {
    fit(&mut module.tls, mesh);
    module.pod = mesh.and_then(|mesh| mesh.pod.clone());
    module.xds &= module.pod.is_some();
    module.csr = module.csr.filter(|_| module.pod.is_some());
    if !module.xds {
        module.workload = ExpectedWorkload::default();
    }
    module
}

fn capture() -> impl Strategy<Value = CaptureModule> {
    let hbone = option::of(address().prop_map(Into::into));
    let servers = (address().prop_map(Into::into), address().prop_map(Into::into));
    (select(vec![true, false]), servers, hbone).prop_map(
        |(enrolled, (dns_server, decoy), hbone)| CaptureModule {
            enrolled,
            dns_server,
            decoy,
            hbone,
        },
    )
}

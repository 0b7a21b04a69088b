//! What the flags of the mesh's probes ask for.

use crate::cli::World;
use crate::cli::flags::{CaptureFlags, HboneFlags, IstiodFlags, MeshFlags, MtuFlags, ZtunnelFlags};
use crate::cli::probe::{Misuse, Request, ip, request, trust};
use crate::config::MeshConfig;
use crate::expectation::Expectation;
use crate::spec::{
    CaptureModule, ClientIdentity, ExpectedWorkload, HboneModule, HttpModule, HttpVersion,
    IstiodModule, ModuleKind, MtuModule, OwnCertificate, PodIdentity, Roots, TlsSettings, Verify,
    ZtunnelModule,
};
use crate::target::Vantage;

pub(super) fn hbone(flags: HboneFlags, world: &World) -> Result<Request, Misuse> {
    let credentialed = !flags.uncredentialed;
    let files = flags.cert.zip(flags.key);
    let files =
        files.map(|(certificate, key)| OwnCertificate::Files(ClientIdentity { certificate, key }));
    let (pod, _) = pod(&flags.mesh, world)?;
    let ip = ip(&flags.ip);
    let module = HboneModule {
        credentialed,
        tls: TlsSettings {
            roots: Roots::File(flags.mesh.ca.clone()),
            verify: match flags.spiffe_id {
                Some(id) => Verify::Spiffe(id),
                None if flags.mesh.insecure => Verify::Nothing,
                None => Verify::Chain,
            },
            identity: credentialed.then(|| files.unwrap_or(OwnCertificate::Mesh)),
            min_remaining: flags.mesh.min_remaining,
            ..TlsSettings::default()
        },
        peer: flags.peer,
        request: HttpModule {
            method: flags.method,
            headers: flags.header,
            body: flags.data.map(String::into_bytes),
            version: HttpVersion::Auto,
            body_regex: flags.body_regex,
            body_limit: flags.body_limit,
            redirects: 0,
            decompress: false,
            keepalive: false,
            tls: TlsSettings::default(),
            ip,
        },
        warm: flags.warm,
        ip,
    };
    let mesh = MeshConfig {
        istiod: flags.istiod,
        server_name: flags.server_name,
        ca: flags.mesh.ca,
        token: flags.mesh.token,
        cluster_id: flags.mesh.cluster_id,
        trust_domain: flags.mesh.trust_domain,
        pod,
        certificate: credentialed,
    };
    let expect = flags.status.map_or(Expectation::Reply, Expectation::Status);
    let kind = ModuleKind::Hbone(Box::new(module));
    let request = request(flags.target, kind, expect, flags.common)?;
    Ok(Request { mesh: Some(mesh), ..request })
}

pub(super) fn istiod(flags: IstiodFlags, world: &World) -> Result<Request, Misuse> {
    let (pod, missing) = pod(&flags.mesh, world)?;
    let (xds, csr) = (!flags.no_xds, flags.csr.0);
    let note = (pod.is_none() && (xds || csr.is_some())).then(|| {
        format!(
            "the ladder ends at http2: for xds and csr istiod must be told which pod this is, give {}",
            missing.join(" ")
        )
    });
    let (xds, csr) = (xds && pod.is_some(), csr.filter(|_| pod.is_some()));
    let node = world.environment.get("MESHPROBE_NODE").filter(|node| !node.is_empty());
    let vantage = flags.common.vantage.map(|vantage| vantage == Vantage::Ambient);
    let expected = ExpectedWorkload {
        hbone: flags.workload_hbone.or(vantage),
        node: flags.workload_node.or_else(|| node.cloned()),
    };
    let module = IstiodModule {
        tls: TlsSettings {
            roots: Roots::File(flags.mesh.ca),
            server_name: Some(flags.server_name),
            verify: if flags.mesh.insecure { Verify::Nothing } else { Verify::Name },
            min_remaining: flags.mesh.min_remaining,
            ..TlsSettings::default()
        },
        token: flags.mesh.token,
        cluster_id: flags.mesh.cluster_id,
        trust_domain: flags.mesh.trust_domain,
        pod,
        xds,
        workload: if xds { expected } else { ExpectedWorkload::default() },
        csr,
        ip: ip(&flags.ip),
    };
    let kind = ModuleKind::Istiod(Box::new(module));
    let request = request(flags.target, kind, Expectation::Reply, flags.common)?;
    Ok(Request { note, ..request })
}

/// The pod that this is, or the flags that would say so. Half a pod is a mistake when flags name
/// that half.
fn pod(
    flags: &MeshFlags,
    world: &World,
) -> Result<(Option<PodIdentity>, Vec<&'static str>), Misuse> {
    let mut missing = Vec::new();
    let mut part = |stated: Option<String>, flag: &'static str, variable: &str| {
        let given = || world.environment.get(variable).filter(|text| !text.is_empty()).cloned();
        let part = stated.or_else(given);
        if part.is_none() {
            missing.push(flag);
        }
        part
    };
    let name = part(flags.pod_name.clone(), "--pod-name", "MESHPROBE_POD_NAME");
    let namespace = part(flags.pod_namespace.clone(), "--pod-namespace", "MESHPROBE_POD_NAMESPACE");
    let account = flags.pod_service_account.clone();
    let account = part(account, "--pod-service-account", "MESHPROBE_POD_SERVICE_ACCOUNT");
    let ip = flags.pod_ip.map(|ip| ip.to_string());
    let ip = part(ip, "--pod-ip", "MESHPROBE_POD_IP");
    let ip = ip.map(|text| {
        text.parse().map_err(|_| {
            Misuse(format!("MESHPROBE_POD_IP=`{text}` in the environment: must be an IP address"))
        })
    });
    let stated = flags.pod_name.is_some()
        || flags.pod_namespace.is_some()
        || flags.pod_service_account.is_some()
        || flags.pod_ip.is_some();
    if stated && !missing.is_empty() {
        return Err(Misuse(format!("half a pod is named: give {} as well", missing.join(" "))));
    }
    let identity = |ip| {
        let network = flags.pod_network.clone();
        Some(PodIdentity {
            name: name?,
            namespace: namespace?,
            service_account: account?,
            ip: ip?,
            network,
        })
    };
    Ok((identity(ip.transpose()?), missing))
}

pub(super) fn capture(flags: CaptureFlags) -> Result<Request, Misuse> {
    let vantage = flags.common.vantage.map(|vantage| vantage == Vantage::Ambient);
    let enrolled = flags.enrolled.or(vantage).ok_or_else(|| {
        Misuse(
            "whether this pod is enrolled is not stated: give --enrolled or --vantage".to_owned(),
        )
    })?;
    let module = CaptureModule {
        enrolled,
        dns_server: flags.dns_server,
        decoy: flags.decoy,
        hbone: flags.hbone.0,
    };
    request(flags.name, ModuleKind::Capture(module), Expectation::Reply, flags.common)
}

pub(super) fn mtu(flags: MtuFlags) -> Result<Request, Misuse> {
    let module = MtuModule {
        small: flags.small,
        large: flags.large,
        tls: trust(flags.trust),
        ip: ip(&flags.ip),
    };
    request(flags.target, ModuleKind::Mtu(module), Expectation::Reply, flags.common)
}

pub(super) fn ztunnel(flags: ZtunnelFlags) -> Result<Request, Misuse> {
    let module = ZtunnelModule {
        readiness_port: flags.readiness_port,
        metrics_port: flags.metrics_port.0,
        ip: ip(&flags.ip),
    };
    request(flags.host, ModuleKind::Ztunnel(module), Expectation::Reply, flags.common)
}

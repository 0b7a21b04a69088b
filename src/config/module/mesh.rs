//! The keys of the questions that know the mesh.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::decode::{Field, Fields};
use crate::config::mesh::{CLUSTER_ID, Given, ISTIOD_NAME, TOKEN, TRUST_DOMAIN, trust_domain};
use crate::config::module::{http, ip, tls};
use crate::config::quantity::print_size;
use crate::config::server::{is_label, set};
use crate::spec::{
    CaptureModule, ExpectedWorkload, HBONE_PORT, HboneModule, IstiodModule, MtuModule,
    OwnCertificate, Roots, TlsSettings, Verify, ZTUNNEL_METRICS_PORT, ZTUNNEL_READINESS_PORT,
    ZtunnelModule,
};
use crate::target::{Endpoint, Host, Vantage};

/// How often a certificate is asked for, at most.
const CSR: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
const DEFAULT_CSR: Duration = Duration::from_secs(300);

/// An address that no host ever has (RFC 5737).
const NOBODY: &str = "192.0.2.53";

const SMALL: RangeInclusive<u64> = 1..=1200;
const LARGE: RangeInclusive<u64> = 2048..=(1 << 20);

/// The word for what may be anything.
pub(in crate::config) const ANY: &str = "any";

/// The block `hbone`.
pub(super) fn hbone(fields: &mut Fields<'_>, given: &Given) -> HboneModule {
    let credentialed = fields.take("credentialed").and_then(|f| f.flag()).unwrap_or(true);
    let own = credentialed.then_some(OwnCertificate::Mesh);
    let default = TlsSettings {
        roots: Roots::Mesh,
        verify: Verify::Chain,
        identity: own,
        ..TlsSettings::default()
    };
    let tls = tls::mesh_block(fields, default, false);
    require_mesh(fields.parent(), &tls, given);
    let ip = ip(fields);
    let peer = fields.take("peer");
    let warm = fields.take("warm");
    if !credentialed {
        let fix = "leave it out; the address is the peer";
        peer.iter().for_each(|field| field.unvalued("names the peer a second time", fix));
        let fix = "leave it out, or write `credentialed: true`";
        let problem = "cannot be had without a certificate";
        warm.iter().for_each(|field| field.unvalued(problem, fix));
    }
    HboneModule {
        credentialed,
        tls,
        peer: peer.and_then(|field| endpoint(&field, HBONE_PORT, "an HBONE peer")),
        request: http::tunnelled(fields, credentialed, ip),
        warm: warm.and_then(|field| field.flag()).unwrap_or(false),
        ip,
    }
}

/// Tells what of `tls` is to come from a mesh of which nothing is said.
fn require_mesh(block: &Field<'_>, tls: &TlsSettings, given: &Given) {
    let roots = tls.roots == Roots::Mesh && tls.verify != Verify::Nothing;
    let certificate = tls.identity == Some(OwnCertificate::Mesh);
    match (roots, certificate) {
        (true, true) => given.require_mesh(
            block,
            "the mesh's roots and a certificate of it",
            "name files: `tls: {ca, cert, key}`",
        ),
        (true, false) => {
            given.require_mesh(block, "the mesh's roots", "name a file: `tls: {ca: FILE}`");
        }
        (false, true) => {
            let instead = "name files: `tls: {cert, key}`";
            given.require_mesh(block, "a certificate of the mesh", instead);
        }
        (false, false) => {}
    }
    if certificate && given.mesh.as_ref().is_some_and(|mesh| !mesh.certificate) {
        block.unvalued(
            "needs a certificate of the mesh, and mesh.certificate is false",
            "write `credentialed: false`, or name files: `tls: {cert, key}`",
        );
    }
}

/// The block `istiod`.
pub(super) fn istiod(fields: &mut Fields<'_>, given: &Given) -> IstiodModule {
    let mesh = given.mesh.as_ref();
    let name = mesh.map_or(ISTIOD_NAME, |mesh| &mesh.server_name);
    let default = TlsSettings {
        roots: Roots::Mesh,
        server_name: Some(name.to_owned()),
        ..TlsSettings::default()
    };
    let tls = tls::mesh_block(fields, default, true);
    require_mesh(fields.parent(), &tls, given);
    let mut module = IstiodModule {
        tls,
        token: mesh.map_or_else(|| TOKEN.into(), |mesh| mesh.token.clone()),
        cluster_id: mesh.map_or_else(|| CLUSTER_ID.to_owned(), |mesh| mesh.cluster_id.clone()),
        trust_domain: mesh
            .map_or_else(|| TRUST_DOMAIN.to_owned(), |mesh| mesh.trust_domain.clone()),
        pod: mesh.and_then(|mesh| mesh.pod.clone()),
        xds: false,
        workload: ExpectedWorkload::default(),
        csr: None,
        ip: ip(fields),
    };
    set(&mut module.token, fields.take("token").and_then(|field| field.file()));
    let cluster = fields.take("cluster_id").and_then(|field| {
        let text = field.text()?;
        if !is_label(text) {
            field.wrong("is not a cluster's ID", "write 1 to 253 visible ASCII characters");
        }
        is_label(text).then(|| text.to_owned())
    });
    set(&mut module.cluster_id, cluster);
    set(&mut module.trust_domain, fields.take("trust_domain").and_then(|f| trust_domain(&f)));
    // Who does not know which pod this is cannot ask; only who insists is told so.
    let able = module.pod.is_some();
    let xds = fields.take("xds");
    module.xds = xds.as_ref().and_then(|field| field.flag()).unwrap_or(able);
    let rates = fields.take("csr");
    module.csr = match &rates {
        Some(field) => or_off(field, |field| field.duration(CSR)).unwrap_or(None),
        None => able.then_some(DEFAULT_CSR),
    };
    let workload = fields.take("workload");
    if let (Some(field), Some(_), false) = (&workload, &xds, module.xds) {
        field.unvalued("is only told by xds", "leave it out, or write `xds: true`");
    }
    if !able {
        let untold = workload.as_ref().filter(|_| xds.is_none());
        let asked = [xds.as_ref().filter(|_| module.xds), untold];
        let signed = rates.as_ref().filter(|_| module.csr.is_some());
        asked.into_iter().flatten().chain(signed).for_each(|field| given.require_pod(field));
    }
    if module.xds || workload.is_some() {
        module.workload = expected(workload.as_ref(), given);
    }
    module
}

fn expected(field: Option<&Field<'_>>, given: &Given) -> ExpectedWorkload {
    let mut expected = ExpectedWorkload {
        hbone: given.vantage.map(|vantage| vantage == Vantage::Ambient),
        node: given.node.clone(),
    };
    let Some(mut fields) = field.map(Field::fields) else {
        return expected;
    };
    if let Some(field) = fields.take("hbone") {
        let words = [("true", Some(true)), ("false", Some(false)), (ANY, None)];
        set(&mut expected.hbone, field.word(&words));
    }
    if let Some(field) = fields.take("node") {
        let text = field.filled().map(|text| (text != ANY).then(|| text.to_owned()));
        set(&mut expected.node, text);
    }
    fields.finish();
    expected
}

/// `off`, or what `read` makes of the field; nothing when that is wrong.
fn or_off<T>(field: &Field<'_>, read: impl FnOnce(&Field<'_>) -> Option<T>) -> Option<Option<T>> {
    if field.is_word("off") { Some(None) } else { read(field).map(Some) }
}

/// The block `capture`.
pub(super) fn capture(fields: &mut Fields<'_>, given: &Given) -> CaptureModule {
    let from_vantage = given.vantage.map(|vantage| vantage == Vantage::Ambient);
    let enrolled = match from_vantage {
        None if given.sound => {
            let fix = "write true in an ambient pod and false in any other, or state `vantage`";
            fields.require("enrolled", fix)
        }
        Some(_) | None => fields.take("enrolled"),
    };
    let enrolled = enrolled.and_then(|field| field.flag()).or(from_vantage);
    let hbone = fields.take("hbone");
    let local = Endpoint { host: Host::Ip([127, 0, 0, 1].into()), port: HBONE_PORT };
    let nobody = |port| Endpoint { host: NOBODY.parse().expect("an address"), port };
    let mut module = CaptureModule {
        enrolled: enrolled.unwrap_or(false),
        dns_server: nobody(53),
        decoy: nobody(80),
        hbone: Some(local),
    };
    let server = fields.take("dns_server");
    set(&mut module.dns_server, server.and_then(|field| literal(&field, 53)));
    let decoy = fields.take("decoy");
    set(&mut module.decoy, decoy.and_then(|field| literal(&field, 80)));
    let hbone = hbone.and_then(|field| or_off(&field, |field| literal(field, HBONE_PORT)));
    set(&mut module.hbone, hbone);
    module
}

/// The block `mtu`.
pub(super) fn mtu(fields: &mut Fields<'_>) -> MtuModule {
    let mut module =
        MtuModule { small: 512, large: 16 << 10, tls: tls::block(fields), ip: ip(fields) };
    set(&mut module.small, fields.take("small").and_then(|field| sized(&field, SMALL)));
    set(&mut module.large, fields.take("large").and_then(|field| sized(&field, LARGE)));
    module
}

/// The block `ztunnel`.
pub(super) fn ztunnel(fields: &mut Fields<'_>) -> ZtunnelModule {
    let mut module = ZtunnelModule {
        readiness_port: ZTUNNEL_READINESS_PORT,
        metrics_port: Some(ZTUNNEL_METRICS_PORT),
        ip: ip(fields),
    };
    let readiness = fields.take("readiness_port");
    set(&mut module.readiness_port, readiness.and_then(|field| field.whole(1..=65_535)));
    let metrics = fields.take("metrics_port");
    let metrics = metrics.and_then(|field| or_off(&field, |field| field.whole(1..=65_535)));
    set(&mut module.metrics_port, metrics);
    module
}

fn endpoint(field: &Field<'_>, port: u16, what: &str) -> Option<Endpoint> {
    let text = field.text()?;
    field.accept(Endpoint::with_default_port(text, port), what)
}

/// An address: a name would have to be resolved first, which is in question here.
fn literal(field: &Field<'_>, port: u16) -> Option<Endpoint> {
    let endpoint = endpoint(field, port, "an address")?;
    match endpoint.host {
        Host::Ip(_) => Some(endpoint),
        Host::Name(_) => {
            field.wrong("is not an address", "write an IP address, with or without a port");
            None
        }
    }
}

fn sized(field: &Field<'_>, range: RangeInclusive<u64>) -> Option<u32> {
    let size = field.size(*range.end())?;
    if size < *range.start() {
        field.wrong("is out of range", format!("write at least {}", print_size(*range.start())));
        return None;
    }
    u32::try_from(size).ok()
}

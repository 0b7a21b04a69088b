//! The block `mesh` and the questions that know the mesh.

use super::{Map, Yaml, duration, ip, request, size, tls};
use crate::config::MeshConfig;
use crate::config::module::ANY;
use crate::spec::{
    CaptureModule, ExpectedWorkload, HboneModule, IstiodModule, MtuModule, PodIdentity,
    ZtunnelModule,
};

pub(super) fn mesh(mesh: &MeshConfig) -> Yaml {
    let mut map = Map::default();
    map.add("istiod", Yaml::text(mesh.istiod.to_string()));
    map.add("server_name", Yaml::text(&mesh.server_name));
    map.add("ca", Yaml::text(mesh.ca.to_string_lossy()));
    map.add("token", Yaml::text(mesh.token.to_string_lossy()));
    map.add("cluster_id", Yaml::text(&mesh.cluster_id));
    map.add("trust_domain", Yaml::text(&mesh.trust_domain));
    map.add("certificate", Yaml::value(mesh.certificate));
    map.maybe("pod", mesh.pod.as_ref().map(pod));
    map.done()
}

fn pod(pod: &PodIdentity) -> Yaml {
    let mut map = Map::default();
    map.add("name", Yaml::text(&pod.name));
    map.add("namespace", Yaml::text(&pod.namespace));
    map.add("service_account", Yaml::text(&pod.service_account));
    map.add("ip", Yaml::text(pod.ip.to_string()));
    map.add("network", Yaml::text(&pod.network));
    map.done()
}

pub(super) fn hbone(module: &HboneModule) -> Yaml {
    let mut map = Map::default();
    map.add("credentialed", Yaml::value(module.credentialed));
    map.maybe("peer", module.peer.as_ref().map(|peer| Yaml::text(peer.to_string())));
    if module.credentialed {
        request(&mut map, &module.request);
        map.add("warm", Yaml::value(module.warm));
    }
    map.add("tls", tls(&module.tls).done());
    map.add("ip", ip(module.ip));
    map.done()
}

/// Without the pod, which is the block `mesh`'s.
pub(super) fn istiod(module: &IstiodModule) -> Yaml {
    let mut map = Map::default();
    map.add("token", Yaml::text(module.token.to_string_lossy()));
    map.add("cluster_id", Yaml::text(&module.cluster_id));
    map.add("trust_domain", Yaml::text(&module.trust_domain));
    map.add("xds", Yaml::value(module.xds));
    if module.xds {
        map.add("workload", workload(&module.workload));
    }
    map.add("csr", module.csr.map_or_else(|| Yaml::text("off"), duration));
    map.add("tls", tls(&module.tls).done());
    map.add("ip", ip(module.ip));
    map.done()
}

fn workload(expected: &ExpectedWorkload) -> Yaml {
    let mut map = Map::default();
    map.add("hbone", expected.hbone.map_or_else(|| Yaml::text(ANY), Yaml::value));
    map.add("node", Yaml::text(expected.node.as_deref().unwrap_or(ANY)));
    map.done()
}

pub(super) fn capture(module: &CaptureModule) -> Yaml {
    let mut map = Map::default();
    map.add("enrolled", Yaml::value(module.enrolled));
    map.add("dns_server", Yaml::text(module.dns_server.to_string()));
    map.add("decoy", Yaml::text(module.decoy.to_string()));
    let hbone = module.hbone.as_ref().map(ToString::to_string);
    map.add("hbone", Yaml::text(hbone.as_deref().unwrap_or("off")));
    map.done()
}

pub(super) fn mtu(module: &MtuModule) -> Yaml {
    let mut map = Map::default();
    map.add("small", size(module.small.into()));
    map.add("large", size(module.large.into()));
    map.add("tls", tls(&module.tls).done());
    map.add("ip", ip(module.ip));
    map.done()
}

pub(super) fn ztunnel(module: &ZtunnelModule) -> Yaml {
    let mut map = Map::default();
    map.add("readiness_port", Yaml::value(module.readiness_port));
    let metrics = module.metrics_port.map_or_else(|| Yaml::text("off"), Yaml::value);
    map.add("metrics_port", metrics);
    map.add("ip", ip(module.ip));
    map.done()
}

//! The world as discovery tells it: workloads, Services, policies as named resources.

use std::net::IpAddr;

use prost::Message;

use super::condition::{IstiodCondition, Stale};
use crate::istiod::messages::{
    ADDRESS_TYPE, AUTHORIZATION_TYPE, Address, AddressKind, Any, Authorization, NetworkAddress,
    Port, Resource, Service, TunnelProtocol, Workload,
};
use crate::lab::world::{self, Pod, TRUST_DOMAIN, World};

/// The cluster's name.
const CLUSTER: &str = "Kubernetes";
/// What istiod calls the policy of a STRICT mode that concerns every port.
const STRICT: &str = "istio_converted_static_strict";
/// The namespace of [`STRICT`].
const ROOT_NAMESPACE: &str = "istio-system";
/// How istiod begins the names of policies that it makes of a PeerAuthentication.
const CONVERTED: &str = "converted_peer_authentication_";

/// Every workload and Service.
pub(super) fn addresses(world: &World, condition: &IstiodCondition) -> Vec<Resource> {
    let pods = world.pods.iter();
    let workloads = pods.filter_map(|pod| workload(pod, condition.stale.get(&pod.ip)));
    workloads.chain(world.services.iter().map(service)).collect()
}

/// Every policy that a workload names.
pub(super) fn authorizations(world: &World) -> Vec<Resource> {
    let mut names: Vec<String> = world.pods.iter().flat_map(policies).collect();
    names.sort_unstable();
    names.dedup();
    let resources = names.into_iter().filter_map(|full| {
        let (namespace, name) = full.split_once('/')?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let policy = Authorization { name, namespace };
        Some(resource(full, Vec::new(), AUTHORIZATION_TYPE, &policy))
    });
    resources.collect()
}

/// Names of the policies that deny plaintext to `pod`.
fn policies(pod: &Pod) -> Vec<String> {
    let strict = pod.ports.iter().filter(|port| port.strict).count();
    match strict {
        _ if !pod.ambient => Vec::new(),
        0 => Vec::new(),
        all if all == pod.ports.len() => vec![format!("{ROOT_NAMESPACE}/{STRICT}")],
        _ => vec![format!("{}/{CONVERTED}{}", pod.namespace, pod.name)],
    }
}

fn workload(pod: &Pod, stale: Option<&Stale>) -> Option<Resource> {
    let mut told = pod.clone();
    match stale {
        None => {}
        Some(Stale::Unknown) => return None,
        Some(Stale::Plain) => told.ambient = false,
        Some(Stale::OnNode(node)) => told.node.clone_from(node),
        Some(Stale::Former { name, service_account }) => {
            told.name.clone_from(name);
            told.service_account.clone_from(service_account);
        }
    }
    let tunnel = if told.ambient { TunnelProtocol::Hbone } else { TunnelProtocol::None };
    let uid = format!("{CLUSTER}//Pod/{}/{}", told.namespace, told.name);
    let workload = Workload {
        uid: uid.clone(),
        authorization_policies: policies(&told),
        name: told.name,
        namespace: told.namespace,
        addresses: vec![octets(told.ip)],
        network: String::new(),
        tunnel_protocol: tunnel.into(),
        trust_domain: TRUST_DOMAIN.to_owned(),
        service_account: told.service_account,
        node: told.node,
        cluster_id: CLUSTER.to_owned(),
    };
    let address = Address { kind: Some(AddressKind::Workload(workload)) };
    Some(resource(uid, vec![format!("/{}", pod.ip)], ADDRESS_TYPE, &address))
}

fn service(service: &world::Service) -> Resource {
    let port = |(service_port, target_port): &(u16, u16)| Port {
        service_port: (*service_port).into(),
        target_port: (*target_port).into(),
    };
    let address = NetworkAddress { network: String::new(), address: octets(service.ip) };
    let told = Service {
        name: service.name.clone(),
        namespace: service.namespace.clone(),
        hostname: service.hostname(),
        addresses: vec![address],
        ports: service.ports.iter().map(port).collect(),
    };
    let name = format!("{}/{}", service.namespace, service.hostname());
    let address = Address { kind: Some(AddressKind::Service(told)) };
    resource(name, vec![format!("/{}", service.ip)], ADDRESS_TYPE, &address)
}

fn resource(name: String, aliases: Vec<String>, type_url: &str, what: &impl Message) -> Resource {
    let any = Any { type_url: type_url.to_owned(), value: what.encode_to_vec() };
    Resource { version: String::new(), resource: Some(any), name, aliases }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

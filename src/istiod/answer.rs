//! What istiod's answer to a subscription says of one pod.

use std::net::IpAddr;

use prost::Message;

use crate::failure::{Fault, Reason};
use crate::istiod::messages::{
    ADDRESS_TYPE, Address, AddressKind, DeltaDiscoveryResponse, TunnelProtocol, Workload,
};
use crate::outcome::{WorkloadFacts, XdsFacts};
use crate::spec::PodIdentity;

/// Policies beyond this are not kept.
const MAX_POLICIES: usize = 64;
/// Characters of a name beyond this are not kept: names of Kubernetes have at most 253.
const MAX_NAME: usize = 512;

/// The resource name of the address of `pod`: `<network>/<ip>`.
pub fn address_name(pod: &PodIdentity) -> String {
    format!("{}/{}", pod.network, pod.ip)
}

/// What `answer` says of the workload at the address of `pod`.
///
/// Of several the one with the pod's own name is taken. `http_malformed` when a resource is no
/// address at all.
pub fn describe(answer: &DeltaDiscoveryResponse, pod: &PodIdentity) -> Result<XdsFacts, Fault> {
    let mut found: Option<Workload> = None;
    for resource in &answer.resources {
        let Some(any) = resource.resource.as_ref().filter(|any| any.type_url == ADDRESS_TYPE)
        else {
            continue;
        };
        let address = Address::decode(any.value.as_slice()).map_err(|error| {
            let detail = format!("a resource of the answer is no Address: {error}");
            Fault::new(Reason::HttpMalformed, detail)
        })?;
        let Some(AddressKind::Workload(workload)) = address.kind else { continue };
        let here = workload.addresses.iter().any(|bytes| is_address(bytes, pod.ip));
        if here && (found.is_none() || is_pod(&workload, pod)) {
            found = Some(workload);
        }
    }
    Ok(XdsFacts {
        resources: u32::try_from(answer.resources.len()).unwrap_or(u32::MAX),
        workload: found.as_ref().map(facts),
    })
}

fn is_pod(workload: &Workload, pod: &PodIdentity) -> bool {
    workload.name == pod.name && workload.namespace == pod.namespace
}

fn is_address(bytes: &[u8], ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => bytes == ip.octets(),
        IpAddr::V6(ip) => bytes == ip.octets(),
    }
}

fn facts(workload: &Workload) -> WorkloadFacts {
    // What the wire leaves out is the default (workload.proto).
    let service_account = match workload.service_account.as_str() {
        "" => "default".to_owned(),
        stated => printable(stated),
    };
    let policies = workload.authorization_policies.iter().take(MAX_POLICIES);
    WorkloadFacts {
        name: printable(&workload.name),
        namespace: printable(&workload.namespace),
        service_account,
        node: printable(&workload.node),
        tunnel_protocol: match TunnelProtocol::try_from(workload.tunnel_protocol) {
            Ok(TunnelProtocol::None) => "NONE".to_owned(),
            Ok(TunnelProtocol::Hbone) => "HBONE".to_owned(),
            Ok(TunnelProtocol::LegacyIstioMtls) => "LEGACY_ISTIO_MTLS".to_owned(),
            Err(_) => workload.tunnel_protocol.to_string(),
        },
        authorization_policies: policies.map(|name| printable(name)).collect(),
    }
}

/// `text` without control characters, cut to a bounded length.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(MAX_NAME).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istiod::messages::{Any, Resource};

    fn pod() -> PodIdentity {
        PodIdentity {
            name: "agent-a".to_owned(),
            namespace: "monitoring".to_owned(),
            service_account: "meshprobe".to_owned(),
            ip: "10.0.0.7".parse().expect("an address"),
            network: String::new(),
        }
    }

    fn answer(workloads: &[Workload]) -> DeltaDiscoveryResponse {
        let resource = |workload: &Workload| {
            let address = Address { kind: Some(AddressKind::Workload(workload.clone())) };
            let value = address.encode_to_vec();
            let any = Any { type_url: ADDRESS_TYPE.to_owned(), value };
            Resource { resource: Some(any), ..Resource::default() }
        };
        let resources = workloads.iter().map(resource).collect();
        DeltaDiscoveryResponse { resources, ..DeltaDiscoveryResponse::default() }
    }

    fn named(name: &str, ip: [u8; 4]) -> Workload {
        Workload {
            name: name.to_owned(),
            namespace: "monitoring".to_owned(),
            addresses: vec![ip.to_vec()],
            tunnel_protocol: 1,
            ..Workload::default()
        }
    }

    #[test]
    fn the_workload_at_the_own_address_is_found_among_others() {
        let here = [10, 0, 0, 7];
        let all = [named("x", [10, 0, 0, 8]), named("y", here), named("agent-a", here)];
        let facts = describe(&answer(&all), &pod()).expect("addresses");
        let workload = facts.workload.expect("found");
        assert_eq!((workload.name.as_str(), facts.resources), ("agent-a", 3));
        assert_eq!(workload.tunnel_protocol, "HBONE");
        assert_eq!(workload.service_account, "default");
        let others = describe(&answer(&all[..1]), &pod()).expect("addresses");
        assert_eq!(others.workload, None);
    }

    #[test]
    fn garbage_in_a_resource_is_told() {
        let mut answer = answer(&[named("agent-a", [10, 0, 0, 7])]);
        let any = answer.resources[0].resource.as_mut().expect("made so");
        any.value = vec![0xff; 40];
        assert_eq!(describe(&answer, &pod()).expect_err("garbage").reason, Reason::HttpMalformed);
    }

    #[test]
    fn what_istiod_says_is_bounded_and_printable() {
        let mut long = named("agent-a", [10, 0, 0, 7]);
        long.node = "\u{1b}[31m".repeat(10_000);
        long.authorization_policies = vec!["a/b".to_owned(); 10_000];
        let facts = describe(&answer(&[long]), &pod()).expect("an address");
        let workload = facts.workload.expect("found");
        assert!(!workload.node.contains(char::is_control));
        assert_eq!(workload.node.chars().count(), MAX_NAME);
        assert_eq!(workload.authorization_policies.len(), MAX_POLICIES);
    }

    #[test]
    fn an_address_is_named_by_network_and_ip() {
        assert_eq!(address_name(&pod()), "/10.0.0.7");
        let networked = PodIdentity { network: "east".to_owned(), ..pod() };
        assert_eq!(address_name(&networked), "east/10.0.0.7");
    }
}

//! From a controller's configuration to what discovery and planning take. Pure.

use anyhow::Context;

use crate::config::{ControllerConfig, ISTIOD_PORT, ServiceChoice, WhichServices};
use crate::discovery::{self, Choice, Name, PortRef, Selection};
use crate::fleet::{self, Budgets};
use crate::target::Endpoint;

/// What is watched.
pub(super) fn discovery(config: &ControllerConfig) -> discovery::Settings {
    let selection = |(index, choice): (usize, &ServiceChoice)| Selection {
        origin: format!("services[{index}]"),
        choice: which(choice),
        ports: choice.ports.iter().map(|port| reference(port)).collect(),
        path: choice.path.clone(),
    };
    discovery::Settings {
        ambient_namespace: config.ambient_namespace.clone(),
        plain_namespace: config.plain_namespace.clone(),
        services: config.services.iter().enumerate().map(selection).collect(),
        pods_of: config.gate.namespaces.clone(),
        istio_namespace: config.istio.namespace.clone(),
        istiod: Name::new(&config.istio.namespace, &config.istio.service),
        coredns: Name::new(&config.coredns.namespace, &config.coredns.name),
        ..discovery::Settings::default()
    }
}

fn which(choice: &ServiceChoice) -> Choice {
    let namespace = choice.namespace.clone();
    match (&choice.which, namespace) {
        (WhichServices::Named(name), namespace) => {
            Choice::Service(Name::new(&namespace.unwrap_or_default(), name))
        }
        (WhichServices::Labelled(labels), namespace) => {
            Choice::Labels { namespace, labels: labels.clone() }
        }
        (WhichServices::All, namespace) => Choice::Namespace(namespace.unwrap_or_default()),
    }
}

fn reference(port: &str) -> PortRef {
    match port.parse() {
        Ok(number) => PortRef::Number(number),
        Err(_) => PortRef::Name(port.to_owned()),
    }
}

/// What plans are made by.
pub(super) fn fleet(config: &ControllerConfig) -> anyhow::Result<fleet::Settings> {
    let istio = &config.istio;
    let host = format!("{}.{}.svc.{}", istio.service, istio.namespace, config.cluster_domain);
    let istiod = host.parse().with_context(|| format!("{host} is no name to dial istiod by"))?;
    Ok(fleet::Settings {
        full_mesh_up_to: config.topology.full_mesh_up_to as usize,
        peers: config.topology.peers as usize,
        endpoints_per_service: config.topology.endpoints_per_service as usize,
        interval: config.probes.interval,
        timeout: config.probes.timeout,
        grace: config.probes.grace,
        trust_domain: istio.trust_domain.clone(),
        root_namespace: istio.root_namespace.clone(),
        cluster_domain: config.cluster_domain.clone(),
        istiod: Endpoint { host: istiod, port: ISTIOD_PORT },
        budgets: Budgets {
            csr_per_second: config.budgets.csr_per_second,
            xds_per_second: config.budgets.xds_per_second,
            dns_per_second: config.budgets.dns_per_second,
            requests_per_second: config.budgets.requests_per_second,
        },
    })
}

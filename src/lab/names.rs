//! DNS of the lab: CoreDNS replicas, their Service address, and each ambient pod's captured view.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::sync::Mutex;

use crate::lab::address::Addresses;
use crate::lab::cell::Node;
use crate::lab::dns::{
    Captured, CapturedCondition, CapturedSetup, Replica, ReplicaCondition, ServiceAddress, Zone,
};
use crate::lab::fault::{Fault, Kind, REPLICAS, Victim};
use crate::lab::mesh::Built;

/// Where DNS is spoken: 53 is not for everybody to listen on.
const PORT: u16 = 10053;

/// Every DNS server of a lab.
pub(super) struct Names {
    replicas: Vec<Replica>,
    service: ServiceAddress,
    /// What CoreDNS answers to a pod whose addresses are aliases, by node.
    upstreams: Mutex<Vec<Replica>>,
    /// By node.
    captured: Mutex<Vec<View>>,
    frontend: String,
    next: Vec<[Ipv4Addr; 3]>,
}

/// One ambient pod's captured view.
struct View {
    captured: Captured,
    /// An address that `default/mirai-frontend` never had.
    wrong: IpAddr,
}

impl Names {
    /// Starts replicas and their Service address; [`Self::capture`] adds each pod's view.
    pub(super) async fn start(addresses: &Addresses, built: &Built) -> anyhow::Result<Self> {
        let ways = built.nodes().zip(&built.istiods);
        let zone = ways.fold(Zone::of(&built.world), |zone, (node, ip)| {
            zone.with(&istiod_name(node), &[IpAddr::V4(*ip)])
        });
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            let address = SocketAddr::from((addresses.next(), PORT));
            replicas.push(Replica::start(address, zone.clone()).await.context("CoreDNS")?);
        }
        let service = SocketAddr::from((addresses.next(), PORT));
        let all = replicas.iter().map(Replica::address).collect();
        let three = || std::array::from_fn(|_| addresses.next());
        Ok(Self {
            service: ServiceAddress::start(service, all).await.context("CoreDNS's Service")?,
            replicas,
            upstreams: Mutex::default(),
            captured: Mutex::default(),
            frontend: built.frontend_name.clone(),
            next: built.nodes().map(|_| three()).collect(),
        })
    }

    /// What resolv.conf would name in a plain pod.
    pub(super) fn service(&self) -> SocketAddr {
        self.service.address()
    }

    /// Each replica.
    pub(super) fn replicas(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(Replica::address).collect()
    }

    /// Starts the view of the ambient pod of `node`, the node at `index`, to be called in their
    /// order: where its resolver is, and where nobody is.
    pub(super) async fn capture(
        &self,
        (index, node): (usize, Node),
        frontend: IpAddr,
        istiod: IpAddr,
    ) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let [resolver, nobody, upstream] = self.next[index].map(|ip| SocketAddr::from((ip, PORT)));
        let origin = hickory_proto::rr::Name::from_ascii("cluster.local.")?;
        let services = BTreeMap::from([
            (self.frontend.clone(), vec![frontend]),
            (istiod_name(node), vec![istiod]),
        ]);
        let zone =
            services.iter().fold(Zone::new(origin), |zone, (name, ips)| zone.with(name, ips));
        self.upstreams.lock().await.push(Replica::start(upstream, zone).await?);
        let setup = CapturedSetup { resolver, decoys: vec![nobody], services, upstream };
        let captured = Captured::start(setup).await.context("a captured view")?;
        self.captured.lock().await.push(View { captured, wrong: upstream.ip() });
        Ok((resolver, nobody))
    }

    /// Breaks exactly what `faults` say.
    pub(super) async fn break_with(&self, faults: &[Fault]) -> anyhow::Result<()> {
        for (number, replica) in (1..).zip(&self.replicas) {
            replica.set(replica_condition(faults, number)).await?;
        }
        for (number, view) in (1..).zip(self.captured.lock().await.iter()) {
            let condition = self.captured_condition(faults, Node(number), view);
            view.captured.set(condition).await?;
        }
        Ok(())
    }

    fn captured_condition(&self, faults: &[Fault], node: Node, view: &View) -> CapturedCondition {
        let here = faults.iter().filter(|fault| fault.victim == Victim::Node(node));
        let mut condition = CapturedCondition::Serves;
        for fault in here {
            condition = match fault.kind {
                Kind::ZtunnelDead | Kind::ListenersMissing => CapturedCondition::Down,
                Kind::ZtunnelFrozen | Kind::ZtunnelMute => CapturedCondition::Silent,
                Kind::CaptureLost => CapturedCondition::Lost,
                Kind::DnsDiffers => {
                    let other = (self.frontend.clone(), vec![view.wrong]);
                    CapturedCondition::Differs(BTreeMap::from([other]))
                }
                _ => condition,
            };
        }
        condition
    }
}

/// The name of istiod on `node`. Loopback has no kube-proxy that would lead one address to where
/// each node finds istiod, so each has an address, and a name, of its own.
pub(super) fn istiod_name(node: Node) -> String {
    format!("istiod-{node}.istio-system.svc.cluster.local")
}

fn replica_condition(faults: &[Fault], number: u16) -> ReplicaCondition {
    let mut condition = ReplicaCondition::Serves;
    for fault in faults.iter().filter(|fault| fault.victim == Victim::Replica(number)) {
        condition = match fault.kind {
            Kind::CorednsDown => ReplicaCondition::Down,
            Kind::CorednsSilent => ReplicaCondition::Silent,
            Kind::CorednsServfail => ReplicaCondition::Servfail,
            _ => condition,
        };
    }
    condition
}

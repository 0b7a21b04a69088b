//! The side with the lab's stand-in in each ambient pod.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use meshprobe::lab::dns::{Captured, CapturedSetup};
use meshprobe::lab::ztunnel::{Condition, Timing, Ztunnel};

use super::mesh::{Base, Mesh};
use super::network::{ISTIOD, PODS, SWITCH};

/// Of a ztunnel without pods: the ones in pods serve no pages, as they share those of their node.
const PAGES: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

pub(crate) struct StandIn {
    base: Base,
    _pages: Ztunnel,
    ztunnels: BTreeMap<&'static str, (Ztunnel, Captured)>,
}

impl StandIn {
    pub(crate) fn up() -> Self {
        let base = Base::up("standin");
        let mut ztunnels = BTreeMap::new();
        for pod in PODS.iter().filter(|pod| pod.ambient) {
            let (world, authority) = (Arc::clone(&base.world), Arc::clone(&base.authority));
            let services = world
                .services
                .iter()
                .map(|service| (service.hostname(), vec![service.ip]))
                .collect();
            let ip = pod.ip.into();
            let started = base.network.settle(pod.name, async move || {
                let ztunnel = Ztunnel::start_in_pod(ip, world, authority, Timing::default()).await;
                let dns = Captured::start(CapturedSetup {
                    resolver: SocketAddr::from((Ipv4Addr::LOCALHOST, 15053)),
                    decoys: Vec::new(),
                    services,
                    upstream: SocketAddr::from((ISTIOD, 53)),
                });
                (ztunnel.expect("a pod of its own"), dns.await.expect("a pod of its own"))
            });
            ztunnels.insert(pod.name, started);
        }
        let (world, authority) = (Arc::clone(&base.world), Arc::clone(&base.authority));
        let pages = base.network.settle(SWITCH, async move || {
            let timing = Timing::default();
            let started = Ztunnel::start("node-switch", PAGES.into(), world, authority, timing);
            started.await.expect("an own address")
        });
        Self { base, _pages: pages, ztunnels }
    }

    fn set(&self, pod: &str, condition: Condition) {
        let (ztunnel, _) = &self.ztunnels[pod];
        ztunnel.set(condition);
        self.base.runtime.block_on(ztunnel.settled());
    }
}

impl Mesh for StandIn {
    fn base(&self) -> &Base {
        &self.base
    }

    fn pages(&self) -> Ipv4Addr {
        PAGES
    }

    fn kill(&mut self, pod: &str) {
        self.set(pod, Condition { dead: true, ..Condition::default() });
    }

    fn start(&mut self, pod: &str) {
        self.kill(pod);
        self.set(pod, Condition::default());
    }

    fn freeze(&mut self, pod: &str) {
        self.set(pod, Condition { frozen: true, ..Condition::default() });
    }

    fn thaw(&mut self, pod: &str) {
        self.set(pod, Condition::default());
    }

    fn start_unknown(&mut self, pod: &str) {
        self.kill(pod);
        self.set(pod, Condition { unknown_workloads: true, ..Condition::default() });
    }

    fn start_without_certificate(&mut self, pod: &str) {
        self.kill(pod);
        self.set(pod, Condition { no_certificate: true, ..Condition::default() });
    }

    fn heal_ca(&mut self) {}
}

//! What every agent asks of CoreDNS, istiod, its node's ztunnel, and its own capture.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::{Agent, Cluster, ControlPlane};
use crate::fleet::Settings;
use crate::fleet::answer::{certificate, spiffe_id, target};
use crate::fleet::budget::Share;
use crate::fleet::document::{Csr, Defaults, Question, Target};
use crate::fleet::name::target_name;
use crate::target::{Host, Vantage, Via};
use crate::topology::score;

/// The most replicas of CoreDNS, and of istiod, that one agent asks; in larger deployments each
/// asks those that rendezvous with its node.
const MOST_REPLICAS: usize = 16;
/// istiod's own clients ping it no faster.
const LADDERS: Duration = Duration::from_secs(15);
/// What a ladder to istiod needs at least.
const LADDER: Duration = Duration::from_secs(5);
/// How often certificates are asked for, at most; and the least that an agent's file may say.
const CSR: Duration = Duration::from_secs(300);
/// What an answer of DNS may take at most.
const DNS: Duration = Duration::from_secs(1);
/// How often an agent looks at its own capture, at most.
const CAPTURE: Duration = Duration::from_secs(30);
/// How often it looks at its own certificate and its node's ztunnel, at most.
const OWN: Duration = Duration::from_secs(15);
/// Packets that resolve istiod's name: both families, at worst.
const RESOLVING: usize = 2;

/// How often the control plane is asked.
#[derive(Debug)]
pub(super) struct Rates {
    pub(super) csr: Share,
    /// Ladders open xDS streams and resolve istiod's name: both budgets hold.
    pub(super) ladders: [Share; 2],
    pub(super) dns: Share,
}

impl Rates {
    /// For so many agents in the mesh, and outside.
    pub(super) fn new(
        settings: &Settings,
        cluster: &Cluster,
        [ambient, plain]: [usize; 2],
    ) -> Self {
        let budgets = settings.budgets;
        let (all, base) = (ambient + plain, LADDERS.max(settings.interval));
        let service = usize::from(cluster.istiod.service.is_some());
        let replicas = cluster.istiod.replicas.len().min(MOST_REPLICAS);
        let xds = [(ambient, service), (plain, service + replicas)];
        let named = matches!(settings.istiod.host, Host::Name(_));
        let resolving = usize::from(named && service > 0) * RESOLVING;
        // Names take at most half of what CoreDNS may be asked.
        let names = Share::of(&[(all, resolving)], budgets.dns_per_second / 2.0, base);
        let ladders = [Share::of(&xds, budgets.xds_per_second, base), names];
        let slowest = ladders.iter().filter_map(|share| share.interval(0)).max();
        let reserved = slowest.map_or(0.0, |every| (all * resolving) as f64 / every.as_secs_f64());
        let service = usize::from(cluster.coredns.service.is_some());
        let replica = usize::from(!cluster.coredns.replicas.is_empty());
        // All that goes to the Service may meet one replica.
        let queries = [(ambient, service), (plain, 2 * (service + replica))];
        let left = (budgets.dns_per_second - reserved).max(budgets.dns_per_second / 2.0);
        Self {
            csr: Share::of(&[(all, 1)], budgets.csr_per_second, CSR),
            ladders,
            dns: Share::of(&queries, left, settings.interval),
        }
    }

    fn ladder(&self, rank: usize) -> Option<Duration> {
        let [xds, names] = self.ladders;
        Some(xds.interval(rank)?.max(names.interval(rank)?))
    }
}

/// What one agent asks.
pub(super) struct Asker<'a> {
    pub(super) settings: &'a Settings,
    pub(super) defaults: &'a Defaults,
    pub(super) rates: &'a Rates,
    pub(super) agent: &'a Agent,
    /// Its place among all agents.
    pub(super) rank: usize,
}

impl Asker<'_> {
    /// Gives each target to `add`.
    pub(super) fn targets(&self, cluster: &Cluster, mut add: impl FnMut(Target)) {
        self.dns(&cluster.coredns, &mut add);
        self.istiod(&cluster.istiod, &mut add);
        let plain = self.agent.vantage == Vantage::Plain;
        let known = self.settings.known_name();
        let capture = Question::Capture { hbone: plain.then_some("off") };
        let capture = target(target_name(&["capture"]), known, capture);
        let node = &self.agent.pod.node;
        add(capture.on(node).every(CAPTURE.max(self.defaults.interval), self.defaults));
        let own = OWN.max(self.defaults.interval);
        if plain {
            let ztunnel = cluster.ztunnels.get(node);
            if let Some(address) = ztunnel {
                let ready = Question::Ztunnel {};
                let ready = target(target_name(&["ztunnel"]), address.to_string(), ready);
                add(ready.via(Via::PodIp).on(node).every(own, self.defaults));
            }
        } else if let Some(id) = spiffe_id(&self.agent.pod, &self.settings.trust_domain) {
            let address = "127.0.0.1:15008".to_owned();
            let shown = target(target_name(&["own-hbone"]), address, certificate(id));
            add(shown.on(node).every(own, self.defaults));
        }
    }

    fn dns(&self, coredns: &ControlPlane, add: &mut impl FnMut(Target)) {
        let Some(every) = self.rates.dns.interval(self.rank) else { return };
        let mut ask = |name: &[&str], of: &[&str], server: SocketAddr, transport, via| {
            let qtype = if server.is_ipv4() { "A" } else { "AAAA" };
            let question = Question::Dns { server, transport, qtype };
            let asked = target(target_name(name), self.settings.known_name(), question);
            let asked = asked.via(via).of(of);
            add(asked
                .every(every, self.defaults)
                .within(DNS.min(self.defaults.timeout), self.defaults));
        };
        match self.agent.vantage {
            // ztunnel answers, whoever is asked.
            Vantage::Ambient => {
                coredns
                    .service
                    .into_iter()
                    .for_each(|at| ask(&["names"], &["coredns"], at, "udp", Via::ClusterIp));
            }
            Vantage::Plain => {
                for transport in ["udp", "tcp"] {
                    let row = if transport == "udp" { "coredns-udp" } else { "coredns-tcp" };
                    if let Some(server) = coredns.service {
                        ask(&[row], &["coredns"], server, transport, Via::ClusterIp);
                    }
                    for (pod, server) in self.some(&coredns.replicas) {
                        let of = ["coredns/", pod];
                        ask(&[row, "/", pod], &of, server, transport, Via::PodIp);
                    }
                }
            }
        }
    }

    fn istiod(&self, istiod: &ControlPlane, add: &mut impl FnMut(Target)) {
        let Some(every) = self.rates.ladder(self.rank) else { return };
        let ladder = |name: &[&str], address: String, csr, via| {
            let ladder = target(target_name(name), address, Question::Istiod { csr }).via(via);
            let timeout = LADDER.max(self.defaults.timeout);
            ladder.every(every, self.defaults).within(timeout, self.defaults)
        };
        if istiod.service.is_some() {
            let csr = self.rates.csr.interval(self.rank).map_or(Csr::Off, Csr::Every);
            let address = self.settings.istiod.to_string();
            add(ladder(&["istiod"], address, csr, Via::ClusterIp));
        }
        // From the mesh it is its ztunnel that dials; one side is enough to find a broken replica.
        if self.agent.vantage == Vantage::Plain {
            for (pod, address) in self.some(&istiod.replicas) {
                let address = address.to_string();
                add(ladder(&["istiod/", pod], address, Csr::Off, Via::PodIp));
            }
        }
    }

    /// Those replicas that this agent asks.
    fn some<'r>(&self, replicas: &'r BTreeMap<String, SocketAddr>) -> Vec<(&'r str, SocketAddr)> {
        let usable = replicas.iter().filter(|(_, address)| address.port() != 0);
        let mut some: Vec<_> = usable.map(|(pod, address)| (pod.as_str(), *address)).collect();
        if some.len() > MOST_REPLICAS {
            some.sort_by_cached_key(|(pod, _)| score(&[&self.agent.pod.node, pod]));
            some.truncate(MOST_REPLICAS);
        }
        some
    }
}

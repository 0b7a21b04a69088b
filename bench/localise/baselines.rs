//! What others would say: votes of failing paths, as 007 counts them, and greedy set cover. Both
//! know which components a path crosses, and neither reasons nor signatures.

use std::collections::{BTreeSet, HashMap};

use meshprobe::observation::Observation;
use meshprobe::target::Vantage;

use crate::cluster::{Ask, Cluster, Way};

/// A path fails when more than this share of its attempts does.
const FAILS: f64 = 0.01;
/// A component is blamed while it has this share of the votes.
const VOTES: f64 = 0.02;
/// A component may cover only if this share of its paths fail.
const HIT: f64 = 0.5;
/// More than that is of no use to anybody.
const MOST: usize = 50;

/// Failing paths by the components that they cross.
#[derive(Default)]
pub(crate) struct Evidence {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    /// Components of failing paths, with failing attempts.
    failing: Vec<(Vec<u32>, f64)>,
    /// How many paths cross each component.
    all: Vec<u32>,
}

impl Evidence {
    pub(crate) fn add(&mut self, cluster: &Cluster, way: &Way, seen: &Observation) {
        let conclusive = seen.verdicts.conclusive();
        if conclusive == 0 {
            return;
        }
        let crossed: Vec<u32> =
            crossed(cluster, way).into_iter().map(|name| self.number(name)).collect();
        for component in &crossed {
            self.all[*component as usize] += 1;
        }
        let share = seen.verdicts.violated as f64 / conclusive as f64;
        if share > FAILS {
            self.failing.push((crossed, seen.verdicts.violated as f64));
        }
    }

    fn number(&mut self, name: String) -> u32 {
        let next = self.names.len() as u32;
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
            self.all.push(0);
        }
        number
    }

    /// Each failed attempt votes for all that its path crosses, in equal parts. The first is
    /// blamed, its paths leave, and so on.
    pub(crate) fn voting(&self) -> BTreeSet<String> {
        let total: f64 = self.failing.iter().map(|(_, failed)| failed).sum();
        self.pick(
            |crossed, failed| failed / crossed.len() as f64,
            |_, votes, _| votes > VOTES * total,
        )
    }

    /// The component on most failing paths first, as long as most of its paths fail, until all are
    /// covered.
    pub(crate) fn cover(&self) -> BTreeSet<String> {
        self.pick(
            |_, _| 1.0,
            |component, _, paths| f64::from(paths) > HIT * f64::from(self.all[component]),
        )
    }

    fn pick(
        &self,
        vote: impl Fn(&[u32], f64) -> f64,
        may: impl Fn(usize, f64, u32) -> bool,
    ) -> BTreeSet<String> {
        let mut blamed = BTreeSet::new();
        let mut left: Vec<&(Vec<u32>, f64)> = self.failing.iter().collect();
        while !left.is_empty() && blamed.len() < MOST {
            let mut votes = vec![(0.0, 0); self.names.len()];
            for (crossed, failed) in &left {
                for component in crossed {
                    let (sum, paths) = &mut votes[*component as usize];
                    *sum += vote(crossed, *failed);
                    *paths += 1;
                }
            }
            let open = votes
                .iter()
                .enumerate()
                .filter(|(number, (sum, paths))| *paths > 0 && may(*number, *sum, *paths));
            let Some((first, _)) = open.max_by(|a, b| a.1.0.total_cmp(&b.1.0)) else { break };
            blamed.insert(self.names[first].clone());
            left.retain(|(crossed, _)| !crossed.contains(&(first as u32)));
        }
        blamed
    }
}

fn crossed(cluster: &Cluster, way: &Way) -> Vec<String> {
    let node = |kind: &str, n: usize| format!("{kind}/{}", cluster.nodes[n]);
    let ambient = way.vantage == Vantage::Ambient;
    let mut list = Vec::new();
    if ambient {
        list.push(node("ztunnel", way.from));
    }
    let far: Vec<usize> = match way.ask {
        Ask::Capture | Ask::OwnHbone => {
            list.extend(["capture", "trust"].map(|kind| node(kind, way.from)));
            return list;
        }
        Ask::Readiness => return vec![node("ztunnel", way.from)],
        Ask::Service(s) => {
            list.push(format!("workload/default/service-{s}"));
            list.push(format!("policy/default/service-{s}"));
            cluster.services[s].clone()
        }
        Ask::CorednsPod(pod) => {
            list.extend(["coredns".to_owned(), format!("coredns/coredns-{pod}")]);
            vec![cluster.coredns[pod]]
        }
        Ask::IstiodPod(pod) => {
            list.extend(["istiod".to_owned(), format!("istiod/istiod-{pod}")]);
            list.push(node("istiod-link", way.from));
            vec![cluster.istiod[pod]]
        }
        Ask::Istiod => {
            list.extend(["istiod".to_owned(), node("istiod-link", way.from)]);
            Vec::new()
        }
        _ => way.to.into_iter().collect(),
    };
    list.push(node("node", way.from));
    let meshed = match way.ask {
        Ask::Peer | Ask::Strict | Ask::Hbone | Ask::Certificate => true,
        Ask::Service(s) => s % 2 == 0,
        _ => false,
    };
    for to in far {
        list.push(node("node", to));
        let mut zones = [cluster.zones[way.from], cluster.zones[to]];
        zones.sort_unstable();
        if zones[0] != zones[1] {
            list.push(format!("zone/zone-{}/zone-{}", zones[0], zones[1]));
        }
        if meshed {
            list.extend(["ztunnel", "hbone", "capture", "trust", "policy/meshprobe/peer"].map(
                |kind| match kind {
                    "policy/meshprobe/peer" => format!("{kind}-{}", cluster.nodes[to]),
                    kind => node(kind, to),
                },
            ));
        }
    }
    list
}

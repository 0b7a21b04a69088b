//! Two simpler ways to find what is broken, from the same observations.
//!
//! Both see which paths failed and which components each goes through, and neither sees reasons.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meshprobe::observation::Observation;

use super::cluster::{Cluster, Path, What, service_name, zone_name};

/// A share of the votes below which nobody is accused.
const LEAST_SHARE: f64 = 0.01;
/// Votes below which nobody is.
const LEAST_VOTES: f64 = 1.0;
/// The share of failing paths that a cover must explain.
const COVERED: f64 = 0.95;

fn components(path: &Path, cluster: &Cluster) -> Vec<String> {
    let node = |node: usize| cluster.nodes[node].as_str();
    let near = node(path.source);
    let mut all = vec![format!("node/{near}"), format!("trust/{near}")];
    if path.ambient || path.what == What::Ztunnel {
        all.extend(["ztunnel", "capture"].map(|kind| format!("{kind}/{near}")));
    }
    let far: Vec<usize> = match path.what {
        What::Coredns(pod) => vec![cluster.coredns[pod]],
        What::Istiod(Some(pod)) => vec![cluster.istiod[pod]],
        What::Service(service, None) => cluster.services[service].clone(),
        _ => path.far.into_iter().collect(),
    };
    match path.what {
        What::Coredns(pod) => {
            all.extend(["coredns".to_owned(), format!("coredns/coredns-{pod}")]);
        }
        What::Istiod(pod) => {
            all.extend(["istiod".to_owned(), format!("istiod-link/{near}")]);
            let pods = pod.map_or(0..cluster.istiod.len(), |pod| pod..pod + 1);
            all.extend(pods.map(|pod| format!("istiod/istiod-{pod}")));
        }
        What::Service(service, _) => {
            let name = service_name(service);
            all.extend([format!("workload/{name}"), format!("policy/{name}")]);
        }
        _ => {}
    }
    let in_mesh = !matches!(path.what, What::Coredns(_) | What::Istiod(_) | What::Underlay);
    for at in far {
        all.push(format!("node/{}", node(at)));
        if in_mesh {
            all.extend(
                ["ztunnel", "hbone", "capture", "trust"].map(|it| format!("{it}/{}", node(at))),
            );
        }
        let (a, b) = (cluster.zone_of[path.source], cluster.zone_of[at]);
        if a != b {
            all.push(format!("zone/{}/{}", zone_name(a.min(b)), zone_name(a.max(b))));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The failing paths and what each goes through.
fn failing(cluster: &Cluster, seen: &[Observation]) -> Vec<Vec<String>> {
    let paths = cluster.paths.iter().zip(seen).filter(|(_, seen)| seen.verdicts.violated > 0);
    paths.map(|(path, _)| components(path, cluster)).collect()
}

/// Every failing path gives one vote, in equal parts, to what it goes through; the winner is
/// accused, its paths are taken away, and again, until the votes are too few.
pub(crate) fn voting(cluster: &Cluster, seen: &[Observation]) -> BTreeSet<String> {
    let mut left = failing(cluster, seen);
    let total = left.len() as f64;
    let mut accused = BTreeSet::new();
    while !left.is_empty() {
        let mut votes: BTreeMap<&str, f64> = BTreeMap::new();
        for path in &left {
            for component in path {
                *votes.entry(component).or_default() += 1.0 / path.len() as f64;
            }
        }
        let winner = votes.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let Some((winner, count)) = winner.map(|(name, count)| ((*name).to_owned(), *count)) else {
            break;
        };
        if count < LEAST_VOTES.max(LEAST_SHARE * total) {
            break;
        }
        left.retain(|path| !path.contains(&winner));
        accused.insert(winner);
    }
    accused
}

/// The component that is on most failing paths not yet explained, among those of which at least
/// half of the paths fail, and again, until nearly all are explained.
pub(crate) fn set_cover(cluster: &Cluster, seen: &[Observation]) -> BTreeSet<String> {
    let mut left = failing(cluster, seen);
    let total = left.len() as f64;
    let suspects: BTreeSet<String> = left.iter().flatten().cloned().collect();
    let mut all: HashMap<String, u64> = HashMap::new();
    for path in &cluster.paths {
        for component in components(path, cluster) {
            if suspects.contains(&component) {
                *all.entry(component).or_default() += 1;
            }
        }
    }
    let mut accused = BTreeSet::new();
    let mut whole: BTreeMap<&str, u64> = BTreeMap::new();
    let first = left.clone();
    for component in first.iter().flatten() {
        *whole.entry(component).or_default() += 1;
    }
    while left.len() as f64 > (1.0 - COVERED) * total {
        let mut covers: BTreeMap<&str, u64> = BTreeMap::new();
        for component in left.iter().flatten() {
            *covers.entry(component).or_default() += 1;
        }
        let half = |name: &str| whole[name] * 2 >= all[name];
        let best = covers.iter().filter(|(name, _)| half(name)).max_by_key(|(_, count)| **count);
        let Some(best) = best.map(|(name, _)| (*name).to_owned()) else { break };
        left.retain(|path| !path.contains(&best));
        accused.insert(best);
    }
    accused
}

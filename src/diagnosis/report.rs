//! The report: each suspect with what speaks for and against it, in words with numbers.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::diagnosis::agents::{How, Lame};
use crate::diagnosis::component::{Component, FaultWord};
use crate::diagnosis::index::Contact;
use crate::diagnosis::infer::{Search, Suspect};
use crate::diagnosis::path::Class;
use crate::diagnosis::seen::{Seen, Tally};
use crate::diagnosis::words;
use crate::failure::Reason;
use crate::observation::rfc3339;

/// What is at most this much less likely, nats, cannot be told apart.
const CLOSE: f64 = 3.0;
/// The most alternatives that are named.
const MOST_ALTERNATIVES: usize = 4;
/// Confidence is never more than this: what no table knows may always be.
const CONFIDENT: f64 = 0.999;

/// What is broken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What is broken, the likeliest and weightiest first; our own agents last.
    pub diagnoses: Vec<Diagnosis>,
    /// The share of the violated attempts that the diagnoses explain; 1 when there are none.
    pub explained_fraction: f64,
    /// Paths that are broken, whether a diagnosis explains them or not: on files those of which
    /// half of three or more attempts failed, else those whose alarm is open.
    #[serde(default)]
    pub broken_paths: usize,
    /// Diagnoses that are not sure enough to be said, or not yet; 0 on files.
    #[serde(default)]
    pub withheld: usize,
    /// Attempts that could tell something.
    #[serde(default)]
    pub conclusive_attempts: u64,
    /// Agents that told something.
    #[serde(default)]
    pub agents: usize,
    /// Agents that there are, where that is known; 0 where it is not.
    #[serde(default)]
    pub expected_agents: usize,
    /// Lines that could not be read.
    #[serde(default)]
    pub malformed_lines: u64,
}

/// One broken component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Which, in the words of the design.
    pub component: String,
    /// How it is broken.
    pub fault: FaultWord,
    /// When the first window that shows it began.
    #[serde(with = "rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// What speaks for it and against it.
    pub evidence: Vec<String>,
    /// What to run or look at next.
    pub next: String,
    /// What it cannot be told from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
}

/// Another explanation, nearly as likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its component.
    pub component: String,
    /// Its fault.
    pub fault: FaultWord,
}

pub(super) fn report(
    search: &mut Search<'_>,
    suspects: &[Suspect],
    lame: &[Lame],
    (seen, expected_agents): (&Seen, usize),
    now: OffsetDateTime,
) -> Report {
    let explained_fraction = explained(search);
    let standing = standing(search, suspects);
    let mut diagnoses: Vec<Diagnosis> = Vec::new();
    for place in 0..suspects.len() {
        diagnoses.push(diagnosis(search, suspects, place, &standing));
    }
    let unreachable =
        |node: u32| suspects.iter().any(|suspect| suspect.component == Component::Node(node));
    let ours = lame
        .iter()
        .filter(|lame| matches!(lame.how, How::Starved { .. }) || !unreachable(lame.node));
    diagnoses.extend(ours.map(|lame| agent(search, lame, now)));
    Report {
        diagnoses,
        explained_fraction,
        broken_paths: search.tallies.iter().filter(|tally| tally.is_broken()).count(),
        conclusive_attempts: seen.conclusive,
        withheld: 0,
        agents: seen.heard.agents(),
        expected_agents,
        malformed_lines: 0,
    }
}

/// The share of the violated attempts that has a cause with such a reason.
fn explained(search: &Search<'_>) -> f64 {
    let (mut all, mut known) = (0, 0);
    for (path, causes) in search.failing() {
        for (reason, count) in &search.tallies[path as usize].reasons {
            all += count;
            if causes.iter().any(|cause| cause.signature.knows(*reason)) {
                known += count;
            }
        }
    }
    if all == 0 { 1.0 } else { known as f64 / all as f64 }
}

fn diagnosis(
    search: &mut Search<'_>,
    suspects: &[Suspect],
    place: usize,
    standing: &HashMap<u32, Group>,
) -> Diagnosis {
    let suspect = &suspects[place];
    let (gain, rivals) = search.alternatives(suspects, suspect);
    let doubt: f64 = rivals.iter().map(|rival| (rival.gain - gain).exp()).sum();
    let none = (-gain).exp();
    let confidence = (1.0 / (1.0 + doubt + none)).min(CONFIDENT);
    let names = search.names;
    let close = rivals.iter().filter(|rival| rival.gain > gain - CLOSE);
    let alternatives: Vec<Alternative> = close
        .take(MOST_ALTERNATIVES)
        .map(|rival| Alternative {
            component: names.name(rival.component),
            fault: rival.component.word(rival.kind, rival.rate),
        })
        .collect();
    let touched: Vec<(u32, Contact)> = search.touched(suspect).collect();
    let mut evidence = vec![format!("{}", capitalised(words::meaning(suspect.kind)))];
    evidence.extend(grouped(search, suspect, &touched));
    evidence.extend(node(suspect.component).and_then(|node| standing.get(&node)?.standing()));
    if !alternatives.is_empty() {
        let others: Vec<String> = alternatives
            .iter()
            .map(|other| format!("{} {}", other.component, other.fault))
            .collect();
        evidence.push(format!(
            "cannot be told from {}: the paths that cross only one of them were not probed, or not often enough",
            others.join(", ")
        ));
    }
    Diagnosis {
        component: names.name(suspect.component),
        fault: suspect.component.word(suspect.kind, suspect.rate),
        since: since(search, suspect, &touched),
        confidence: (confidence * 1e3).round() / 1e3,
        evidence,
        next: words::next(suspect.component, suspect.kind, names),
        alternatives,
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The start of the first window of those paths that fail about as often as the fault says.
fn since(
    search: &Search<'_>,
    suspect: &Suspect,
    touched: &[(u32, Contact)],
) -> Option<OffsetDateTime> {
    let earliest = |least: f64| {
        let failing = touched.iter().filter_map(|(path, contact)| {
            let tally = &search.tallies[*path as usize];
            let share = tally.violated as f64 / (tally.met + tally.violated).max(1) as f64;
            let known = tally.reasons.iter().any(|(reason, _)| contact.signature.knows(*reason));
            tally.since.filter(|_| known && share >= least)
        });
        failing.min()
    };
    let start = earliest(suspect.rate * 0.3).or_else(|| earliest(0.0))?;
    OffsetDateTime::from_unix_timestamp(start).ok()
}

/// Sums of a kind of way.
#[derive(Default)]
struct Group {
    paths: usize,
    failing: usize,
    attempts: u64,
    violated: u64,
    reasons: BTreeMap<Reason, u64>,
}

impl Group {
    fn add(&mut self, tally: &Tally) {
        self.paths += 1;
        self.failing += usize::from(tally.violated > 0);
        self.attempts += tally.met + tally.violated;
        self.violated += tally.violated;
        for (reason, count) in &tally.reasons {
            *self.reasons.entry(*reason).or_default() += count;
        }
    }

    /// That nearly all of it is met, in words, if it is so.
    fn standing(&self) -> Option<String> {
        (self.paths > 0 && self.violated * 100 <= self.attempts).then(|| {
            format!(
                "the node itself stands: {} of {} attempts outside the mesh to and from it are met",
                self.attempts - self.violated,
                self.attempts
            )
        })
    }

    fn words(&self, class: Class) -> String {
        let Self { paths, failing, attempts, violated, .. } = self;
        let class = class.words();
        if *violated == 0 {
            return format!("against: {class} are met on all {paths} paths, {attempts} attempts");
        }
        let mut reasons: Vec<(&Reason, &u64)> = self.reasons.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.as_str().cmp(b.0.as_str())));
        let reasons: Vec<String> = reasons
            .iter()
            .take(3)
            .map(|(reason, count)| format!("{} {count}", reason.as_str()))
            .collect();
        format!(
            "for: {class} fail on {failing} of {paths} paths, {violated} of {attempts} attempts ({})",
            reasons.join(", ")
        )
    }
}

/// What the fault touches, by kind of way.
fn grouped(search: &Search<'_>, suspect: &Suspect, touched: &[(u32, Contact)]) -> Vec<String> {
    let mut groups: BTreeMap<Class, Group> = BTreeMap::new();
    for (path, _) in touched {
        let class = search.paths[*path as usize].class;
        groups.entry(class).or_default().add(&search.tallies[*path as usize]);
    }
    for healthy in search.healthy(suspect) {
        let group = groups.entry(healthy.class()).or_default();
        group.paths += healthy.paths as usize;
        group.attempts += healthy.met;
    }
    let mut groups: Vec<(Class, Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.violated));
    groups.into_iter().map(|(class, group)| group.words(class)).collect()
}

/// The node of a component, if what goes past the mesh to and from it does not touch the component.
fn node(component: Component) -> Option<u32> {
    match component {
        Component::Ztunnel(n)
        | Component::Hbone(n)
        | Component::Capture(n)
        | Component::Peer(n)
        | Component::PeerPolicy(n)
        | Component::IstiodLink(n)
        | Component::Trust(n) => Some(n),
        _ => None,
    }
}

/// What goes past the mesh to and from the nodes of suspects: where it stands it clears the node.
fn standing(search: &Search<'_>, suspects: &[Suspect]) -> HashMap<u32, Group> {
    let nodes = suspects.iter().filter_map(|suspect| node(suspect.component));
    let mut groups: HashMap<u32, Group> = nodes.map(|node| (node, Group::default())).collect();
    if groups.is_empty() {
        return groups;
    }
    for (path, tally) in std::iter::zip(search.paths, search.tallies) {
        if !matches!(path.class, Class::Direct | Class::Dns) {
            continue;
        }
        let far = (path.far != path.source).then_some(path.far);
        for end in [path.source].into_iter().chain(far) {
            if let Some(group) = groups.get_mut(&end) {
                group.add(tally);
            }
        }
    }
    groups
}

fn agent(search: &Search<'_>, lame: &Lame, now: OffsetDateTime) -> Diagnosis {
    let node = search.names.nodes.text(lame.node);
    let vantage = lame.vantage;
    let (fault, said, confidence) = match lame.how {
        How::Silent { heard, all } => (
            FaultWord::Silent,
            vec![
                format!("told nothing up to {now}, or fell behind"),
                format!("{heard} of {all} {vantage} agents are heard"),
            ],
            0.9,
        ),
        How::Starved { starved, attempts } => (
            FaultWord::Starved,
            vec![
                format!(
                    "{starved} of {attempts} attempts came too late or lacked resources of its own"
                ),
                "these say nothing of the network, and were left out".to_owned(),
            ],
            CONFIDENT,
        ),
    };
    let next = match fault {
        FaultWord::Starved => format!("raise the CPU limit of the {vantage} agent on {node}"),
        _ => format!(
            "kubectl -n meshprobe-{vantage} get pods --field-selector spec.nodeName={node}; then its log"
        ),
    };
    Diagnosis {
        component: format!("agent/{node}/{vantage}"),
        fault,
        since: lame.since.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
        confidence,
        evidence: said,
        next,
        alternatives: Vec::new(),
    }
}

//! The first line: is the mesh healthy, and if not, what is broken and since when. Pure.

use std::time::Duration;

use time::OffsetDateTime;

use crate::diagnosis::{Diagnosis, Report};
use crate::page::known::{Known, Node};
use crate::page::lines::is_heard;
use crate::page::words::{between, counted, is_ours, sentence};
use crate::target::Vantage;

/// A conclusion that is older than this says nothing of now. Of a large fleet it takes some
/// seconds.
const OLD: Duration = Duration::from_secs(60);
/// Further diagnoses that are named.
const MOST_OTHERS: usize = 8;

/// How the mesh stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Tone {
    /// Nothing is broken, and every agent was heard.
    Healthy,
    /// It cannot be told, or only in part.
    Unknown,
    /// Something is broken.
    Broken,
}

/// The first line, and what stands below it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Headline {
    /// How the mesh stands.
    pub(super) tone: Tone,
    /// In words.
    pub(super) text: String,
    /// Since when.
    pub(super) since: Option<OffsetDateTime>,
    /// How sure that is, 0 to 1.
    pub(super) confidence: Option<f64>,
    /// What it rests on, in one sentence.
    pub(super) basis: String,
    /// What speaks for and against it.
    pub(super) evidence: Vec<String>,
    /// What to run next.
    pub(super) next: Option<String>,
    /// What else is broken.
    pub(super) others: Vec<Other>,
    /// How many more there are than are named.
    pub(super) more: usize,
}

/// Another diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Other {
    /// In words.
    pub(super) text: String,
    /// Since when.
    pub(super) since: Option<OffsetDateTime>,
    /// How sure that is, 0 to 1.
    pub(super) confidence: f64,
    /// What to run next.
    pub(super) next: String,
}

impl Headline {
    /// What is to be said of `known`.
    pub(super) fn of(known: &Known) -> Self {
        if let Some(why) = &known.blind {
            return Self::plain(Tone::Unknown, format!("unknown: {why}"), String::new());
        }
        let Some((concluded_at, report)) = &known.concluded else {
            let text = "unknown: nothing was concluded yet".to_owned();
            return Self::plain(Tone::Unknown, text, String::new());
        };
        if known.at - *concluded_at > OLD {
            let age = between(*concluded_at, known.at);
            let text = format!("unknown: the last conclusion is {age} old");
            return Self::plain(Tone::Unknown, text, basis(report));
        }
        Self::concluded(report, unheard(known))
    }

    fn concluded(report: &Report, unheard: usize) -> Self {
        let basis = basis(report);
        // Who is not Ready is not expected, and not heard all the same.
        let missing = report.expected_agents.saturating_sub(report.agents).max(unheard) as u64;
        let mut diagnoses: Vec<&Diagnosis> = report.diagnoses.iter().collect();
        // An agent of our own that is ill breaks no path: what may have comes first.
        diagnoses.sort_by_key(|it| report.broken_paths > 0 && is_ours(&it.component));
        if let Some((first, others)) = diagnoses.split_first() {
            if report.broken_paths > 0 && is_ours(&first.component) {
                return Self::unexplained(report, basis).beside(&diagnoses);
            }
            return Self::diagnosed(first, basis).beside(others);
        }
        match report {
            Report { conclusive_attempts: 0, .. } => {
                let text = "unknown: no attempt could tell anything yet".to_owned();
                Self::plain(Tone::Unknown, text, basis)
            }
            Report { broken_paths: 1.., .. } => Self::unexplained(report, basis),
            Report { .. } if missing > 0 => {
                let are = if missing == 1 { "is" } else { "are" };
                let agents = counted(missing, "agent");
                let text = format!("unknown in part: {agents} {are} not heard");
                Self::plain(Tone::Unknown, text, basis)
            }
            Report { .. } => Self::plain(Tone::Healthy, "mesh healthy".to_owned(), basis),
        }
    }

    fn diagnosed(first: &Diagnosis, basis: String) -> Self {
        // An agent of our own that is ill leaves the mesh unknown, not broken.
        let ours = is_ours(&first.component);
        let said = sentence(&first.component, first.fault.as_str());
        let tone = if ours { Tone::Unknown } else { Tone::Broken };
        let text = if ours { format!("unknown in part: {said}") } else { said };
        Self {
            since: first.since,
            confidence: Some(first.confidence),
            evidence: first.evidence.clone(),
            next: Some(first.next.clone()),
            ..Self::plain(tone, text, basis)
        }
    }

    fn unexplained(report: &Report, basis: String) -> Self {
        let are = if report.broken_paths == 1 { "is" } else { "are" };
        let paths = counted(report.broken_paths as u64, "path");
        let text = format!("{paths} {are} broken, and no component explains it");
        Self::plain(Tone::Broken, text, basis)
    }

    /// The same with `others` below it.
    fn beside(self, others: &[&Diagnosis]) -> Self {
        let other = |it: &&Diagnosis| Other {
            text: sentence(&it.component, it.fault.as_str()),
            since: it.since,
            confidence: it.confidence,
            next: it.next.clone(),
        };
        let more = others.len().saturating_sub(MOST_OTHERS);
        Self { others: others.iter().take(MOST_OTHERS).map(other).collect(), more, ..self }
    }

    fn plain(tone: Tone, text: String, basis: String) -> Self {
        Self {
            tone,
            text,
            since: None,
            confidence: None,
            basis,
            evidence: Vec::new(),
            next: None,
            others: Vec::new(),
            more: 0,
        }
    }
}

/// Places whose agents are there, and of which none is heard.
fn unheard(known: &Known) -> usize {
    let silent = |node: &Node, vantage: Vantage| {
        node.agents.iter().any(|it| it.vantage == vantage) && !is_heard(Some(node), vantage)
    };
    let silent = |node| Vantage::ALL.into_iter().filter(|side| silent(node, *side)).count();
    known.nodes.values().map(silent).sum()
}

/// What a report rests on.
fn basis(report: &Report) -> String {
    let attempts = counted(report.conclusive_attempts, "conclusive attempt");
    let heard = match report.expected_agents {
        0 => format!("{attempts}, {} heard", counted(report.agents as u64, "agent")),
        expected => format!("{attempts}, {} of {expected} agents heard", report.agents),
    };
    match report.broken_paths as u64 {
        0 => heard,
        broken => format!("{heard}; {} broken", counted(broken, "path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::FaultWord;
    use crate::gate::Standing;

    fn diagnosis(component: &str, fault: FaultWord) -> Diagnosis {
        Diagnosis {
            component: component.to_owned(),
            fault,
            since: Some(OffsetDateTime::UNIX_EPOCH),
            confidence: 0.97,
            evidence: vec!["It is gone".to_owned()],
            next: "look".to_owned(),
            alternatives: Vec::new(),
        }
    }

    fn whole() -> Report {
        Report { conclusive_attempts: 9, agents: 6, expected_agents: 6, ..Report::default() }
    }

    fn line(report: Report) -> (Tone, String) {
        let headline = Headline::concluded(&report, 0);
        (headline.tone, headline.text)
    }

    #[test]
    fn a_mesh_is_healthy_only_when_all_agents_were_heard_and_nothing_is_broken() {
        assert_eq!(line(whole()), (Tone::Healthy, "mesh healthy".to_owned()));
        let (tone, text) = line(Report { agents: 5, ..whole() });
        assert_eq!((tone, &*text), (Tone::Unknown, "unknown in part: 1 agent is not heard"));
        let (tone, text) = line(Report { conclusive_attempts: 0, ..whole() });
        assert_eq!(tone, Tone::Unknown, "{text}");
        let (tone, text) = line(Report { broken_paths: 2, ..whole() });
        assert_eq!(tone, Tone::Broken);
        assert_eq!(text, "2 paths are broken, and no component explains it");
    }

    #[test]
    fn the_first_diagnosis_is_the_first_line() {
        let diagnoses = vec![
            diagnosis("ztunnel/node-2", FaultWord::Dead),
            diagnosis("coredns", FaultWord::Gray),
        ];
        let headline = Headline::concluded(&Report { diagnoses, broken_paths: 3, ..whole() }, 0);
        assert_eq!((headline.tone, &*headline.text), (Tone::Broken, "ztunnel on node-2 is dead"));
        assert_eq!(headline.since, Some(OffsetDateTime::UNIX_EPOCH));
        assert_eq!(headline.others[0].text, "CoreDNS fails a part of the attempts");
    }

    #[test]
    fn an_agent_of_our_own_that_is_silent_leaves_the_mesh_unknown() {
        let diagnoses = vec![diagnosis("agent/node-2/plain", FaultWord::Silent)];
        assert_eq!(line(Report { diagnoses: diagnoses.clone(), ..whole() }).0, Tone::Unknown);
        let report = Report { diagnoses, broken_paths: 1, ..whole() };
        assert_eq!(line(report).0, Tone::Broken, "paths are broken besides");
    }

    #[test]
    fn an_agent_of_our_own_explains_no_broken_path() {
        let ours = diagnosis("agent/node-2/plain", FaultWord::Silent);
        let alone = Report { diagnoses: vec![ours.clone()], broken_paths: 2, ..whole() };
        let headline = Headline::concluded(&alone, 0);
        assert_eq!(headline.text, "2 paths are broken, and no component explains it");
        assert_eq!((headline.tone, headline.since), (Tone::Broken, None));
        assert_eq!(headline.others[0].text, "meshprobe's plain agent on node-2 is silent");
        let diagnoses = vec![ours, diagnosis("ztunnel/node-2", FaultWord::Dead)];
        let headline = Headline::concluded(&Report { diagnoses, ..alone }, 0);
        assert_eq!((&*headline.text, headline.others.len()), ("ztunnel on node-2 is dead", 1));
    }

    #[test]
    fn an_agent_that_is_there_and_not_heard_counts_though_it_is_not_expected() {
        let agent = |vantage, linked| Standing {
            node: "node-2".to_owned(),
            vantage,
            linked,
            age: linked.then_some(Duration::ZERO),
        };
        let headline = |agents: Vec<Standing>| {
            let node = Node { agents, ..Node::default() };
            let nodes = [("node-2".to_owned(), node)].into();
            Headline::of(&Known { nodes, ..known(Some((now(), whole())), None) })
        };
        let [ambient, plain] = Vantage::ALL;
        let told = headline(vec![agent(ambient, true), agent(plain, false)]);
        assert_eq!(told.tone, Tone::Unknown);
        assert_eq!(told.text, "unknown in part: 1 agent is not heard");
        let replaced = [(ambient, true), (plain, false), (plain, true)];
        let told = headline(replaced.map(|(vantage, linked)| agent(vantage, linked)).into());
        assert_eq!(told.tone, Tone::Healthy, "another pod fills its place");
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + OLD
    }

    fn known(concluded: Option<(OffsetDateTime, Report)>, blind: Option<&str>) -> Known {
        let at = OffsetDateTime::UNIX_EPOCH + OLD + Duration::from_secs(1);
        Known { blind: blind.map(str::to_owned), concluded, ..Known::blind("", at) }
    }

    #[test]
    fn what_was_concluded_long_ago_or_never_or_blindly_is_unknown() {
        let epoch = OffsetDateTime::UNIX_EPOCH;
        for known in [
            known(Some((epoch, whole())), None),
            known(None, None),
            known(Some((epoch + OLD, whole())), Some("no cluster")),
        ] {
            assert_eq!(Headline::of(&known).tone, Tone::Unknown, "{known:?}");
        }
        let now = Headline::of(&known(Some((epoch + OLD, whole())), None));
        assert_eq!(now.tone, Tone::Healthy);
    }
}

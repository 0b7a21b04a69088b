//! The first line: is the mesh healthy, and if not, what is broken and since when. Pure.

use std::time::Duration;

use time::OffsetDateTime;

use crate::diagnosis::{Diagnosis, Report};
use crate::page::known::Known;
use crate::page::words::{between, counted, is_ours, sentence};

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
        Self::concluded(report)
    }

    fn concluded(report: &Report) -> Self {
        let basis = basis(report);
        let missing = report.expected_agents.saturating_sub(report.agents) as u64;
        if let Some((first, others)) = report.diagnoses.split_first() {
            return Self::diagnosed(first, others, report, basis);
        }
        match report {
            Report { conclusive_attempts: 0, .. } => {
                let text = "unknown: no attempt could tell anything yet".to_owned();
                Self::plain(Tone::Unknown, text, basis)
            }
            Report { broken_paths: broken @ 1.., .. } => {
                let are = if *broken == 1 { "is" } else { "are" };
                let paths = counted(*broken as u64, "path");
                let text = format!("{paths} {are} broken, and no component explains it");
                Self::plain(Tone::Broken, text, basis)
            }
            Report { .. } if missing > 0 => {
                let are = if missing == 1 { "is" } else { "are" };
                let agents = counted(missing, "agent");
                let text = format!("unknown in part: {agents} {are} not heard");
                Self::plain(Tone::Unknown, text, basis)
            }
            Report { .. } => Self::plain(Tone::Healthy, "mesh healthy".to_owned(), basis),
        }
    }

    fn diagnosed(first: &Diagnosis, others: &[Diagnosis], report: &Report, basis: String) -> Self {
        // An agent of our own that is ill leaves the mesh unknown, not broken.
        let ours = is_ours(&first.component) && report.broken_paths == 0;
        let other = |it: &Diagnosis| Other {
            text: sentence(&it.component, it.fault.as_str()),
            since: it.since,
            confidence: it.confidence,
            next: it.next.clone(),
        };
        let said = sentence(&first.component, first.fault.as_str());
        Self {
            tone: if ours { Tone::Unknown } else { Tone::Broken },
            text: if ours { format!("unknown in part: {said}") } else { said },
            since: first.since,
            confidence: Some(first.confidence),
            basis,
            evidence: first.evidence.clone(),
            next: Some(first.next.clone()),
            others: others.iter().take(MOST_OTHERS).map(other).collect(),
            more: others.len().saturating_sub(MOST_OTHERS),
        }
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
        let headline = Headline::concluded(&report);
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
        let headline = Headline::concluded(&Report { diagnoses, broken_paths: 3, ..whole() });
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

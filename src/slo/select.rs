//! Which attempts count, and into which budgets they are divided.

use std::fmt;
use std::str::FromStr;

use crate::target::{ProbeKind, Vantage};

/// Which attempts count: all that match every key; an empty list matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors {
    /// The kinds of question.
    pub probe: Vec<ProbeKind>,
    /// Names of targets.
    pub target: Vec<Pattern>,
    /// Sides of the mesh.
    pub vantage: Vec<Vantage>,
    /// Nodes that attempts come from.
    pub node: Vec<Pattern>,
    /// Zones that attempts come from.
    pub zone: Vec<Pattern>,
    /// Namespaces of the Services that are called, as names of targets tell them.
    pub namespace: Vec<Pattern>,
}

impl Selectors {
    /// Whether attempts of this path count. An unknown zone or vantage matches no stated one.
    pub fn matches(
        &self,
        probe: ProbeKind,
        target: &str,
        vantage: Option<Vantage>,
        node: &str,
        zone: Option<&str>,
    ) -> bool {
        (self.probe.is_empty() || self.probe.contains(&probe))
            && one_of(&self.target, Some(target))
            && one_of(&self.namespace, namespace_of(target))
            && self.matches_source(vantage, node, zone)
    }

    /// Whether attempts of an agent there can be meant; `None` is what is not known.
    pub fn matches_source(&self, vantage: Option<Vantage>, node: &str, zone: Option<&str>) -> bool {
        (self.vantage.is_empty() || vantage.is_some_and(|it| self.vantage.contains(&it)))
            && one_of(&self.node, Some(node))
            && one_of(&self.zone, zone)
    }
}

fn one_of(patterns: &[Pattern], text: Option<&str>) -> bool {
    let matching = |text| patterns.iter().any(|pattern| pattern.matches(text));
    patterns.is_empty() || text.is_some_and(matching)
}

/// First parts of names of targets that are followed by a namespace.
pub(super) const NAMESPACED: [&str; 3] = ["service", "hbone-service", "waypoint"];

/// The namespace of the Service that a target calls, when its name tells: `service/NS/…`.
pub fn namespace_of(target: &str) -> Option<&str> {
    let mut parts = target.splitn(3, '/');
    let (first, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let told = NAMESPACED.contains(&first) && !namespace.is_empty() && !rest.is_empty();
    told.then_some(namespace)
}

/// A label's value, in which `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means just one value.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether `text` as a whole is meant.
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().expect("split yields one part");
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// The regular expression (RE2, anchored by Prometheus) that matches the same.
    pub(super) fn regex(&self) -> String {
        self.0.split('*').map(literal).collect::<Vec<_>>().join(".*")
    }
}

/// The regular expression (RE2) that matches just `text`.
pub fn literal(text: &str) -> String {
    let mut regex = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let fits = (1..=253).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidPattern) }
    }
}

/// Text that no label of ours has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 253 visible ASCII characters, * for any of them")]
pub struct InvalidPattern;

/// By what budgets are divided: a label of the series that are recorded for an SLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// The node that attempts come from.
    Node,
    /// The zone that attempts come from.
    Zone,
    /// The side of the mesh.
    Vantage,
    /// The kind of question.
    Probe,
    /// The target.
    Target,
    /// The namespace of the Service that is called.
    Namespace,
}

impl GroupKey {
    /// Every key.
    pub const ALL: [Self; 6] =
        [Self::Node, Self::Zone, Self::Vantage, Self::Probe, Self::Target, Self::Namespace];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Zone => "zone",
            Self::Vantage => "vantage",
            Self::Probe => "probe",
            Self::Target => "target",
            Self::Namespace => "namespace",
        }
    }
}

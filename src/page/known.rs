//! Everything that a page is made from, and whom it is asked of. Pure.

use std::collections::BTreeMap;
use std::future::Future;

use time::OffsetDateTime;

use crate::analysis::Slow;
use crate::diagnosis::Report;
use crate::gate::{self, Scope, Standing};
use crate::incident::Incident;
use crate::observation::Observation;
use crate::page::paths::Paths;
use crate::target::Vantage;

/// What is known of a mesh at one moment.
#[derive(Debug, Clone)]
pub struct Known {
    /// That moment.
    pub at: OffsetDateTime,
    /// Why nothing can be said of the mesh as a whole, such as a cluster that was not read yet.
    pub blind: Option<String>,
    /// What is broken, and when that was concluded; `None` before the first conclusion.
    pub concluded: Option<(OffsetDateTime, Report)>,
    /// What takes longer than it did.
    pub slow: Slow,
    /// Incidents that are open, the oldest first.
    pub open: Vec<Incident>,
    /// The last incidents that are over, the newest first.
    pub closed: Vec<Incident>,
    /// Why incidents are not known, if they are not.
    pub unremembered: Option<String>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Namespaces of which STRICT can be asked.
    pub namespaces: Vec<String>,
    /// Every path.
    pub paths: Paths,
    /// Why what is here may not be all, each in a sentence.
    pub caveats: Vec<String>,
}

impl Known {
    /// Nothing, for that reason.
    pub fn blind(why: &str, at: OffsetDateTime) -> Self {
        Self {
            at,
            blind: Some(why.to_owned()),
            concluded: None,
            slow: Slow::default(),
            open: Vec::new(),
            closed: Vec::new(),
            unremembered: None,
            nodes: BTreeMap::new(),
            namespaces: Vec::new(),
            paths: Paths::default(),
            caveats: Vec::new(),
        }
    }
}

/// A node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Its zone.
    pub zone: Option<String>,
    /// Condition `Ready`, where that is known.
    pub ready: Option<bool>,
    /// Its agents.
    pub agents: Vec<Standing>,
}

/// What was known of a mesh at an instant that is over.
#[derive(Debug, Clone)]
pub struct Past {
    /// Everything but windows.
    pub known: Known,
    /// The windows that it rests on.
    pub windows: Vec<Observation>,
}

/// Whose windows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of the agents on a node.
    Node(String),
    /// Those of one target, of whoever asks it.
    Target {
        /// The side of the mesh that asks.
        vantage: Vantage,
        /// Its name within the plans of agents.
        name: String,
    },
}

impl Whose {
    /// Whether `window` is one of them.
    pub fn holds(&self, window: &Observation) -> bool {
        match self {
            Self::Node(node) => window.source_node == *node,
            Self::Target { vantage, name } => {
                window.vantage == Some(*vantage) && window.name() == name
            }
        }
    }
}

/// Where what a page shows comes from: a controller, or a lab.
pub trait Source: Send + Sync + 'static {
    /// What is known now.
    fn known(&self) -> impl Future<Output = Known> + Send;

    /// What was known at `at`, or why that cannot be told.
    fn past(&self, at: OffsetDateTime) -> impl Future<Output = Result<Past, String>> + Send;

    /// Whether STRICT is safe in `scope` now, or why that cannot be told.
    fn gate(&self, scope: Scope) -> impl Future<Output = Result<gate::Report, String>> + Send;

    /// The last windows, or single attempts, of each path in question, oldest first.
    fn windows(&self, whose: Whose) -> impl Future<Output = Vec<Observation>> + Send;
}

//! A dashboard as it is described: variables, and rows of panels.

use crate::dashboards::panel::Panel;

/// One dashboard.
#[derive(Debug)]
pub(super) struct Board {
    /// Unique among all dashboards of a Grafana, and part of its address.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// Beside the data source, in their order.
    pub(super) variables: &'static [Variable],
    pub(super) rows: Vec<Row>,
}

/// A headline and what stands below it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// What the reader may choose; all of it by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variable {
    /// As queries and links name it.
    pub(super) name: &'static str,
    /// Where Grafana finds the choices.
    pub(super) values: &'static str,
    /// The regular expression for all of them.
    pub(super) all: &'static str,
}

/// A controller has no node: what agents tell is of one.
pub(super) const NODE: Variable =
    Variable { name: "node", values: "label_values(meshprobe_build_info, node)", all: ".+" };
/// An agent need not have a vantage.
pub(super) const VANTAGE: Variable =
    Variable { name: "vantage", values: "label_values(meshprobe_build_info, vantage)", all: ".*" };
pub(super) const TARGET: Variable = Variable {
    name: "target",
    values: "label_values(meshprobe_target_info{node=~\"$node\",vantage=~\"$vantage\"}, target)",
    all: ".*",
};
pub(super) const SLO: Variable =
    Variable { name: "slo", values: "label_values(meshprobe:slo_objective:ratio, slo)", all: ".+" };

/// A row of panels.
pub(super) fn row(title: &'static str, panels: impl Into<Vec<Panel>>) -> Row {
    Row { title, panels: panels.into() }
}

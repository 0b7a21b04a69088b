//! A panel as it is described: what is asked, and how the answer is shown.

/// One panel.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) shown: Shown,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) queries: Vec<Query>,
    pub(super) unit: Unit,
    /// Colours from these values up, the first from the least on; none: no judgement.
    pub(super) steps: &'static [(f64, Colour)],
    /// Columns of 24.
    pub(super) width: u64,
    pub(super) height: u64,
    /// Alerts whose runbooks say what to do.
    pub(super) runbooks: &'static [&'static str],
    /// Where a click on a value leads.
    pub(super) onward: Option<Onward>,
}

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The value now, large.
    Stat,
    /// Lines over time.
    Lines,
    /// One row a series, now.
    Table,
    /// One cell a series, now: a label for rows, another for columns.
    Matrix { rows: &'static str, columns: &'static str },
    /// Buckets of a histogram over time.
    Heatmap,
}

/// One question.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) expr: String,
    /// The name of a line, with `{{label}}`; of the column in a
    /// table, empty where its values say nothing.
    pub(super) legend: &'static str,
}

/// What numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    /// 0 to 1.
    Share,
    Seconds,
    PerSecond,
    Bytes,
    /// A burn rate.
    Times,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Green,
    Orange,
    Red,
    Blue,
}

/// What a click on a value opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onward {
    /// A dashboard, with these labels of the series as its variables.
    Board { uid: &'static str, labels: &'static [&'static str] },
    /// The runbook of the alert that the series is of.
    Runbook,
}

/// More is worse, from this on.
macro_rules! bad_from {
    ($from:expr) => {
        &[
            (f64::NEG_INFINITY, crate::dashboards::panel::Colour::Green),
            ($from, crate::dashboards::panel::Colour::Red),
        ]
    };
}
/// Less is worse: red, orange from the first, green from the second on.
macro_rules! good_from {
    ($orange:expr, $green:expr) => {
        &[
            (f64::NEG_INFINITY, crate::dashboards::panel::Colour::Red),
            ($orange, crate::dashboards::panel::Colour::Orange),
            ($green, crate::dashboards::panel::Colour::Green),
        ]
    };
}
pub(super) use {bad_from, good_from};

impl Panel {
    fn new(shown: Shown, title: &'static str, description: &'static str) -> Self {
        let (width, height) = match shown {
            Shown::Stat => (4, 4),
            Shown::Lines | Shown::Heatmap => (12, 8),
            Shown::Table | Shown::Matrix { .. } => (24, 9),
        };
        Self {
            shown,
            title,
            description,
            queries: Vec::new(),
            unit: Unit::Count,
            steps: &[],
            width,
            height,
            runbooks: &[],
            onward: None,
        }
    }

    pub(super) fn ask(mut self, legend: &'static str, expr: impl Into<String>) -> Self {
        self.queries.push(Query { expr: expr.into(), legend });
        self
    }

    pub(super) fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    pub(super) fn steps(self, steps: &'static [(f64, Colour)]) -> Self {
        Self { steps, ..self }
    }

    pub(super) fn size(self, width: u64, height: u64) -> Self {
        Self { width, height, ..self }
    }

    pub(super) fn runbooks(self, runbooks: &'static [&'static str]) -> Self {
        Self { runbooks, ..self }
    }

    pub(super) fn opens(self, uid: &'static str, labels: &'static [&'static str]) -> Self {
        Self { onward: Some(Onward::Board { uid, labels }), ..self }
    }

    pub(super) fn opens_runbook(self) -> Self {
        Self { onward: Some(Onward::Runbook), ..self }
    }
}

pub(super) fn stat(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shown::Stat, title, description)
}

pub(super) fn lines(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shown::Lines, title, description)
}

pub(super) fn table(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shown::Table, title, description)
}

pub(super) fn matrix(
    [rows, columns]: [&'static str; 2],
    title: &'static str,
    description: &'static str,
) -> Panel {
    Panel::new(Shown::Matrix { rows, columns }, title, description)
}

pub(super) fn heatmap(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shown::Heatmap, title, description)
}

/// The share of `good` in `all`, both summed by these labels; nothing where `all` is 0.
pub(super) fn share(by: &str, good: &str, all: &str) -> String {
    format!("sum by ({by}) ({good})\n/ (sum by ({by}) ({all}) > 0)")
}

//! The lab's own analyst: hears every attempt, and says what is broken as a controller would.

use std::time::Duration;

use time::OffsetDateTime;

use crate::analysis::{Analyst, Diagnoses, Pace};
use crate::attempt::Attempt;
use crate::diagnosis::{Report, Topology};
use crate::incident::Change;
use crate::lab::cell::Cell;
use crate::lab::picture;
use crate::lab::signature::Layout;
use crate::metrics::ControllerMetrics;

/// What was named as broken, and when first.
#[derive(Debug, Clone)]
pub struct Named {
    /// The component.
    pub component: String,
    /// How it was said to be broken when it was named first.
    pub fault: String,
    /// After the start of the lab.
    pub at: Duration,
}

/// An analyst of a lab.
#[derive(Debug)]
pub(super) struct Diagnosing {
    analyst: Analyst,
    topology: Topology,
    layout: Layout,
    report: Report,
    concluded_at: Option<OffsetDateTime>,
    named: Vec<Named>,
    metrics: ControllerMetrics,
}

impl Diagnosing {
    pub(super) fn new(nodes: u16, layout: Layout) -> Self {
        Self {
            analyst: Analyst::new(OffsetDateTime::now_utc(), Pace::ASKED),
            topology: picture::topology(nodes, &layout),
            layout,
            report: Report::default(),
            concluded_at: None,
            named: Vec::new(),
            metrics: ControllerMetrics::new(),
        }
    }

    pub(super) fn hear(&mut self, cell: &Cell, attempt: &Attempt) {
        let observation = picture::observation(cell, attempt, &self.layout);
        self.analyst.hear([&observation], OffsetDateTime::now_utc());
    }

    /// What began and ended since the last time, `at` this time after the start.
    pub(super) fn conclude(&mut self, at: Duration) -> Vec<Change> {
        let now = OffsetDateTime::now_utc();
        let conclusion = self.analyst.conclude(&self.topology, now);
        for diagnosis in &conclusion.report.diagnoses {
            if self.named.iter().all(|named| named.component != diagnosis.component) {
                let (component, fault) = (diagnosis.component.clone(), diagnosis.fault.to_string());
                self.named.push(Named { component, fault, at });
            }
        }
        self.report = conclusion.report;
        self.concluded_at = Some(now);
        for change in &conclusion.changes {
            let (incident, opened) = match change {
                Change::Opened(incident) => (incident, true),
                Change::Closed(incident) => (incident, false),
            };
            self.metrics.incident(&incident.component, &incident.fault, opened);
        }
        conclusion.changes
    }

    /// The metrics that a controller would have of these incidents.
    pub(super) fn metrics(&self) -> &ControllerMetrics {
        &self.metrics
    }

    /// What is broken now.
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// The same, and what was.
    pub(super) fn diagnoses(&self) -> Diagnoses {
        self.analyst.diagnoses(self.report.clone())
    }

    /// The same, and when it was concluded; `None` before the first time.
    pub(super) fn concluded(&self) -> Option<(OffsetDateTime, Report)> {
        self.concluded_at.map(|at| (at, self.report.clone()))
    }

    /// Everything that was ever named, and the last report.
    pub(super) fn end(self) -> (Vec<Named>, Report) {
        (self.named, self.report)
    }
}

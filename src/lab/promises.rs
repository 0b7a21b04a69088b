//! What became of the SLOs that the chart ships, in this lab: `/v1/slo`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use time::OffsetDateTime;

use crate::analysis::Diagnoses;
use crate::attempt::Attempt;
use crate::config::promised;
use crate::digest::Digest;
use crate::observation::Observation;
use crate::report::{Incident, Report, Tally};
use crate::slo::{Objective, Slo};

const CONFIG: &str = include_str!("../../config/controller.yaml");

/// A lab runs for minutes: as its gate does, it wants four of five attempts to be good.
const OBJECTIVE: u32 = 800_000;

static SLOS: LazyLock<Vec<Slo>> = LazyLock::new(|| {
    let mut slos = promised(CONFIG, &BTreeMap::new()).expect("a test holds it");
    let objective = Objective::of_millionths(OBJECTIVE).expect("within bounds");
    slos.iter_mut().for_each(|slo| slo.objective = objective);
    slos
});

/// Counts attempts for and against them.
#[derive(Debug)]
pub(super) struct Promises(Tally<'static>);

impl Promises {
    pub(super) fn new() -> Self {
        Self(Tally::of(&SLOS))
    }

    /// Takes in `seen`, which tells of `attempt`.
    pub(super) fn hear(&mut self, seen: &Observation, attempt: &Attempt) {
        let mut digest = Digest::default();
        if attempt.success {
            digest.add(attempt.duration);
        }
        self.0.hear(&Observation { digest: Some(digest), ..seen.clone() }, None);
    }

    /// What became of them up to now, and what was broken meanwhile.
    pub(super) fn report(&self, diagnoses: &Diagnoses) -> Report {
        let incidents = diagnoses.open.iter().chain(&diagnoses.closed);
        let incidents: Vec<Incident> = incidents.map(Incident::from).collect();
        let source = "a lab, which remembers its own life".to_owned();
        self.0.clone().report(OffsetDateTime::now_utc(), source, &incidents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_promises_something() {
        assert!(SLOS.len() > 3, "{}", SLOS.len());
        assert!(SLOS.iter().all(|slo| slo.objective.to_string() == "80%"));
    }
}

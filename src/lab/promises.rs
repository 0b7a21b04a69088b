//! What became of the SLOs of a lab: `/v1/slo`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use time::OffsetDateTime;

use crate::analysis::Diagnoses;
use crate::attempt::Attempt;
use crate::config::promised;
use crate::digest::Digest;
use crate::observation::Observation;
use crate::report::{Incident, Report, Tally};
use crate::slo::Slo;

/// As the chart's, of what a lab asks. A lab runs for minutes: as its gate does, it wants four of
/// five attempts to be good.
const PROMISED: &str = "slos:
- { name: mesh-peers, objective: 80%, window: 7d, sli: availability, select: { vantage: ambient, target: 'peer/*' }, group_by: [node] }
- { name: istiod, objective: 80%, window: 7d, sli: availability, select: { probe: istiod } }
- { name: dns, objective: 80%, window: 7d, sli: availability, select: { probe: dns } }
- { name: dns-latency, objective: 80%, window: 7d, sli: { latency: { threshold: 100ms } }, select: { probe: dns } }
- { name: service-latency, objective: 80%, window: 7d, sli: { latency: { threshold: 250ms } }, select: { vantage: ambient, target: [frontend, monitoring] } }
";

static SLOS: LazyLock<Vec<Slo>> =
    LazyLock::new(|| promised(PROMISED, &BTreeMap::new()).expect("a test holds it"));

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
    fn what_is_promised_is_what_the_chart_promises() {
        const CONFIG: &str = include_str!("../../config/controller.yaml");
        let chart = promised(CONFIG, &BTreeMap::new()).expect("good");
        let names = |slos: &[Slo]| slos.iter().map(|it| it.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&SLOS), names(&chart));
    }
}

//! A report from windows that agents told: of the last minutes, for want of a memory.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::digest::Digest;
use crate::observation::Observation;
use crate::report::count::Key;
use crate::report::gather::empty;
use crate::report::model::{
    Figures, Group, Incident, Latency, Period, Quantile, Report, SloReport, Standing, Step,
};
use crate::report::{assess, words};
use crate::slo::{self, Counts, GroupKey, Sli, Slo};

/// Length of a step, seconds.
const STEP: i64 = 60;

/// Takes in windows, and says what became of SLOs while they lasted.
#[derive(Debug)]
pub struct Tally<'a> {
    slos: Vec<OfSlo<'a>>,
}

#[derive(Debug)]
struct OfSlo<'a> {
    slo: &'a Slo,
    groups: BTreeMap<Key, Seen>,
    /// By node and zone; an unknown zone is empty.
    nodes: BTreeMap<Key, Seen>,
    /// By minute, unix time.
    steps: BTreeMap<i64, Counts>,
    /// From the begin of the first window to the end of the last.
    time: Option<Period>,
    /// Attempts that succeeded, of windows that do not tell how long they took.
    untold: u64,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    counts: Counts,
    digest: Digest,
}

impl<'a> Tally<'a> {
    /// Of these SLOs.
    pub fn of(slos: &'a [Slo]) -> Self {
        let of = |slo| OfSlo {
            slo,
            groups: BTreeMap::new(),
            nodes: BTreeMap::new(),
            steps: BTreeMap::new(),
            time: None,
            untold: 0,
        };
        Self { slos: slos.iter().map(of).collect() }
    }

    /// Takes in a window of an agent whose node is in `zone`.
    pub fn hear(&mut self, observation: &Observation, zone: Option<&str>) {
        for of in &mut self.slos {
            let Observation { probe, vantage, source_node, .. } = observation;
            if of.slo.select.matches(*probe, observation.name(), *vantage, source_node, zone) {
                of.hear(observation, zone);
            }
        }
    }

    /// What became of the SLOs, told at `at`; `incidents` are those of that time.
    pub fn report(self, at: OffsetDateTime, source: String, incidents: &[Incident]) -> Report {
        let slos = self.slos.into_iter().map(|of| of.report(at, incidents)).collect();
        let note = "A controller remembers minutes: this says nothing of the windows that are promised. Give \
                    --prometheus for those.";
        Report { at, source, slos, notes: vec![note.to_owned()] }
    }
}

impl OfSlo<'_> {
    fn hear(&mut self, observation: &Observation, zone: Option<&str>) {
        let Some(counts) = self.counts(observation) else { return };
        let zone = zone.unwrap_or_default();
        let label = |key: &GroupKey| match key {
            GroupKey::Node => observation.source_node.clone(),
            GroupKey::Zone => zone.to_owned(),
            GroupKey::Vantage => {
                observation.vantage.map(|it| it.as_str().to_owned()).unwrap_or_default()
            }
            GroupKey::Probe => observation.probe.as_str().to_owned(),
            GroupKey::Target => observation.name().to_owned(),
            GroupKey::Namespace => {
                slo::namespace_of(observation.name()).unwrap_or_default().to_owned()
            }
        };
        let group: Key = self.slo.group_by.iter().map(label).collect();
        let node = vec![observation.source_node.clone(), zone.to_owned()];
        for seen in [self.groups.entry(group).or_default(), self.nodes.entry(node).or_default()] {
            seen.counts = seen.counts.and(&counts);
            if let Some(digest) = &observation.digest {
                seen.digest.merge(digest);
            }
        }
        let (from, to) = (observation.window_start, observation.window_end());
        let minute = from.unix_timestamp().div_euclid(STEP) * STEP;
        let step = self.steps.entry(minute).or_default();
        *step = step.and(&counts);
        let time = self.time.get_or_insert(Period { from, to });
        *time = Period { from: time.from.min(from), to: time.to.max(to) };
    }

    /// What a window says of the SLO; `None` when it does not tell what the SLO is of.
    fn counts(&mut self, observation: &Observation) -> Option<Counts> {
        let verdicts = observation.verdicts;
        let inconclusive = verdicts.inconclusive as f64;
        match &self.slo.sli {
            Sli::Availability => {
                let bad = verdicts.violated as f64;
                Counts::new(bad, bad + verdicts.met as f64, inconclusive)
            }
            Sli::Latency(latency) if latency.phase.is_none() && latency.connection.is_none() => {
                let Some(digest) = &observation.digest else {
                    self.untold += verdicts.met;
                    return None;
                };
                let slow = digest.bins().iter();
                let slow = slow.filter(|(bin, _)| Digest::seconds(*bin) > latency.seconds());
                let bad: u64 = slow.map(|(_, count)| u64::from(*count)).sum();
                Counts::new(bad as f64, digest.count() as f64, inconclusive)
            }
            Sli::Latency(_) => None,
        }
    }

    fn report(self, at: OffsetDateTime, incidents: &[Incident]) -> SloReport {
        let slo = self.slo;
        let period = self.time.unwrap_or(Period { from: at, to: at });
        let mut report = empty(slo, period);
        let all = self.groups.values().fold(Seen::default(), |mut all, seen| {
            all.counts = all.counts.and(&seen.counts);
            all.digest.merge(&seen.digest);
            all
        });
        report.whole = figures(slo, &all);
        if !slo.group_by.is_empty() {
            let group = |(key, seen): (&Key, &Seen)| Group {
                labels: key.clone(),
                figures: figures(slo, seen),
            };
            report.groups = self.groups.iter().map(group).collect();
            assess::worst_first(&mut report.groups);
        }
        report.standing = assess::standing(&report.whole, &report.groups);
        let nodes = self.nodes.iter().map(|(key, seen)| (key, seen.counts));
        [report.nodes, report.zones] = assess::places(nodes);
        report.steps = self.steps.iter().map(|(minute, counts)| step(*minute, counts)).collect();
        let during = |it: &&Incident| {
            it.since < period.to && it.until.is_none_or(|until| until > period.from)
        };
        report.incidents = Some(incidents.iter().filter(during).cloned().collect());
        report.notes = self.notes(&report);
        report.sentence = match report.standing {
            Standing::NoData => report.sentence,
            _ => {
                let time = words::length(&period);
                format!("In the last {time}: {}", words::sentence(slo, &report, false))
            }
        };
        report
    }

    fn notes(&self, report: &SloReport) -> Vec<String> {
        let mut notes = Vec::new();
        if let Sli::Latency(latency) = &self.slo.sli {
            notes.push(match latency.phase.is_some() || latency.connection.is_some() {
                true => {
                    "Windows of agents tell neither phases nor which connections were kept, so \
                         nothing can be said of this SLO here."
                        .to_owned()
                }
                false => {
                    "Times are known to 1 %: attempts as near to the threshold may be counted on \
                          either side."
                        .to_owned()
                }
            });
        }
        if self.untold > 0 {
            notes.push(format!(
                "How long {} attempts took was not told: they are left out.",
                words::count(self.untold as f64)
            ));
        }
        if report.standing == Standing::NoData {
            let note = "No agent told of an attempt that counts for it.";
            notes.push(note.to_owned());
        }
        notes
    }
}

fn figures(slo: &Slo, seen: &Seen) -> Figures {
    let known = seen.counts.total() + seen.counts.inconclusive() > 0.0;
    let quantile = |share| {
        let seconds = seen.digest.quantile(share)?;
        Some(Quantile { seconds, above: false })
    };
    let latency =
        || Some(Latency { p50: quantile(0.5)?, p90: quantile(0.9)?, p99: quantile(0.99)? });
    let figures = Figures::of(slo.objective, &seen.counts, f64::from(u8::from(known)));
    Figures { either: latency(), ..figures }
}

fn step(minute: i64, counts: &Counts) -> Step {
    let at = |seconds| {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let period = Period { from: at(minute), to: at(minute + STEP) };
    Step { period, bad: Some(counts.bad()), total: Some(counts.total()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::config::promised;
    use crate::observation::{Expected, Verdicts};
    use crate::target::{ProbeKind, Vantage};

    const AT: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);

    fn window(node: &str, minutes: i64, violated: u64) -> Observation {
        let mut digest = Digest::default();
        for attempt in 0..100 {
            digest.add(Duration::from_millis(if attempt < 90 { 10 } else { 400 }));
        }
        Observation {
            source_node: node.to_owned(),
            vantage: Some(Vantage::Ambient),
            probe: ProbeKind::Tcp,
            target: "peer".to_owned(),
            name: Some(format!("peer/{node}")),
            destination_node: None,
            via: None,
            expect: Expected::Reply,
            window_start: AT - time::Duration::minutes(minutes),
            window_seconds: 60,
            attempts: 110 + violated,
            verdicts: Verdicts { met: 100, violated, inconclusive: 10 },
            reasons: BTreeMap::new(),
            latency_seconds: None,
            digest: Some(digest),
        }
    }

    fn told(slos: &str, windows: &[Observation]) -> SloReport {
        let slos = promised(slos, &Default::default()).expect("good");
        let mut tally = Tally::of(&slos);
        for window in windows {
            tally.hear(window, Some("z"));
        }
        let incident = |since, until| Incident {
            component: "ztunnel/n2".to_owned(),
            fault: "dead".to_owned(),
            summary: String::new(),
            since: AT - time::Duration::minutes(since),
            until: Some(AT - time::Duration::minutes(until)),
            bad: None,
            budget_spent: None,
        };
        let incidents = [incident(4, 3), incident(60, 50)];
        let mut report = tally.report(AT, "a controller".to_owned(), &incidents);
        report.slos.remove(0)
    }

    #[test]
    fn windows_are_counted_by_group_and_say_of_what_time_they_are() {
        let slos = "slos: [{name: a, objective: 90%, window: 30d, sli: availability, group_by: [node], select: {target: 'peer/n*'}}]";
        let windows =
            [window("n1", 5, 0), window("n2", 5, 100), window("n2", 1, 0), window("other", 1, 100)];
        let report = told(slos, &windows);
        assert_eq!(
            (report.whole.bad, report.whole.total, report.whole.inconclusive),
            (100.0, 400.0, 30.0)
        );
        assert_eq!(report.standing, Standing::Missed);
        assert_eq!(report.groups[0].labels, ["n2"]);
        let nodes: Vec<&str> = report.nodes.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(nodes, ["n2", "n1"]);
        assert_eq!((report.zones[0].bad, report.zones[0].total), (100.0, 400.0));
        assert_eq!(report.period.to - report.period.from, time::Duration::minutes(5));
        assert!(
            report.sentence.starts_with("In the last 5 min: 75 % of test calls"),
            "{}",
            report.sentence
        );
        assert_eq!(report.incidents.expect("asked").len(), 1);
        assert_eq!(report.steps.len(), 2);
    }

    #[test]
    fn latencies_are_those_of_digests_and_phases_are_not_known() {
        let slo = |sli: &str| {
            format!("slos: [{{name: a, objective: 80%, window: 30d, sli: {{latency: {{{sli}}}}}}}]")
        };
        let report = told(&slo("threshold: 100ms"), &[window("n1", 2, 5)]);
        assert_eq!((report.whole.bad, report.whole.total), (10.0, 100.0));
        let latency = report.whole.either.expect("told");
        assert!(
            (latency.p50.seconds - 0.01).abs() < 2e-4 && (latency.p99.seconds - 0.4).abs() < 8e-3
        );
        assert!(report.whole.cold.is_none() && report.whole.warm.is_none());
        for sli in ["threshold: 100ms, phase: tls", "threshold: 100ms, connection: warm"] {
            let report = told(&slo(sli), &[window("n1", 2, 5)]);
            assert_eq!(report.standing, Standing::NoData);
            assert!(report.notes[0].contains("tell neither phases"), "{:?}", report.notes);
        }
        let untold = Observation { digest: None, ..window("n1", 2, 5) };
        let report = told(&slo("threshold: 100ms"), &[untold]);
        assert_eq!(report.standing, Standing::NoData);
        assert!(report.notes[1].contains("100 attempts took was not told"), "{:?}", report.notes);
    }
}

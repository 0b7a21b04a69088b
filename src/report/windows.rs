//! A report from windows that agents told: of the last minutes, for want of a memory.

use std::collections::{BTreeMap, BTreeSet};

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
use crate::target::Vantage;

/// Length of a step, seconds.
const STEP: i64 = 60;
/// Agents that are silent and named.
const MOST_NAMED: usize = 3;

/// Takes in windows, and says what became of SLOs while they lasted.
#[derive(Debug, Clone)]
pub struct Tally<'a> {
    slos: Vec<OfSlo<'a>>,
}

#[derive(Debug, Clone)]
struct OfSlo<'a> {
    slo: &'a Slo,
    groups: BTreeMap<Key, Seen>,
    /// By node and zone; an unknown zone is empty.
    nodes: BTreeMap<Key, Seen>,
    /// By minute, unix time.
    steps: BTreeMap<i64, Counts>,
    /// The begin of the first window.
    since: Option<OffsetDateTime>,
    /// Agents that it selects and that are silent: vantage and node.
    silent: Vec<(Vantage, String)>,
    /// Attempts that succeeded, of windows that do not tell how long they took.
    untold: u64,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
struct Seen {
    counts: Counts,
    digest: Digest,
    /// Steps with an attempt, unix time.
    steps: BTreeSet<i64>,
}

impl<'a> Tally<'a> {
    /// Of these SLOs.
    pub fn of(slos: &'a [Slo]) -> Self {
        let of = |slo| OfSlo {
            slo,
            groups: BTreeMap::new(),
            nodes: BTreeMap::new(),
            steps: BTreeMap::new(),
            since: None,
            silent: Vec::new(),
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

    /// Nothing was heard for a while of the agent of `vantage` on `node` in `zone`.
    pub fn silent(&mut self, vantage: Vantage, node: &str, zone: Option<&str>) {
        for of in &mut self.slos {
            if of.slo.select.matches_source(Some(vantage), node, zone) {
                of.silent.push((vantage, node.to_owned()));
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
        let (from, to) = (observation.window_start, observation.window_end());
        let minute = |seconds: i64| seconds.div_euclid(STEP) * STEP;
        let first = minute(from.unix_timestamp());
        // A window of a target that is asked seldom is of several steps.
        let last = minute((to.unix_timestamp() - 1).max(first));
        let tried = counts.total() + counts.inconclusive() > 0.0;
        for seen in [self.groups.entry(group).or_default(), self.nodes.entry(node).or_default()] {
            seen.counts = seen.counts.and(&counts);
            if let Some(digest) = &observation.digest {
                seen.digest.merge(digest);
            }
            if tried {
                seen.steps.extend((first..=last).step_by(STEP as usize));
            }
        }
        let step = self.steps.entry(first).or_default();
        *step = step.and(&counts);
        let since = self.since.get_or_insert(from);
        *since = (*since).min(from);
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
        let period = Period { from: self.since.unwrap_or(at), to: at };
        let mut report = empty(slo, period);
        let all = self.groups.values().fold(Seen::default(), |mut all, seen| {
            all.counts = all.counts.and(&seen.counts);
            all.digest.merge(&seen.digest);
            all.steps.extend(&seen.steps);
            all
        });
        report.whole = figures(slo, &all, &period);
        if !slo.group_by.is_empty() {
            let group = |(key, seen): (&Key, &Seen)| Group {
                labels: key.clone(),
                figures: figures(slo, seen, &period),
            };
            report.groups = self.groups.iter().map(group).collect();
            assess::worst_first(&mut report.groups);
        }
        report.standing = assess::standing(&report.whole, &report.groups);
        if !self.silent.is_empty() {
            for standing in [&mut report.standing, &mut report.whole.standing] {
                // What they would tell may be bad.
                if *standing == Standing::Met {
                    *standing = Standing::TooLittleData;
                }
            }
        }
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
        notes.extend(self.silence());
        if report.standing == Standing::NoData {
            let note = "No agent told of an attempt that counts for it.";
            notes.push(note.to_owned());
        }
        notes
    }

    fn silence(&self) -> Option<String> {
        let mut silent = self.silent.iter();
        let named = silent.by_ref().take(MOST_NAMED);
        let named: Vec<String> =
            named.map(|(vantage, node)| format!("{} on {node}", vantage.as_str())).collect();
        let more = match silent.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let count = self.silent.len();
        let noun =
            if count == 1 { "agent that it selects is" } else { "agents that it selects are" };
        let named = named.join(", ");
        (count > 0).then(|| {
            format!("{count} {noun} silent ({named}{more}): what is not heard of them may be bad.")
        })
    }
}

fn figures(slo: &Slo, seen: &Seen, period: &Period) -> Figures {
    let all = (period.to - period.from).as_seconds_f64();
    let told = seen.steps.range(..period.to.unix_timestamp()).count();
    let told = (told as i64 * STEP) as f64;
    // First and last steps are not wholly within the time.
    let covered = if all > 0.0 { (told / all).min(1.0) } else { 0.0 };
    let quantile = |share| {
        let seconds = seen.digest.quantile(share)?;
        Some(Quantile { seconds, above: false })
    };
    let latency =
        || Some(Latency { p50: quantile(0.5)?, p90: quantile(0.9)?, p99: quantile(0.99)? });
    let figures = Figures::of(slo.objective, &seen.counts, covered);
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

    const BY_NODE: &str =
        "slos: [{name: a, objective: 90%, window: 30d, sli: availability, group_by: [node]}]";

    #[test]
    fn what_was_not_heard_until_now_is_not_known() {
        let all: Vec<Observation> = (1..=50).map(|minutes| window("n1", minutes, 0)).collect();
        let report = told(BY_NODE, &all);
        assert_eq!((report.standing, report.whole.covered), (Standing::Met, 1.0));
        let stale = told(BY_NODE, &all[40..]);
        assert_eq!(stale.period.to, AT);
        assert_eq!((stale.standing, stale.whole.covered), (Standing::TooLittleData, 0.2));
        assert!(stale.sentence.contains("only 20 % of the time is known"), "{}", stale.sentence);
        // One group was heard all the time, the other once.
        let report = told(BY_NODE, &[&all[..], &[window("n2", 9, 0)]].concat());
        let group = |name: &str| report.groups.iter().find(|it| it.labels[0] == name);
        let figures = |name| &group(name).expect("it is there").figures;
        assert_eq!((figures("n1").covered, figures("n2").covered), (1.0, 0.02));
        assert_eq!((report.whole.covered, report.standing), (1.0, Standing::TooLittleData));
        // Of a target that is asked seldom a window is as long as it is.
        let seldom = Observation { window_seconds: 600, ..window("n1", 10, 0) };
        assert_eq!(told(BY_NODE, &[seldom]).whole.covered, 1.0);
    }

    #[test]
    fn silent_agents_that_are_selected_leave_a_promise_open() {
        let slos = "slos: [{name: a, objective: 90%, window: 30d, sli: availability, select: {vantage: ambient}}]";
        let slos = promised(slos, &Default::default()).expect("good");
        let told = |silent: &[(Vantage, &str)], violated| {
            let mut tally = Tally::of(&slos);
            tally.hear(&window("n1", 1, violated), None);
            for (vantage, node) in silent {
                tally.silent(*vantage, node, None);
            }
            tally.report(AT, String::new(), &[]).slos.remove(0)
        };
        let others = told(&[(Vantage::Plain, "n2")], 0);
        assert_eq!((others.standing, others.notes.len()), (Standing::Met, 0));
        let silent = ["n2", "n3", "n4", "n5"].map(|node| (Vantage::Ambient, node));
        let report = told(&silent, 0);
        assert_eq!(report.standing, Standing::TooLittleData);
        assert_eq!(report.whole.standing, Standing::TooLittleData);
        let note = "4 agents that it selects are silent (ambient on n2, ambient on n3, ambient on n4 and 1 more)";
        assert!(report.notes[0].starts_with(note), "{:?}", report.notes);
        assert!(!report.sentence.contains("too few"), "{}", report.sentence);
        assert_eq!(told(&silent, 100).standing, Standing::Missed, "that is sure");
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

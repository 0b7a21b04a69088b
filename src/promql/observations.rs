//! Observations of the last minute, as the recording rules of the chart have them.
//!
//! Counts are what `increase` makes of counters: rounded, and extrapolated to the minute. The first
//! failure of a target for a reason has no series before it, and is missing among the reasons until
//! the next. Latencies are within a bucket. There are no digests.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::expectation::Verdict;
use crate::failure::Reason;
use crate::observation::{Expected, Latency, Observation, Verdicts};
use crate::promql::{Answer, Prometheus, Sample, Unanswered};
use crate::target::{ProbeKind, Vantage};

/// What the rules look back on, seconds.
const SECONDS: u64 = 60;
/// Nodes that are asked for at once: some 25,000 series with 40 targets on either side.
const AT_ONCE: usize = 50;
/// Targets, as the rules record them.
const INFO: &str = "meshprobe:target:info";

/// What a Prometheus knows of all paths.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every path that was attempted.
    pub observations: Vec<Observation>,
    /// Why they may not be all, each once; empty when they are.
    pub warnings: Vec<String>,
    /// Series with words that this version does not know.
    pub unread: usize,
}

/// Node, vantage, target.
type Key = [String; 3];

/// Observations on their way.
#[derive(Default)]
struct Found {
    paths: BTreeMap<Key, Observation>,
    quantiles: BTreeMap<Key, [Option<f64>; 2]>,
    unread: usize,
}

impl Prometheus {
    /// What was seen in the minute before `at`.
    pub async fn observations(&self, at: OffsetDateTime) -> Result<Seen, Unanswered> {
        let mut seen = Seen::default();
        let nodes = self.part(&format!("group by (node) ({INFO})"), at, &mut seen).await?;
        let nodes: Vec<String> = nodes.iter().map(|sample| label(sample, "node")).collect();
        for some in nodes.chunks(AT_ONCE) {
            let some = nodes_of(some);
            let mut found = Found::default();
            let named = |name: &str| format!("meshprobe:{name}{{{some}}}");
            for sample in self.part(&named("attempts:increase1m"), at, &mut seen).await? {
                found.attempts(&sample, at);
            }
            for sample in self.part(&named("failures:increase1m"), at, &mut seen).await? {
                found.failures(&sample);
            }
            for (rank, name) in ["p50_1m", "p99_1m"].into_iter().enumerate() {
                let name = named(&format!("latency_seconds:{name}"));
                for sample in self.part(&name, at, &mut seen).await? {
                    let both = found.quantiles.entry(key(&sample)).or_default();
                    both[rank] = Some(sample.value).filter(|value| value.is_finite());
                }
            }
            seen.unread += found.unread;
            seen.observations.extend(found.done());
        }
        Ok(seen)
    }

    async fn part(
        &self,
        expression: &str,
        at: OffsetDateTime,
        seen: &mut Seen,
    ) -> Result<Vec<Sample>, Unanswered> {
        let Answer { samples, warnings } = self.instant(expression, at).await?;
        for warning in warnings {
            if !seen.warnings.contains(&warning) {
                seen.warnings.push(warning);
            }
        }
        Ok(samples)
    }
}

impl Found {
    fn attempts(&mut self, sample: &Sample, at: OffsetDateTime) {
        let verdict = Verdict::ALL.into_iter().find(|it| it.as_str() == label(sample, "verdict"));
        let (Some(empty), Some(verdict)) = (observation(sample, at), verdict) else {
            self.unread += 1;
            return;
        };
        let path = self.paths.entry(key(sample)).or_insert(empty);
        let count = count(sample);
        let Verdicts { met, violated, inconclusive } = &mut path.verdicts;
        *match verdict {
            Verdict::Met => met,
            Verdict::Violated => violated,
            Verdict::Inconclusive => inconclusive,
        } += count;
        path.attempts += count;
    }

    fn failures(&mut self, sample: &Sample) {
        let reason = label(sample, "reason");
        let known = Reason::ALL.iter().find(|it| it.as_str() == reason).copied();
        let (count, path) = (count(sample), self.paths.get_mut(&key(sample)));
        if let Some(path) = path.filter(|_| count > 0) {
            *path.reasons.entry(known.unwrap_or(Reason::Unclassified)).or_default() += count;
        }
    }

    fn done(self) -> impl Iterator<Item = Observation> {
        let Self { paths, quantiles, .. } = self;
        let attempted = paths.into_iter().filter(|(_, path)| path.attempts > 0);
        attempted.map(move |(key, mut path)| {
            if let Some([Some(p50), Some(p99)]) = quantiles.get(&key) {
                path.latency_seconds = Some(Latency { p50: *p50, p99: *p99 });
            }
            path
        })
    }
}

/// The path of `sample` without attempts; `None` when it has words that are not known.
fn observation(sample: &Sample, at: OffsetDateTime) -> Option<Observation> {
    let word = |name: &str| Some(label(sample, name)).filter(|value| !value.is_empty());
    let vantage = word("vantage").map(|text| text.parse::<Vantage>()).transpose().ok()?;
    let via = word("via").map(|text| text.parse()).transpose().ok()?;
    let probe = label(sample, "probe");
    let expect = match label(sample, "expect").as_str() {
        "reply" => Expected::Reply,
        "denied" => Expected::Denied,
        _ => return None,
    };
    Some(Observation {
        source_node: word("node")?,
        vantage,
        probe: ProbeKind::ALL.into_iter().find(|kind| kind.as_str() == probe)?,
        target: word("subject")?,
        name: Some(word("target")?),
        destination_node: word("destination_node"),
        via,
        expect,
        window_start: at - time::Duration::seconds(SECONDS as i64),
        window_seconds: SECONDS,
        attempts: 0,
        verdicts: Verdicts::default(),
        reasons: BTreeMap::new(),
        latency_seconds: None,
        digest: None,
    })
}

/// A matcher of exactly these nodes.
fn nodes_of(nodes: &[String]) -> String {
    let any: Vec<String> = nodes.iter().map(|node| regex::escape(node)).collect();
    // A string of PromQL has the escapes of Go.
    let quoted = any.join("|").replace('\\', "\\\\").replace('"', "\\\"");
    format!("node=~\"{quoted}\"")
}

fn label(sample: &Sample, name: &str) -> String {
    sample.labels.get(name).cloned().unwrap_or_default()
}

fn key(sample: &Sample) -> Key {
    ["node", "vantage", "target"].map(|name| label(sample, name))
}

fn count(sample: &Sample) -> u64 {
    // What is no number, or below 0, is 0.
    sample.value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_are_matched_as_they_are() {
        let nodes = ["node-1.example".to_owned(), "a\"b".to_owned()];
        assert_eq!(nodes_of(&nodes), r#"node=~"node\\-1\\.example|a\"b""#);
    }

    #[test]
    fn values_that_are_no_counts_count_nothing() {
        let of = |value| count(&Sample { labels: BTreeMap::new(), value });
        assert_eq!([f64::NAN, -1.0, 0.4, 1.6].map(of), [0, 0, 0, 2]);
    }
}

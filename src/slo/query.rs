//! The PromQL that counts for an SLO, from the counters of agents. Rules and reports share it.

use std::time::Duration;

use crate::slo::select::NAMESPACED;
use crate::slo::{GroupKey, Latency, Pattern, Sli, Slo};

/// What is made of counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Per second.
    Rate,
    /// In all.
    Increase,
}

impl Function {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
        }
    }
}

/// What counts, as expressions with one series a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expressions {
    /// Attempts that count against the objective.
    pub bad: String,
    /// Attempts that count, for or against.
    pub total: String,
    /// Attempts that could not tell.
    pub inconclusive: String,
}

impl Slo {
    /// What counts over `range` (a PromQL duration, e.g. `5m`), with one series for each combination
    /// of `by`: its own `group_by`, or others.
    ///
    /// A path whose histogram lacks the threshold's bound, because its agent has not yet got it, is
    /// neither bad nor in the total rather than counted as slow; so is one whose bound came within
    /// `range`, and which was there before: what it counted then is not known to be fast.
    pub fn expressions(&self, function: Function, range: &str, by: &[GroupKey]) -> Expressions {
        let counted = |metric: &str, more: &[String]| {
            let series = self.series(metric, more, by);
            format!("{}({series}[{range}])", function.as_str())
        };
        let sum = |inner: &str| grouped(by, inner);
        let verdict = |test: &str| counted("meshprobe_attempts_total", &[test.to_owned()]);
        let inconclusive = |latency: Option<&Latency>| {
            let mut more = vec!["verdict=\"inconclusive\"".to_owned()];
            more.extend(latency.and_then(connection));
            sum(&counted("meshprobe_attempts_total", &more))
        };
        match &self.sli {
            Sli::Availability => Expressions {
                bad: sum(&verdict("verdict=\"violated\"")),
                total: sum(&verdict("verdict=~\"met|violated\"")),
                inconclusive: inconclusive(None),
            },
            Sli::Latency(latency) => {
                let metric = format!("{}_bucket", histogram(latency));
                let bucket = |le: String| {
                    let mut more = vec![le];
                    more.extend(latency.phase.map(|phase| matcher("phase", phase.as_str())));
                    more.extend(connection(latency));
                    let then = format!("{} offset {range}", self.series(&metric, &more, by));
                    [counted(&metric, &more), then]
                };
                // Both spellings of a whole bound: a newer Prometheus goes on with the other one.
                let whole = latency.seconds().fract() == 0.0;
                let [fast, fast_then] = bucket(bound(latency))
                    .map(|it| if whole { format!("sum without (le) ({it})") } else { it });
                let [all, all_then] = bucket("le=\"+Inf\"".to_owned());
                // What went on before its bound did began to count earlier than the fast ones did.
                let unbound = format!("({all_then} unless ignoring (le) {fast_then})");
                let all = format!("({all} unless ignoring (le) {unbound})");
                let slow = format!("{all} - ignoring (le) {fast}");
                Expressions {
                    bad: format!("clamp_min({}, 0)", sum(&slow)),
                    total: sum(&format!("{all} and ignoring (le) {fast}")),
                    inconclusive: inconclusive(Some(latency)),
                }
            }
        }
    }

    /// The series of attempts that were fast enough, and of all that succeeded, without a function.
    pub fn buckets(&self, latency: &Latency) -> [String; 2] {
        let of = |suffix: &str, le: Option<String>| {
            let phase = latency.phase.map(|phase| matcher("phase", phase.as_str()));
            let more: Vec<String> =
                le.into_iter().chain(phase).chain(connection(latency)).collect();
            self.series(&format!("{}_{suffix}", histogram(latency)), &more, &[])
        };
        [of("bucket", Some(bound(latency))), of("count", None)]
    }

    /// The series of `metric` that this SLO selects and `by` can divide; `more` are further
    /// matchers, e.g. `verdict="met"`.
    pub fn series(&self, metric: &str, more: &[String], by: &[GroupKey]) -> String {
        let select = &self.select;
        let probes = select.probe.iter().map(|probe| probe.as_str()).collect::<Vec<_>>();
        let vantages = select.vantage.iter().map(|it| it.as_str()).collect::<Vec<_>>();
        let mut matchers: Vec<String> = Vec::new();
        matchers.extend(words("probe", &probes));
        matchers.extend(patterns("target", &select.target));
        matchers.extend(words("vantage", &vantages));
        matchers.extend(patterns("node", &select.node));
        matchers.extend(patterns("zone", &select.zone));
        if !select.namespace.is_empty() || by.contains(&GroupKey::Namespace) {
            let namespaces = select.namespace.iter().map(Pattern::regex).collect::<Vec<_>>();
            let namespaces = match namespaces.is_empty() {
                true => "[^/]+".to_owned(),
                // What stands for any characters may not reach into the name of the Service.
                false => format!("(?:{})", namespaces.join("|").replace(".*", "[^/]*")),
            };
            let regex = format!("(?:{})/{namespaces}/.+", NAMESPACED.join("|"));
            matchers.push(format!("target=~{}", quoted(&regex)));
        }
        matchers.extend(more.iter().cloned());
        match matchers.is_empty() {
            true => metric.to_owned(),
            false => format!("{metric}{{{}}}", matchers.join(",")),
        }
    }
}

/// The histogram that tells a latency.
fn histogram(latency: &Latency) -> &'static str {
    match latency.phase {
        Some(_) => "meshprobe_phase_duration_seconds",
        None => "meshprobe_attempt_duration_seconds",
    }
}

/// The connections that a latency is of.
pub(super) fn connection(latency: &Latency) -> Option<String> {
    latency.connection.map(|connection| matcher("connection", connection.as_str()))
}

/// The bucket up to the threshold. Prometheus from version 3 on stores whole bounds with a
/// fraction (`1.0`), older ones as agents write them (`1`).
fn bound(latency: &Latency) -> String {
    let seconds = latency.seconds();
    match seconds.fract() == 0.0 {
        true => format!("le=~{}", quoted(&format!("{seconds}(?:\\.0)?"))),
        false => matcher("le", &seconds.to_string()),
    }
}

/// The sum of `inner` by these keys.
pub(super) fn grouped(by: &[GroupKey], inner: &str) -> String {
    let labels = by.iter().map(|key| key.as_str()).collect::<Vec<_>>();
    summed(by, &labels, inner)
}

/// The sum of `inner` by these labels, among which are those of the keys.
pub(super) fn summed(by: &[GroupKey], labels: &[&str], inner: &str) -> String {
    let told = by.contains(&GroupKey::Namespace).then(|| {
        let regex = quoted(&format!("(?:{})/([^/]+)/.+", NAMESPACED.join("|")));
        format!("label_replace({inner}, \"namespace\", \"$1\", \"target\", {regex})")
    });
    let inner = told.as_deref().unwrap_or(inner);
    match labels.is_empty() {
        true => format!("sum({inner})"),
        false => format!("sum by ({}) ({inner})", labels.join(", ")),
    }
}

fn matcher(label: &str, value: &str) -> String {
    format!("{label}={}", quoted(value))
}

fn words(label: &str, words: &[&str]) -> Option<String> {
    match words {
        [] => None,
        [one] => Some(matcher(label, one)),
        many => Some(format!("{label}=~{}", quoted(&many.join("|")))),
    }
}

fn patterns(label: &str, patterns: &[Pattern]) -> Option<String> {
    match patterns {
        [] => None,
        [one] if one.is_exact() => Some(matcher(label, one.as_str())),
        many => {
            let regexes = many.iter().map(Pattern::regex).collect::<Vec<_>>();
            Some(format!("{label}=~{}", quoted(&regexes.join("|"))))
        }
    }
}

/// A string of PromQL.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A duration as PromQL writes it, the largest whole unit alone: `5m`, `85m`, `3d`.
pub fn promql_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("m", 60)];
    let unit = units.into_iter().find(|(_, unit)| seconds > 0 && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(name, unit)| format!("{}{name}", seconds / unit))
}

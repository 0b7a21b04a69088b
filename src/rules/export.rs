//! SLOs as Sloth and Pyrra state them, for those who run one of these: each makes rules of its own.

use crate::config::Yaml;
use crate::rules::write::map;
use crate::slo::{Function, GroupKey, Sli, Slo, Window};

/// An SLO that the other tool cannot state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{slo}: {problem}")]
pub struct Unfit {
    /// Its name.
    pub slo: String,
    /// What it has that the tool has not, and what to do.
    pub problem: &'static str,
}

/// One text of what fits, and what does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// YAML; empty when nothing fits.
    pub text: String,
    /// In the order of the SLOs.
    pub unfit: Vec<Unfit>,
}

/// The SLOs as one file of Sloth (`version: prometheus/v1`).
pub fn sloth(slos: &[Slo], runbooks: &str) -> Exported {
    let (entries, unfit) = apart(slos, |slo| sloth_slo(slo, runbooks));
    let text = match entries.is_empty() {
        true => String::new(),
        false => map([
            ("version", Yaml::text("prometheus/v1")),
            ("service", Yaml::text("meshprobe")),
            ("slos", Yaml::List(entries)),
        ])
        .document(),
    };
    Exported { text, unfit }
}

fn sloth_slo(slo: &Slo, runbooks: &str) -> Result<Yaml, &'static str> {
    if !matches!(slo.window.to_string().as_str(), "28d" | "30d") {
        return Err("Sloth has windows of 28 and 30 days; change it, or use `meshprobe rules`");
    }
    if !slo.group_by.is_empty() {
        return Err("Sloth has one budget an SLO; leave group_by out, or use `meshprobe rules`");
    }
    let counted = slo.expressions(Function::Rate, "{{.window}}", &[]);
    let events =
        [("error_query", Yaml::block(&counted.bad)), ("total_query", Yaml::block(&counted.total))];
    let alert = "MeshprobeSloBudgetBurn";
    let runbook = format!("{}/{alert}.md", runbooks.trim_end_matches('/'));
    let severity = |severity| map([("labels", map([("severity", Yaml::text(severity))]))]);
    let mut entries = vec![("name", Yaml::text(slo.name.as_str()))];
    entries.extend(slo.description.as_ref().map(|text| ("description", Yaml::text(text))));
    entries.push(("objective", percentage(slo, Yaml::value)));
    entries.push(("sli", map([("events", map(events))])));
    entries.push((
        "alerting",
        map([
            ("name", Yaml::text(alert)),
            ("labels", map([("slo", Yaml::text(slo.name.as_str()))])),
            ("annotations", map([("runbook_url", Yaml::text(runbook))])),
            ("page_alert", severity("critical")),
            ("ticket_alert", severity("warning")),
        ]),
    ));
    Ok(map(entries))
}

/// The SLOs as objects of Pyrra (`pyrra.dev/v1alpha1`) in `namespace`, documents apart by `---`.
pub fn pyrra(slos: &[Slo], namespace: &str) -> Exported {
    let (entries, unfit) = apart(slos, |slo| pyrra_slo(slo, namespace));
    let documents: Vec<String> = entries.iter().map(Yaml::document).collect();
    Exported { text: documents.join("---\n"), unfit }
}

fn pyrra_slo(slo: &Slo, namespace: &str) -> Result<Yaml, &'static str> {
    if slo.window == Window::CalendarMonth {
        return Err("Pyrra has rolling windows only; change it, or use `meshprobe rules`");
    }
    if slo.group_by.contains(&GroupKey::Namespace) {
        return Err("Pyrra groups by labels of agents' series only; group by target instead");
    }
    let metric = |series: String| map([("metric", Yaml::block(&series))]);
    let (kind, mut indicator) = match &slo.sli {
        Sli::Availability => {
            let series =
                |test: &str| slo.series("meshprobe_attempts_total", &[test.to_owned()], &[]);
            let errors = metric(series("verdict=\"violated\""));
            let total = metric(series("verdict=~\"met|violated\""));
            ("ratio", vec![("errors", errors), ("total", total)])
        }
        Sli::Latency(latency) if latency.seconds().fract() == 0.0 => {
            return Err(
                "Pyrra wants the bound of a bucket word for word, and versions of Prometheus \
                        spell whole seconds differently; take e.g. 999ms",
            );
        }
        Sli::Latency(latency) => {
            let [fast, all] = slo.buckets(latency);
            ("latency", vec![("success", metric(fast)), ("total", metric(all))])
        }
    };
    if !slo.group_by.is_empty() {
        let keys = slo.group_by.iter().map(|key| key.as_str());
        indicator.push(("grouping", Yaml::texts(keys)));
    }
    let mut spec = vec![
        ("target", percentage(slo, |text| Yaml::Plain(format!("{text:?}")))),
        ("window", Yaml::text(slo.window.to_string())),
    ];
    spec.extend(slo.description.as_ref().map(|text| ("description", Yaml::text(text))));
    spec.push(("indicator", map([(kind, map(indicator))])));
    let name = [("name", Yaml::text(slo.name.as_str())), ("namespace", Yaml::text(namespace))];
    Ok(map([
        ("apiVersion", Yaml::text("pyrra.dev/v1alpha1")),
        ("kind", Yaml::text("ServiceLevelObjective")),
        ("metadata", map(name)),
        ("spec", map(spec)),
    ]))
}

/// The objective as a percentage without its sign.
fn percentage(slo: &Slo, write: impl Fn(String) -> Yaml) -> Yaml {
    write(slo.objective.to_string().trim_end_matches('%').to_owned())
}

fn apart(
    slos: &[Slo],
    make: impl Fn(&Slo) -> Result<Yaml, &'static str>,
) -> (Vec<Yaml>, Vec<Unfit>) {
    let (mut made, mut unfit) = (Vec::new(), Vec::new());
    for slo in slos {
        match make(slo) {
            Ok(entry) => made.push(entry),
            Err(problem) => unfit.push(Unfit { slo: slo.name.to_string(), problem }),
        }
    }
    (made, unfit)
}

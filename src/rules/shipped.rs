//! What does not depend on SLOs: the files of the chart, which are part of the program.

use serde::Deserialize;

use crate::rules::{Group, Rule, annotations};

const ALERTS: &str = include_str!("../../deploy/helm/meshprobe/files/alerts.yaml");
const RECORDS: &str = include_str!("../../deploy/helm/meshprobe/files/records.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    lasting: String,
    severity: String,
    /// What stands for THRESHOLD in `expr`, as it is to be written.
    threshold: Option<String>,
    summary: String,
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Records {
    groups: Vec<RecordGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordGroup {
    name: String,
    interval: String,
    rules: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    record: String,
    expr: String,
}

/// The operational alerts, each as it is by default.
pub(super) fn alerts(runbooks: &str) -> Group {
    let file: Alerts = serde_saphyr::from_str(ALERTS).expect("a test reads this file");
    let rule = |alert: Alert| Rule::Alert {
        expr: match &alert.threshold {
            Some(threshold) => alert.expr.replace("THRESHOLD", threshold),
            None => alert.expr,
        },
        lasting: alert.lasting,
        labels: vec![("severity".to_owned(), alert.severity)],
        annotations: annotations(&alert.alert, &alert.summary, &alert.description, runbooks),
        alert: alert.alert,
    };
    let rules = file.alerts.into_iter().map(rule).collect();
    Group { name: "meshprobe".to_owned(), interval: None, rules }
}

/// What is recorded for readers that ask Prometheus.
pub(super) fn records() -> Vec<Group> {
    let file: Records = serde_saphyr::from_str(RECORDS).expect("a test reads this file");
    let rule = |Record { record, expr }| Rule::Record { record, expr, labels: Vec::new() };
    let group = |RecordGroup { name, interval, rules }| Group {
        name,
        interval: Some(interval),
        rules: rules.into_iter().map(rule).collect(),
    };
    file.groups.into_iter().map(group).collect()
}

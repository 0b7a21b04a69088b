//! Every panel of our dashboards has something to show: of a lab that is whole, or of one that is
//! broken where a panel only shows what is broken.

use std::time::{Duration, Instant};

use meshprobe::config::promised;
use meshprobe::rules::{Parts, RUNBOOKS, rules};
use regex::Regex;

use super::fixture::Prometheus;
use super::panels::{Asked, asked, offered};
use crate::real::process::Lab;
use crate::real::support::eventually;

/// A busy machine, a mesh that is to be seen whole, and rules that are made of rules.
const PATIENCE: Duration = Duration::from_secs(240);
/// Between two looks at everything that is still empty.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Panels that are empty as long as nothing is wrong.
const ONLY_BROKEN: [&str; 2] = ["Alerts", "Failures of questions, by phase and reason"];
/// Series that are not there as long as nothing is wrong; nobody may ever see the second.
const NOT_THERE: [&str; 2] = ["meshprobe_diagnosis_active", "reason=\"unclassified\""];
/// What a lab cannot fill: it has no controller that agents are connected to.
const OF_CONTROLLERS: [&str; 2] = ["Plans", "Controllers"];

/// A lab of two nodes with that `fault`.
fn lab(fault: Option<&str>) -> Lab {
    let mut flags = vec!["--nodes", "2", "--duration", "600s", "--time-scale", "10"];
    flags.extend(fault.into_iter().flat_map(|fault| ["--fault", fault]));
    Lab::start(&flags)
}

/// Scrapes the agents of `lab`, and its controller.
pub(super) fn jobs(lab: &Lab) -> String {
    let at = lab.url.trim_start_matches("http://");
    format!(
        "- {{job_name: agents, http_sd_configs: [{{url: 'http://{at}/prometheus/targets', refresh_interval: 1s}}]}}\n\
         - {{job_name: controller, static_configs: [{{targets: ['{at}']}}]}}\n"
    )
}

/// The rules that are shipped, made every second, at once alerting, and with days of five minutes.
fn hurried() -> String {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/controller.yaml");
    let config = std::fs::read_to_string(config).expect("it is there");
    let slos = promised(&config, &Default::default()).expect("a good configuration");
    let rules = rules(&slos, RUNBOOKS, Parts::ALL).to_file();
    let mut hurried = rules;
    for (slow, fast) in [
        (r"interval: \d+[sm]\n", "interval: 1s\n"),
        (r"for: \d+[sm]\n", "for: 0s\n"),
        (r"\[\d+d:1h\]", "[5m:1s]"),
    ] {
        let slow = Regex::new(slow).expect("a regular expression");
        assert!(slow.is_match(&hurried), "{slow} is nowhere");
        hurried = slow.replace_all(&hurried, fast).into_owned();
    }
    hurried
}

async fn shows(prometheus: &Prometheus, expression: &str) -> bool {
    prometheus.query(expression).await.iter().any(|sample| sample.value.is_finite())
}

/// Which part of what `asked` reads is not there yet, if any.
async fn missing(prometheus: &Prometheus, asked: &Asked) -> Option<String> {
    for selector in asked.selectors() {
        let excused = NOT_THERE.iter().any(|one| selector.contains(one));
        if !excused && prometheus.query(&selector).await.is_empty() {
            return Some(selector);
        }
    }
    let shows = shows(prometheus, &asked.expression).await;
    (!shows).then(|| asked.expression.clone())
}

#[tokio::test]
async fn every_panel_shows_something_of_a_lab_that_is_whole() {
    let lab = lab(None);
    let prometheus = Prometheus::with_rules(&jobs(&lab), &hurried()).await;
    let all = asked();
    let fits = |it: &&_| {
        let Asked { row, panel, .. } = it;
        !ONLY_BROKEN.contains(&panel.as_str()) && !OF_CONTROLLERS.contains(&row.as_str())
    };
    let mut left: Vec<_> = all.iter().filter(fits).collect();
    assert!(left.len() > 60, "{}", left.len());
    let end = Instant::now() + PATIENCE;
    loop {
        let (mut empty, mut lacking) = (Vec::new(), Vec::new());
        for asked in left {
            if let Some(what) = missing(&prometheus, asked).await {
                lacking.push(format!("{} / {}: {what}", asked.uid, asked.panel));
                empty.push(asked);
            }
        }
        if empty.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "these stay empty:\n{}", lacking.join("\n"));
        left = empty;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    for choice in offered() {
        let of = format!("count by ({}) ({})", choice.label, choice.series);
        let found = prometheus.query(&of).await;
        let named = found.iter().filter(|it| it.labels[&choice.label].is_string());
        assert!(named.count() > 0, "{choice:?}");
    }
}

#[tokio::test]
async fn what_is_broken_is_shown_as_broken() {
    let lab = lab(Some("ztunnel-dead/node-2"));
    let prometheus = Prometheus::with_rules(&jobs(&lab), &hurried()).await;
    let all = asked();
    let of = |panel: &str| {
        let found = all.iter().find(|it| it.panel == panel);
        found.unwrap_or_else(|| panic!("no panel {panel}")).expression.clone()
    };
    for panel in ONLY_BROKEN {
        eventually(panel, PATIENCE, || async {
            shows(&prometheus, &of(panel)).await.then_some(())
        })
        .await;
    }
    eventually("the alert of a violated target", PATIENCE, || async {
        let firing = prometheus.query(&of("Alerts")).await;
        let alert = firing.iter().find(|it| it.labels["alertname"] == "MeshprobeTargetViolated")?;
        (alert.labels["severity"] == "warning").then_some(())
    })
    .await;
    for panel in ["Open incidents", "Paths violated"] {
        prometheus.one(&of(panel), |count| count >= 1.0).await;
    }
    let broken = eventually("a red cell", PATIENCE, || async {
        let cells = prometheus.query(&of("Node by node")).await;
        let cell = cells.into_iter().find(|cell| {
            cell.labels["node"] == "node-1" && cell.labels["destination_node"] == "node-2"
        })?;
        (cell.value < 0.95).then_some(cell.value)
    })
    .await;
    assert!(broken >= 0.0, "{broken}");
    let kind = format!("({}) > 0", of("Open incidents, by kind of component"));
    let kind = prometheus.one(&kind, |count| count >= 1.0).await;
    assert_eq!(kind.labels["component_kind"], "ztunnel");
}

//! What the panels of our dashboards ask, with everything chosen, as Grafana would ask it.
#![allow(dead_code, reason = "each test needs another part of it")]

use meshprobe::dashboards::dashboards;
use meshprobe::rules::RUNBOOKS;
use regex::Regex;
use serde_json::Value;

/// One question of one panel.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) uid: &'static str,
    /// The headline that the panel stands under.
    pub(crate) row: String,
    pub(crate) panel: String,
    pub(crate) expression: String,
}

impl Asked {
    /// The series that it reads: what `or vector(0)` would hide when they are not there.
    pub(crate) fn selectors(&self) -> Vec<String> {
        let selector =
            Regex::new(r"meshprobe[a-z0-9_:]+(?:\{[^}]*\})?").expect("a regular expression");
        selector.find_iter(&self.expression).map(|found| found.as_str().to_owned()).collect()
    }
}

/// One choice that a dashboard offers, and the series whose label has it.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) series: String,
    pub(crate) label: String,
}

fn boards() -> impl Iterator<Item = (&'static str, Value)> {
    let read = |json: &str| serde_json::from_str(json).expect("JSON");
    dashboards(RUNBOOKS).into_iter().map(move |it| (it.uid, read(&it.json)))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// `expression` with all of each variable of `board`, over the last seconds.
fn filled(board: &Value, expression: &str) -> String {
    let mut filled = expression.replace("$__rate_interval", "10s").replace("$__range", "1m");
    for variable in board["templating"]["list"].as_array().expect("a list") {
        if let Some(all) = variable["allValue"].as_str() {
            filled =
                filled.replace(&format!("\"${}\"", text(&variable["name"])), &format!("\"{all}\""));
        }
    }
    filled
}

/// Every question of every panel.
pub(crate) fn asked() -> Vec<Asked> {
    let mut asked = Vec::new();
    for (uid, board) in boards() {
        let mut row = String::new();
        for panel in board["panels"].as_array().expect("a list") {
            if panel["type"] == "row" {
                row = text(&panel["title"]).to_owned();
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                let (row, panel) = (row.clone(), text(&panel["title"]).to_owned());
                let expression = filled(&board, text(&target["expr"]));
                asked.push(Asked { uid, row, panel, expression });
            }
        }
    }
    asked
}

/// What every dashboard lets one choose from.
pub(crate) fn offered() -> Vec<Offered> {
    let mut offered = Vec::new();
    for (_, board) in boards() {
        for variable in board["templating"]["list"].as_array().expect("a list") {
            let Some(query) = variable["definition"].as_str() else { continue };
            let inner = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (series, label) = inner.and_then(|it| it.rsplit_once(", ")).expect("label_values");
            offered.push(Offered { series: filled(&board, series), label: label.to_owned() });
        }
    }
    offered
}

//! What can be known of dashboards without Grafana and Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn shipped() -> Vec<(&'static str, Value)> {
    let read = |it: &Dashboard| (it.uid, serde_json::from_str(&it.json).expect("JSON"));
    dashboards("docs/runbooks").iter().map(read).collect()
}

fn panels(board: &Value) -> &Vec<Value> {
    board["panels"].as_array().expect("a list")
}

fn expressions(board: &Value) -> Vec<&str> {
    let targets = panels(board).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("text")).collect()
}

/// The words of `text` that begin like this, of what metrics and labels are made of.
fn words<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !part(c)).filter(|word| word.starts_with(begin)).collect()
}

#[test]
fn what_must_be_unique_is() {
    let boards = shipped();
    let uids: BTreeSet<_> = boards.iter().map(|(uid, _)| uid).collect();
    let titles: BTreeSet<_> = boards.iter().map(|(_, board)| board["title"].to_string()).collect();
    assert_eq!((uids.len(), titles.len()), (6, 6));
    for (uid, board) in &boards {
        assert_eq!(board["uid"], *uid);
        assert_eq!(board["schemaVersion"], 39);
        let ids: BTreeSet<_> = panels(board).iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels(board).len(), "{uid}");
        assert!(!ids.contains(&None) && !ids.contains(&Some(0)), "{uid}");
        // Grafana takes no longer uid.
        assert!(uid.len() <= 40, "{uid}");
    }
}

#[test]
fn panels_lie_beside_each_other_and_say_what_they_show() {
    for (uid, board) in shipped() {
        let mut taken = BTreeSet::new();
        for panel in panels(&board) {
            let title = &panel["title"];
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{uid}: {title}");
            for cell in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
                assert!(taken.insert(cell), "{uid}: {title} lies on another");
            }
            if panel["type"] == "row" {
                continue;
            }
            assert!(panel["description"].as_str().is_some_and(|it| it.ends_with('.')), "{title}");
            assert!(!panel["targets"].as_array().expect("a list").is_empty(), "{uid}: {title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{uid}: {title}");
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let page = include_str!("../../docs/metrics.md");
    let mut seen = BTreeSet::new();
    for (_, board) in shipped() {
        let text = board.to_string();
        for name in words(&text, "meshprobe_").into_iter().filter(|name| !name.contains(':')) {
            let metric = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            assert!(page.contains(&format!("| `{metric}` |")), "{name}");
            seen.insert(metric.to_owned());
        }
    }
    assert!(seen.len() > 40, "{seen:?}");
}

#[test]
fn every_recorded_series_is_made_by_the_rules_that_are_shipped() {
    let (records, slos) = (
        include_str!("../../deploy/helm/meshprobe/files/records.yaml"),
        include_str!("../../deploy/helm/meshprobe/files/slo.yaml"),
    );
    let made: BTreeSet<&str> = [records, slos]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .collect();
    let mut read = BTreeSet::new();
    for (uid, board) in shipped() {
        for name in expressions(&board).into_iter().flat_map(|it| words(it, "meshprobe:")) {
            assert!(made.contains(name), "{uid}: {name} is not recorded");
            read.insert(name.to_owned());
        }
    }
    assert!(read.len() > 10, "{read:?}");
}

#[test]
fn queries_name_only_variables_that_there_are() {
    for (uid, board) in shipped() {
        let list = board["templating"]["list"].as_array().expect("a list");
        let known: BTreeSet<&str> = list.iter().filter_map(|it| it["name"].as_str()).collect();
        let grafana = ["__rate_interval", "__range", "1"];
        for expression in expressions(&board) {
            for (at, _) in expression.match_indices('$') {
                let rest = &expression[at + 1..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = &rest[..end.unwrap_or(rest.len())];
                assert!(known.contains(name) || grafana.contains(&name), "{uid}: ${name}");
            }
        }
    }
}

#[test]
fn links_lead_to_what_exists() {
    let boards = shipped();
    let mut followed = 0;
    for (uid, board) in &boards {
        for panel in panels(board) {
            for link in panel["links"].as_array().into_iter().flatten() {
                let url = link["url"].as_str().expect("text");
                let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(url);
                assert!(path.is_file(), "{uid}: {url}");
                followed += 1;
            }
            let onward = panel["fieldConfig"]["defaults"]["links"].as_array();
            for link in onward.into_iter().flatten() {
                let url = link["url"].as_str().expect("text");
                let Some(rest) = url.strip_prefix("/d/") else {
                    assert_eq!(url, "docs/runbooks/${__data.fields.alertname}.md");
                    continue;
                };
                let (to, query) = rest.split_once('?').expect("variables");
                let to = boards.iter().find(|(uid, _)| *uid == to).expect("a dashboard of ours");
                let variables = to.1["templating"].to_string();
                for chosen in query.split("&var-").skip(1) {
                    let name = chosen.split('=').next().expect("split yields one part");
                    assert!(variables.contains(&format!("\"name\":\"{name}\"")), "{url}");
                }
                followed += 1;
            }
        }
    }
    assert!(followed > 30, "{followed}");
    let away = dashboards("https://runbooks.example/");
    assert!(away.iter().any(|it| it.json.contains("\"https://runbooks.example/Meshprobe")));
}

#[test]
fn the_chart_ships_them() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/meshprobe/files/dashboards");
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        files.insert(entry.expect("readable").file_name().into_string().expect("UTF-8"));
    }
    let made = dashboards("docs/runbooks");
    let names: BTreeSet<String> = made.iter().map(|it| format!("{}.json", it.uid)).collect();
    assert_eq!(files, names);
    for Dashboard { uid, json } in made {
        let shipped = std::fs::read_to_string(format!("{folder}/{uid}.json")).expect("it is there");
        assert!(shipped == json, "{uid}: run deploy/generate.sh");
    }
}

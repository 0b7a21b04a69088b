//! Dashboards as Grafana reads them: its JSON model, of the schema that Grafana 10 and later take.

use serde_json::{Value, json};

use crate::dashboards::board::{Board, Variable};
use crate::dashboards::panel::{Colour, Onward, Panel, Query, Shown, Unit};

/// The schema of dashboards that Grafana 10.4 writes; later ones read it.
const SCHEMA: u64 = 39;
/// The tag by which dashboards find each other.
const TAG: &str = "meshprobe";
const COLUMNS: u64 = 24;
/// Results of the gate, and severities of alerts.
const WORDS: [(&str, Colour); 9] = [
    ("ready", Colour::Green),
    ("not_ready", Colour::Red),
    ("not_enough_evidence", Colour::Orange),
    ("pass", Colour::Green),
    ("warn", Colour::Orange),
    ("fail", Colour::Red),
    ("critical", Colour::Red),
    ("warning", Colour::Orange),
    ("info", Colour::Blue),
];

/// `board` as a file.
pub(super) fn text(board: &Board, runbooks: &str) -> String {
    let text = serde_json::to_string_pretty(&model(board, runbooks));
    text.expect("text keys and finite numbers") + "\n"
}

fn model(board: &Board, runbooks: &str) -> Value {
    let variables = board.variables.iter().map(variable);
    let datasource = json!({
        "name": "datasource", "label": "data source", "type": "datasource",
        "query": "prometheus", "current": {}, "hide": 0, "refresh": 1,
    });
    json!({
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": [TAG, "istio", "ambient"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": { "from": "now-3h", "to": "now" },
        "templating": { "list": std::iter::once(datasource).chain(variables).collect::<Vec<_>>() },
        "annotations": { "list": [] },
        "links": [{
            "title": "meshprobe", "type": "dashboards", "tags": [TAG], "icon": "dashboard",
            "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false,
            "tooltip": "", "url": "",
        }],
        "panels": panels(board, runbooks),
    })
}

fn variable(Variable { name, values, all }: &Variable) -> Value {
    json!({
        "name": name, "label": name, "type": "query", "datasource": datasource(),
        "definition": values, "query": { "query": values, "refId": name },
        "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": all,
        "current": { "text": ["All"], "value": ["$__all"] }, "hide": 0,
    })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Panels from left to right, and on the next line when there is no room.
fn panels(board: &Board, runbooks: &str) -> Vec<Value> {
    let mut placed = Vec::new();
    let mut top = 0;
    for row in &board.rows {
        let id = placed.len() + 1;
        placed.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": top, "w": COLUMNS, "h": 1 },
        }));
        top += 1;
        let (mut left, mut tallest) = (0, 0);
        for panel in &row.panels {
            if left + panel.width > COLUMNS {
                top += tallest;
                (left, tallest) = (0, 0);
            }
            let mut value = shown(panel, runbooks);
            value["id"] = json!(placed.len() + 1);
            value["gridPos"] = json!({ "x": left, "y": top, "w": panel.width, "h": panel.height });
            placed.push(value);
            left += panel.width;
            tallest = tallest.max(panel.height);
        }
        top += tallest;
    }
    placed
}

fn shown(panel: &Panel, runbooks: &str) -> Value {
    let targets: Vec<Value> =
        panel.queries.iter().zip('A'..='Z').map(|(query, id)| target(panel, query, id)).collect();
    let links = panel.runbooks.iter().map(|alert| {
        let (title, url) = (format!("Runbook: {alert}"), format!("{runbooks}/{alert}.md"));
        json!({ "title": title, "url": url, "targetBlank": true })
    });
    json!({
        "type": kind(panel.shown),
        "title": panel.title,
        "description": panel.description,
        "datasource": datasource(),
        "targets": targets,
        "links": links.collect::<Vec<_>>(),
        "transformations": transformations(panel),
        "options": options(panel.shown),
        "fieldConfig": { "defaults": defaults(panel, runbooks), "overrides": overrides(panel) },
    })
}

fn kind(shown: Shown) -> &'static str {
    match shown {
        Shown::Stat => "stat",
        Shown::Lines => "timeseries",
        Shown::Table | Shown::Matrix { .. } => "table",
        Shown::Heatmap => "heatmap",
    }
}

fn target(panel: &Panel, query: &Query, id: char) -> Value {
    let instant = matches!(panel.shown, Shown::Stat | Shown::Table | Shown::Matrix { .. });
    let format = match panel.shown {
        Shown::Table | Shown::Matrix { .. } => "table",
        Shown::Heatmap => "heatmap",
        Shown::Stat | Shown::Lines => "time_series",
    };
    json!({
        "refId": id.to_string(), "datasource": datasource(), "expr": query.expr,
        "legendFormat": query.legend, "format": format, "instant": instant, "range": !instant,
    })
}

/// Series as rows, or as cells; the time of an instant is no column.
fn transformations(panel: &Panel) -> Vec<Value> {
    match panel.shown {
        Shown::Matrix { rows, columns } => vec![json!({
            "id": "groupingToMatrix",
            "options": {
                "rowField": rows, "columnField": columns, "valueField": "Value", "emptyValue": "null",
            },
        })],
        Shown::Table => {
            let names = match panel.queries.as_slice() {
                [only] => vec![("Value".to_owned(), only.legend)],
                all => {
                    let named =
                        |(query, id): (&Query, char)| (format!("Value #{id}"), query.legend);
                    all.iter().zip('A'..='Z').map(named).collect()
                }
            };
            let names: serde_json::Map<String, Value> =
                names.into_iter().map(|(from, to)| (from, json!(to))).collect();
            let hidden = json!({ "Time": true, "__name__": true, "Value": is_of_words(panel) });
            vec![
                json!({ "id": "merge", "options": {} }),
                json!({
                    "id": "organize",
                    "options": { "excludeByName": hidden, "renameByName": names, "indexByName": {} },
                }),
            ]
        }
        Shown::Stat | Shown::Lines | Shown::Heatmap => Vec::new(),
    }
}

fn options(shown: Shown) -> Value {
    match shown {
        Shown::Stat => json!({
            "colorMode": "background", "graphMode": "none", "textMode": "auto",
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
        }),
        Shown::Lines => json!({
            "legend": { "displayMode": "table", "placement": "right", "showLegend": true,
                        "calcs": ["lastNotNull", "max"] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        }),
        Shown::Table | Shown::Matrix { .. } => {
            json!({ "showHeader": true, "cellHeight": "sm", "footer": { "show": false } })
        }
        Shown::Heatmap => json!({
            "calculate": false, "color": { "mode": "scheme", "scheme": "Blues", "steps": 64 },
            "yAxis": { "unit": "s" }, "cellGap": 1, "legend": { "show": true },
            "tooltip": { "mode": "single", "yHistogram": false },
        }),
    }
}

fn defaults(panel: &Panel, runbooks: &str) -> Value {
    let mut defaults = json!({ "unit": unit(panel.unit), "links": onward(panel, runbooks) });
    if panel.unit == Unit::Share && panel.shown == Shown::Lines {
        defaults["min"] = json!(0);
        defaults["max"] = json!(1);
    }
    // Without a judgement, everything has one quiet colour.
    let steps = match panel.steps {
        [] => vec![json!({ "color": "blue", "value": null })],
        steps => steps.iter().map(step).collect(),
    };
    let judged = !panel.steps.is_empty();
    if panel.shown != Shown::Lines || judged {
        defaults["thresholds"] = json!({ "mode": "absolute", "steps": steps });
    }
    if panel.shown != Shown::Lines {
        defaults["color"] = json!({ "mode": "thresholds" });
    }
    if judged && panel.shown == Shown::Lines {
        defaults["custom"] = json!({ "thresholdsStyle": { "mode": "dashed" } });
    }
    defaults
}

/// Cells by what they hold: numbers as they are judged, words as they are meant. A name has no colour.
fn overrides(panel: &Panel) -> Vec<Value> {
    let coloured = json!({ "id": "custom.cellOptions", "value": { "type": "color-background" } });
    match panel.shown {
        Shown::Table | Shown::Matrix { .. } if !panel.steps.is_empty() => vec![json!({
            "matcher": { "id": "byType", "options": "number" }, "properties": [coloured],
        })],
        Shown::Table if is_of_words(panel) => {
            let words =
                WORDS.map(|(word, colour)| (word.to_owned(), json!({ "color": name(colour) })));
            let words: serde_json::Map<String, Value> = words.into_iter().collect();
            let mapped =
                json!({ "id": "mappings", "value": [{ "type": "value", "options": words }] });
            let field = |field| {
                json!({
                    "matcher": { "id": "byName", "options": field }, "properties": [coloured, mapped],
                })
            };
            ["result", "severity"].map(field).into()
        }
        _ => Vec::new(),
    }
}

/// Whether a table is of labels alone: every value is 1.
fn is_of_words(panel: &Panel) -> bool {
    matches!(panel.queries.as_slice(), [only] if only.legend.is_empty())
}

fn step((from, colour): &(f64, Colour)) -> Value {
    // Grafana writes the lowest step without a value.
    json!({ "color": name(*colour), "value": from.is_finite().then_some(from) })
}

fn name(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "green",
        Colour::Orange => "orange",
        Colour::Red => "red",
        Colour::Blue => "blue",
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::Share => "percentunit",
        Unit::Seconds => "s",
        Unit::PerSecond => "cps",
        Unit::Bytes => "bytes",
        Unit::Times => "none",
    }
}

/// Rows of a table name their labels as fields, lines carry them themselves.
fn onward(panel: &Panel, runbooks: &str) -> Vec<Value> {
    let tabular = matches!(panel.shown, Shown::Table | Shown::Matrix { .. });
    let (title, url, away) = match panel.onward {
        None => return Vec::new(),
        Some(Onward::Runbook) => {
            ("Runbook", format!("{runbooks}/${{__data.fields.alertname}}.md"), true)
        }
        Some(Onward::Board { uid, labels }) => {
            let chosen = labels.iter().map(|label| match tabular {
                true => format!("&var-{label}=${{__data.fields.{label}}}"),
                false => format!("&var-{label}=${{__field.labels.{label}}}"),
            });
            let chosen: String = chosen.collect();
            let url = format!("/d/{uid}?${{datasource:queryparam}}{chosen}&${{__url_time_range}}");
            ("Look closer", url, false)
        }
    };
    vec![json!({ "title": title, "url": url, "targetBlank": away })]
}

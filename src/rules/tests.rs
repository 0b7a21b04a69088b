//! What rules are made, as text; what they do is asked of Prometheus itself, in `tests/real`.

use super::*;
use crate::config::promised;

fn text(slos: &str) -> String {
    let slos = promised(slos, &Default::default()).expect("good");
    rules(&slos, "https://runbooks/", Parts { slos: true, alerts: false, records: false }).to_file()
}

#[test]
fn the_files_that_are_part_of_the_program_can_be_read() {
    let Rules { groups } = rules(&[], RUNBOOKS, Parts::ALL);
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["meshprobe", "meshprobe-evidence", "meshprobe-fleet"]);
    assert!(!rules(&[], RUNBOOKS, Parts::ALL).to_file().contains("THRESHOLD"));
}

#[test]
fn a_burn_rate_that_no_outage_reaches_makes_no_condition() {
    let of = |objective| {
        text(&format!(
            "slos: [{{name: a, objective: {objective}, window: 30d, sli: availability}}]"
        ))
    };
    assert!(of("99.9%").contains("slo_errors:ratio1h{slo=\"a\"} > 0.0144\n"));
    let low = of("80%");
    assert!(!low.contains("severity: critical") && low.contains("ratio3d{slo=\"a\"} > 0.2\n"));
}

#[test]
fn only_a_month_of_the_calendar_needs_one() {
    let of = |window| {
        text(&format!("slos: [{{name: a, objective: 0.9, window: {window}, sli: availability}}]"))
    };
    assert!(!of("30d").contains("calendar"));
    assert!(of("calendar_month").contains("@ end()))[31d:1h])"));
}

#[test]
fn links_lead_to_where_runbooks_are() {
    let text = text("slos: [{name: a, objective: 0.9, window: 7d, sli: availability}]");
    assert!(text.contains("https://runbooks/MeshprobeSloBudgetBurn.md"), "{text}");
}

/// What fits is exported whole, what does not is told and left out.
const EXPORTED: &str = "slos:
- { name: ratio, description: d, objective: 99.95%, window: 30d, sli: availability, select: { target: 'peer/*' } }
- { name: quick, objective: 99%, window: 28d, sli: { latency: { threshold: 250ms, phase: tls } } }
- { name: nodes, objective: 99%, window: 7d, sli: availability, group_by: [node, zone] }
- { name: month, objective: 99%, window: calendar_month, sli: availability }
- { name: second, objective: 99%, window: 30d, sli: { latency: { threshold: 1s } }, group_by: [namespace] }
";

fn tree(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).expect("YAML")
}

#[test]
fn sloth_gets_what_it_can_state() {
    let slos = promised(EXPORTED, &Default::default()).expect("good");
    let Exported { text, unfit } = sloth(&slos, RUNBOOKS);
    let unfit: Vec<&str> = unfit.iter().map(|unfit| unfit.slo.as_str()).collect();
    assert_eq!(unfit, ["nodes", "month", "second"]);
    let file = tree(&text);
    assert_eq!(
        (&file["version"], &file["service"]),
        (&"prometheus/v1".into(), &"meshprobe".into())
    );
    let slos = file["slos"].as_array().expect("a list");
    assert_eq!(slos.len(), 2);
    assert_eq!((&slos[0]["objective"], &slos[1]["objective"]), (&99.95.into(), &99.into()));
    for slo in slos {
        for query in ["error_query", "total_query"] {
            let query = slo["sli"]["events"][query].as_str().expect("a query");
            assert!(query.contains("[{{.window}}]"), "{query}");
        }
        assert_eq!(slo["alerting"]["page_alert"]["labels"]["severity"], "critical");
    }
}

#[test]
fn pyrra_gets_what_it_can_state() {
    let slos = promised(EXPORTED, &Default::default()).expect("good");
    let Exported { text, unfit } = pyrra(&slos, "monitoring");
    let unfit: Vec<&str> = unfit.iter().map(|unfit| unfit.slo.as_str()).collect();
    assert_eq!(unfit, ["month", "second"]);
    let objects: Vec<_> = text.split("---\n").map(tree).collect();
    let [ratio, quick, nodes] = objects.as_slice() else { panic!("{text}") };
    for object in &objects {
        assert_eq!(object["apiVersion"], "pyrra.dev/v1alpha1");
        assert_eq!(object["kind"], "ServiceLevelObjective");
        assert_eq!(object["metadata"]["namespace"], "monitoring");
        // The custom resource takes text for both, and exactly one indicator.
        assert!(object["spec"]["target"].is_string() && object["spec"]["window"].is_string());
        assert_eq!(object["spec"]["indicator"].as_object().map(|it| it.len()), Some(1));
    }
    assert_eq!(ratio["spec"]["target"], "99.95");
    let indicator = &ratio["spec"]["indicator"]["ratio"];
    assert!(indicator["errors"]["metric"].as_str().expect("text").contains("verdict=\"violated\""));
    assert!(indicator["total"]["metric"].is_string());
    let success = quick["spec"]["indicator"]["latency"]["success"]["metric"].as_str();
    assert_eq!(success, Some("meshprobe_phase_duration_seconds_bucket{le=\"0.25\",phase=\"tls\"}"));
    let total = quick["spec"]["indicator"]["latency"]["total"]["metric"].as_str();
    assert_eq!(total, Some("meshprobe_phase_duration_seconds_count{phase=\"tls\"}"));
    let grouping = &nodes["spec"]["indicator"]["ratio"]["grouping"];
    assert_eq!(*grouping, serde_json::json!(["node", "zone"]));
}

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

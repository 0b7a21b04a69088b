//! A report as Markdown, for a ticket or a wiki.

use std::fmt::Write;

use crate::markdown::inert;
use crate::observation::rfc3339;
use crate::report::model::{Report, SloReport};
use crate::report::sheet::{Sheet, sheets};
use crate::report::words::{exact, length, period};

/// Groups that are shown.
const MOST_GROUPS: usize = 20;

/// `report` as Markdown with tables as GitHub reads them.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("# SLO report of {}\n\n", rfc3339::seconds(report.at));
    for slo in &report.slos {
        one(slo, &mut text);
    }
    for note in &report.notes {
        let _ = writeln!(text, "> {}\n", inert(note));
    }
    let _ = writeln!(text, "Source: {}", inert(&report.source));
    text
}

fn one(slo: &SloReport, text: &mut String) {
    let name = inert(&slo.name);
    let _ =
        writeln!(text, "## {name}: {}\n\n**{}**\n", slo.standing.as_str(), inert(&slo.sentence));
    if let Some(description) = &slo.description {
        let _ = writeln!(text, "{}\n", inert(description));
    }
    let (objective, time) = (exact(slo.objective), length(&slo.period));
    let told = format!("{objective} over {}: {}", slo.window, inert(&slo.sli));
    let _ = writeln!(text, "{told}. From {} ({time}).\n", period(&slo.period));
    if let Some(before) = &slo.before {
        let _ = writeln!(text, "Compared with {}.\n", period(before));
    }
    for sheet in sheets(slo, MOST_GROUPS) {
        table(&sheet, text);
    }
    for note in &slo.notes {
        let _ = writeln!(text, "> {}\n", inert(note));
    }
}

fn table(sheet: &Sheet, text: &mut String) {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| inert(cell)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let line = vec!["---".to_owned(); sheet.head.len()];
    let _ = writeln!(text, "### {}\n\n{}\n{}", sheet.title, row(&sheet.head), row(&line));
    for cells in &sheet.rows {
        let _ = writeln!(text, "{}", row(cells));
    }
    let more = if sheet.more > 0 { format!("\nand {} more\n", sheet.more) } else { String::new() };
    let _ = writeln!(text, "{more}");
}

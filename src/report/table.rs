//! A report as text for a terminal.

use std::fmt::Write;

use crate::report::model::{Report, SloReport, Standing};
use crate::report::sheet::{Sheet, sheets};
use crate::report::words::{exact, length, period};

/// Groups that are shown.
const MOST_GROUPS: usize = 20;

/// `report` as text, without control characters but line ends.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for slo in &report.slos {
        one(slo, &mut text);
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "source: {}", report.source);
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn one(slo: &SloReport, text: &mut String) {
    let mark = match slo.standing {
        Standing::Met => "√",
        Standing::Missed => "×",
        Standing::TooLittleData | Standing::NoData => "?",
    };
    let _ = writeln!(text, "{mark} {}: {}", slo.name, slo.sentence);
    if let Some(description) = &slo.description {
        let _ = writeln!(text, "    {}", description.replace('\n', " "));
    }
    let (time, objective) = (length(&slo.period), exact(slo.objective));
    let _ = writeln!(text, "    {} ({time})", period(&slo.period));
    let _ = writeln!(text, "    {objective} over {}: {}", slo.window, slo.sli);
    if let Some(before) = &slo.before {
        let _ = writeln!(text, "    compared with {}", period(before));
    }
    for sheet in sheets(slo, MOST_GROUPS) {
        let _ = writeln!(text, "\n    {}", sheet.title);
        columns(&sheet, text);
    }
    text.push('\n');
    for note in &slo.notes {
        let _ = writeln!(text, "    note: {note}");
    }
    text.push('\n');
}

fn columns(sheet: &Sheet, text: &mut String) {
    let lines = || std::iter::once(&sheet.head).chain(&sheet.rows);
    let width = |at: usize| lines().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..sheet.head.len()).map(width).collect();
    for row in lines() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "      {}", line.trim_end());
    }
    if sheet.more > 0 {
        let _ = writeln!(text, "      and {} more", sheet.more);
    }
}

//! The gate's answer for people: the line that counts first, then each check, then the commands.

use std::io::{self, Write};

use crate::cli::render::inert;
use crate::gate::change::{Change, Recommendation};
use crate::gate::report::{CheckReport, CheckResult};
use crate::gate::{GateResult, Report};
use crate::observation::rfc3339;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}\n", inert(&report.summary))?;
    for check in &report.checks {
        print_check(check, out)?;
    }
    let Report { objective, confidence, window_seconds, .. } = report;
    writeln!(
        out,
        "\n{} of attempts must succeed, shown at {} confidence; now is the last {window_seconds} s; \
         counted since {} at most, when this controller started",
        percent(*objective),
        percent(*confidence),
        rfc3339::seconds(report.counting_since),
    )?;
    if let Some(change) = &report.change {
        writeln!(out)?;
        print_change(change, out)?;
    }
    let Some(commands) = &report.commands else { return Ok(()) };
    let when = match report.result {
        GateResult::Ready => "Apply STRICT:",
        GateResult::NotReady => "Apply STRICT, once the checks above are mended:",
        GateResult::NotEnoughEvidence => "Apply STRICT, once there is enough evidence:",
    };
    writeln!(out, "\n{when}")?;
    print_command(&commands.apply, out)?;
    writeln!(out, "\nTake it back:")?;
    print_command(&commands.revert, out)?;
    writeln!(out, "\nNote: {}", inert(&commands.limit))
}

pub(super) fn mark(result: CheckResult) -> char {
    match result {
        CheckResult::Pass => '√',
        CheckResult::Warn => '‼',
        CheckResult::NotEnoughEvidence => '?',
        CheckResult::Fail => '×',
    }
}

/// Of a check that passes one line; of another one everything that is not as it should be.
fn print_check(check: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
    let CheckReport { check: name, title, result, details, hint, .. } = check;
    writeln!(out, "{} {}: {}", mark(*result), name.as_str(), inert(title))?;
    let shown = details.iter().filter(|it| it.result != CheckResult::Pass || it.result == *result);
    for detail in shown {
        writeln!(out, "    {} {}", mark(detail.result), inert(&detail.text))?;
    }
    match hint {
        Some(hint) => writeln!(out, "    hint: {}", inert(hint)),
        None => Ok(()),
    }
}

/// What came of a change, and the command that takes it back.
pub(super) fn print_change(change: &Change, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", inert(&change.summary))?;
    for evidence in &change.evidence {
        writeln!(out, "    {}", inert(evidence))?;
    }
    for it in &change.checks {
        let (before, after) = (&it.before, &it.after);
        let latency = |p99: Option<f64>| {
            p99.map(|p99| format!(", p99 {:.1} ms", p99 * 1e3)).unwrap_or_default()
        };
        writeln!(
            out,
            "    {}: before {} of {} failed{}; since {} of {}{}",
            it.check.as_str(),
            before.violated,
            before.attempts,
            latency(before.p99_seconds),
            after.violated,
            after.attempts,
            latency(after.p99_seconds),
        )?;
    }
    if change.recommendation == Recommendation::Revert {
        writeln!(out, "Take it back:")?;
        print_command(&change.revert, out)?;
    }
    Ok(())
}

/// A command of several lines, as it is typed: nothing stands before a line, for a here-document
/// ends only with a line that is its word and nothing else.
pub(super) fn print_command(command: &str, out: &mut dyn Write) -> io::Result<()> {
    command.lines().try_for_each(|line| writeln!(out, "{}", inert(line)))
}

fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

//! The gate's answer as a table for a ticket or a pull request.

use std::io::{self, Write};

use crate::cli::gate::table::{mark, print_command};
use crate::cli::render::inert;
use crate::gate::Report;
use crate::markdown;
use crate::observation::rfc3339;

pub(super) fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "**{}**\n", cell(&report.summary))?;
    writeln!(out, "| | check | result | why |\n| --- | --- | --- | --- |")?;
    for check in &report.checks {
        let (result, name) = (check.result, check.check.as_str());
        let details: Vec<String> = check.details.iter().map(|it| cell(&it.text)).collect();
        let why = details.join("<br>");
        writeln!(out, "| {} | {name} | {} | {why} |", mark(result), result.as_str())?;
    }
    writeln!(
        out,
        "\nJudged at {}; {} of attempts must succeed, at {} confidence; counted since {}.",
        rfc3339::seconds(report.evaluated_at),
        report.objective,
        report.confidence,
        rfc3339::seconds(report.counting_since),
    )?;
    if let Some(change) = &report.change {
        writeln!(out, "\n{}", cell(&change.summary))?;
    }
    let Some(commands) = &report.commands else { return Ok(()) };
    for (title, command) in [("Apply", &commands.apply), ("Take back", &commands.revert)] {
        writeln!(out, "\n{title}:\n\n```sh")?;
        print_command(command, out)?;
        writeln!(out, "```")?;
    }
    writeln!(out, "\n{}", cell(&commands.limit))
}

/// Text of others in a cell: it neither ends the cell nor starts markup, and control characters are
/// shown.
fn cell(text: &str) -> String {
    markdown::inert(&inert(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_make_no_markup() {
        assert_eq!(cell("a|b `c` <d>\n"), r"a\|b \`c\` &lt;d&gt;\\n");
    }
}

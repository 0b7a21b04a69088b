//! `--watch`: asks again and again after STRICT was applied, and says when to take it back.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cli::flags::{GateOutput, StrictFlags};
use crate::cli::gate::{asked, table};
use crate::cli::{Exit, World, render};
use crate::gate::Report;
use crate::gate::change::{Change, Recommendation};
use crate::gate::report::Mode;
use crate::observation::rfc3339;

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(10);

/// Watches until a revert is recommended (2), or the time is over: 0 when nothing got worse, 3 when
/// that cannot be told, or no change was seen.
pub(super) async fn run(
    flags: &StrictFlags,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let mut shown: Option<String> = None;
    let (mut report, mut body) = asked(flags, world).await?;
    loop {
        let change = strict(&report);
        let told = change.map_or_else(|| waiting(&report), |change| change.summary.clone());
        if shown.as_ref() != Some(&told) {
            match flags.output {
                GateOutput::Json => writeln!(out, "{}", serde_json::to_string(&body)?)?,
                GateOutput::Table | GateOutput::Markdown => print(&report, out)?,
            }
            out.flush()?;
            shown = Some(told);
        }
        if change.is_some_and(|it| it.recommendation == Recommendation::Revert) {
            return Ok(Exit::Violated);
        }
        let elapsed = change.and_then(|it| (report.evaluated_at - it.at).try_into().ok());
        if elapsed.unwrap_or_else(|| began.elapsed()) >= flags.watch_for {
            let keep = change.is_some_and(|it| it.recommendation == Recommendation::Keep);
            return Ok(if keep { Exit::Met } else { Exit::Inconclusive });
        }
        sleep(EVERY).await;
        match asked(flags, world).await {
            Ok(again) => (report, body) = again,
            // The controller may be moving just now; what was seen stays true.
            Err(error) => {
                let line = render::inert(&format!("not asked: {error:#}"));
                writeln!(err, "{line}")?;
                if began.elapsed() >= flags.watch_for {
                    return Err(error);
                }
            }
        }
    }
}

/// The change to STRICT, when that is the last one.
fn strict(report: &Report) -> Option<&Change> {
    report.change.as_ref().filter(|change| change.to == Mode::Strict)
}

/// What is waited for.
fn waiting(report: &Report) -> String {
    let scope = &report.scope;
    match report.mode {
        Some(Mode::Strict) => format!(
            "STRICT is in force in {scope}, and this controller did not see it come: there is no \
             before to compare with"
        ),
        Some(Mode::Permissive) => format!("waiting for STRICT in {scope}"),
        None => {
            "which mode is in force is not known: PeerAuthentications cannot be read".to_owned()
        }
    }
}

fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{} ", rfc3339::seconds(report.evaluated_at))?;
    match strict(report) {
        Some(change) => table::print_change(change, out),
        None => {
            writeln!(out, "{}; {}", render::inert(&waiting(report)), render::inert(&report.summary))
        }
    }
}

//! `meshprobe gate strict`: asks a controller whether STRICT is safe, and tells its answer.

mod markdown;
mod table;
mod watch;

use std::io::Write;

use anyhow::{Context, bail};
use serde::Deserialize;
use url::form_urlencoded;

use crate::cli::flags::{GateCommand, GateOutput, StrictFlags};
use crate::cli::{Exit, World, ask};
use crate::gate::{GateResult, Report};

pub(crate) async fn run(
    command: GateCommand,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let GateCommand::Strict(flags) = command;
    if flags.watch {
        return watch::run(&flags, world, out, err).await;
    }
    let (report, body) = asked(&flags, world).await?;
    match flags.output {
        GateOutput::Table => table::print(&report, out)?,
        GateOutput::Markdown => markdown::print(&report, out)?,
        GateOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&body)?)?,
    }
    Ok(exit(report.result))
}

fn exit(result: GateResult) -> Exit {
    match result {
        GateResult::Ready => Exit::Met,
        GateResult::NotReady => Exit::Violated,
        GateResult::NotEnoughEvidence => Exit::Inconclusive,
    }
}

/// The controller's answer, and as it was written.
async fn asked(flags: &StrictFlags, world: &World) -> anyhow::Result<(Report, serde_json::Value)> {
    let body = ask::get(&flags.controller(), world, &path(flags)).await?;
    let body: serde_json::Value =
        serde_json::from_slice(&body).context("that is no answer of a controller")?;
    if let Some(problem) = body.get("error").and_then(serde_json::Value::as_str) {
        bail!("{problem}");
    }
    let report = Report::deserialize(&body).context("that is no answer of a controller")?;
    Ok((report, body))
}

fn path(flags: &StrictFlags) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    match &flags.namespace {
        Some(namespace) => query.append_pair("namespace", namespace),
        None => query.append_pair("mesh", "true"),
    };
    for (key, share) in [("objective", flags.objective), ("confidence", flags.confidence)] {
        if let Some(share) = share {
            query.append_pair(key, &share.to_string());
        }
    }
    format!("/v1/gate/strict?{}", query.finish())
}

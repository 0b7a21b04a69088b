//! `meshprobe report slo`: what became of the SLOs, by a Prometheus or by a controller.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use time::OffsetDateTime;

use crate::analysis::Diagnoses;
use crate::cli::flags::{ReportCommand, ReportOutput, SloReportFlags};
use crate::cli::words::Comparison;
use crate::cli::{Exit, World, ask, render, rules};
use crate::net::Resolver;
use crate::promql::{Credentials, Prometheus, Unanswered};
use crate::report::{
    Compare, Incident, Period, Report, Standing, Wanted, html, markdown, of_prometheus, table,
};
use crate::slo::Slo;

/// The largest answer to one question, bytes.
const MOST: usize = 256 * 1024 * 1024;

pub(crate) async fn run(
    command: &ReportCommand,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let ReportCommand::Slo(flags) = command;
    if flags.controller.node.is_some() {
        writeln!(err, "error: --node: an SLO says by itself of which nodes it is (select.node)")?;
        return Ok(Exit::Usage);
    }
    let (url, config) = (flags.prometheus.as_ref(), flags.config.as_ref());
    let report = match url.zip(config) {
        Some((url, config)) => of_series(url, config, flags, world, err).await?,
        None => of_controller(flags, world, err).await?,
    };
    let Some(report) = report else { return Ok(Exit::Usage) };
    match flags.output {
        ReportOutput::Table => out.write_all(table(&report).as_bytes())?,
        ReportOutput::Markdown => out.write_all(markdown(&report).as_bytes())?,
        ReportOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        ReportOutput::Html => out.write_all(html(&report).as_bytes())?,
    }
    Ok(exit(&report))
}

/// Missed when any is; met when all are.
fn exit(report: &Report) -> Exit {
    let all = || report.slos.iter().map(|slo| slo.standing);
    match () {
        () if all().any(|standing| standing == Standing::Missed) => Exit::Violated,
        () if report.slos.is_empty() => Exit::Inconclusive,
        () if all().all(|standing| standing == Standing::Met) => Exit::Met,
        () => Exit::Inconclusive,
    }
}

/// By a Prometheus; `None` when what was typed or configured is wrong, which is told.
async fn of_series(
    url: &str,
    config: &Path,
    flags: &SloReportFlags,
    world: &World,
    err: &mut dyn Write,
) -> anyhow::Result<Option<Report>> {
    let Some(slos) = rules::slos(config, world, err)? else { return Ok(None) };
    let Some(slos) = chosen(slos, flags, config, err)? else { return Ok(None) };
    let now = OffsetDateTime::now_utc();
    let Some(mut wanted) = wanted(flags, now, err)? else { return Ok(None) };
    let resolver = Resolver::load(Path::new("/etc/resolv.conf"), Path::new("/etc/hosts"))?;
    let prometheus = match Prometheus::new(url, None, Arc::new(resolver)) {
        Ok(prometheus) => prometheus,
        Err(problem) => {
            // User information is refused, and not shown.
            let told = if url.contains('@') { "<secret>".to_owned() } else { render::inert(url) };
            writeln!(err, "error: --prometheus {told}: {problem}")?;
            return Ok(None);
        }
    };
    let bearer = flags.bearer_token_file.clone().map(Credentials::Bearer);
    let credentials = bearer.or(flags.basic_auth_file.clone().map(Credentials::Basic));
    let prometheus = prometheus
        .with_credentials(credentials)
        .within(flags.timeout, MOST)
        .retrying(flags.retries);
    if flags.controller.server.is_some() || flags.controller.kubeconfig.is_some() {
        wanted.incidents = Some(incidents(flags, world).await?);
    }
    let report = of_prometheus(&prometheus, &slos, &wanted, format!("Prometheus {url}")).await;
    let report = report.map_err(|problem| {
        let hint = hint(&problem);
        anyhow::anyhow!("--prometheus {url}: {problem}{hint}")
    });
    report.map(Some)
}

/// How to mend it.
fn hint(problem: &Unanswered) -> &'static str {
    match problem {
        Unanswered::Refused { status: 401 | 403, .. } => {
            ": it wants --bearer-token-file or --basic-auth-file, with other contents than given"
        }
        Unanswered::Refused { status: 404, .. } | Unanswered::Malformed(_) => {
            ": is that a Prometheus, and its prefix the right one?"
        }
        Unanswered::Timeout(_) => ": is it overloaded? --timeout lets it take longer",
        Unanswered::Credentials { .. }
        | Unanswered::Connection(_)
        | Unanswered::Http(_)
        | Unanswered::Refused { .. } => "",
    }
}

/// Those that were asked for.
fn chosen(
    slos: Vec<Slo>,
    flags: &SloReportFlags,
    config: &Path,
    err: &mut dyn Write,
) -> anyhow::Result<Option<Vec<Slo>>> {
    let config = config.display();
    if slos.is_empty() {
        writeln!(err, "error: {config}: has no `slos`; docs/slo.md says how to write them")?;
        return Ok(None);
    }
    let is_there = |name: &str| slos.iter().any(|slo| slo.name.as_str() == name);
    if let Some(name) = flags.slo.iter().find(|name| !is_there(name)) {
        let known: Vec<&str> = slos.iter().map(|slo| slo.name.as_str()).collect();
        let (name, known) = (render::inert(name).to_string(), known.join(", "));
        writeln!(err, "error: --slo {name}: {config} has {known}")?;
        return Ok(None);
    }
    let wanted =
        |slo: &Slo| flags.slo.is_empty() || flags.slo.iter().any(|name| name == slo.name.as_str());
    Ok(Some(slos.into_iter().filter(wanted).collect()))
}

/// The times that were asked for.
fn wanted(
    flags: &SloReportFlags,
    now: OffsetDateTime,
    err: &mut dyn Write,
) -> anyhow::Result<Option<Wanted>> {
    let to = flags.to.map_or(now, |to| to.before(now));
    let from = flags.from.map(|from| from.before(to));
    let compare = match flags.compare {
        Comparison::Previous => Compare::Previous,
        Comparison::Between(from, to) => {
            let to = to.before(now);
            Compare::With(Period { from: from.before(to), to })
        }
    };
    let mut wrong = |what: &str| writeln!(err, "error: {what}");
    if to > now {
        wrong("--to is still to come: leave it out for now")?;
        return Ok(None);
    }
    if from.is_some_and(|from| from >= to) {
        wrong("--from is not before --to")?;
        return Ok(None);
    }
    if matches!(compare, Compare::With(Period { from, to }) if from >= to || to > now) {
        wrong("--compare: FROM is not before TO, or TO is still to come")?;
        return Ok(None);
    }
    Ok(Some(Wanted { from, to, compare, incidents: None }))
}

/// What the controller knows of what was broken.
async fn incidents(flags: &SloReportFlags, world: &World) -> anyhow::Result<Vec<Incident>> {
    let body = ask::get(&flags.controller, world, "/v1/diagnoses").await?;
    let told: Diagnoses =
        serde_json::from_slice(&body).context("that is no answer of a controller")?;
    Ok(told.open.iter().chain(&told.closed).map(Incident::from).collect())
}

/// By what a controller remembers; `None` when an SLO was asked for that it has not.
async fn of_controller(
    flags: &SloReportFlags,
    world: &World,
    err: &mut dyn Write,
) -> anyhow::Result<Option<Report>> {
    let body = ask::get(&flags.controller, world, "/v1/slo").await?;
    let mut report: Report =
        serde_json::from_slice(&body).context("that is no answer of a controller")?;
    if report.slos.is_empty() {
        let note = "The controller has no `slos` in its configuration: docs/slo.md says how to write them.";
        report.notes.push(note.to_owned());
    }
    let known = |name: &String| report.slos.iter().any(|slo| slo.name == *name);
    if let Some(name) = flags.slo.iter().find(|name| !known(name)) {
        writeln!(
            err,
            "error: --slo {}: the controller has none of that name",
            render::inert(name)
        )?;
        return Ok(None);
    }
    report.slos.retain(|slo| flags.slo.is_empty() || flags.slo.contains(&slo.name));
    Ok(Some(report))
}

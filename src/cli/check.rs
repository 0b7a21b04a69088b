//! `meshprobe check`: every target of a configuration once, told as `linkerd check` tells.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::attempt::Attempt;
use crate::cli::flags::{CheckFlags, CheckOutput};
use crate::cli::{Exit, World, config_command, fleet, mesh, probe, render};
use crate::expectation::Verdict;
use crate::net::Resolver;
use crate::probe::Environment;
use crate::target::ProbeKind;
use crate::{plan, runner};

/// Targets that are asked at the same time.
const AT_ONCE: usize = 16;

/// The JSON of `linkerd check`, and the attempts behind it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    success: bool,
    categories: Vec<Category>,
    attempts: &'a [Attempt],
}

/// Checks of one kind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Category {
    pub(crate) category_name: String,
    pub(crate) checks: Vec<Check>,
}

/// One line of a check.
#[derive(Serialize)]
pub(crate) struct Check {
    pub(crate) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) result: &'static str,
}

pub(crate) async fn run(
    flags: &CheckFlags,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let Some(file) = &flags.config else {
        return fleet::check(flags, world, out).await;
    };
    let Some(config) = config_command::load(file, world, err)? else {
        return Ok(Exit::Usage);
    };
    let resolver = Resolver::load(&config.resolv_conf, Path::new("/etc/hosts"))
        .with_context(|| format!("resolv_conf {}", config.resolv_conf.display()))?;
    let environment = Environment { resolver: Arc::new(resolver), ..Environment::default() };
    let Ok(mut targets) = plan::prepare(&config, &environment, &[]) else {
        bail!("a file of the configuration changed while it was read: try again");
    };
    if let Some(problem) = narrow(&mut targets, flags.target.as_deref()) {
        writeln!(err, "error: {}: {problem}", file.display())?;
        return Ok(Exit::Usage);
    }
    let asked = targets.iter().flat_map(|target| [Some(target), target.control.as_ref()]);
    let need = mesh::Need::of(asked.flatten().map(|target| &target.spec.probe));
    if let Err(problem) = mesh::join(need, config.mesh.as_ref(), &environment).await {
        writeln!(err, "note: {}", render::inert(&problem))?;
    }
    print(&runner::once(&targets, AT_ONCE).await, flags.output, out)
}

/// Keeps the targets whose name contains `part`; tells why when none is left.
fn narrow(targets: &mut Vec<Arc<plan::Target>>, part: Option<&str>) -> Option<String> {
    if targets.is_empty() {
        return Some("has no targets: add some under `targets`".to_owned());
    }
    let part = part?;
    let named = |target: &Arc<plan::Target>| target.spec.name.as_str().contains(part);
    if !targets.iter().any(named) {
        let names: Vec<&str> = targets.iter().map(|target| target.spec.name.as_str()).collect();
        let (part, names) = (render::inert(part), names.join(", "));
        return Some(format!("no target's name contains `{part}`; the names are {names}"));
    }
    targets.retain(named);
    None
}

fn print(attempts: &[Attempt], output: CheckOutput, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let verdicts: Vec<Verdict> = attempts.iter().map(|attempt| attempt.verdict).collect();
    let exit = probe::exit(&verdicts);
    match output {
        CheckOutput::Table => table(attempts, true, out)?,
        CheckOutput::Short => table(attempts, false, out)?,
        CheckOutput::Json => {
            let categories = by_kind(attempts)
                .into_iter()
                .map(|(kind, attempts)| Category {
                    category_name: title(kind).to_owned(),
                    checks: attempts.into_iter().flat_map(checks).collect(),
                })
                .collect();
            let report = Report { success: exit == Exit::Met, categories, attempts };
            writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        }
    }
    Ok(exit)
}

fn by_kind(attempts: &[Attempt]) -> BTreeMap<ProbeKind, Vec<&Attempt>> {
    let mut kinds: BTreeMap<ProbeKind, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        kinds.entry(attempt.probe).or_default().push(attempt);
    }
    kinds
}

fn title(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Dns => "names resolve",
        ProbeKind::Tcp => "ports answer",
        ProbeKind::Tls => "certificates hold",
        ProbeKind::Http => "services reply",
        ProbeKind::Hold => "connections live",
        ProbeKind::Hbone => "tunnels open",
        ProbeKind::Istiod => "istiod serves",
        ProbeKind::Capture => "capture is as enrolled",
        ProbeKind::Mtu => "large bodies pass",
        ProbeKind::Ztunnel => "ztunnels are ready",
    }
}

fn table(attempts: &[Attempt], all: bool, out: &mut dyn Write) -> io::Result<()> {
    for (kind, attempts) in by_kind(attempts) {
        let shown: Vec<_> =
            attempts.into_iter().filter(|a| all || a.verdict != Verdict::Met).collect();
        if shown.is_empty() {
            continue;
        }
        let title = title(kind);
        writeln!(out, "{title}\n{}", "-".repeat(title.len()))?;
        for attempt in shown {
            writeln!(out, "{} {}", attempt.verdict.mark(), description(attempt))?;
            let rungs = rungs(attempt);
            // The rung that broke tells why.
            let told = rungs.iter().any(|(verdict, _)| *verdict != Verdict::Met);
            if let Some(error) = error(attempt).filter(|_| !told) {
                writeln!(out, "    {}", render::inert(&error))?;
            }
            for (verdict, rung) in rungs {
                writeln!(out, "    {} {rung}", verdict.mark())?;
            }
            if let Some(failure) =
                attempt.failure.as_ref().filter(|_| attempt.verdict != Verdict::Met)
            {
                writeln!(out, "    {}", failure.reason.hint())?;
                writeln!(out, "    see docs/reasons.md for `{}`", failure.reason)?;
            }
        }
        writeln!(out)?;
    }
    let verdicts: Vec<Verdict> = attempts.iter().map(|attempt| attempt.verdict).collect();
    let worst = match probe::exit(&verdicts) {
        Exit::Met => Verdict::Met,
        Exit::Violated => Verdict::Violated,
        Exit::Inconclusive | Exit::CouldNotRun | Exit::Usage => Verdict::Inconclusive,
    };
    writeln!(out, "Status check results are {}", worst.mark())
}

fn description(attempt: &Attempt) -> String {
    let Attempt { target, expect, .. } = attempt;
    format!("{target}: {expect} ({})", render::human(attempt.duration))
}

/// What went wrong in one line; nothing when the expectation is met.
fn error(attempt: &Attempt) -> Option<String> {
    if attempt.verdict == Verdict::Met {
        return None;
    }
    let failure = attempt.failure.as_ref().map(ToString::to_string);
    match (failure, attempt.because) {
        (Some(failure), Some(because)) => Some(format!("{failure} ({because})")),
        (failure, because) => failure.or(because.map(str::to_owned)),
    }
}

/// The rungs of the ladder to istiod, when it was climbed.
fn rungs(attempt: &Attempt) -> Vec<(Verdict, String)> {
    attempt.facts.istiod.as_ref().map(render::rungs).unwrap_or_default()
}

/// The check of an attempt, and of each rung beneath it.
fn checks(attempt: &Attempt) -> Vec<Check> {
    let unmet = attempt.verdict != Verdict::Met;
    let whole = Check {
        description: description(attempt),
        hint: attempt.failure.as_ref().filter(|_| unmet).map(|failure| failure.reason.hint()),
        error: error(attempt),
        result: result(attempt.verdict),
    };
    let beneath = rungs(attempt).into_iter().map(|(verdict, rung)| {
        let description = format!("{}: {rung}", attempt.target);
        Check { description, hint: None, error: None, result: result(verdict) }
    });
    std::iter::once(whole).chain(beneath).collect()
}

/// The word of `linkerd check` for a verdict.
pub(crate) fn result(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "success",
        Verdict::Violated => "error",
        Verdict::Inconclusive => "warning",
    }
}

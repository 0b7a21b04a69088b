//! `meshprobe rules`: SLOs in, rules of Prometheus out.

use std::io::Write;
use std::path::Path;

use crate::cli::flags::{Part, RulesFlags, RulesOutput};
use crate::cli::{Exit, World};
use crate::config::{self, Mistake};
use crate::rules::{self, Parts};
use crate::slo::Slo;

pub(crate) fn run(
    flags: &RulesFlags,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let slos = match &flags.config {
        Some(file) => slos(file, world, err)?,
        None => Some(Vec::new()),
    };
    let Some(slos) = slos else { return Ok(Exit::Usage) };
    let wanted = |part| flags.only.is_empty() || flags.only.contains(&part);
    let parts = Parts {
        alerts: wanted(Part::Alerts),
        records: wanted(Part::Records),
        slos: wanted(Part::Slo),
    };
    let rules = rules::rules(&slos, &flags.runbooks, parts);
    let text = match flags.output {
        RulesOutput::Rules => rules.to_file(),
        RulesOutput::Prometheusrule => rules.to_object(&flags.name, &flags.namespace),
    };
    out.write_all(text.as_bytes())?;
    Ok(Exit::Met)
}

/// The SLOs of the configuration at `file`; its mistakes are told on `err`, all at once.
fn slos(file: &Path, world: &World, err: &mut dyn Write) -> anyhow::Result<Option<Vec<Slo>>> {
    let read = match config::read(file) {
        Ok(text) => config::promised(&text, &world.environment),
        Err(error) => Err(vec![Mistake::of_file(&error)]),
    };
    let name = file.display().to_string();
    let mistakes = match read {
        Ok(slos) => return Ok(Some(slos)),
        Err(mistakes) => mistakes,
    };
    for mistake in &mistakes {
        writeln!(err, "{}", mistake.in_file(&name))?;
    }
    Ok(None)
}

//! `meshprobe rules`: SLOs in, rules of Prometheus out.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::cli::flags::{Part, RulesFlags, RulesOutput, SloCommand};
use crate::cli::{Exit, World};
use crate::config::{self, MAX_BYTES, Mistake};
use crate::rules::{self, Exported, Parts};
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
    match flags.output {
        RulesOutput::Sloth => return exported(&rules::sloth(&slos, &flags.runbooks), out, err),
        RulesOutput::Pyrra => return exported(&rules::pyrra(&slos, &flags.namespace), out, err),
        RulesOutput::Rules | RulesOutput::Prometheusrule => {}
    }
    let wanted = |part| flags.only.is_empty() || flags.only.contains(&part);
    let parts = Parts {
        alerts: wanted(Part::Alerts),
        records: wanted(Part::Records),
        slos: wanted(Part::Slo),
    };
    let rules = rules::rules(&slos, &flags.runbooks, parts);
    let text = match flags.output {
        RulesOutput::Prometheusrule => rules.to_object(&flags.name, &flags.namespace),
        RulesOutput::Rules | RulesOutput::Sloth | RulesOutput::Pyrra => rules.to_file(),
    };
    out.write_all(text.as_bytes())?;
    Ok(Exit::Met)
}

/// What fits goes to `out`; what does not is told, and makes the command fail.
fn exported(exported: &Exported, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Exit> {
    out.write_all(exported.text.as_bytes())?;
    for unfit in &exported.unfit {
        writeln!(err, "{unfit}")?;
    }
    Ok(if exported.unfit.is_empty() { Exit::Met } else { Exit::Usage })
}

/// `meshprobe slo`.
pub(crate) fn slo(
    command: &SloCommand,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let SloCommand::Import { file } = command;
    let text = match file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin().take(MAX_BYTES as u64 + 1)),
        false => config::read(file),
    };
    let imported = match text {
        Ok(text) => config::import_openslo(&text),
        Err(error) => Err(vec![Mistake::of_file(&error)]),
    };
    match imported {
        Ok(slos) => {
            out.write_all(config::print_slos(&slos).as_bytes())?;
            Ok(Exit::Met)
        }
        Err(mistakes) => {
            let name = file.display().to_string();
            for mistake in &mistakes {
                writeln!(err, "{}", mistake.in_file(&name))?;
            }
            Ok(Exit::Usage)
        }
    }
}

/// The SLOs of the configuration at `file`; its mistakes are told on `err`, all at once.
pub(super) fn slos(
    file: &Path,
    world: &World,
    err: &mut dyn Write,
) -> anyhow::Result<Option<Vec<Slo>>> {
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

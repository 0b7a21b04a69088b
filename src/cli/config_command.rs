//! `meshprobe config check` and `config print`: files in, mistakes or effective YAML out.

use std::io::Write;
use std::path::Path;

use crate::cli::flags::ConfigCommand;
use crate::cli::{Exit, World};
use crate::config::{self, Config, Mistake};
use crate::plan;

pub(crate) fn run(
    command: ConfigCommand,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let (file, print) = match &command {
        ConfigCommand::Check { file } => (file, false),
        ConfigCommand::Print { file } => (file, true),
    };
    let Some(config) = load(file, world, err)? else {
        return Ok(Exit::Usage);
    };
    if print {
        out.write_all(config.to_yaml().as_bytes())?;
    } else {
        let (modules, targets) = (config.modules.len(), config.targets.len());
        writeln!(out, "√ {}: {modules} modules, {targets} targets", file.display())?;
        if let Some(remark) = config.remark() {
            writeln!(out, "‼ {remark}")?;
        }
    }
    Ok(Exit::Met)
}

/// Reads the configuration at `file`; its mistakes, also those of the files that it names, are
/// told on `err`, all at once.
pub(crate) fn load(
    file: &Path,
    world: &World,
    err: &mut dyn Write,
) -> anyhow::Result<Option<Config>> {
    let (config, mut mistakes) = match config::read(file) {
        Ok(text) => config::examine(&text, &world.environment),
        Err(error) => (None, vec![Mistake::of_file(&error)]),
    };
    mistakes.extend(config.iter().flat_map(plan::check_files));
    let mistakes = config::tidy(mistakes);
    let name = file.display().to_string();
    for mistake in &mistakes {
        writeln!(err, "{}", mistake.in_file(&name))?;
    }
    Ok(config.filter(|_| mistakes.is_empty()))
}

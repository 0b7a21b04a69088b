//! `meshprobe agent` and `meshprobe lab`: the commands that run until they are told to end.

use std::io::{self, IsTerminal, Write};

use crate::agent;
use crate::cli::flags::{AgentFlags, ControllerRoleFlags, LogFormat};
use crate::cli::{Exit, World, config_command, runtime};
use crate::discovery::Access;
use crate::{controller, drain, telemetry};

/// Several threads: plans of large clusters must not keep agents waiting.
pub(crate) fn controller(
    flags: ControllerRoleFlags,
    world: &World,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    if let Err(mistakes) = controller::load(&flags.config, &world.environment) {
        let name = flags.config.display().to_string();
        for mistake in &mistakes {
            writeln!(err, "{}", mistake.in_file(&name))?;
        }
        return Ok(Exit::Usage);
    }
    start_log(flags.log_format, world);
    let access = match flags.kubeconfig {
        Some(file) => Access::Kubeconfig { files: vec![file], context: None },
        None => Access::InCluster,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let run = runtime.block_on(async {
        let stop = drain::on_signal()?;
        controller::run(flags.config, world.environment.clone(), flags.source, access, stop).await
    });
    run.map(|()| Exit::Met)
}

fn start_log(format: LogFormat, world: &World) {
    let format = match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    let filter = world.environment.get("MESHPROBE_LOG").map_or("info", String::as_str);
    telemetry::start(format, filter, io::stderr().is_terminal() && colours(world));
}

pub(crate) fn agent(flags: AgentFlags, world: &World, err: &mut dyn Write) -> anyhow::Result<Exit> {
    // Told here with its own exit code, before anything is started.
    if config_command::load(&flags.config, world, err)?.is_none() {
        return Ok(Exit::Usage);
    }
    start_log(flags.log_format, world);
    let run = runtime()?.block_on(async {
        let stop = drain::on_signal()?;
        agent::run(flags.config, world.environment.clone(), stop).await
    });
    match run {
        Err(error) if port_is_taken(&error) => Err(anyhow::anyhow!(
            "{error:#}; find who has the port with `ss -ltnp`, or change admin.listen or \
             responder.listen"
        )),
        run => run.map(|()| Exit::Met),
    }
}

fn port_is_taken(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::AddrInUse)
}

/// Whether a terminal is to be given more than plain lines (`TERM`, <https://no-color.org>).
fn colours(world: &World) -> bool {
    let plain = world.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && !is_dumb(world)
}

/// Whether the terminal has told that it cannot move its cursor.
fn is_dumb(world: &World) -> bool {
    world.environment.get("TERM").is_some_and(|term| term == "dumb")
}

/// Without faults the exit code is the worst verdict that the lab saw; with faults it says
/// whether they turned what the signature table says and nothing else.
#[cfg(feature = "lab")]
pub(crate) fn lab(
    flags: &crate::cli::flags::LabFlags,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    if flags.list_faults {
        write!(out, "{}", crate::lab::fault::list())?;
        return Ok(Exit::Met);
    }
    if let Some(error) = flags.faults.iter().find_map(|fault| fault.fits(flags.nodes).err()) {
        writeln!(err, "error: --fault: {error}\n\nFor more information, try '--help'.")?;
        return Ok(Exit::Usage);
    }
    let options = crate::lab::Options {
        nodes: flags.nodes,
        peers: flags.peers,
        interval: flags.interval,
        export: flags.export.clone(),
        duration: flags.duration,
        settle: None,
        listen: flags.listen,
        enrolled: flags.enrol_ingress,
        faults: flags.faults.clone(),
        time_scale: flags.time_scale,
        terminal: world.terminal.filter(|_| !is_dumb(world)),
    };
    let report = crate::lab::runtime()?.block_on(async {
        let stop = drain::on_signal()?;
        crate::lab::run(options, stop, out).await
    })?;
    if !report.findings.is_empty() {
        return Ok(match (report.is_as_stated(), report.contradicts()) {
            (true, _) => Exit::Met,
            (false, true) => Exit::Violated,
            (false, false) => Exit::Inconclusive,
        });
    }
    let [_, violated, inconclusive] = report.totals;
    Ok(match (violated, inconclusive) {
        (0, 0) => Exit::Met,
        (0, _) => Exit::Inconclusive,
        (_, _) => Exit::Violated,
    })
}

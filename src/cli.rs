//! The command line: flags to specs, roles to run, results to text and exit codes.

mod ask;
mod check;
mod config_command;
mod dashboards;
mod diagnose;
mod flags;
mod fleet;
mod gate;
mod mesh;
mod probe;
mod render;
mod report;
mod roles;
mod rules;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use flags::{Command, Flags};

/// Everything a command may know of its surroundings; collected once, in `main`.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The program's name and its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables with UTF-8 names and values.
    pub environment: BTreeMap<String, String>,
    /// Columns and lines of the terminal that standard output is, if it is one.
    pub terminal: Option<(usize, usize)>,
}

/// How a command ended; the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: every expectation met.
    Met,
    /// 1: could not run.
    CouldNotRun,
    /// 2: an expectation violated, or not ready.
    Violated,
    /// 3: inconclusive, or not enough evidence.
    Inconclusive,
    /// 64: bad usage or configuration (`EX_USAGE` of sysexits.h).
    Usage,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Met => 0,
            Self::CouldNotRun => 1,
            Self::Violated => 2,
            Self::Inconclusive => 3,
            Self::Usage => 64,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Runs the command of `world`; results go to `out`, mistakes to `err`.
pub fn run(world: World, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let flags = match parse(&world.arguments) {
        Ok(flags) => flags,
        Err(error) if error.use_stderr() => {
            let _ = write!(err, "{}", inert_lines(&error.to_string()));
            return Exit::Usage;
        }
        Err(help) => {
            let _ = write!(out, "{help}");
            return Exit::Met;
        }
    };
    match dispatch(flags, &world, out, err) {
        Ok(exit) => exit,
        Err(error) if is_closed_pipe(&error) => Exit::CouldNotRun,
        Err(error) => {
            let _ = write!(err, "{}", inert_lines(&format!("error: {error:#}\n")));
            Exit::CouldNotRun
        }
    }
}

fn dispatch(
    flags: Flags,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match flags.command {
        Command::Probe(command) => runtime()?.block_on(probe::run(command, world, out, err)),
        Command::Check(flags) => runtime()?.block_on(check::run(&flags, world, out, err)),
        Command::Diagnose(flags) => diagnose::run(&flags, world, out, err),
        Command::Gate(command) => runtime()?.block_on(gate::run(command, world, out, err)),
        Command::Config(command) => config_command::run(command, world, out, err),
        Command::Report(command) => runtime()?.block_on(report::run(&command, world, out, err)),
        Command::Rules(flags) => rules::run(&flags, world, out, err),
        Command::Dashboards(flags) => dashboards::run(&flags, out),
        Command::Slo(command) => rules::slo(&command, out, err),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Flags::command(), "meshprobe", &mut script);
            out.write_all(&script)?;
            Ok(Exit::Met)
        }
        Command::Agent(flags) => roles::agent(flags, world, err),
        Command::Controller(flags) => roles::controller(flags, world, err),
        #[cfg(feature = "lab")]
        Command::Lab(flags) => roles::lab(&flags, world, out, err),
    }
}

/// As kubectl's plugin the program is called `kubectl meshprobe`, in help and messages too.
fn parse(arguments: &[OsString]) -> Result<Flags, clap::Error> {
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    let command = match program.and_then(|name| name.to_str()) {
        Some("kubectl-meshprobe") => {
            Flags::command().name("kubectl-meshprobe").bin_name("kubectl meshprobe")
        }
        _ => Flags::command(),
    };
    Flags::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// What was typed comes back in messages: it must not steer the terminal.
fn inert_lines(text: &str) -> String {
    text.lines().map(|line| render::inert(line) + "\n").collect()
}

/// One thread: an attempt must not pay for waking another core.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

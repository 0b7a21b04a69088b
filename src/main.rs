//! The `meshprobe` binary: collects the world once and hands it to [`meshprobe::cli`].

use std::io::{stderr, stdout};
use std::process::ExitCode;

use meshprobe::cli::{self, World};

fn main() -> ExitCode {
    let size = terminal_size::terminal_size_of(stdout());
    let world = World {
        arguments: std::env::args_os().collect(),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        terminal: size.map(|(columns, rows)| (columns.0.into(), rows.0.into())),
    };
    // Not locked: roles of several threads log to it meanwhile.
    cli::run(world, &mut stdout().lock(), &mut stderr()).into()
}

//! Flags of `meshprobe diagnose`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  nothing is broken               2  something is
  3  not enough evidence: no attempt that could tell
  1  could not run                  64  bad usage

Example:
  meshprobe diagnose --observations window.jsonl --topology topology.json")]
pub(crate) struct DiagnoseFlags {
    /// Observations, one JSON object a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) observations: PathBuf,
    /// The cluster that they are of: nodes, zones, CoreDNS, istiod, services, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: PathBuf,
    /// How to print the diagnoses.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = DiagnoseOutput::Table)]
    pub(crate) output: DiagnoseOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiagnoseOutput {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

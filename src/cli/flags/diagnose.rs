//! Flags of `meshprobe diagnose`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ControllerFlags;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  nothing is broken               2  something is
  3  not enough evidence: no attempt that could tell, or agents that are not heard
  1  could not run                  64  bad usage

Examples:
  kubectl meshprobe diagnose
  meshprobe diagnose --server http://127.0.0.1:9853 -o json
  meshprobe diagnose --observations window.jsonl --topology topology.json")]
pub(crate) struct DiagnoseFlags {
    /// Observations, one JSON object a line; `-` is standard input. Without it a controller is
    /// asked what is wrong now.
    #[arg(long, value_name = "FILE", requires = "topology", conflicts_with_all = ["server", "kubeconfig", "context", "namespace", "node"])]
    pub(crate) observations: Option<PathBuf>,
    /// The cluster that they are of: nodes, zones, CoreDNS, istiod, services, as JSON.
    #[arg(long, value_name = "FILE", requires = "observations")]
    pub(crate) topology: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) controller: ControllerFlags,
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

//! Flags of `meshprobe gate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::flags::ControllerFlags;
use crate::cli::words;

#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Tell whether STRICT can be applied: ready (0), not ready (2), not enough evidence (3).
    Strict(StrictFlags),
}

#[derive(Debug, Args)]
pub(crate) struct StrictFlags {
    /// The namespace that STRICT is for.
    #[arg(long, short = 'n', value_name = "NAME", conflicts_with = "mesh")]
    pub(crate) namespace: Option<String>,
    /// The whole mesh, which is also the default.
    #[arg(long)]
    pub(crate) mesh: bool,
    /// After STRICT was applied: compare with before until --for is over, and say when to revert.
    /// Applies and reverts nothing itself.
    #[arg(long)]
    pub(crate) watch: bool,
    /// With --watch: how long to watch, 10s to 24h, from the change or, without one, from now on.
    #[arg(long = "for", value_name = "DURATION", default_value = "15m", requires = "watch",
          value_parser = words::watching)]
    pub(crate) watch_for: Duration,
    /// The share of attempts that must succeed, 0.5 to 0.999999; default: the controller's.
    #[arg(long, value_name = "SHARE", value_parser = words::measure)]
    pub(crate) objective: Option<f64>,
    /// How sure of it one must be, 0.5 to 0.999999; default: the controller's.
    #[arg(long, value_name = "SHARE", value_parser = words::measure)]
    pub(crate) confidence: Option<f64>,
    /// How to print the answer.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = GateOutput::Table)]
    pub(crate) output: GateOutput,
    /// The controller's API, as http://HOST:PORT. Without it a controller's pod is found through
    /// the kubeconfig and reached by port-forward.
    #[arg(long, value_name = "URL",
          conflicts_with_all = ["kubeconfig", "context", "controller_namespace"])]
    pub(crate) server: Option<String>,
    /// The kubeconfig; default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The controllers' namespace [default: meshprobe-plain].
    #[arg(long, value_name = "NAME")]
    pub(crate) controller_namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateOutput {
    /// For people: the answer first.
    Table,
    /// What the controller answers; with --watch one object a line.
    Json,
    /// A table for a ticket or a pull request.
    Markdown,
}

impl StrictFlags {
    /// Where the controller is.
    pub(crate) fn controller(&self) -> ControllerFlags {
        ControllerFlags {
            server: self.server.clone(),
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.controller_namespace.clone(),
            node: None,
        }
    }
}

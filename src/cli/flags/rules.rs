//! `meshprobe rules`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::rules::RUNBOOKS;

#[derive(Debug, Args)]
pub(crate) struct RulesFlags {
    /// An agent's or a controller's file, whose `slos` get rules; without it there are none.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = RulesOutput::Rules)]
    pub(crate) output: RulesOutput,
    /// Only this part; may be given more than once. Default: all.
    #[arg(long, value_enum)]
    pub(crate) only: Vec<Part>,
    /// Where the links of alerts lead: a folder, or the start of a URL.
    #[arg(long, value_name = "URL", default_value = RUNBOOKS)]
    pub(crate) runbooks: String,
    /// Of the object that is printed.
    #[arg(long, default_value = "meshprobe")]
    pub(crate) name: String,
    /// Of the object that is printed.
    #[arg(short, long, default_value = "meshprobe-plain")]
    pub(crate) namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct DashboardsFlags {
    /// The folder that they are written to; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Where links to runbooks lead: a folder, or the start of a URL.
    #[arg(long, value_name = "URL", default_value = RUNBOOKS)]
    pub(crate) runbooks: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RulesOutput {
    /// A rule file of Prometheus.
    Rules,
    /// An object of the Prometheus operator.
    Prometheusrule,
    /// SLOs as a file of Sloth, which makes rules of its own.
    Sloth,
    /// SLOs as objects of Pyrra, which makes rules of its own.
    Pyrra,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SloCommand {
    /// Turn SLOs of OpenSLO v1 into the list `slos` of a configuration.
    Import {
        /// YAML with one or more documents; - is standard input.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What is recorded and alerted for each SLO.
    Slo,
    /// Alerts that depend on no SLO.
    Alerts,
    /// What is recorded whatever the SLOs are.
    Records,
}

//! Flags of `meshprobe report`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use crate::cli::flags::ControllerFlags;
use crate::cli::words::{self, Comparison, Moment};

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Tell what became of the SLOs: met (0), missed (2), not enough data (3).
    Slo(SloReportFlags),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("credentials").args(["bearer_token_file", "basic_auth_file"])))]
pub(crate) struct SloReportFlags {
    /// The Prometheus that scrapes the agents, as http://HOST[:PORT][/PREFIX]. Without it a
    /// controller is asked, which knows the last minutes.
    #[arg(long, value_name = "URL", requires = "config")]
    pub(crate) prometheus: Option<String>,
    /// A file with the bearer token that Prometheus, or the proxy before it, wants.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// A file with USER:PASSWORD that Prometheus, or the proxy before it, wants.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub(crate) basic_auth_file: Option<PathBuf>,
    /// How long Prometheus may take for one question, 1s to 10m.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = words::asking,
          requires = "prometheus")]
    pub(crate) timeout: Duration,
    /// How often a question is asked again when Prometheus is overloaded or silent, 0 to 10.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "prometheus",
          value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(crate) retries: u32,
    /// An agent's or a controller's file, whose `slos` are reported; with --prometheus.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub(crate) config: Option<PathBuf>,
    /// Only the SLO of this name; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) slo: Vec<String>,
    /// The begin: an instant by RFC 3339, or so long before the end, e.g. 7d. Default: that of each
    /// SLO's window.
    #[arg(long, value_name = "WHEN", value_parser = words::moment, requires = "prometheus")]
    pub(crate) from: Option<Moment>,
    /// The end: an instant by RFC 3339, or so long ago, e.g. 1d. Default: now.
    #[arg(long, value_name = "WHEN", value_parser = words::moment, requires = "prometheus")]
    pub(crate) to: Option<Moment>,
    /// What to compare with: previous, the window before, or FROM..TO.
    #[arg(long, value_name = "TIME", default_value = "previous", value_parser = words::comparison,
          requires = "prometheus")]
    pub(crate) compare: Comparison,
    /// How to print the report.
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = ReportOutput::Table)]
    pub(crate) output: ReportOutput,
    #[command(flatten)]
    pub(crate) controller: ControllerFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportOutput {
    /// For a terminal.
    Table,
    /// For a ticket or a wiki.
    Markdown,
    /// Everything, for machines.
    Json,
    /// One file with plots, which needs nothing else.
    Html,
}

//! What became of SLOs: attained, budgets, the worst places, latencies, and what a reader must know
//! before believing it; as data, as text, as Markdown and as one page of HTML.
//!
//! Numbers come from a Prometheus, or are handed in by whoever has counted. Knows neither
//! controllers nor the command line.

mod ask;
mod assess;
mod count;
mod detail;
mod doubts;
mod gather;
mod histogram;
mod html;
mod markdown;
mod model;
mod sheet;
mod span;
mod table;
mod windows;
mod words;

pub use gather::{Compare, Wanted, of_prometheus};
pub use html::html;
pub use markdown::markdown;
pub use model::{
    Column, Compared, Figures, Group, HeatMap, Incident, Latency, Period, PhaseTime, Place,
    Quantile, Report, SloReport, Spell, Standing, Step,
};
pub use table::table;
pub use windows::Tally;

/// With less of the time known, a promise that was kept so far is no result.
pub(crate) const LEAST_COVERED: f64 = 0.5;

//! meshprobe: a synthetic connectivity prober for Istio ambient mesh.
//!
//! Layers, each importing only downwards: vocabulary (`target failure outcome expectation
//! attempt schedule spec cluster topology digest observation flow slo inert markdown`), edges (`config net tls
//! istiod channel drain telemetry`), capabilities (`probe identity discovery metrics responder
//! window promql`), engine (`runner plan fleet evidence detection diagnosis incident analysis gate
//! rules dashboards report`), roles (`agent controller lab`, and the `page` that the last two serve), and `cli`.

pub mod agent;
pub mod analysis;
pub mod attempt;
pub mod channel;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod dashboards;
pub mod detection;
pub mod diagnosis;
pub mod digest;
pub mod discovery;
pub mod drain;
pub mod evidence;
pub mod expectation;
pub mod failure;
pub mod fleet;
pub mod flow;
pub mod gate;
pub mod identity;
pub mod incident;
pub mod inert;
pub mod istiod;
#[cfg(feature = "lab")]
pub mod lab;
pub mod markdown;
pub mod metrics;
pub mod net;
pub mod observation;
pub mod outcome;
pub mod page;
pub mod plan;
pub mod probe;
pub mod promql;
pub mod report;
pub mod responder;
pub mod rules;
pub mod runner;
pub mod schedule;
pub mod slo;
pub mod spec;
pub mod target;
pub mod telemetry;
pub mod tls;
pub mod topology;
pub mod window;

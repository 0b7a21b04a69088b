//! The attempts: each kind of probe, prepared once and executed many times.
//!
//! Knows what was asked ([`crate::spec`]), not how often or what was hoped for. An attempt never
//! returns an error: whatever happens is an [`Outcome`].

mod dns;
mod hold;
mod http;
pub mod journal;
mod tcp;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use crate::net::Resolver;
use crate::outcome::Outcome;
use crate::spec::{Ask, ProbeSpec};

/// What every probe needs from its surroundings.
#[derive(Debug, Clone)]
pub struct Environment {
    /// For names of targets.
    pub resolver: Arc<Resolver>,
}

/// A probe whose files are read and whose settings are checked: ready to be executed.
#[derive(Debug)]
pub enum Probe {
    /// A DNS question.
    Dns(dns::DnsProbe),
    /// A TCP connection.
    Tcp(tcp::TcpProbe),
    /// A TLS handshake.
    Tls(Box<tls::TlsProbe>),
    /// One HTTP request.
    Http(Box<http::HttpProbe>),
    /// A held connection.
    Hold(Box<hold::HoldProbe>),
}

impl Probe {
    /// Reads the files that `spec` names and makes everything that attempts share.
    pub fn prepare(spec: &ProbeSpec, environment: &Environment) -> Result<Self, PrepareError> {
        match &spec.ask {
            Ask::Dns { module, name, server } => {
                Ok(Self::Dns(dns::DnsProbe::new(module, name, server.as_ref(), spec, environment)))
            }
            Ask::Tcp { module, endpoint } => {
                Ok(Self::Tcp(tcp::TcpProbe::new(module, endpoint, spec, environment)))
            }
            Ask::Tls { module, endpoint } => {
                let probe = tls::TlsProbe::new(module, endpoint, spec, environment)?;
                Ok(Self::Tls(Box::new(probe)))
            }
            Ask::Http { module, url } => {
                let probe = http::HttpProbe::new(module, url, spec, environment)?;
                Ok(Self::Http(Box::new(probe)))
            }
            Ask::Hold { module, url } => {
                let probe = hold::HoldProbe::new(module, url, spec, environment)?;
                Ok(Self::Hold(Box::new(probe)))
            }
        }
    }

    /// Executes the probe once. Bounded by the spec's timeouts.
    pub async fn attempt(&self) -> Outcome {
        match self {
            Self::Dns(probe) => probe.attempt().await,
            Self::Tcp(probe) => probe.attempt().await,
            Self::Tls(probe) => probe.attempt().await,
            Self::Http(probe) => probe.attempt().await,
            Self::Hold(probe) => probe.attempt().await,
        }
    }
}

/// A file of a spec that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}{problem}", path.display(), if path.as_os_str().is_empty() { "" } else { ": " })]
pub struct PrepareError {
    /// The field of the module, e.g. `tls.ca`.
    pub field: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, without its contents.
    pub problem: String,
}

impl From<crate::tls::LoadError> for PrepareError {
    fn from(error: crate::tls::LoadError) -> Self {
        Self { field: error.field, path: error.path, problem: error.problem }
    }
}

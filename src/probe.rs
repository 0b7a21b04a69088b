//! The attempts: each kind of probe, prepared once and executed many times.
//!
//! Knows what was asked ([`crate::spec`]), not how often or what was hoped for. An attempt never
//! returns an error: whatever happens is an [`Outcome`].

mod capture;
mod dns;
mod hbone;
mod hold;
mod http;
mod istiod;
pub mod journal;
mod mtu;
mod tcp;
mod tls;
mod ztunnel;

use std::path::PathBuf;
use std::sync::Arc;

use crate::net::Resolver;
use crate::outcome::Outcome;
use crate::spec::{Ask, ProbeSpec};
use crate::tls::Mesh;

/// What every probe needs from its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// For names of targets.
    pub resolver: Arc<Resolver>,
    /// The mesh's trust and the prober's own certificate, for what is to use them.
    pub mesh: Arc<Mesh>,
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
    /// An HBONE peer.
    Hbone(Box<hbone::HboneProbe>),
    /// The ladder to istiod.
    Istiod(Box<istiod::IstiodProbe>),
    /// Capture of this pod.
    Capture(capture::CaptureProbe),
    /// Bodies of two sizes.
    Mtu(Box<mtu::MtuProbe>),
    /// A ztunnel's own word.
    Ztunnel(Box<ztunnel::ZtunnelProbe>),
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
            Ask::Hbone { module, peer, url } => {
                let probe = hbone::HboneProbe::new(module, peer, url.as_ref(), spec, environment)?;
                Ok(Self::Hbone(Box::new(probe)))
            }
            Ask::Istiod { module, endpoint } => {
                let probe = istiod::IstiodProbe::new(module, endpoint, spec, environment)?;
                Ok(Self::Istiod(Box::new(probe)))
            }
            Ask::Capture { module, name } => {
                Ok(Self::Capture(capture::CaptureProbe::new(module, name, spec, environment)))
            }
            Ask::Mtu { module, url } => {
                let probe = mtu::MtuProbe::new(module, url, spec, environment)?;
                Ok(Self::Mtu(Box::new(probe)))
            }
            Ask::Ztunnel { module, host } => {
                let probe = ztunnel::ZtunnelProbe::new(module, host, spec, environment);
                Ok(Self::Ztunnel(Box::new(probe)))
            }
        }
    }

    /// Executes the probe once. Bounded by the spec's timeouts.
    // Boxed: the state of some is tens of KiB, which every caller would carry and move.
    pub async fn attempt(&self) -> Outcome {
        match self {
            Self::Dns(probe) => Box::pin(probe.attempt()).await,
            Self::Tcp(probe) => Box::pin(probe.attempt()).await,
            Self::Tls(probe) => Box::pin(probe.attempt()).await,
            Self::Http(probe) => Box::pin(probe.attempt()).await,
            Self::Hold(probe) => Box::pin(probe.attempt()).await,
            Self::Hbone(probe) => Box::pin(probe.attempt()).await,
            Self::Istiod(probe) => Box::pin(probe.attempt()).await,
            Self::Capture(probe) => Box::pin(probe.attempt()).await,
            Self::Mtu(probe) => Box::pin(probe.attempt()).await,
            Self::Ztunnel(probe) => Box::pin(probe.attempt()).await,
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

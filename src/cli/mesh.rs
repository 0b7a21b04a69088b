//! The mesh's trust and a certificate of our own for commands that run once.

use std::sync::Arc;
use std::time::Duration;

use crate::config::MeshConfig;
use crate::identity::Identity;
use crate::probe::Environment;
use crate::spec::{Ask, OwnCertificate, ProbeSpec, Roots, TlsSettings, Verify};

/// How long a command waits for a certificate before its attempts go without.
const PATIENCE: Duration = Duration::from_secs(10);

/// What attempts take from the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    roots: bool,
    certificate: bool,
}

impl Need {
    /// What all of `specs` take together.
    pub(crate) fn of<'a>(specs: impl IntoIterator<Item = &'a ProbeSpec>) -> Self {
        specs.into_iter().fold(Self::default(), |need, spec| {
            let tls = match &spec.ask {
                Ask::Tls { module, .. } => &module.tls,
                Ask::Http { module, .. } => &module.tls,
                Ask::Hold { module, .. } => &module.tls,
                Ask::Hbone { module, .. } => &module.tls,
                Ask::Istiod { module, .. } => &module.tls,
                Ask::Mtu { module, .. } => &module.tls,
                Ask::Dns { .. } | Ask::Tcp { .. } | Ask::Capture { .. } | Ask::Ztunnel { .. } => {
                    return need;
                }
            };
            let own = Self::of_tls(tls);
            let certificate = need.certificate || own.certificate;
            Self { roots: need.roots || own.roots, certificate }
        })
    }

    fn of_tls(tls: &TlsSettings) -> Self {
        Self {
            roots: tls.roots == Roots::Mesh && tls.verify != Verify::Nothing,
            certificate: tls.identity == Some(OwnCertificate::Mesh),
        }
    }
}

/// Gets what is needed of the mesh, once; the error says in one line what is missing.
///
/// Attempts that miss it tell so themselves, as `no_identity`.
pub(crate) async fn join(
    need: Need,
    mesh: Option<&MeshConfig>,
    environment: &Environment,
) -> Result<(), String> {
    let Some(mesh) = mesh.filter(|_| need != Need::default()) else {
        return Ok(());
    };
    let config = MeshConfig { certificate: need.certificate, ..mesh.clone() };
    obtain(&config, environment).await
}

/// Reads the mesh's roots and, when `config` wants one, gets a certificate from istiod.
///
/// The one place where commands that run once meet the identity of the agent.
async fn obtain(config: &MeshConfig, environment: &Environment) -> Result<(), String> {
    let (resolver, mesh) = (Arc::clone(&environment.resolver), Arc::clone(&environment.mesh));
    let obtained = Identity::once(config, resolver, mesh, PATIENCE).await;
    obtained.map_err(|failure| format!("no identity in the mesh: {failure}"))
}

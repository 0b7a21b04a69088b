//! How to reach an API server: from inside a cluster, or by kubeconfig files.
//!
//! Reads no environment variable but those by which kubelet tells a pod of its API server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, config};

/// How long a connection to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose credentials are used, and where the API server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The pod's own ServiceAccount: its token is read anew when it is renewed.
    InCluster,
    /// These kubeconfig files, merged as kubectl merges those of `KUBECONFIG`: the first one to
    /// name something is heard.
    Kubeconfig {
        /// The files, one at least.
        files: Vec<PathBuf>,
        /// The context; `None` is the current one.
        context: Option<String>,
    },
}

/// A way to an API server; cheap to clone. Shows nothing of its credentials.
#[derive(Clone)]
pub struct Client(pub(super) kube::Client);

/// Why there is no [`Client`].
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No kubeconfig file was named.
    #[error("no kubeconfig: name a file, or set KUBECONFIG")]
    NoFile,
    /// A file cannot be read, or the context leads nowhere.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[source] Box<config::KubeconfigError>),
    /// Not in a pod with a ServiceAccount token.
    #[error("not in a cluster: no ServiceAccount is mounted here")]
    InCluster(#[source] config::InClusterError),
    /// Credentials or certificates cannot be used.
    #[error("the credentials for the API server cannot be used")]
    Credentials(#[source] Box<kube::Error>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Makes a client; nothing is dialled yet. Runs inside a tokio runtime.
pub async fn client(access: &Access) -> Result<Client, AccessError> {
    let mut config = match access {
        Access::InCluster => Config::incluster().map_err(AccessError::InCluster)?,
        Access::Kubeconfig { files, context } => kubeconfig(files, context.clone()).await?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Every caller has its own deadline and its own backoff; a hidden retry would blur both.
    config.default_retry = false;
    let client = kube::Client::try_from(config);
    client.map(Client).map_err(|error| AccessError::Credentials(Box::new(error)))
}

async fn kubeconfig(files: &[PathBuf], context: Option<String>) -> Result<Config, AccessError> {
    let fault = |error| AccessError::Kubeconfig(Box::new(error));
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        let next = Kubeconfig::read_from(file).map_err(fault)?;
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(fault)?,
        });
    }
    let options = KubeConfigOptions { context, cluster: None, user: None };
    let merged = merged.ok_or(AccessError::NoFile)?;
    Config::from_custom_kubeconfig(merged, &options).await.map_err(fault)
}

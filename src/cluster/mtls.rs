//! Which mTLS mode holds at a workload's port, by Istio's precedence of PeerAuthentications.

use crate::cluster::Labels;

/// A PeerAuthentication (`security.istio.io/v1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.creationTimestamp`, seconds since 1970: the oldest of one level wins.
    pub created: i64,
    /// `spec.selector.matchLabels`; `None` without a selector.
    pub selector: Option<Labels>,
    /// `spec.mtls.mode`.
    pub mode: Mode,
    /// `spec.portLevelMtls`: modes by target port.
    pub ports: Vec<(u16, Mode)>,
}

/// A mode as it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Inherits.
    #[default]
    Unset,
    /// ztunnel treats it as permissive.
    Disable,
    /// Plaintext and mTLS.
    Permissive,
    /// mTLS only.
    Strict,
}

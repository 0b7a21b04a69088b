//! Which mTLS mode holds at a workload's port, by Istio's precedence of PeerAuthentications.
//!
//! As istiod decides for workloads of an ambient mesh (`pilot/pkg/serviceregistry/ambient`), which
//! is not in all points what it decides for sidecars. Knows neither pods nor services.

use std::collections::BTreeMap;

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

/// A mode as it holds at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effective {
    /// Plaintext is answered.
    Permissive,
    /// Plaintext is denied.
    Strict,
}

impl Mode {
    /// What holds when `self` is stated over what is inherited.
    fn over(self, inherited: Effective) -> Effective {
        match self {
            Self::Unset => inherited,
            Self::Disable | Self::Permissive => Effective::Permissive,
            Self::Strict => Effective::Strict,
        }
    }
}

/// PeerAuthentications in the order of their precedence, ready to be asked for many workloads.
#[derive(Debug, Clone, Default)]
pub struct Policies<'a> {
    /// What the mesh's own policy says: of the root namespace, without a selector.
    mesh: Option<&'a PeerAuthentication>,
    root_namespace: &'a str,
    namespaces: BTreeMap<&'a str, Levels<'a>>,
}

/// The policies of one namespace.
#[derive(Debug, Clone, Default)]
struct Levels<'a> {
    /// The oldest that is for the whole namespace.
    whole: Option<&'a PeerAuthentication>,
    /// Those with a selector, oldest first.
    selected: Vec<&'a PeerAuthentication>,
}

impl<'a> Policies<'a> {
    /// Sorts `policies`; `root_namespace` is the mesh's (`istio-system` unless configured).
    ///
    /// Of several at one level the oldest counts; of equally old ones the first by name, as istiod
    /// sorts them.
    pub fn new(policies: &'a [PeerAuthentication], root_namespace: &'a str) -> Self {
        let mut sorted: Vec<&PeerAuthentication> = policies.iter().collect();
        sorted.sort_by_key(|policy| (policy.created, &policy.name, &policy.namespace));
        let mut found = Self { mesh: None, root_namespace, namespaces: BTreeMap::new() };
        for policy in sorted {
            let levels = found.namespaces.entry(policy.namespace.as_str()).or_default();
            let root = policy.namespace == root_namespace;
            match &policy.selector {
                // An empty selector is none, but only in the namespace itself: istiod takes a
                // mesh's policy only from those that have no selector at all.
                Some(labels) if labels.is_empty() => {
                    levels.whole.get_or_insert(policy);
                }
                None => {
                    levels.whole.get_or_insert(policy);
                    if root {
                        found.mesh.get_or_insert(policy);
                    }
                }
                // istiod passes over them for ambient workloads, also for those of the root
                // namespace itself.
                Some(_) if root => {}
                Some(_) => levels.selected.push(policy),
            }
        }
        found
    }

    /// The mode at `port` (the target port) of a workload in `namespace` with `labels`.
    ///
    /// Workload over namespace over mesh; `UNSET` inherits from the level above, `portLevelMtls`
    /// from the mode beside it; without a policy it is PERMISSIVE. `portLevelMtls` counts only in
    /// the one policy that is the workload's. Two of istiod's own faults are not followed, for
    /// they leave less or more open than the policy says, and that is to be seen: under an
    /// inherited STRICT a port's DISABLE alone exempts nothing; and a port's PERMISSIVE below a
    /// namespace's UNSET below a mesh's STRICT can leave every port of the workload open.
    pub fn effective(&self, namespace: &str, labels: &Labels, port: u16) -> Effective {
        let levels = self.namespaces.get(namespace);
        let whole = levels.and_then(|levels| levels.whole);
        let mesh = self.mesh.filter(|_| namespace != self.root_namespace);
        let mut holds = Effective::Permissive;
        for policy in [mesh, whole].into_iter().flatten() {
            holds = policy.mode.over(holds);
        }
        let own = levels.and_then(|levels| {
            levels.selected.iter().find(|policy| {
                let mut selector = policy.selector.iter().flatten();
                selector.all(|(key, value)| labels.get(key) == Some(value))
            })
        });
        let Some(own) = own else {
            return holds;
        };
        let at_port = own.ports.iter().find(|(stated, _)| *stated == port);
        let at_port = at_port.map_or(Mode::Unset, |(_, mode)| *mode);
        at_port.over(own.mode.over(holds))
    }
}

/// As [`Policies::effective`], for one question.
pub fn effective(
    policies: &[PeerAuthentication],
    root_namespace: &str,
    namespace: &str,
    labels: &Labels,
    port: u16,
) -> Effective {
    Policies::new(policies, root_namespace).effective(namespace, labels, port)
}

//! The exact commands that apply STRICT and take it back. The gate itself applies nothing.

use serde::{Deserialize, Serialize};

use crate::cluster::mtls::{Mode, PeerAuthentication};
use crate::gate::Scope;

/// Two commands for a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// Makes the scope STRICT.
    pub apply: String,
    /// Makes it what it is now.
    pub revert: String,
    /// What the two do not cover.
    pub limit: String,
}

impl Commands {
    /// The commands for `scope` while `policies` are in force.
    ///
    /// Of several policies for the whole of one namespace the oldest holds, so a new one beside it
    /// would change nothing: that one is changed, under its own name.
    pub fn of(scope: &Scope, policies: &[PeerAuthentication], root_namespace: &str) -> Self {
        let namespace = match scope {
            Scope::Namespace { namespace } => namespace.as_str(),
            Scope::Mesh => root_namespace,
        };
        let whole = policies.iter().filter(|it| it.namespace == namespace && it.selector.is_none());
        let mut whole: Vec<&PeerAuthentication> = whole.collect();
        whole.sort_by_key(|it| (it.created, &it.name));
        let Some(own) = whole.first() else {
            let apply = applied(namespace, "default", Mode::Strict, &[]);
            return Self {
                apply,
                revert: deleted(namespace, "default"),
                limit: "connections that STRICT ended do not come back by themselves: clients \
                        dial anew"
                    .to_owned(),
            };
        };
        let others = whole.len() - 1;
        let mut limit = format!(
            "PeerAuthentication {namespace}/{} exists and is changed; of it mode and ports are \
             restored, labels and annotations are left as they are, and whatever renders it \
             (Helm, Argo CD, Flux) may undo either",
            own.name
        );
        if others > 0 {
            limit.push_str(&format!(
                "; {others} younger for the whole namespace have no say while it exists"
            ));
        }
        let mut before = own.mode;
        if before == Mode::Strict {
            before = Mode::Permissive;
            limit.push_str("; it is STRICT already, and what it was before is not known here");
        }
        Self {
            apply: applied(namespace, &own.name, Mode::Strict, &own.ports),
            revert: applied(namespace, &own.name, before, &own.ports),
            limit,
        }
    }
}

/// What makes `before` of `now`: policies for the whole of a namespace, or of the mesh, that decide
/// the mode of one scope.
pub(super) fn back(before: &[PeerAuthentication], now: &[PeerAuthentication]) -> String {
    let is = |one: &PeerAuthentication, other: &PeerAuthentication| {
        one.namespace == other.namespace && one.name == other.name
    };
    let whole = |policies: &[PeerAuthentication]| -> Vec<PeerAuthentication> {
        policies.iter().filter(|it| it.selector.is_none()).cloned().collect()
    };
    let (before, now) = (whole(before), whole(now));
    let changed = before.iter().filter(|old| {
        let new = now.iter().find(|new| is(old, new));
        new.is_none_or(|new| (new.mode, &new.ports) != (old.mode, &old.ports))
    });
    let restored = changed.map(|old| applied(&old.namespace, &old.name, old.mode, &old.ports));
    let added = now.iter().filter(|new| !before.iter().any(|old| is(old, new)));
    let deleted = added.map(|new| deleted(&new.namespace, &new.name));
    restored.chain(deleted).collect::<Vec<_>>().join("\n")
}

fn deleted(namespace: &str, name: &str) -> String {
    format!("kubectl -n {namespace} delete peerauthentications.security.istio.io {name}")
}

/// `kubectl apply` of a policy for the whole of `namespace`.
fn applied(namespace: &str, name: &str, mode: Mode, ports: &[(u16, Mode)]) -> String {
    let mut manifest = format!(
        "kubectl apply -f - <<EOF\n\
         apiVersion: security.istio.io/v1\n\
         kind: PeerAuthentication\n\
         metadata:\n  name: {name}\n  namespace: {namespace}\n\
         spec:\n  mtls:\n    mode: {}\n",
        word(mode)
    );
    if !ports.is_empty() {
        manifest.push_str("  portLevelMtls:\n");
        for (port, mode) in ports {
            manifest.push_str(&format!("    {port}:\n      mode: {}\n", word(*mode)));
        }
    }
    manifest.push_str("EOF");
    manifest
}

/// The mode as it is written.
pub(super) fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Unset => "UNSET",
        Mode::Disable => "DISABLE",
        Mode::Permissive => "PERMISSIVE",
        Mode::Strict => "STRICT",
    }
}

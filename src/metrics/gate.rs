//! The metrics of the gate: how each scope came out, and what its webhooks answered.

use metrics::{Key, Label};

use crate::metrics::{ControllerMetrics, counter, gauge, names};

/// How the gate of one scope came out.
#[derive(Debug, Clone)]
pub struct GateState {
    /// The namespace; empty for the mesh.
    pub namespace: String,
    /// When it was judged, seconds since 1970.
    pub evaluated: f64,
    /// Every result, and whether it is this one.
    pub results: Vec<(&'static str, bool)>,
    /// Every check.
    pub checks: Vec<CheckState>,
    /// How many call in plaintext and are no probers.
    pub callers: u64,
    /// Whether it is recommended to take STRICT back.
    pub revert: bool,
}

/// How one check came out.
#[derive(Debug, Clone)]
pub struct CheckState {
    /// Its name.
    pub check: &'static str,
    /// Every result, and whether it is this one.
    pub results: Vec<(&'static str, bool)>,
    /// Attempts that the node that needs most still needs; `None` of a check without attempts.
    pub missing: Option<u64>,
}

impl ControllerMetrics {
    /// The gate of a scope was judged.
    pub fn gate(&self, state: &GateState) {
        let own = || vec![Label::new("namespace", state.namespace.clone())];
        let set = |name: &'static str, more: &[(&'static str, &'static str)], value: f64| {
            let more = more.iter().map(|(key, value)| Label::new(*key, *value));
            let labels: Vec<Label> = own().into_iter().chain(more).collect();
            gauge(&self.0, &Key::from_parts(name, labels)).set(value);
        };
        let flag = |is: bool| f64::from(u8::from(is));
        set(names::GATE_EVALUATED, &[], state.evaluated);
        for (result, is) in &state.results {
            set(names::GATE_RESULT, &[("result", result)], flag(*is));
        }
        for CheckState { check, results, missing } in &state.checks {
            for (result, is) in results {
                set(names::GATE_CHECK, &[("check", check), ("result", result)], flag(*is));
            }
            if let Some(missing) = missing {
                set(names::GATE_MISSING, &[("check", check)], *missing as f64);
            }
        }
        set(names::GATE_CALLERS, &[], state.callers as f64);
        set(names::GATE_REVERT, &[], flag(state.revert));
    }

    /// A webhook was answered with this status.
    pub fn hook_answered(&self, hook: &'static str, code: u16) {
        let labels = vec![Label::new("hook", hook), Label::new("code", code.to_string())];
        counter(&self.0, &Key::from_parts(names::GATE_WEBHOOKS, labels)).increment(1);
    }
}

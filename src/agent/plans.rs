//! What the agent probes in all: the targets of its own configuration, and those of the last good
//! plan.
//!
//! The two are prepared apart, so that neither's mistakes are held against the other.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::agent::directions::Runs;
use crate::config::{Config, MAX_TARGETS, Mistake, PlanDocument, parse_plan, print_revision};
use crate::plan::{self, Target};
use crate::probe::Environment;
use crate::target::TargetName;

/// The targets of both, and the plan that the others are from.
#[derive(Debug, Default)]
pub(super) struct Plans {
    own: Vec<Arc<Target>>,
    followed: Option<Followed>,
    /// Names that the plan and the configuration both have, as they were told.
    told: BTreeSet<TargetName>,
    /// The entity tag of the plan that is followed, for whoever tells it on.
    runs: Runs,
}

/// A plan that is followed.
#[derive(Debug)]
struct Followed {
    text: String,
    document: PlanDocument,
    /// All of them, also those that are shadowed: others may have them as controls.
    targets: Vec<Arc<Target>>,
}

/// A plan that was read and can be followed.
#[derive(Debug)]
pub(super) struct Good(Followed);

impl Plans {
    /// Those of the configuration are `own` from now on.
    pub(super) fn set_own(&mut self, own: Vec<Arc<Target>>) {
        self.own = own;
    }

    /// The targets of the configuration.
    pub(super) fn own(&self) -> &[Arc<Target>] {
        &self.own
    }

    /// What is probed: of two of one name the configuration's.
    pub(super) fn effective(&self) -> Vec<Arc<Target>> {
        let mut all = self.own.clone();
        all.extend(self.of_plan().cloned());
        all
    }

    /// The targets of the plan that are probed.
    pub(super) fn of_plan(&self) -> impl Iterator<Item = &Arc<Target>> {
        let own: HashSet<&TargetName> = self.own.iter().map(|target| &target.spec.name).collect();
        let plan = self.followed.iter().flat_map(|followed| &followed.targets);
        plan.filter(move |target| !own.contains(&target.spec.name))
    }

    /// Names that the plan has and that are not probed as it says, each told once.
    pub(super) fn newly_shadowed(&mut self) -> Vec<TargetName> {
        let own: HashSet<&TargetName> = self.own.iter().map(|target| &target.spec.name).collect();
        let plan = self.followed.iter().flat_map(|followed| &followed.targets);
        let names = plan.map(|target| &target.spec.name).filter(|name| own.contains(name));
        let shadowed: BTreeSet<TargetName> = names.cloned().collect();
        let new = shadowed.difference(&self.told).cloned().collect();
        self.told = shadowed;
        new
    }

    /// The controllers that the plan names.
    pub(super) fn controllers(&self) -> &[SocketAddr] {
        self.followed.as_ref().map_or(&[], |followed| &followed.document.controllers)
    }

    /// The plan's entity tag.
    pub(super) fn tag(&self) -> Option<String> {
        self.followed.as_ref().map(|followed| print_revision(&followed.document.revision))
    }

    /// The plan's text.
    pub(super) fn text(&self) -> Option<&str> {
        self.followed.as_ref().map(|followed| followed.text.as_str())
    }

    /// Reads the plan in `text` for an agent that runs by `config`; nothing is followed yet.
    ///
    /// `changes`: what it changes is new to the mesh too, which gets the plan's grace, unless this
    /// is the first plan since the start. `same`: the environment is that of the plan before, whose
    /// targets may stay as they are.
    pub(super) async fn read(
        &self,
        text: String,
        config: &Config,
        environment: &Environment,
        changes: bool,
        same: bool,
    ) -> Result<Good, Vec<Mistake>> {
        let (identity, mesh) = (config.identity.clone(), config.mesh.clone());
        // A large plan takes a while, which must not become the lag of attempts.
        let reading = tokio::task::spawn_blocking(move || {
            let document = parse_plan(&text, &identity, mesh.as_ref());
            document.map(|document| (document, text))
        });
        let (document, text) = reading.await.expect("reading does not panic")?;
        let all = config.targets.len() + document.targets.len();
        if all > MAX_TARGETS {
            let problem = format!("the plan and the configuration have {all} targets together");
            let fix = format!("leave targets out: at most {MAX_TARGETS}");
            return Err(vec![Mistake::of_text(problem, fix)]);
        }
        let previous = self.followed.as_ref().map(|followed| followed.targets.as_slice());
        let settled = Instant::now() + document.grace;
        let settled = (changes && previous.is_some()).then_some(settled);
        let within = document.within(config);
        let previous = previous.filter(|_| same).unwrap_or_default();
        let targets = plan::prepare_changed(&within, environment, previous, settled)?;
        Ok(Good(Followed { text, document, targets }))
    }

    /// Follows `plan` from now on.
    pub(super) fn follow(&mut self, plan: Good) {
        self.followed = Some(plan.0);
        *self.runs.lock().expect("no panic while held") = self.tag();
    }

    /// What tells, at any time, which plan is followed.
    pub(super) fn runs(&self) -> Runs {
        Arc::clone(&self.runs)
    }

    /// Follows no plan from now on.
    pub(super) fn abandon(&mut self) {
        self.followed = None;
        *self.runs.lock().expect("no panic while held") = None;
        self.told.clear();
    }
}

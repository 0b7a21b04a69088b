//! How the agent takes up plans: from its cache at the start, from controllers ever after, and
//! anew whenever its own configuration changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::agent::Agent;
use crate::agent::directions::{self, Directions, Offer, Settings};
use crate::config::{ControllersConfig, Mistake};
use crate::plan::{self, Target};

/// Mistakes of one plan that are told.
const TOLD: usize = 10;

impl Agent {
    /// The next plan that a controller offers; waits for ever without one. Cancel safe.
    pub async fn next_plan(&mut self) -> Offer {
        match &mut self.directions {
            Some(directions) => directions.next().await,
            None => std::future::pending().await,
        }
    }

    /// Probes by the offered plan from now on, beside the targets of the configuration; targets
    /// that it has as the plan before go on undisturbed.
    ///
    /// With a mistake in it nothing changes: it is told and counted. Gives whether the plan is
    /// followed.
    pub async fn follow_plan(&mut self, Offer(text): Offer) -> bool {
        if self.plans.text() == Some(text.as_str()) {
            return true;
        }
        let read = self.plans.read(text, &self.config, &self.environment, true, true).await;
        let plan = match read {
            Ok(plan) => plan,
            Err(mistakes) => {
                self.refused(&mistakes, "bad plan: the old one goes on");
                return false;
            }
        };
        self.plans.follow(plan);
        self.probe_all().await;
        let targets = self.plans.of_plan().count();
        self.admin.metrics.plan_applied(SystemTime::now(), targets);
        tracing::info!(revision = self.plans.tag(), targets, "a plan is followed");
        if let Some(directions) = &self.directions {
            directions.name(self.plans.controllers());
        }
        self.keep_plan().await;
        true
    }

    /// What is probed: the targets of the configuration, then those of the plan.
    pub fn targets(&self) -> &[Arc<Target>] {
        self.runner.targets()
    }

    /// Every file that the configuration or the plan names.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = self.config.files();
        let targets = self.plans.of_plan();
        files.extend(targets.flat_map(|target| plan::files(&target.spec)).map(PathBuf::from));
        files
    }

    /// Takes up the plan in the cache, if plans are configured, and begins to ask for newer ones.
    pub(super) async fn look_for_plans(&mut self) -> anyhow::Result<()> {
        let Some(config) = self.config.controllers.clone() else { return Ok(()) };
        if self.plans.text().is_none() {
            self.recall(&config).await;
        }
        let settings = Settings {
            config,
            identity: self.config.identity.clone(),
            pod: self.pod_name(),
            resolver: Arc::clone(&self.environment.resolver),
            window: Arc::clone(&self.window),
            flows: Arc::clone(&self.flows),
            metrics: Arc::clone(&self.admin.metrics),
            runs: self.plans.runs(),
        };
        let named = self.plans.controllers().to_vec();
        self.directions = Some(Directions::begin(settings, named, self.plans.tag())?);
        Ok(())
    }

    /// After a change of the configuration: what the plan says is read anew in its light, unless
    /// plans are no longer wanted.
    ///
    /// `same`: names are resolved as before, so prepared targets may stay. `elsewhere`: controllers
    /// are to be found in another way.
    pub(super) async fn renew_plans(&mut self, same: bool, elsewhere: bool) {
        if elsewhere && let Some(directions) = self.directions.take() {
            directions.end().await;
        }
        if self.config.controllers.is_none() {
            self.plans.abandon();
            return;
        }
        if let Some(text) = self.plans.text().map(str::to_owned) {
            let read = self.plans.read(text, &self.config, &self.environment, false, same).await;
            match read {
                Ok(plan) => self.plans.follow(plan),
                Err(mistakes) => {
                    let what = "the plan does not fit the new configuration: what it was goes on";
                    self.refused(&mistakes, what);
                }
            }
        }
        match &self.directions {
            Some(directions) => directions.ask_anew(),
            None => {
                if let Err(error) = self.look_for_plans().await {
                    tracing::error!("{error:#}: no plans are asked for until the next reload");
                }
            }
        }
    }

    /// Runs what is configured and what is planned.
    pub(super) async fn probe_all(&mut self) {
        self.runner.apply(self.plans.effective()).await;
        for name in self.plans.newly_shadowed() {
            let name = name.as_str();
            tracing::warn!(
                name,
                "the configuration has a target of this name: the plan's is left out"
            );
        }
        if self.config.controllers.is_some() {
            self.admin.metrics.plan_targets(self.plans.of_plan().count());
        }
    }

    /// The name of this pod, when it is known.
    pub(super) fn pod_name(&self) -> Option<String> {
        let mesh = self.config.mesh.as_ref()?;
        mesh.pod.as_ref().map(|pod| pod.name.clone())
    }

    /// The plan of the cache: garbage is told and left alone, the next good plan replaces it.
    async fn recall(&mut self, config: &ControllersConfig) {
        let Some(path) = config.cache.clone() else { return };
        let reading = tokio::task::spawn_blocking(move || directions::kept(&path));
        let kept = reading.await.expect("reading does not panic");
        let text = match kept {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(error) => {
                self.refused(&[Mistake::of_file(&error)], "the cached plan is not used");
                return;
            }
        };
        let read = self.plans.read(text, &self.config, &self.environment, true, true).await;
        match read {
            Ok(plan) => {
                self.plans.follow(plan);
                let targets = self.plans.of_plan().count();
                self.admin.metrics.plan_applied(SystemTime::now(), targets);
                tracing::info!(revision = self.plans.tag(), targets, "the cached plan is followed");
            }
            Err(mistakes) => self.refused(&mistakes, "the cached plan is not used"),
        }
    }

    async fn keep_plan(&self) {
        let controllers = self.config.controllers.as_ref();
        let path = controllers.and_then(|controllers| controllers.cache.clone());
        let Some((path, text)) = path.zip(self.plans.text().map(str::to_owned)) else { return };
        let keeping = tokio::task::spawn_blocking(move || {
            directions::keep(&path, &text).map_err(|error| (path, error))
        });
        if let Err((path, error)) = keeping.await.expect("writing does not panic") {
            let path = path.display();
            tracing::warn!(%path, %error, "the plan cannot be kept: a restart begins without it");
        }
    }

    fn refused(&self, mistakes: &[Mistake], what: &str) {
        self.admin.metrics.plan_rejected();
        let told = mistakes.iter().take(TOLD).map(|mistake| mistake.in_file("plan").to_string());
        let told = told.collect::<Vec<_>>().join("\n");
        let more = mistakes.len().saturating_sub(TOLD);
        tracing::error!(mistakes = told, more, "{what}");
    }
}

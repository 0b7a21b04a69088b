//! From a configuration to targets that can be executed: files read, controls found.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Mistake};
use crate::outcome::{Attempt, Outcome, Subject};
use crate::probe::{Environment, Probe};
use crate::spec::{Ask, Roots, TargetSpec, TlsSettings};
use crate::target::Vantage;

/// A target whose probe is ready, with its positive control.
#[derive(Debug)]
pub struct Target {
    /// What was configured.
    pub spec: TargetSpec,
    /// The prepared probe.
    pub probe: Probe,
    /// Asked right after a denial.
    pub control: Option<Arc<Target>>,
    /// Side of the mesh of this agent.
    pub vantage: Option<Vantage>,
}

impl Target {
    /// Judges `outcome` as an attempt of this target.
    pub fn judged(
        &self,
        outcome: Outcome,
        control: Option<&Outcome>,
        schedule_lag: std::time::Duration,
    ) -> Attempt {
        let subject = Subject {
            probe: self.spec.probe.kind(),
            target: &self.spec.name,
            vantage: self.vantage,
            via: self.spec.via,
            expect: &self.spec.probe.expect,
        };
        Attempt::judged(subject, outcome, control, schedule_lag)
    }

    /// Whether an attempt of `self` is an attempt of `other`: nothing of it was reconfigured.
    fn serves(
        &self,
        spec: &TargetSpec,
        control: Option<&Arc<Self>>,
        vantage: Option<Vantage>,
    ) -> bool {
        let same_control = match (&self.control, control) {
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.spec == *spec && same_control && self.vantage == vantage
    }
}

/// Prepares every target of `config`, in its order; every file that cannot be used is a mistake.
///
/// A target of `previous` that is configured as before is taken over with its connections, unless
/// it uses files and `files_changed`.
pub fn prepare(
    config: &Config,
    environment: &Environment,
    previous: &[Arc<Target>],
    files_changed: bool,
) -> Result<Vec<Arc<Target>>, Vec<Mistake>> {
    let mut made: Vec<Option<Arc<Target>>> = vec![None; config.targets.len()];
    let mut mistakes = Vec::new();
    // Controls first: the configuration allows no control of a control.
    let (with, without): (Vec<usize>, Vec<usize>) =
        (0..config.targets.len()).partition(|at| config.targets[*at].control.is_some());
    for at in without.into_iter().chain(with) {
        let spec = &config.targets[at];
        let control = spec.control.as_ref().and_then(|name| {
            let at = config.targets.iter().position(|target| target.name == *name)?;
            made[at].clone()
        });
        let kept = previous.iter().find(|target| {
            let same_files = !files_changed || files(spec).is_empty();
            same_files && target.serves(spec, control.as_ref(), config.identity.vantage)
        });
        if let Some(kept) = kept {
            made[at] = Some(Arc::clone(kept));
            continue;
        }
        match Probe::prepare(&spec.probe, environment) {
            Ok(probe) => {
                let vantage = config.identity.vantage;
                made[at] = Some(Arc::new(Target { spec: spec.clone(), probe, control, vantage }));
            }
            Err(error) => mistakes.push(config.origins.of_target(
                &spec.name,
                error.field,
                &error.path,
                &error.problem,
            )),
        }
    }
    if mistakes.is_empty() {
        Ok(made.into_iter().map(|target| target.expect("made or a mistake")).collect())
    } else {
        Err(crate::config::tidy(mistakes))
    }
}

/// The files that `spec` is prepared from.
pub fn files(spec: &TargetSpec) -> Vec<&Path> {
    let tls = match &spec.probe.ask {
        Ask::Dns { .. } | Ask::Tcp { .. } => return Vec::new(),
        Ask::Tls { module, .. } => &module.tls,
        Ask::Http { module, .. } => &module.tls,
        Ask::Hold { module, .. } => &module.tls,
    };
    tls_files(tls)
}

fn tls_files(tls: &TlsSettings) -> Vec<&Path> {
    let mut files = Vec::new();
    if let Roots::File(path) = &tls.roots {
        files.push(path.as_path());
    }
    if let Some(identity) = &tls.identity {
        files.extend([identity.certificate.as_path(), identity.key.as_path()]);
    }
    files
}

/// Everything wrong with the files of modules, which `/probe` may ask without a target.
pub fn check_modules(config: &Config, environment: &Environment) -> Vec<Mistake> {
    let mistakes = config.modules.iter().filter_map(|(name, module)| {
        // Any address will do: files do not depend on it.
        let spec = module.aim("127.0.0.1:1").ok()?;
        let error = Probe::prepare(&spec, environment).err()?;
        Some(config.origins.of_module(name, error.field, &error.path, &error.problem))
    });
    crate::config::tidy(mistakes.collect())
}

/// Everything wrong with the files that `config` names; nothing is resolved or connected.
pub fn check_files(config: &Config) -> Vec<Mistake> {
    let environment = Environment { resolver: Arc::default() };
    let mut mistakes = prepare(config, &environment, &[], false).err().unwrap_or_default();
    mistakes.extend(check_modules(config, &environment));
    crate::config::tidy(mistakes)
}

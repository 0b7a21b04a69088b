//! From a configuration to targets that can be executed: files read, controls found.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::attempt::{Attempt, Subject};
use crate::config::{Config, Mistake};
use crate::outcome::Outcome;
use crate::probe::{Environment, Probe};
use crate::spec::{Ask, OwnCertificate, Roots, TargetSpec, TlsSettings};
use crate::target::{TargetName, Vantage};

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
    /// What was in the files that the probe is prepared from.
    contents: Vec<Content>,
    /// When the grace ends that follows upon a change of what is expected.
    settled: Option<Instant>,
    /// When it was last asked as the control of a denial.
    controlled: Mutex<Option<Instant>>,
}

/// A hash of a file; nothing when it cannot be read.
type Content = Option<u64>;

impl Target {
    /// Judges `outcome` as an attempt of this target; `control` is what its positive control gave.
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
        let control = self.control.as_ref().zip(control);
        let control = control.map(|(target, outcome)| (&target.spec.name, outcome));
        Attempt::judged(subject, outcome, control, schedule_lag)
    }

    /// Whether an attempt that began at `began` fell into the grace after a change.
    pub fn settles_after(&self, began: Instant) -> bool {
        self.settled.is_some_and(|settled| began < settled)
    }

    /// Notes that it is asked now, as the control of a denial.
    pub fn control_begins(&self) {
        *self.controlled.lock().expect("never poisoned") = Some(Instant::now());
    }

    /// Whether it was asked as a control less than its interval ago, so that a slot of its own
    /// would ask the same again.
    pub fn asked_lately(&self) -> bool {
        let asked = *self.controlled.lock().expect("never poisoned");
        asked.is_some_and(|asked| asked.elapsed() < self.spec.cadence.interval())
    }

    /// Whether the same is asked and expected as by `spec`.
    fn expects(&self, spec: &TargetSpec) -> bool {
        self.spec.probe.ask == spec.probe.ask && self.spec.probe.expect == spec.probe.expect
    }

    /// Whether an attempt of `self` is what an attempt of a target made of these would be.
    fn serves(
        &self,
        spec: &TargetSpec,
        control: Option<&Arc<Self>>,
        vantage: Option<Vantage>,
        contents: &[Content],
    ) -> bool {
        let same_control = match (&self.control, control) {
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.spec == *spec && same_control && self.vantage == vantage && self.contents == contents
    }
}

/// Prepares every target of `config`, in its order; every file that cannot be used is a mistake.
///
/// A target of `previous` that is configured as before, with the same in its files, is taken over
/// with its connections.
pub fn prepare(
    config: &Config,
    environment: &Environment,
    previous: &[Arc<Target>],
) -> Result<Vec<Arc<Target>>, Vec<Mistake>> {
    prepare_changed(config, environment, previous, None)
}

/// The same; a target that is new, or of which something else is asked or expected than of its
/// namesake in `previous`, has until `settled` to become so.
pub fn prepare_changed(
    config: &Config,
    environment: &Environment,
    previous: &[Arc<Target>],
    settled: Option<Instant>,
) -> Result<Vec<Arc<Target>>, Vec<Mistake>> {
    let previous: HashMap<&TargetName, &Arc<Target>> =
        previous.iter().map(|target| (&target.spec.name, target)).collect();
    let mut made: HashMap<&TargetName, Arc<Target>> = HashMap::new();
    let mut contents = Contents::default();
    let mut mistakes = Vec::new();
    // Controls first: the configuration allows no control of a control.
    let (with, without): (Vec<_>, Vec<_>) =
        config.targets.iter().partition(|spec| spec.control.is_some());
    for spec in without.into_iter().chain(with) {
        let control = spec.control.as_ref().and_then(|name| made.get(name).cloned());
        let vantage = config.identity.vantage;
        let contents = contents.of(spec);
        let kept = previous
            .get(&spec.name)
            .filter(|target| target.serves(spec, control.as_ref(), vantage, &contents));
        if let Some(kept) = kept {
            made.insert(&spec.name, Arc::clone(kept));
            continue;
        }
        let name = &spec.name;
        let same = previous.get(name).filter(|target| target.expects(spec));
        let settled = same.map_or(settled, |target| target.settled);
        match Probe::prepare(&spec.probe, environment) {
            Ok(probe) => {
                let spec = spec.clone();
                let controlled = Mutex::default();
                let target =
                    Target { spec, probe, control, vantage, contents, settled, controlled };
                made.insert(name, Arc::new(target));
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
        let made = |spec: &TargetSpec| made.remove(&spec.name).expect("made or a mistake");
        Ok(config.targets.iter().map(made).collect())
    } else {
        Err(crate::config::tidy(mistakes))
    }
}

/// Files that were looked at, each once.
#[derive(Debug, Default)]
struct Contents(HashMap<PathBuf, Content>);

impl Contents {
    fn of(&mut self, spec: &TargetSpec) -> Vec<Content> {
        let hash = |path: &Path| {
            let mut hasher = DefaultHasher::new();
            std::fs::read(path).ok()?.hash(&mut hasher);
            Some(hasher.finish())
        };
        let known = |path: &Path| *self.0.entry(path.to_owned()).or_insert_with(|| hash(path));
        files(spec).into_iter().map(known).collect()
    }
}

/// The files that `spec` is prepared from.
pub fn files(spec: &TargetSpec) -> Vec<&Path> {
    let tls = match &spec.probe.ask {
        Ask::Dns { .. } | Ask::Tcp { .. } | Ask::Capture { .. } | Ask::Ztunnel { .. } => {
            return Vec::new();
        }
        Ask::Hbone { module, .. } => &module.tls,
        Ask::Istiod { module, .. } => &module.tls,
        Ask::Mtu { module, .. } => &module.tls,
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
    if let Some(OwnCertificate::Files(identity)) = &tls.identity {
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
    let environment = Environment::default();
    let mut mistakes = prepare(config, &environment, &[]).err().unwrap_or_default();
    mistakes.extend(check_modules(config, &environment));
    crate::config::tidy(mistakes)
}

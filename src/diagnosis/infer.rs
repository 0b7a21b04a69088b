//! Finds the set of broken components that best explains everything seen: maximum a posteriori,
//! greedy with incremental gains, then local search. The model of inference is Flock's
//! (arXiv 2305.03348), with reasons, doubtful effects and odd paths added.

use std::collections::{BTreeSet, HashMap};

use crate::diagnosis::component::{Component, Kind, Names};
use crate::diagnosis::likelihood::{BACKGROUND, Cause, log_likelihood, uniform};
use crate::diagnosis::path::{End, Path};
use crate::diagnosis::seen::{Tally, best};
use crate::diagnosis::signature::{Signature, signature};

/// Shares of failing attempts that are tried.
const RATES: [f64; 7] = [1.0, 0.7, 0.4, 0.2, 0.1, 0.05, 0.02];
/// What one more broken component costs, nats, beside the logarithm of how many there are.
const COST: f64 = 6.0;
/// What a gray fault costs more: it has a rate.
const GRAY: f64 = 2.0;
/// The most broken components that are looked for.
const MOST: usize = 256;
/// Components that may stand in for a suspect.
const RIVALS: usize = 12;
/// Rounds of local search.
const ROUNDS: usize = 4;

/// A component that is taken to be broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suspect {
    pub(super) component: Component,
    pub(super) kind: Kind,
    pub(super) rate: f64,
    /// How much likelier all that was seen is with it, nats, its cost paid.
    pub(super) gain: f64,
}

/// A path that a component is on.
type Touch = (u32, End);

/// The search.
pub(super) struct Search<'a> {
    pub(super) names: &'a Names,
    pub(super) paths: &'a [Path],
    pub(super) tallies: &'a [Tally],
    /// Paths by component, of those that may be broken at all.
    index: HashMap<Component, Vec<Touch>>,
    /// By failing path, the most that a cause may gain on it.
    pulls: HashMap<u32, f64>,
    /// By path, what acts on it.
    causes: HashMap<u32, Vec<Cause>>,
    cost: f64,
}

impl<'a> Search<'a> {
    pub(super) fn new(names: &'a Names, paths: &'a [Path], tallies: &'a [Tally]) -> Self {
        let cost = COST + (names.components().max(1) as f64).ln();
        let failing = (0..paths.len()).filter(|path| tallies[*path].violated > 0);
        let pulls: HashMap<u32, f64> =
            failing.map(|path| (path as u32, pull(&tallies[path]))).collect();
        let mut sums: HashMap<Component, f64> = HashMap::new();
        for (path, pull) in &pulls {
            paths[*path as usize].crossings(names, &mut |component, _| {
                *sums.entry(component).or_default() += pull;
            });
        }
        sums.retain(|_, sum| *sum > cost);
        let mut index: HashMap<Component, Vec<Touch>> =
            sums.into_keys().map(|component| (component, Vec::new())).collect();
        if !index.is_empty() {
            for (number, path) in paths.iter().enumerate() {
                path.crossings(names, &mut |component, end| {
                    if let Some(touches) = index.get_mut(&component) {
                        touches.push((number as u32, end));
                    }
                });
            }
        }
        Self { names, paths, tallies, index, pulls, causes: HashMap::new(), cost }
    }

    /// The suspects, those that explain most first.
    pub(super) fn run(&mut self) -> Vec<Suspect> {
        let mut suspects: Vec<Option<Suspect>> = Vec::new();
        let mut gains: HashMap<Component, Suspect> = HashMap::new();
        let all: Vec<Component> = self.index.keys().copied().collect();
        self.weigh(&all, &mut gains);
        for _ in 0..=ROUNDS {
            self.add_greedily(&mut suspects, &mut gains);
            if !self.improve(&mut suspects, &mut gains) {
                break;
            }
        }
        let mut found: Vec<Suspect> = suspects.into_iter().flatten().collect();
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.component.cmp(&b.component)));
        found
    }

    fn add_greedily(
        &mut self,
        suspects: &mut Vec<Option<Suspect>>,
        gains: &mut HashMap<Component, Suspect>,
    ) {
        while suspects.len() < MOST {
            let by_gain = |a: &&Suspect, b: &&Suspect| {
                a.gain.total_cmp(&b.gain).then(b.component.cmp(&a.component))
            };
            let Some(next) = gains.values().max_by(by_gain).copied() else { return };
            if next.gain <= 0.0 {
                return;
            }
            self.accuse(&next, suspects.len());
            suspects.push(Some(next));
            self.weigh(&self.neighbours(&next), gains);
            let accused = suspects.iter().flatten().map(|suspect| suspect.component);
            let accused: Vec<Component> = accused.collect();
            gains.retain(|component, _| !accused.contains(component));
        }
    }

    /// Replaces each suspect by what now fits best in its place, or by nothing. Whether any was.
    fn improve(
        &mut self,
        suspects: &mut [Option<Suspect>],
        gains: &mut HashMap<Component, Suspect>,
    ) -> bool {
        let mut changed = false;
        for place in 0..suspects.len() {
            let Some(old) = suspects[place] else { continue };
            self.acquit(place);
            let mut rivals = self.rivals(&old);
            rivals.push(old.component);
            rivals.retain(|rival| {
                !suspects.iter().flatten().any(|other| other.component == *rival)
                    || *rival == old.component
            });
            let weighed = rivals.iter().filter_map(|rival| self.best(*rival));
            let new = weighed.max_by(|a, b| a.gain.total_cmp(&b.gain)).filter(|new| new.gain > 0.0);
            suspects[place] = new;
            if let Some(new) = &new {
                self.accuse(new, place);
            }
            let same = |new: &Suspect| new.component == old.component;
            if !new.as_ref().is_some_and(same) {
                changed = true;
                let mut near = self.neighbours(&old);
                near.extend(new.iter().flat_map(|new| self.neighbours(new)));
                self.weigh(&near, gains);
            }
            for suspect in suspects.iter().flatten() {
                gains.remove(&suspect.component);
            }
        }
        changed
    }

    /// What else would explain what `suspect` (at `place`) explains, best first, with its gain in
    /// the place of the suspect's.
    pub(super) fn alternatives(&mut self, suspect: &Suspect, place: usize) -> Vec<Suspect> {
        self.acquit(place);
        let rivals = self.rivals(suspect);
        let mut found: Vec<Suspect> =
            rivals.iter().filter_map(|rival| self.best(*rival)).filter(|r| r.gain > 0.0).collect();
        self.accuse(suspect, place);
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        found
    }

    /// Lets the suspects act afresh, each by its place in the list.
    pub(super) fn settle(&mut self, suspects: &[Suspect]) {
        self.causes.clear();
        for (place, suspect) in suspects.iter().enumerate() {
            self.accuse(suspect, place);
        }
    }

    /// What acts on `path`.
    pub(super) fn causes(&self, path: u32) -> &[Cause] {
        self.causes.get(&path).map_or(&[], Vec::as_slice)
    }

    /// Every path that `component` is on.
    fn touches(&self, component: Component) -> &[Touch] {
        self.index.get(&component).map_or(&[], Vec::as_slice)
    }

    /// The paths on which `kind` of `component` shows, each once, and how.
    pub(super) fn touched(
        &self,
        component: Component,
        kind: Kind,
    ) -> impl Iterator<Item = (u32, &'static Signature)> {
        let mut last = None;
        self.touches(component).iter().filter_map(move |(path, end)| {
            let signature = signature(kind, *end, &self.paths[*path as usize])?;
            // It may be at both ends.
            (last.replace(*path) != Some(*path)).then_some((*path, signature))
        })
    }

    /// Failing paths.
    pub(super) fn failing(&self) -> impl Iterator<Item = u32> {
        self.pulls.keys().copied()
    }

    fn weigh(&self, components: &[Component], gains: &mut HashMap<Component, Suspect>) {
        for component in components {
            match self.best(*component) {
                Some(best) => gains.insert(*component, best),
                None => gains.remove(component),
            };
        }
    }

    /// The kind and rate that fit `component` best.
    fn best(&self, component: Component) -> Option<Suspect> {
        let kinds = component.kinds().iter();
        let suspects = kinds.filter_map(|kind| self.fit(component, *kind));
        suspects.max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    fn fit(&self, component: Component, kind: Kind) -> Option<Suspect> {
        let touched: Vec<(u32, Cause)> = self
            .touched(component, kind)
            .map(|(path, signature)| (path, Cause { rate: 1.0, signature, suspect: usize::MAX }))
            .collect();
        let hope: f64 = touched.iter().filter_map(|(path, _)| self.pulls.get(path)).sum();
        if hope < self.cost {
            return None;
        }
        let before: Vec<f64> = touched
            .iter()
            .map(|(path, _)| log_likelihood(self.tally(*path), self.causes(*path), None))
            .collect();
        let rates = RATES.iter().filter(|rate| kind != Kind::Gray || **rate < 1.0);
        let fits = rates.map(|&rate| {
            let gain: f64 = std::iter::zip(&touched, &before)
                .map(|((path, cause), before)| {
                    let cause = Cause { rate, ..*cause };
                    let causes = self.causes(*path);
                    log_likelihood(self.tally(*path), causes, Some(&cause)) - before
                })
                .sum();
            let cost = self.cost + if rate < 1.0 { GRAY } else { 0.0 };
            Suspect { component, kind, rate, gain: gain - cost }
        });
        fits.max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    fn tally(&self, path: u32) -> &'a Tally {
        &self.tallies[path as usize]
    }

    fn accuse(&mut self, suspect: &Suspect, place: usize) {
        let touched: Vec<_> = self.touched(suspect.component, suspect.kind).collect();
        for (path, signature) in touched {
            let cause = Cause { rate: suspect.rate, signature, suspect: place };
            self.causes.entry(path).or_default().push(cause);
        }
    }

    fn acquit(&mut self, place: usize) {
        self.causes.retain(|_, causes| {
            causes.retain(|cause| cause.suspect != place);
            !causes.is_empty()
        });
    }

    /// Components that share failing paths with `suspect`, and so compete with it.
    fn neighbours(&self, suspect: &Suspect) -> Vec<Component> {
        let mut near = BTreeSet::new();
        self.shared(suspect, |component, _| {
            near.insert(component);
        });
        near.into_iter().collect()
    }

    /// Those of them that are on most of what it explains.
    fn rivals(&self, suspect: &Suspect) -> Vec<Component> {
        let mut weights: HashMap<Component, f64> = HashMap::new();
        self.shared(suspect, |component, pull| *weights.entry(component).or_default() += pull);
        weights.remove(&suspect.component);
        let mut weights: Vec<(Component, f64)> = weights.into_iter().collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        weights.into_iter().take(RIVALS).map(|(component, _)| component).collect()
    }

    fn shared(&self, suspect: &Suspect, mut tell: impl FnMut(Component, f64)) {
        for (path, end) in self.touches(suspect.component) {
            let Some(pull) = self.pulls.get(path) else { continue };
            let crossed = &self.paths[*path as usize];
            if signature(suspect.kind, *end, crossed).is_none() {
                continue;
            }
            crossed.crossings(self.names, &mut |component, _| {
                if self.index.contains_key(&component) {
                    tell(component, *pull);
                }
            });
        }
    }
}

/// The most that a cause may gain on a path that failed.
fn pull(tally: &Tally) -> f64 {
    let (met, violated) = (tally.met as f64, tally.violated as f64);
    let without = log_likelihood(tally, &[], None);
    let chance = met * (-BACKGROUND).ln_1p() + violated * (BACKGROUND * uniform()).ln();
    (best(met, violated) - without.max(chance)).max(0.0)
}

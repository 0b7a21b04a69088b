//! Finds the set of broken components that best explains everything seen: maximum a posteriori,
//! greedy with incremental gains, then local search. The model of inference is Flock's
//! (arXiv 2305.03348), with reasons, doubtful effects and odd paths added.

use std::collections::HashMap;

use crate::diagnosis::component::{Component, Kind, Names};
use crate::diagnosis::likelihood::{Cause, log_likelihood};
use crate::diagnosis::path::{End, Path};
use crate::diagnosis::seen::{Tally, best};
use crate::diagnosis::signature::{Signature, signature};

/// Shares of failing attempts that are tried.
const RATES: [f64; 8] = [1.0, 0.9, 0.6, 0.4, 0.2, 0.1, 0.05, 0.02];
/// Factors by which the best of them is moved.
const FINER: [f64; 5] = [1.25, 1.12, 1.12, 1.06, 1.03];
/// What one more broken component costs, nats, beside the logarithm of how many there are.
const COST: f64 = 6.0;
/// What a gray fault costs more: it has a rate.
const GRAY: f64 = 2.0;
/// What a kind of fault costs more that would explain nearly every reason.
const VAGUE: f64 = 4.0;
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

/// Healthy paths that weigh the same, and how many there are.
type Counted<'a> = (&'a Tally, Cause, f64);

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
    /// By component, the most that it may still gain.
    hopes: HashMap<Component, f64>,
    /// What was weighed and has not changed since.
    weighed: HashMap<Component, Option<Suspect>>,
    cost: f64,
}

/// Whether `suspect` is a pod of what is broken as a whole, and not much worse than that: chance
/// makes one of many pods look a little worse than the rest.
fn is_said_by_the_whole(suspect: &Suspect, all: &[Suspect]) -> bool {
    let whole = match suspect.component {
        Component::IstiodPod(_) => Component::Istiod,
        Component::CorednsPod(_) => Component::Coredns,
        _ => return false,
    };
    all.iter().any(|it| it.component == whole && suspect.rate < 2.0 * it.rate)
}

impl<'a> Search<'a> {
    pub(super) fn new(names: &'a Names, paths: &'a [Path], tallies: &'a [Tally]) -> Self {
        let cost = COST + (names.components().max(1) as f64).ln();
        let failing = (0..paths.len()).filter(|path| tallies[*path].violated > 0);
        let pulls: HashMap<u32, f64> =
            failing.map(|path| (path as u32, most(&tallies[path], &[]))).collect();
        let mut sums: HashMap<Component, f64> = HashMap::new();
        for (path, pull) in &pulls {
            paths[*path as usize].crossings(names, &mut |component, _| {
                *sums.entry(component).or_default() += pull;
            });
        }
        sums.retain(|_, sum| *sum > cost);
        let hopes = sums.clone();
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
        Self {
            names,
            paths,
            tallies,
            index,
            pulls,
            causes: HashMap::new(),
            hopes,
            weighed: HashMap::new(),
            cost,
        }
    }

    /// The suspects, those that explain most first.
    pub(super) fn run(&mut self) -> Vec<Suspect> {
        let mut suspects: Vec<Option<Suspect>> = Vec::new();
        for _ in 0..ROUNDS {
            self.add_greedily(&mut suspects);
            if !self.improve(&mut suspects) {
                break;
            }
        }
        let found: Vec<Suspect> = suspects.into_iter().flatten().collect();
        let mut found: Vec<Suspect> =
            found.iter().filter(|it| !is_said_by_the_whole(it, &found)).copied().collect();
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.component.cmp(&b.component)));
        found
    }

    fn add_greedily(&mut self, suspects: &mut Vec<Option<Suspect>>) {
        while suspects.len() < MOST {
            let Some(next) = self.likeliest(suspects) else { return };
            self.accuse(&next, suspects.len());
            suspects.push(Some(next));
        }
    }

    /// The component that gains most. Those that may hope for less than the best so far are not
    /// weighed.
    fn likeliest(&mut self, suspects: &[Option<Suspect>]) -> Option<Suspect> {
        let mut hopes: Vec<(Component, f64)> = self
            .hopes
            .iter()
            .filter(|(_, hope)| **hope > self.cost)
            .filter(|(component, _)| {
                !suspects.iter().flatten().any(|suspect| suspect.component == **component)
            })
            .map(|(component, hope)| (*component, *hope - self.cost))
            .collect();
        hopes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut most: Option<Suspect> = None;
        for (component, hope) in hopes {
            if most.is_some_and(|most| most.gain >= hope) {
                break;
            }
            let known = self.weighed.get(&component).copied();
            let weighed = known.unwrap_or_else(|| self.best(component));
            self.weighed.insert(component, weighed);
            if let Some(suspect) = weighed
                && suspect.gain > most.map_or(0.0, |most| most.gain)
            {
                most = Some(suspect);
            }
        }
        most
    }

    /// Replaces each suspect by what now fits best in its place, or by nothing. Whether any was.
    fn improve(&mut self, suspects: &mut [Option<Suspect>]) -> bool {
        let mut changed = false;
        for place in 0..suspects.len() {
            let Some(old) = suspects[place] else { continue };
            self.acquit(&old, place);
            let mut rivals = self.rivals(&old);
            rivals
                .retain(|rival| !suspects.iter().flatten().any(|other| other.component == *rival));
            rivals.push(old.component);
            let weighed = rivals.iter().filter_map(|rival| self.best(*rival));
            let new = weighed.max_by(|a, b| a.gain.total_cmp(&b.gain)).filter(|new| new.gain > 0.0);
            suspects[place] = new;
            if let Some(new) = &new {
                self.accuse(new, place);
            }
            changed |= new.is_none_or(|new| new.component != old.component);
        }
        changed
    }

    /// What the suspect at `place` gains beside the others, and what else would explain what it
    /// explains, best first.
    pub(super) fn alternatives(
        &mut self,
        suspects: &[Suspect],
        place: usize,
    ) -> (f64, Vec<Suspect>) {
        let suspect = &suspects[place];
        self.acquit(suspect, place);
        let own = self.fit(suspect.component, suspect.kind).map_or(0.0, |own| own.gain);
        let mut rivals = self.rivals(suspect);
        rivals.retain(|rival| suspects.iter().all(|other| other.component != *rival));
        let mut found: Vec<Suspect> =
            rivals.iter().filter_map(|rival| self.best(*rival)).filter(|r| r.gain > 0.0).collect();
        self.accuse(suspect, place);
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        (own, found)
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

    /// The kind and rate that fit `component` best.
    fn best(&self, component: Component) -> Option<Suspect> {
        if self.hopes.get(&component).is_none_or(|hope| *hope < self.cost) {
            return None;
        }
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
        let (plain, touched) = self.sorted(touched);
        let before: Vec<f64> = touched
            .iter()
            .map(|(path, _)| log_likelihood(self.tally(*path), self.causes(*path), None))
            .collect();
        let rates = RATES.iter().filter(|rate| kind != Kind::Gray || **rate < 1.0);
        let vague = if kind == Kind::Gray { VAGUE } else { 0.0 };
        let fitted = |rate: f64| {
            let for_it: f64 = std::iter::zip(&touched, &before)
                .map(|((path, cause), before)| {
                    let cause = Cause { rate, ..*cause };
                    let causes = self.causes(*path);
                    log_likelihood(self.tally(*path), causes, Some(&cause)) - before
                })
                .sum();
            let against: f64 = plain
                .iter()
                .map(|(tally, cause, count)| {
                    let cause = Cause { rate, ..*cause };
                    let before = log_likelihood(tally, &[], None);
                    *count * (log_likelihood(tally, &[], Some(&cause)) - before)
                })
                .sum();
            let cost = self.cost + if rate < 0.9 { GRAY } else { 0.0 } + vague;
            Suspect { component, kind, rate, gain: for_it + against - cost }
        };
        let by_gain = |a: &Suspect, b: &Suspect| a.gain.total_cmp(&b.gain);
        let mut most = rates.map(|rate| fitted(*rate)).max_by(by_gain)?;
        // Between the rates of the grid, where many attempts tell them apart.
        if most.gain > 0.0 && most.rate < 0.9 {
            for step in FINER {
                let near = [most.rate * step, most.rate / step].map(|rate| fitted(rate.min(0.95)));
                most = near.into_iter().fold(most, |a, b| if b.gain > a.gain { b } else { a });
            }
        }
        Some(most)
    }

    /// Healthy paths on which nothing acts yet, counted by what they weigh, and all others.
    fn sorted(&self, touched: Vec<(u32, Cause)>) -> (Vec<Counted<'a>>, Vec<(u32, Cause)>) {
        let mut plain: HashMap<(u64, u64), Counted<'a>> = HashMap::new();
        let mut others = Vec::new();
        for (path, cause) in touched {
            let tally = self.tally(path);
            if tally.violated > 0 || !self.causes(path).is_empty() {
                others.push((path, cause));
                continue;
            }
            let key = (tally.met, cause.signature.shows.to_bits());
            plain.entry(key).or_insert((tally, cause, 0.0)).2 += 1.0;
        }
        // In an order of its own: sums must come out the same every time.
        let mut plain: Vec<_> = plain.into_iter().collect();
        plain.sort_by_key(|(key, _)| *key);
        (plain.into_iter().map(|(_, counted)| counted).collect(), others)
    }

    fn tally(&self, path: u32) -> &'a Tally {
        &self.tallies[path as usize]
    }

    fn accuse(&mut self, suspect: &Suspect, place: usize) {
        let touched: Vec<_> = self.touched(suspect.component, suspect.kind).collect();
        for (path, signature) in touched {
            let cause = Cause { rate: suspect.rate, signature, suspect: place };
            self.causes.entry(path).or_default().push(cause);
            self.changed(path);
        }
    }

    fn acquit(&mut self, suspect: &Suspect, place: usize) {
        let touched: Vec<_> = self.touched(suspect.component, suspect.kind).collect();
        for (path, _) in touched {
            if let Some(causes) = self.causes.get_mut(&path) {
                causes.retain(|cause| cause.suspect != place);
                if causes.is_empty() {
                    self.causes.remove(&path);
                }
            }
            self.changed(path);
        }
    }

    /// Something else acts on `path`: what its components may hope for is counted again.
    fn changed(&mut self, path: u32) {
        let Some(pull) = self.pulls.get_mut(&path) else { return };
        let causes = self.causes.get(&path).map_or(&[][..], Vec::as_slice);
        let now = most(&self.tallies[path as usize], causes);
        let change = now - std::mem::replace(pull, now);
        let (hopes, weighed) = (&mut self.hopes, &mut self.weighed);
        self.paths[path as usize].crossings(self.names, &mut |component, _| {
            if let Some(hope) = hopes.get_mut(&component) {
                *hope += change;
            }
            weighed.remove(&component);
        });
    }

    /// Components that share failing paths with `suspect`, those on most of what it explains.
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

/// The most that one more cause may gain on a path that failed.
fn most(tally: &Tally, causes: &[Cause]) -> f64 {
    let most = best(tally.met as f64, tally.violated as f64);
    (most - log_likelihood(tally, causes, None)).max(0.0)
}

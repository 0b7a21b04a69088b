//! Finds the set of broken components that best explains everything seen: maximum a posteriori,
//! greedy with incremental gains, then local search. The model of inference is Flock's
//! (arXiv 2305.03348), with reasons, doubtful effects and odd paths added.

use std::collections::HashMap;

use crate::diagnosis::component::{Component, Kind, Names};
use crate::diagnosis::index::{Candidate, Contact, Healthy, Index};
use crate::diagnosis::likelihood::{Cause, Failing};
use crate::diagnosis::path::Path;
use crate::diagnosis::seen::Tally;
use crate::diagnosis::weigh::{Shown, Weighing, shows};

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
/// Shared failing paths for which a suspect is fitted anew.
const FEW: usize = 8;
/// Rounds of local search.
const ROUNDS: usize = 4;

/// A component that is taken to be broken.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) component: Component,
    pub(super) kind: Kind,
    pub(super) rate: f64,
    /// How much likelier all that was seen is with it, nats, its cost paid.
    pub(super) gain: f64,
    candidate: Candidate,
    shown: Vec<Shown>,
}

/// What is known of the gain of a candidate.
#[derive(Debug, Clone)]
enum Weighed {
    /// It must be weighed anew.
    Stale,
    /// This is the best it can do, if anything.
    Best(Option<Suspect>),
}

/// The search.
pub(super) struct Search<'a> {
    pub(super) names: &'a Names,
    pub(super) paths: &'a [Path],
    pub(super) tallies: &'a [Tally],
    /// Numbers of failing paths; what follows is by place in this list.
    failing: Vec<u32>,
    facts: Vec<Failing<'a>>,
    /// What acts on it.
    causes: Vec<Vec<Cause>>,
    /// ln of its likelihood as they say.
    told: Vec<f64>,
    /// The most that one more cause may gain on it.
    pulls: Vec<f64>,
    index: Index,
    /// By candidate, the most that it may still gain.
    hopes: Vec<f64>,
    weighed: Vec<Weighed>,
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
        let failing: Vec<u32> =
            (0..paths.len() as u32).filter(|path| tallies[*path as usize].violated > 0).collect();
        let facts: Vec<Failing<'a>> =
            failing.iter().map(|path| Failing::new(&tallies[*path as usize])).collect();
        let told: Vec<f64> = facts.iter().map(|path| path.told(&[])).collect();
        let pulls: Vec<f64> =
            std::iter::zip(&facts, &told).map(|(path, told)| path.pull(*told)).collect();
        let index = Index::new(names, (paths, tallies), &failing, &pulls, cost);
        let mut hopes = vec![0.0; index.len()];
        for (place, pull) in (0..).zip(&pulls) {
            for candidate in index.crossed(place) {
                hopes[*candidate as usize] += pull;
            }
        }
        let causes = vec![Vec::new(); failing.len()];
        let weighed = vec![Weighed::Stale; index.len()];
        Self {
            names,
            paths,
            tallies,
            failing,
            facts,
            causes,
            told,
            pulls,
            index,
            hopes,
            weighed,
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
            found.iter().filter(|it| !is_said_by_the_whole(it, &found)).cloned().collect();
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.component.cmp(&b.component)));
        found
    }

    fn add_greedily(&mut self, suspects: &mut Vec<Option<Suspect>>) {
        while suspects.len() < MOST {
            let Some(next) = self.likeliest(suspects) else { return };
            self.accuse(&next, suspects.len());
            self.refit(suspects, &next);
            suspects.push(Some(next));
        }
    }

    /// Fits those suspects anew that share failing paths with `new`: what it explains they need
    /// not.
    fn refit(&mut self, suspects: &mut [Option<Suspect>], new: &Suspect) {
        let mut shared = vec![0; suspects.len()];
        for (at, _) in self.places(new.candidate, new.kind) {
            for cause in &self.causes[at as usize] {
                if let Some(count) = shared.get_mut(cause.suspect) {
                    *count += 1;
                }
            }
        }
        for place in 0..suspects.len() {
            let Some(old) = suspects[place].take_if(|_| shared[place] >= FEW) else { continue };
            self.acquit(&old, place);
            let new = self.fit(old.candidate, old.kind).unwrap_or(old);
            self.accuse(&new, place);
            suspects[place] = Some(new);
        }
    }

    /// The component that gains most. Those that may hope for less than the best so far are not
    /// weighed.
    fn likeliest(&mut self, suspects: &[Option<Suspect>]) -> Option<Suspect> {
        let mut hopes: Vec<(Candidate, f64)> = (0..)
            .zip(&self.hopes)
            .filter(|(_, hope)| **hope > self.cost)
            .filter(|(candidate, _)| {
                !suspects.iter().flatten().any(|suspect| suspect.candidate == *candidate)
            })
            .map(|(candidate, hope)| (candidate, *hope - self.cost))
            .collect();
        hopes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut most: Option<Suspect> = None;
        for (candidate, hope) in hopes {
            if most.as_ref().is_some_and(|most| most.gain >= hope) {
                break;
            }
            if matches!(self.weighed[candidate as usize], Weighed::Stale) {
                self.weighed[candidate as usize] = Weighed::Best(self.best(candidate));
            }
            if let Weighed::Best(Some(suspect)) = &self.weighed[candidate as usize]
                && suspect.gain > most.as_ref().map_or(0.0, |most| most.gain)
            {
                most = Some(suspect.clone());
            }
        }
        most
    }

    /// Replaces each suspect by what now fits best in its place, or by nothing. Whether any was.
    fn improve(&mut self, suspects: &mut [Option<Suspect>]) -> bool {
        let mut changed = false;
        for place in 0..suspects.len() {
            let Some(old) = suspects[place].take() else { continue };
            self.acquit(&old, place);
            let mut rivals = self.rivals(&old);
            rivals
                .retain(|rival| !suspects.iter().flatten().any(|other| other.candidate == *rival));
            rivals.push(old.candidate);
            let weighed = rivals.iter().filter_map(|rival| self.best(*rival));
            let new = weighed.max_by(|a, b| a.gain.total_cmp(&b.gain)).filter(|new| new.gain > 0.0);
            if let Some(new) = &new {
                self.accuse(new, place);
            }
            changed |= new.as_ref().is_none_or(|new| new.component != old.component);
            suspects[place] = new;
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
        let own = self.fit(suspect.candidate, suspect.kind).map_or(0.0, |own| own.gain);
        let mut rivals = self.rivals(suspect);
        rivals.retain(|rival| suspects.iter().all(|other| other.candidate != *rival));
        let mut found: Vec<Suspect> =
            rivals.iter().filter_map(|rival| self.best(*rival)).filter(|r| r.gain > 0.0).collect();
        self.accuse(suspect, place);
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        (own, found)
    }

    /// Lets the suspects act afresh, each by its place in the list.
    pub(super) fn settle(&mut self, suspects: &[Suspect]) {
        for place in 0..self.causes.len() {
            if !self.causes[place].is_empty() {
                self.causes[place].clear();
                self.changed(place as u32);
            }
        }
        for (place, suspect) in suspects.iter().enumerate() {
            self.accuse(suspect, place);
        }
    }

    /// Failing paths, and what acts on each.
    pub(super) fn failing(&self) -> impl Iterator<Item = (u32, &[Cause])> {
        std::iter::zip(&self.failing, &self.causes).map(|(path, causes)| (*path, causes.as_slice()))
    }

    /// The failing paths on which the suspect's fault shows, each once, and how.
    pub(super) fn touched(&self, suspect: &Suspect) -> impl Iterator<Item = (u32, Contact)> {
        self.places(suspect.candidate, suspect.kind)
            .map(|(place, contact)| (self.failing[place as usize], contact))
    }

    /// Healthy paths on which it would show.
    pub(super) fn healthy(&self, suspect: &Suspect) -> impl Iterator<Item = &Healthy> {
        self.index.healthy(suspect.candidate, suspect.kind).map(|(healthy, _)| healthy)
    }

    fn places(&self, candidate: Candidate, kind: Kind) -> impl Iterator<Item = (u32, Contact)> {
        let path = |place: u32| &self.paths[self.failing[place as usize] as usize];
        self.index.failing(candidate, kind, path)
    }

    /// The kind and rate that fit `candidate` best.
    fn best(&self, candidate: Candidate) -> Option<Suspect> {
        if self.hopes[candidate as usize] < self.cost {
            return None;
        }
        let kinds = self.index.component(candidate).kinds().iter();
        let suspects = kinds.filter_map(|kind| self.fit(candidate, *kind));
        suspects.max_by(|a, b| a.gain.total_cmp(&b.gain))
    }

    /// The rate that fits `kind` of `candidate` best, if it gains anything.
    fn fit(&self, candidate: Candidate, kind: Kind) -> Option<Suspect> {
        let weighing = self.weigh(candidate, kind)?;
        let vague = if kind == Kind::Gray { VAGUE } else { 0.0 };
        let cost = |rate: f64| self.cost + if rate < 0.9 { GRAY } else { 0.0 } + vague;
        let fitted = |rate: f64, least: f64| {
            let cost = cost(rate);
            (rate, weighing.gain(rate, least + cost) - cost)
        };
        let mut most = (1.0, 0.0);
        for rate in RATES.iter().filter(|rate| kind != Kind::Gray || **rate < 1.0) {
            let next = fitted(*rate, most.1);
            if next.1 > most.1 {
                most = next;
            }
        }
        // Between the rates of the grid, where many attempts tell them apart.
        if most.1 > 0.0 && most.0 < 0.9 {
            for step in FINER {
                let near = [most.0 * step, most.0 / step];
                for rate in near.map(|rate| rate.min(0.95)) {
                    let next = fitted(rate, most.1);
                    if next.1 > most.1 {
                        most = next;
                    }
                }
            }
        }
        let component = self.index.component(candidate);
        let (rate, gain) = most;
        let suspect =
            || Suspect { component, kind, rate, gain, candidate, shown: weighing.shown(rate) };
        (gain > 0.0).then(suspect)
    }

    fn weigh(&self, candidate: Candidate, kind: Kind) -> Option<Weighing<'_, 'a>> {
        let hope: f64 = self.places(candidate, kind).map(|(at, _)| self.pulls[at as usize]).sum();
        if hope < self.cost {
            return None;
        }
        let mut weighing = Weighing::new(hope);
        for (place, contact) in self.places(candidate, kind) {
            let at = place as usize;
            weighing.add(&self.facts[at], self.told[at], &self.causes[at], contact);
        }
        for (healthy, contact) in self.index.healthy(candidate, kind) {
            weighing.add_healthy(healthy, contact);
        }
        Some(weighing)
    }

    fn accuse(&mut self, suspect: &Suspect, place: usize) {
        let touched: Vec<_> = self.places(suspect.candidate, suspect.kind).collect();
        for (at, contact) in touched {
            let shows = shows(&suspect.shown, &contact);
            self.causes[at as usize].push(Cause::at(&contact, suspect.rate, shows, place));
            self.changed(at);
        }
    }

    fn acquit(&mut self, suspect: &Suspect, place: usize) {
        let touched: Vec<_> = self.places(suspect.candidate, suspect.kind).collect();
        for (at, _) in touched {
            self.causes[at as usize].retain(|cause| cause.suspect != place);
            self.changed(at);
        }
    }

    /// Something else acts on a failing path: what its components may hope for is counted again.
    fn changed(&mut self, place: u32) {
        let at = place as usize;
        let path = &self.facts[at];
        self.told[at] = path.told(&self.causes[at]);
        let pull = path.pull(self.told[at]);
        let change = pull - std::mem::replace(&mut self.pulls[at], pull);
        for candidate in self.index.crossed(place) {
            self.hopes[*candidate as usize] += change;
            self.weighed[*candidate as usize] = Weighed::Stale;
        }
    }

    /// Components that share failing paths with `suspect`, those on most of what it explains.
    fn rivals(&self, suspect: &Suspect) -> Vec<Candidate> {
        let mut weights: HashMap<Candidate, f64> = HashMap::new();
        for (place, _) in self.places(suspect.candidate, suspect.kind) {
            for candidate in self.index.crossed(place) {
                *weights.entry(*candidate).or_default() += self.pulls[place as usize];
            }
        }
        weights.remove(&suspect.candidate);
        let mut weights: Vec<(Candidate, f64)> = weights.into_iter().collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        weights.into_iter().take(RIVALS).map(|(candidate, _)| candidate).collect()
    }
}

//! Finds the set of broken components that best explains everything seen: maximum a posteriori,
//! greedy with incremental gains, then local search. The model of inference is Flock's
//! (arXiv 2305.03348), with reasons, doubtful effects and odd paths added.

use crate::diagnosis::component::{Component, Kind, Names};
use crate::diagnosis::index::{Candidate, Contact, Healthy, Index};
use crate::diagnosis::likelihood::{Cause, Failing};
use crate::diagnosis::path::Path;
use crate::diagnosis::seen::Tally;
use crate::diagnosis::weigh::{Shown, Weighing, climb, shows};

/// Shares of failing attempts that are tried.
const RATES: [f64; 8] = [1.0, 0.9, 0.6, 0.4, 0.2, 0.1, 0.05, 0.02];
/// Factors by which the best of them is moved.
const FINER: [f64; 5] = [1.25, 1.12, 1.12, 1.06, 1.03];
/// Failing paths that tell whether a fault has any gain, its rate roughly, and finely.
const PILOT: usize = 500;
const ROUGHLY: usize = 1000;
const FINELY: usize = 16_000;
/// Rates by which a pilot is judged, and a gain, nats, that none of them reaches if there is none.
const PILOTS: [f64; 4] = [0.02, 0.05, 0.3, 1.0];
const CLEARLY: f64 = -25.0;
/// The factors where the rate is roughly known.
const FINEST: [f64; 2] = [1.04, 1.02];
/// Rates that differ by less, as a share, are the same.
const NEARLY: f64 = 0.01;
/// What is so much less likely, nats, is no alternative.
const HOPELESS: f64 = 20.0;
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
/// Failing paths that tell how to tune a rate, by these factors.
const TUNING: usize = 5000;
const CLOSER: [f64; 4] = [1.2, 1.1, 1.05, 1.02];
/// How often suspects are tuned beside each other, at most.
const SWEEPS: usize = 3;
/// Shared failing paths for which a suspect is tuned.
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
    /// Which of the suspects it is, as causes name it.
    place: usize,
}

/// What is known of the gain of a candidate.
#[derive(Debug, Clone)]
enum Weighed {
    /// Not more than this.
    AtMost(f64),
    /// This is the best that it can do.
    Best(Suspect),
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
    /// By candidate, the most that it may still gain: the sum of these pulls.
    hopes: Vec<f64>,
    counted: Vec<f64>,
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
            std::iter::zip(&facts, &told).map(|(path, told)| path.pull(*told, &[])).collect();
        let index = Index::new(names, (paths, tallies), &failing, &pulls, cost);
        let mut hopes = vec![0.0; index.len()];
        for (place, pull) in (0..).zip(&pulls) {
            for candidate in index.crossed(place) {
                hopes[*candidate as usize] += pull;
            }
        }
        let causes = vec![Vec::new(); failing.len()];
        let weighed = vec![Weighed::AtMost(f64::INFINITY); index.len()];
        let counted = pulls.clone();
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
            counted,
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
        let all: Vec<Suspect> = suspects.into_iter().flatten().collect();
        let (said, mut found): (Vec<Suspect>, Vec<Suspect>) =
            all.iter().cloned().partition(|it| is_said_by_the_whole(it, &all));
        for suspect in &said {
            self.remove(suspect);
        }
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(a.component.cmp(&b.component)));
        found
    }

    fn add_greedily(&mut self, suspects: &mut Vec<Option<Suspect>>) {
        while suspects.len() < MOST {
            let Some(mut next) = self.likeliest(suspects) else { return };
            next.place = suspects.len();
            self.insert(&next);
            self.recount(&next);
            suspects.push(Some(next));
            let last = suspects.len() - 1;
            self.tune_beside(suspects, last);
        }
    }

    /// Tunes the suspect at `new`, and those that share failing paths with it: what the one
    /// explains others need not.
    fn tune_beside(&mut self, suspects: &mut [Option<Suspect>], new: usize) {
        let mut shared = vec![0; suspects.len()];
        for (at, _) in suspects[new].iter().flat_map(|it| self.places(it.candidate, it.kind)) {
            for cause in &self.causes[at as usize] {
                shared[cause.suspect] += 1;
            }
        }
        if (0..shared.len()).all(|place| place == new || shared[place] < FEW) {
            return;
        }
        for _ in 0..SWEEPS {
            let mut changed = false;
            for suspect in suspects.iter_mut().flatten() {
                if shared[suspect.place] < FEW {
                    continue;
                }
                let before = self.remove(suspect);
                let tuned = self.tuned(suspect);
                changed |= self.replace(suspect, tuned, before);
            }
            if !changed {
                return;
            }
        }
    }

    /// `suspect` at the rate that now fits it.
    fn tuned(&self, suspect: &Suspect) -> Suspect {
        let weighing = self.weighing(suspect.candidate, suspect.kind, 0.0);
        let sample = weighing.sample(TUNING);
        let weighing = sample.as_ref().unwrap_or(&weighing);
        let gain = |rate, _| weighing.gain(rate);
        let (rate, _) = climb([suspect.rate], &CLOSER, f64::NEG_INFINITY, gain);
        let shown = weighing.at(rate, f64::NEG_INFINITY).map_or(Vec::new(), |(_, shown)| shown);
        Suspect { rate, shown, ..suspect.clone() }
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
        let (mut most, mut least) = (None, 0.0);
        for (candidate, hope) in hopes {
            if least >= hope {
                break;
            }
            let known = &mut self.weighed[candidate as usize];
            if matches!(known, Weighed::AtMost(bound) if *bound > least) {
                let best = self.best(candidate, least);
                self.weighed[candidate as usize] =
                    best.map_or(Weighed::AtMost(least), Weighed::Best);
            }
            if let Weighed::Best(suspect) = &self.weighed[candidate as usize]
                && suspect.gain > least
            {
                least = suspect.gain;
                most = Some(suspect.clone());
            }
        }
        most
    }

    /// Replaces each suspect by what now fits best in its place, or by nothing. Whether any was.
    fn improve(&mut self, suspects: &mut [Option<Suspect>]) -> bool {
        let mut changed = false;
        for place in 0..suspects.len() {
            let Some(mut old) = suspects[place].take() else { continue };
            let before = self.remove(&old);
            let mut best = self.best(old.candidate, 0.0);
            for (rival, hope) in self.rivals(&old) {
                let least = best.as_ref().map_or(0.0, |best| best.gain);
                let other = suspects.iter().flatten().any(|other| other.candidate == rival);
                if !other && hope > least + self.cost {
                    best = self.best(rival, least).or(best);
                }
            }
            let Some(best) = best else {
                self.recount(&old);
                changed = true;
                continue;
            };
            changed |= best.component != old.component;
            self.replace(&mut old, best, before);
            suspects[place] = Some(old);
        }
        changed
    }

    /// What `suspect` gains beside the others, and what else would explain what it explains, best
    /// first, down to what is hopeless.
    pub(super) fn alternatives(
        &mut self,
        suspects: &[Suspect],
        suspect: &Suspect,
    ) -> (f64, Vec<Suspect>) {
        let before = self.remove(suspect);
        let own = self.fit(suspect.candidate, suspect.kind, 0.0).map_or(0.0, |own| own.gain);
        let least = (own - HOPELESS).max(0.0);
        let mut found: Vec<Suspect> = Vec::new();
        for (rival, hope) in self.rivals(suspect) {
            let other = suspects.iter().any(|other| other.candidate == rival);
            if !other && hope > least + self.cost {
                found.extend(self.best(rival, least));
            }
        }
        self.put_back(suspect, before);
        found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        (own, found)
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

    /// The kind and rate that fit `candidate` best, if they gain more than `least`.
    fn best(&self, candidate: Candidate, least: f64) -> Option<Suspect> {
        let mut best: Option<Suspect> = None;
        for kind in self.index.component(candidate).kinds() {
            let least = best.as_ref().map_or(least, |best| best.gain);
            best = self.fit(candidate, *kind, least).or(best);
        }
        best
    }

    /// The rate that fits `kind` of `candidate` best, if it gains more than `least`.
    fn fit(&self, candidate: Candidate, kind: Kind, least: f64) -> Option<Suspect> {
        let weighing = self.weigh(candidate, kind, least)?;
        let vague = if kind == Kind::Gray { VAGUE } else { 0.0 };
        let cost = |rate: f64| self.cost + if rate < 0.9 { GRAY } else { 0.0 } + vague;
        let rates = RATES.into_iter().filter(|rate| kind != Kind::Gray || *rate < 1.0);
        let exactly = |rate: f64, least: f64| {
            weighing.at(rate, least + cost(rate)).map_or(f64::NEG_INFINITY, |(gain, _)| gain)
                - cost(rate)
        };
        // Many paths tell the rate by a part of them.
        let rate = match weighing.sample(ROUGHLY) {
            None => {
                let (rate, gain) = climb(rates, &FINER, least, exactly);
                if gain <= least {
                    return None;
                }
                rate
            }
            Some(rough) => {
                let pilot = weighing.sample(PILOT)?;
                if PILOTS.iter().all(|rate| pilot.gain(*rate) < CLEARLY) {
                    return None;
                }
                let on = |sample: &Weighing<'_, '_>, rates: &[f64], steps: &[f64]| {
                    let gain = |rate, _| sample.gain(rate);
                    climb(rates.iter().copied(), steps, f64::NEG_INFINITY, gain).0
                };
                let rate = on(&rough, &rates.collect::<Vec<_>>(), &FINER);
                weighing.sample(FINELY).map_or(rate, |fine| on(&fine, &[rate], &FINEST))
            }
        };
        let (gain, shown) = weighing.at(rate, least + cost(rate))?;
        let (component, gain) = (self.index.component(candidate), gain - cost(rate));
        let suspect = Suspect { component, kind, rate, gain, candidate, shown, place: usize::MAX };
        (gain > least).then_some(suspect)
    }

    /// `kind` of `candidate` with all that it touches, unless it cannot gain more than `least`.
    fn weigh(&self, candidate: Candidate, kind: Kind, least: f64) -> Option<Weighing<'_, 'a>> {
        let hope: f64 = self.places(candidate, kind).map(|(at, _)| self.pulls[at as usize]).sum();
        if hope <= self.cost + least {
            return None;
        }
        Some(self.weighing(candidate, kind, hope))
    }

    fn weighing(&self, candidate: Candidate, kind: Kind, hope: f64) -> Weighing<'_, 'a> {
        let mut weighing = Weighing::new(hope);
        for (place, contact) in self.places(candidate, kind) {
            let at = place as usize;
            weighing.add(&self.facts[at], self.told[at], &self.causes[at], contact);
        }
        for (healthy, contact) in self.index.healthy(candidate, kind) {
            weighing.add_healthy(healthy, contact);
        }
        weighing
    }

    /// Lets `suspect` act no more; what was told, and could be gained, where it acted. What
    /// candidates may hope for stays as it was.
    fn remove(&mut self, suspect: &Suspect) -> Vec<(f64, f64)> {
        let touched: Vec<_> = self.places(suspect.candidate, suspect.kind).collect();
        let mut before = Vec::with_capacity(touched.len());
        for (at, _) in touched {
            let at = at as usize;
            before.push((self.told[at], self.pulls[at]));
            self.causes[at].retain(|cause| cause.suspect != suspect.place);
            self.changed(at);
        }
        before
    }

    /// Undoes [`Self::remove`].
    fn put_back(&mut self, suspect: &Suspect, before: Vec<(f64, f64)>) {
        let touched: Vec<_> = self.places(suspect.candidate, suspect.kind).collect();
        for ((at, contact), (told, pull)) in touched.into_iter().zip(before) {
            self.causes[at as usize].push(suspect.cause(&contact));
            (self.told[at as usize], self.pulls[at as usize]) = (told, pull);
        }
    }

    /// Lets `new` act instead of `old`, which was removed, or `old` again if it is nearly the same.
    /// Whether it is not.
    fn replace(&mut self, old: &mut Suspect, new: Suspect, before: Vec<(f64, f64)>) -> bool {
        let kind = (new.candidate, new.kind) == (old.candidate, old.kind);
        if kind && old.shown == new.shown && (new.rate / old.rate - 1.0).abs() < NEARLY {
            self.put_back(old, before);
            return false;
        }
        let gone = std::mem::replace(old, Suspect { place: old.place, ..new });
        self.insert(old);
        self.recount(&gone);
        self.recount(old);
        true
    }

    /// Lets `suspect` act.
    fn insert(&mut self, suspect: &Suspect) {
        let touched: Vec<_> = self.places(suspect.candidate, suspect.kind).collect();
        for (at, contact) in touched {
            self.causes[at as usize].push(suspect.cause(&contact));
            self.changed(at as usize);
        }
    }

    /// Something else acts on a failing path.
    fn changed(&mut self, at: usize) {
        let path = &self.facts[at];
        self.told[at] = path.told(&self.causes[at]);
        self.pulls[at] = path.pull(self.told[at], &self.causes[at]);
    }

    /// Counts again what candidates may hope for, where `suspect` acts or did.
    fn recount(&mut self, suspect: &Suspect) {
        let touched: Vec<_> = self.places(suspect.candidate, suspect.kind).collect();
        for (place, _) in touched {
            let at = place as usize;
            let change = self.pulls[at] - std::mem::replace(&mut self.counted[at], self.pulls[at]);
            for candidate in self.index.crossed(place) {
                self.hopes[*candidate as usize] += change;
                self.weighed[*candidate as usize] = Weighed::AtMost(f64::INFINITY);
            }
        }
    }

    /// Components that share failing paths with `suspect`, which was removed, those on most of
    /// what it explained, each with the most that it may gain.
    fn rivals(&self, suspect: &Suspect) -> Vec<(Candidate, f64)> {
        let mut weights = vec![0.0; self.index.len()];
        for (place, _) in self.places(suspect.candidate, suspect.kind) {
            for candidate in self.index.crossed(place) {
                weights[*candidate as usize] += self.pulls[place as usize];
            }
        }
        weights[suspect.candidate as usize] = 0.0;
        let mut weights: Vec<(Candidate, f64)> =
            (0..).zip(weights).filter(|(_, weight)| *weight > 0.0).collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        weights.truncate(RIVALS);
        let hopes = weights.into_iter();
        hopes.map(|(rival, weight)| (rival, self.hopes[rival as usize] + weight)).collect()
    }
}

impl Suspect {
    /// What it does at `contact`.
    fn cause(&self, contact: &Contact) -> Cause {
        Cause::at(contact, self.rate, shows(&self.shown, contact), self.place)
    }
}

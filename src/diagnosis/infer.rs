//! The set of faults that explains all observations best, healthy ones included.
//!
//! Maximum a posteriori, as Flock (arXiv 2305.03348) does it: an attempt fails when any fault on its
//! path strikes (noisy-OR), with the reasons of that fault's signature; each fault costs its prior.
//! The search is greedy, then local: remove, replace, fit the rate again. Gains are computed over
//! the paths of one component only.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::diagnosis::component::{Component, Fault};
use crate::diagnosis::path::{Path, Role};
use crate::diagnosis::signature::effect;
use crate::diagnosis::topology::Index;
use crate::failure::Reason;

/// The rate at which attempts fail for no reason that matters.
const BACKGROUND: f64 = 3e-4;
/// The likelihood of a failure's reason when it is one of the signature's, however many those
/// are: a fault with fewer must not be found beside another only to sharpen it.
const KNOWN: f64 = 0.25;
/// The same when it is none of them.
const ODD: f64 = 1e-4;
/// Failures of one path whose reasons count: one path fails for one reason, time and again.
const TELLING: f64 = 2.0;
/// What a fault costs, in nats: one in three thousand components is broken.
const PRIOR: f64 = 8.0;
/// What it costs more when it strikes only some attempts.
const GRAY_PRIOR: f64 = 2.0;
/// What it costs to say that a path is broken by itself: no path tells more than this for a fault
/// that it shares with others, or one odd pair of pods would be a fault of its zone.
const ALONE: f64 = 12.0;
/// No fault strikes surer than this, so that one stray success refutes nothing.
const SUREST: f64 = 0.998;
/// The shares of attempts that a fault may strike.
const RATES: [f64; 9] = [1.0, 0.8, 0.5, 0.35, 0.2, 0.1, 0.05, 0.03, 0.015];
/// Faults that are looked for at once.
const MOST_FAULTS: usize = 24;
/// Rounds of local search.
const ROUNDS: usize = 3;

/// A fault and what it explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hypothesis {
    pub(super) component: Component,
    pub(super) fault: Fault,
    /// Share of the attempts that it strikes.
    pub(super) rate: f64,
}

/// A fault that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) hypothesis: Hypothesis,
    /// What the explanation loses without it, nats.
    pub(super) weight: f64,
    /// How sure it is this component and no other, 0 to 1.
    pub(super) confidence: f64,
    /// Components that would explain it as well, or nearly.
    pub(super) alternatives: Vec<Hypothesis>,
}

/// A component's place on a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    pub(super) path: u32,
    pub(super) role: Role,
    share: f64,
}

/// A cause of failures on a path.
#[derive(Debug, Clone, Copy)]
struct Cause {
    /// Share of attempts that it makes fail, where it shows.
    rate: f64,
    /// How likely it shows on this path at all.
    sure: f64,
    reasons: &'static [Reason],
}

/// Everything that inference looks at.
pub(super) struct Inference<'a> {
    paths: &'a [Path],
    touches: HashMap<Component, Vec<Touch>>,
    candidates: Vec<(Component, Fault)>,
    /// By path: the log-likelihood when it is broken by itself, or nothing is wrong.
    alone: Vec<f64>,
    causes: HashMap<u32, Vec<(usize, Cause)>>,
    chosen: Vec<Option<Hypothesis>>,
}

impl<'a> Inference<'a> {
    pub(super) fn new(paths: &'a [Path], index: &Index) -> Self {
        let mut candidates = BTreeSet::new();
        for path in paths.iter().filter(|path| path.violated > 0) {
            for crossing in path.crossings(index) {
                for fault in crossing.component.faults() {
                    if effect(*fault, crossing.role, path.class)
                        .is_some_and(|effect| fits(path, effect.reasons))
                    {
                        candidates.insert((crossing.component, *fault));
                    }
                }
            }
        }
        let mut touches: HashMap<Component, Vec<Touch>> =
            candidates.iter().map(|(component, _)| (*component, Vec::new())).collect();
        for (path, number) in paths.iter().zip(0..) {
            for crossing in path.crossings(index) {
                if let Some(list) = touches.get_mut(&crossing.component) {
                    let (role, share) = (crossing.role, crossing.share);
                    list.push(Touch { path: number, role, share });
                }
            }
        }
        let alone = paths.iter().map(alone).collect();
        let mut inference = Self {
            paths,
            touches,
            candidates: Vec::new(),
            alone,
            causes: HashMap::new(),
            chosen: Vec::new(),
        };
        inference.candidates = candidates.into_iter().filter(|it| inference.may(*it)).collect();
        inference
    }

    /// Whether a fault could be worth its prior at all: what it explains beside what refutes it.
    fn may(&self, (component, fault): (Component, Fault)) -> bool {
        let (mut failures, mut attempts) = (0.0, 0.0);
        for (touch, effect) in self.reach(component, fault) {
            let path = &self.paths[touch.path as usize];
            attempts +=
                path.attempts() as f64 * effect.rate * if effect.sure < 1.0 { 0.0 } else { 1.0 };
            failures += if fits(path, effect.reasons) { path.violated as f64 } else { 0.0 };
        }
        let attempts = attempts.max(failures);
        let rate = (failures / attempts.max(1.0)).clamp(BACKGROUND, SUREST);
        let gain = failures * (rate / BACKGROUND).ln()
            + (attempts - failures) * ((1.0 - rate) / (1.0 - BACKGROUND)).ln()
            + failures * (Reason::ALL.len() as f64).ln();
        gain > PRIOR
    }

    /// The paths on which a fault shows, each with what it does there when it always strikes.
    fn reach(
        &self,
        component: Component,
        fault: Fault,
    ) -> impl Iterator<Item = (Touch, Cause)> + '_ {
        let list = self.touches.get(&component).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(move |touch| {
            let effect = effect(fault, touch.role, self.paths[touch.path as usize].class)?;
            let (rate, sure) = (touch.share, effect.sure);
            Some((*touch, Cause { rate, sure, reasons: effect.reasons }))
        })
    }

    /// How much better everything is explained with `hypothesis` beside what is chosen but for
    /// `without`; its prior is paid.
    fn gain(&self, hypothesis: Hypothesis, without: Option<usize>) -> f64 {
        let mut gain = -prior(hypothesis.rate);
        let mut causes = Vec::new();
        for (touch, cause) in self.reach(hypothesis.component, hypothesis.fault) {
            causes.clear();
            causes.extend(self.causes_of(touch.path, without));
            let before = self.likelihood(touch.path, &causes);
            causes.push(struck(cause, hypothesis.rate));
            gain += self.likelihood(touch.path, &causes) - before;
        }
        gain
    }

    fn causes_of(&self, path: u32, without: Option<usize>) -> impl Iterator<Item = Cause> + '_ {
        let all = self.causes.get(&path).map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |(by, _)| Some(*by) != without).map(|(_, cause)| *cause)
    }

    fn likelihood(&self, path: u32, causes: &[Cause]) -> f64 {
        likelihood(&self.paths[path as usize], causes).max(self.alone[path as usize])
    }

    /// The best rate of a candidate and its gain.
    fn fit(
        &self,
        (component, fault): (Component, Fault),
        without: Option<usize>,
    ) -> (Hypothesis, f64) {
        let at = |rate| {
            let hypothesis = Hypothesis { component, fault, rate };
            (hypothesis, self.gain(hypothesis, without))
        };
        let mut best = at(RATES[0]);
        for rate in &RATES[1..] {
            let next = at(*rate);
            if next.1 > best.1 {
                best = next;
            }
        }
        best
    }

    /// Finds the faults.
    pub(super) fn run(&mut self) -> Vec<Found> {
        self.greedy();
        for _ in 0..ROUNDS {
            if !self.improve() {
                break;
            }
        }
        let mut found: Vec<Found> =
            (0..self.chosen.len()).filter_map(|at| self.found(at)).collect();
        found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        found
    }

    fn greedy(&mut self) {
        let mut gains: Vec<(Hypothesis, f64)> =
            self.candidates.iter().map(|candidate| self.fit(*candidate, None)).collect();
        while self.chosen.len() < MOST_FAULTS {
            let best = gains.iter().max_by(|a, b| a.1.total_cmp(&b.1)).copied();
            let Some((best, _)) = best.filter(|(_, gain)| *gain > 0.0) else { break };
            let touched: BTreeSet<u32> =
                self.reach(best.component, best.fault).map(|(touch, _)| touch.path).collect();
            self.choose(best);
            // One component has one fault.
            gains.retain(|(hypothesis, _)| hypothesis.component != best.component);
            for (hypothesis, gain) in &mut gains {
                let (component, fault) = (hypothesis.component, hypothesis.fault);
                let shares = self.reach(component, fault).any(|(it, _)| touched.contains(&it.path));
                if shares {
                    (*hypothesis, *gain) = self.fit((component, fault), None);
                }
            }
        }
    }

    fn choose(&mut self, hypothesis: Hypothesis) {
        let number = self.chosen.len();
        self.chosen.push(Some(hypothesis));
        self.enter(number, hypothesis);
    }

    fn enter(&mut self, number: usize, hypothesis: Hypothesis) {
        let reach: Vec<(Touch, Cause)> =
            self.reach(hypothesis.component, hypothesis.fault).collect();
        for (touch, cause) in reach {
            let cause = struck(cause, hypothesis.rate);
            self.causes.entry(touch.path).or_default().push((number, cause));
        }
    }

    fn leave(&mut self, number: usize) {
        for causes in self.causes.values_mut() {
            causes.retain(|(by, _)| *by != number);
        }
    }

    /// Candidates that share a path with what is chosen as `number`, and it itself.
    fn rivals(&self, chosen: Hypothesis) -> Vec<(Component, Fault)> {
        let reach = self.reach(chosen.component, chosen.fault);
        let failing: BTreeSet<u32> = reach
            .map(|(touch, _)| touch.path)
            .filter(|path| self.paths[*path as usize].violated > 0)
            .collect();
        let rivals = self.candidates.iter().filter(|(component, fault)| {
            self.reach(*component, *fault).any(|(touch, _)| failing.contains(&touch.path))
        });
        rivals.copied().collect()
    }

    /// Looks at each chosen fault again; whether anything got better.
    fn improve(&mut self) -> bool {
        let mut better = false;
        for number in 0..self.chosen.len() {
            let Some(current) = self.chosen[number] else { continue };
            let kept = self.gain(current, Some(number));
            let others = self.chosen.iter().enumerate().filter(|(other, _)| *other != number);
            let taken: BTreeSet<Component> =
                others.filter_map(|(_, chosen)| Some(chosen.as_ref()?.component)).collect();
            let rivals = self.rivals(current).into_iter().filter(|it| !taken.contains(&it.0));
            let fits = rivals.map(|rival| self.fit(rival, Some(number)));
            let best = fits.max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((best, gain)) = best else { continue };
            if gain <= 0.0 {
                self.leave(number);
                self.chosen[number] = None;
                better = true;
            } else if gain > kept + 1e-6 && best != current {
                self.leave(number);
                self.chosen[number] = Some(best);
                self.enter(number, best);
                better = true;
            }
        }
        better
    }

    fn found(&self, number: usize) -> Option<Found> {
        let hypothesis = self.chosen[number]?;
        let weight = self.gain(hypothesis, Some(number));
        let taken: BTreeSet<Component> =
            self.chosen.iter().flatten().map(|chosen| chosen.component).collect();
        let mut rivals: BTreeMap<Component, (Hypothesis, f64)> = BTreeMap::new();
        for rival in self.rivals(hypothesis) {
            if taken.contains(&rival.0) {
                continue;
            }
            let (fitted, gain) = self.fit(rival, Some(number));
            let best = rivals.entry(rival.0).or_insert((fitted, gain));
            if gain > best.1 {
                *best = (fitted, gain);
            }
        }
        let against: f64 = rivals.values().map(|(_, gain)| (gain - weight).exp()).sum();
        let confidence = 1.0 / (1.0 + (-weight).exp() + against);
        let mut close: Vec<(Hypothesis, f64)> =
            rivals.into_values().filter(|(_, gain)| weight - gain < 3.0).collect();
        close.sort_by(|a, b| b.1.total_cmp(&a.1));
        let alternatives = close.into_iter().map(|(rival, _)| rival).take(3).collect();
        Some(Found { hypothesis, weight, confidence, alternatives })
    }

    /// The share of all failures that some chosen fault accounts for.
    pub(super) fn explained(&self) -> f64 {
        let (mut all, mut explained) = (0.0, 0.0);
        for (path, number) in self.paths.iter().zip(0..) {
            if path.violated == 0 {
                continue;
            }
            all += path.violated as f64;
            let causes: Vec<Cause> = self.causes_of(number, None).collect();
            if causes.is_empty() {
                continue;
            }
            let told: u64 = path.reasons.iter().map(|(_, count)| count).sum();
            let known = path
                .reasons
                .iter()
                .filter(|(reason, _)| causes.iter().any(|cause| cause.reasons.contains(reason)));
            let known: u64 = known.map(|(_, count)| count).sum();
            let share = if told == 0 { 1.0 } else { known as f64 / told as f64 };
            explained += path.violated as f64 * share;
        }
        if all == 0.0 { 1.0 } else { explained / all }
    }

    /// The paths of a component on which its fault would show, with how.
    pub(super) fn witnesses(
        &self,
        hypothesis: Hypothesis,
    ) -> impl Iterator<Item = (&'a Path, Role, bool)> + '_ {
        let paths = self.paths;
        self.reach(hypothesis.component, hypothesis.fault).map(move |(touch, cause)| {
            let path = &paths[touch.path as usize];
            (path, touch.role, fits(path, cause.reasons))
        })
    }
}

fn prior(rate: f64) -> f64 {
    if rate < 1.0 { PRIOR + GRAY_PRIOR } else { PRIOR }
}

fn struck(cause: Cause, rate: f64) -> Cause {
    Cause { rate: (cause.rate * rate).min(SUREST), ..cause }
}

/// Whether any failure of `path` has one of `reasons`, or nobody told the reasons.
fn fits(path: &Path, reasons: &[Reason]) -> bool {
    path.reasons.is_empty() || path.reasons.iter().any(|(reason, _)| reasons.contains(reason))
}

/// The log-likelihood of what was seen of `path` when `causes` are at work, each of which shows on
/// it or, where that is not sure, does not.
fn likelihood(path: &Path, causes: &[Cause]) -> f64 {
    let Some(at) = causes.iter().position(|cause| cause.sure < 1.0) else {
        return shown(path, causes);
    };
    let (mut with, mut without) = (causes.to_vec(), causes.to_vec());
    let sure = with[at].sure;
    with[at].sure = 1.0;
    without.remove(at);
    let (with, without) =
        (likelihood(path, &with) + sure.ln(), likelihood(path, &without) + (1.0 - sure).ln());
    let (more, less) = if with > without { (with, without) } else { (without, with) };
    more + (less - more).exp().ln_1p()
}

/// The same when all of them show.
fn shown(path: &Path, causes: &[Cause]) -> f64 {
    let passes = causes.iter().fold(1.0 - BACKGROUND, |pass, cause| pass * (1.0 - cause.rate));
    let mut sum = path.met as f64 * passes.ln();
    if path.violated == 0 {
        return sum;
    }
    sum += path.violated as f64 * (1.0 - passes).ln();
    let told: u64 = path.reasons.iter().map(|(_, count)| count).sum();
    let weight = (path.violated as f64).min(TELLING) / told.max(1) as f64;
    let all: f64 = causes.iter().map(|cause| cause.rate).sum::<f64>() + BACKGROUND;
    for (reason, count) in &path.reasons {
        let by = causes
            .iter()
            .map(|cause| cause.rate * if cause.reasons.contains(reason) { KNOWN } else { ODD });
        let share = (by.sum::<f64>() + BACKGROUND / Reason::ALL.len() as f64) / all;
        sum += *count as f64 * weight * share.ln();
    }
    sum
}

/// The log-likelihood when nothing on `path` is shared: it is broken by itself, at its own rate.
fn alone(path: &Path) -> f64 {
    let whole = likelihood(path, &[]);
    if path.violated == 0 {
        return f64::NEG_INFINITY;
    }
    let rate = (path.violated as f64 / path.attempts() as f64).min(SUREST);
    let told = if path.reasons.is_empty() { 0.0 } else { TELLING * KNOWN.ln() };
    let broken = path.violated as f64 * rate.ln() + path.met as f64 * (1.0 - rate).ln() + told;
    (broken - ALONE).max(whole)
}
